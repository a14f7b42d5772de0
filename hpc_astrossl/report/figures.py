"""The figures: accuracy against training size, projections, cutouts, learning curves."""

import math
from dataclasses import dataclass

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from hpc_astrossl.report import cells as c
from hpc_astrossl.report.cells import Key
from hpc_astrossl.report.drawing import ACCENT, INK, PAPER, QUIET, canvas
from hpc_astrossl.report.objects import Example
from hpc_astrossl.report.projection import Projection

# Told apart in grey: frozen features are dashed and hollow, fine-tuning solid; ImageNet square, magnitudes round.
_SCHEMES = {
    "scratch": {"color": QUIET, "linestyle": ":", "marker": "x"},
    "features-imagenet": {"color": INK, "linestyle": "--", "marker": "s", "markerfacecolor": PAPER},
    "features-magnitudes": {"color": ACCENT, "linestyle": "--", "marker": "o", "markerfacecolor": PAPER},
    "finetune-imagenet": {"color": INK, "linestyle": "-", "marker": "s"},
    "finetune-magnitudes": {"color": ACCENT, "linestyle": "-", "marker": "o"},
}
_OTHERS = "^vD*P<>"
_CLASS_COLOURS = (ACCENT, "#c8742c", "#6f8f3a", "#8d5fa8", "#b5495b", "#8a7f2c", "#4f7fc4")
_CLASS_MARKERS = "os^DvP*X<>pdh8H"


def scheme_style(scheme: str, others: list[str]) -> dict:
    """Line and marker of a scheme; one that is not the paper's gets the next free marker."""
    place = others.index(scheme) if scheme in others else 0
    return _SCHEMES.get(scheme) or {"color": QUIET, "linestyle": "-.", "marker": _OTHERS[place % len(_OTHERS)]}


@dataclass(frozen=True, kw_only=True)
class LowData:
    """Accuracy of a set's split against training objects: by scheme (objects, spread); the majority share."""

    split: str
    curves: dict[str, list[tuple[int, c.Spread]]]
    share: float | None

    @classmethod
    def of(cls, table: dict[Key, c.Cell], set_: str, split: str) -> "LowData":
        """The curves of every scheme that has a point."""
        found = {scheme: _curve_points(table, set_, scheme, split) for scheme in c.schemes_of(table)}
        curves = {scheme: points for scheme, points in found.items() if points}
        return cls(split=split, curves=curves, share=c.majority(table, set_, split))


def low_data_curve(found: LowData) -> Figure:
    """Accuracy against training objects for every scheme, with bands of one std over seeds and the majority share."""
    figure = canvas(4.3, 3.7)
    axes = figure.add_subplot()
    others = [name for name in found.curves if name not in _SCHEMES]
    for scheme, points in found.curves.items():
        sizes = [size for size, _ in points]
        mean, std = ([value(spread) for _, spread in points] for value in (lambda s: s.mean, lambda s: s.std or 0))
        look = scheme_style(scheme, others)
        low, high = ([m + sign * s for m, s in zip(mean, std, strict=True)] for sign in (-1, 1))
        axes.fill_between(sizes, low, high, color=look["color"], alpha=0.13, linewidth=0)
        axes.plot(sizes, mean, markersize=5, label=scheme, **look)
    if found.share:
        axes.axhline(found.share, color=QUIET, linewidth=0.9)
        axes.annotate("majority share", (1, found.share), xycoords=("axes fraction", "data"), xytext=(0, 3),
                      textcoords="offset points", ha="right", color=QUIET, fontsize=8)  # fmt: skip
    _size_axis(axes, sorted({size for points in found.curves.values() for size, _ in points}))
    axes.set(xlabel="labelled training objects", ylabel=f"{found.split} accuracy")
    if found.curves:
        figure.legend(loc="outside lower center", ncols=2, handlelength=3.2)
    return figure


