"""Figures of the pretext task, a panel a band: predicted against catalogue magnitude, and what the residual follows."""

from collections.abc import Callable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from hpc_astrossl.report.base.arrays import Predictions
from hpc_astrossl.report.base.drawing import ACCENT, INK, canvas
from hpc_astrossl.report.base.look import short
from hpc_astrossl.report.pretext.tables import mean_error

_MOST_POINTS = 300  # of a panel as elements of the page; more become a bitmap
_BINS = 8
_COLUMNS = 4


def predicted(found: Predictions, bands: tuple[str, ...], truth_is: str = "catalogue magnitude") -> Figure:
    """Predicted against true; the line is equality. Objects without a catalogue uncertainty are hollow."""

    def panel(axes: Axes, column: int) -> None:
        truth, output, error = _known(found, column)
        _scatter(axes, truth, output, ~np.isfinite(error))
        low, high = min(truth.min(), output.min()), max(truth.max(), output.max())
        low, high = low - 0.04 * (high - low), high + 0.04 * (high - low)
        axes.plot([low, high], [low, high], color=INK, linewidth=0.9)
        axes.set(xlim=(low, high), ylim=(low, high), aspect="equal")
        _note(axes, f"MAE {mean_error(found, column):.3f}, n = {len(truth):,}")

    return _panels(found, bands, panel, truth_is, "predicted" if "magnitude" not in truth_is else "predicted magnitude")


def residual_by_magnitude(found: Predictions, bands: tuple[str, ...]) -> Figure:
    """Predicted − catalogue against catalogue magnitude, with median and central 68% in bins of equal number."""

    def panel(axes: Axes, column: int) -> None:
        truth, output, error = _known(found, column)
        _residual(axes, truth, output - truth, ~np.isfinite(error))
        _note(axes, f"mean {(output - truth).mean():+.3f}, n = {len(truth):,}".replace("-", "−"))

    return _panels(found, bands, panel, "catalogue magnitude", "predicted − catalogue")


def residual_by_uncertainty(found: Predictions, bands: tuple[str, ...]) -> Figure:
    """Predicted − catalogue against the catalogue's uncertainty; dotted: residuals as large as the uncertainty.

    Objects without an uncertainty stand hollow at the right edge; so do those far beyond the others.
    """

    def panel(axes: Axes, column: int) -> None:
        truth, output, error = _known(found, column)
        there = np.isfinite(error)
        if there.any():
            most = _edge(error[there])
            axes.plot([0, most], [0, most], color=INK, linewidth=0.9, linestyle=":")
            axes.plot([0, most], [0, -most], color=INK, linewidth=0.9, linestyle=":")
            _residual(axes, np.minimum(error[there], most), (output - truth)[there], None)
            share = (np.abs(output - truth) <= error)[there].mean()
            words = f"{share:.0%} within, n = {there.sum():,}"
        else:
            most, words = 1.0, "n = 0"
        if not there.all():
            edge = np.full((~there).sum(), 1.08 * most)
            _scatter(axes, edge, (output - truth)[~there], np.ones(len(edge), dtype=bool))
            words += f"\n{(~there).sum():,} without"
        axes.set_xlim(0, 1.14 * most)
        limit = max(0.1, 1.15 * float(np.abs(output - truth).max()))
        axes.set_ylim(-limit, limit)
        _note(axes, words)

    return _panels(found, bands, panel, "catalogue uncertainty (mag)", "predicted − catalogue")


def _edge(error: np.ndarray) -> float:
    """The largest uncertainty drawn to scale: all of them, unless a few are far beyond the others."""
    return float(max(min(error.max(), 5 * np.percentile(error, 90)), 1e-3))


def _known(found: Predictions, column: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, output and uncertainty of a band, of the objects whose truth is known; uncertainty NaN where unknown.

    Zeros where the run kept none at all: nothing is marked then.
    """
    truth, output = (array[:, column].astype("float64") for array in (found.truth, found.output))
    error = np.zeros(len(truth)) if found.uncertainty is None else found.uncertainty[:, column].astype("float64")
    known = np.isfinite(truth) & np.isfinite(output)
    return truth[known], output[known], error[known]


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


def _scatter(axes: Axes, x: np.ndarray, y: np.ndarray, hollow: np.ndarray | None = None) -> None:
    """Points, ``hollow`` ones (a mask) as rings. Of very many a bitmap is made, so that all are there."""
    marked = np.zeros(len(x), dtype=bool) if hollow is None else hollow
    bitmap = len(x) > _MOST_POINTS
    axes.scatter(x[~marked], y[~marked], s=6, color=ACCENT, alpha=0.45, linewidths=0, rasterized=bitmap)
    if marked.any():
        axes.scatter(x[marked], y[marked], s=9, facecolors="none", edgecolors=ACCENT, alpha=0.8, linewidths=0.7,
                     rasterized=bitmap)  # fmt: skip


def _note(axes: Axes, words: str) -> None:
    axes.annotate(words, (0.04, 0.97), xycoords="axes fraction", va="top", fontsize=7.5)


def _residual(axes: Axes, x: np.ndarray, residual: np.ndarray, hollow: np.ndarray | None) -> None:
    _scatter(axes, x, residual, hollow)
    axes.axhline(0, color=INK, linewidth=0.7)
    parts = np.array_split(np.argsort(x, kind="stable"), min(_BINS, len(x)))
    centres = [float(np.median(x[part])) for part in parts]
    bands = np.array([np.percentile(residual[part], (16, 50, 84)) for part in parts])
    axes.plot(centres, bands[:, 1], color=INK, linewidth=1.3)
    axes.plot(centres, bands[:, [0, 2]], color=INK, linewidth=0.8, linestyle="--")
    limit = max(0.1, 1.15 * float(np.abs(residual).max()))
    axes.set_ylim(-limit, limit)
