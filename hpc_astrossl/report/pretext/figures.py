"""Figures of the pretext task, a panel a band: predicted against catalogue magnitude, and what the residual follows."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hpc_astrossl.report.base.arrays import Predictions
from hpc_astrossl.report.base.drawing import ACCENT, INK, canvas
from hpc_astrossl.report.base.look import short

_MOST_POINTS = 300  # of a panel: each is an element of the page; every number is of all objects
_BINS = 8
_COLUMNS = 4


def predicted(found: Predictions, bands: tuple[str, ...], truth_is: str = "catalogue magnitude") -> Figure:
    """Predicted against true; the line is equality."""

    def panel(axes: Axes, column: int) -> None:
        truth, output = _known(found, column)[:2]
        _scatter(axes, truth, output)
        low, high = min(truth.min(), output.min()), max(truth.max(), output.max())
        low, high = low - 0.04 * (high - low), high + 0.04 * (high - low)
        axes.plot([low, high], [low, high], color=INK, linewidth=0.9)
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        _note(axes, f"MAE {np.abs(output - truth).mean():.3f}")

    return _panels(found, bands, panel, truth_is, "predicted" if "magnitude" not in truth_is else "predicted magnitude")


def residual_by_magnitude(found: Predictions, bands: tuple[str, ...]) -> Figure:
    """Predicted − catalogue against catalogue magnitude, with median and central 68% in bins of equal number."""

    def panel(axes: Axes, column: int) -> None:
        truth, output = _known(found, column)[:2]
        _residual(axes, truth, output - truth)
        _note(axes, f"mean {(output - truth).mean():+.3f}".replace("-", "−"))

    return _panels(found, bands, panel, "catalogue magnitude", "predicted − catalogue")


def residual_by_uncertainty(found: Predictions, bands: tuple[str, ...]) -> Figure:
    """Predicted − catalogue against the catalogue's uncertainty; dotted: residuals as large as the uncertainty."""

    def panel(axes: Axes, column: int) -> None:
        truth, output, error = _known(found, column)
        _residual(axes, error, output - truth)
        for sign in (-1, 1):
            axes.plot([0, error.max()], [0, sign * error.max()], color=INK, linewidth=0.9, linestyle=":")
        _note(axes, f"{(np.abs(output - truth) <= error).mean():.0%} within")

    return _panels(found, bands, panel, "catalogue uncertainty (mag)", "predicted − catalogue")


def _known(found: Predictions, column: int) -> tuple[np.ndarray, ...]:
    """Truth, output and, where the run kept it, uncertainty of a band, of the objects where they are known."""
    kept = [found.truth, found.output] + ([] if found.uncertainty is None else [found.uncertainty])
    arrays = [array[:, column].astype("float64") for array in kept]
    known = np.isfinite(arrays).all(axis=0)
    return tuple(array[known] for array in arrays)


def _panels(found: Predictions, bands: tuple[str, ...], panel: Callable, xlabel: str, ylabel: str) -> Figure:
    columns = min(_COLUMNS, len(bands))
    lines = -(-len(bands) // columns)
    figure = canvas(1.95 * columns + 0.3, 1.95 * lines + 0.3)
    for column, band in enumerate(bands):
        axes = figure.add_subplot(lines, columns, column + 1)
        axes.set_title(short(band), fontsize=8.5)
        axes.grid(True, axis="both")
        axes.tick_params(labelsize=7.5)
        if len(_known(found, column)[0]):
            panel(axes, column)
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.yaxis.set_major_locator(MaxNLocator(4))
    figure.supxlabel(xlabel, fontsize=9)
    figure.supylabel(ylabel, fontsize=9)
    return figure


def _scatter(axes: Axes, x: np.ndarray, y: np.ndarray) -> None:
    drawn = np.random.default_rng(0).permutation(len(x))[:_MOST_POINTS]
    axes.scatter(x[drawn], y[drawn], s=6, color=ACCENT, alpha=0.45, linewidths=0)


def _note(axes: Axes, words: str) -> None:
    axes.annotate(words, (0.04, 0.97), xycoords="axes fraction", va="top", fontsize=7.5)


def _residual(axes: Axes, x: np.ndarray, residual: np.ndarray) -> None:
    _scatter(axes, x, residual)
    axes.axhline(0, color=INK, linewidth=0.7)
    parts = np.array_split(np.argsort(x, kind="stable"), min(_BINS, len(x)))
    centres = [float(np.median(x[part])) for part in parts]
    bands = np.array([np.percentile(residual[part], (16, 50, 84)) for part in parts])
    axes.plot(centres, bands[:, 1], color=INK, linewidth=1.3)
    axes.plot(centres, bands[:, [0, 2]], color=INK, linewidth=0.8, linestyle="--")
    limit = max(0.1, 1.15 * float(np.percentile(np.abs(residual), 99)))
    axes.set_ylim(-limit, limit)