def _curve_points(table: dict[Key, c.Cell], set_: str, scheme: str, split: str) -> list[tuple[int, c.Spread]]:
    points = []
    for size in c.sizes_of(table, set_):
        cell = c.get(table, set_, scheme, size)
        if spread := cell.spread(split, "accuracy"):
            points.append((size or cell.runs[0].objects.get("train") or 1, spread))
    return sorted(points, key=lambda point: point[0])


def _size_axis(axes: Axes, sizes: list[int]) -> None:
    """A logarithmic axis with ticks at the sizes themselves, thinned so that labels do not touch."""
    if not sizes:
        return
    axes.set_xscale("log")
    kept = [sizes[-1]]
    for size in reversed(sizes[:-1]):
        if math.log10(kept[-1] / size) > 0.13 * max(1.0, math.log10(sizes[-1] / sizes[0])):
            kept.append(size)
    axes.xaxis.set_major_locator(FixedLocator(kept))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(kept, [f"{size:,}" for size in kept])
    axes.set_xlim(sizes[0] / 1.18, sizes[-1] * 1.18)


def projection(found: Projection, names: tuple[str, ...]) -> Figure:
    """t-SNE points by class; the axes have no meaning and no ticks."""
    figure = canvas(4.3, 4.4)
    axes = figure.add_subplot()
    few = len(names) <= len(_CLASS_COLOURS)
    ramp = colormaps["viridis"](np.linspace(0.15, 0.9, len(names)))
    for index, name in enumerate(names):
        rows = found.label == index
        colour = _CLASS_COLOURS[index] if few else ramp[index]
        marker = _CLASS_MARKERS[index % len(_CLASS_MARKERS)]
        axes.scatter(*found.points[rows].T, s=14, color=[colour], marker=marker, alpha=0.75, linewidths=0,
                     label=short(name))  # fmt: skip
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    axes.grid(False)
    figure.legend(loc="outside lower center", ncols=min(5, len(names)), handletextpad=0.2, columnspacing=1.2)
    return figure


def contact_sheet(shown: list[Example]) -> Figure:
    """The cutouts with truth and prediction; mistakes framed."""
    columns = min(6, len(shown))
    lines = -(-len(shown) // columns)
    figure = canvas(1.35 * columns, 1.75 * lines)
    for place, one in enumerate(shown):
        axes = figure.add_subplot(lines, columns, place + 1)
        axes.imshow(one.image)
        axes.set(xticks=[], yticks=[])
        axes.grid(False)
        axes.spines[:].set(visible=one.wrong, color=ACCENT, linewidth=2)
        verdict = f"{short(one.predicted)} {one.probability:.2f}"
        axes.set_title(f"{short(one.truth)}\n→ {verdict}", fontsize=7.5)
    return figure


def learning_curves(curves: dict[str, list[list[dict]]]) -> Figure:
    """Small multiples: loss against epoch, a panel a scheme, a line a seed; validation solid, training dotted."""
    figure = canvas(1.75 * len(curves) + 0.5, 2.1)
    panels = figure.subplots(1, len(curves), sharey=True, squeeze=False)[0]
    for axes, (scheme, runs) in zip(panels, curves.items(), strict=True):
        for lines in runs:
            epochs = [line["epoch"] for line in lines]
            axes.plot(epochs, [line["train_loss"] for line in lines], color=QUIET, linestyle=":", linewidth=1)
            axes.plot(epochs, [line["validation_loss"] for line in lines], color=ACCENT, linewidth=1.1)
        axes.set_title(scheme if len(curves) > 1 else "", fontsize=8.5)
        axes.set_xlabel("epoch")
        axes.set_ylim(bottom=0)
    panels[0].set_ylabel("loss")
    return figure


def short(name: str, most: int = 18) -> str:
    """A class name for a figure: cut when long, without what matplotlib would read as mathematics."""
    plain = name.replace("$", r"\$").lstrip("_")
    return plain if len(plain) <= most else plain[: most - 1] + "…"
