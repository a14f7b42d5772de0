"""Accuracy against the number of labelled training objects."""

import math
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from hpc_astrossl.report.base import cells as c
from hpc_astrossl.report.base.cells import Key
from hpc_astrossl.report.base.drawing import QUIET, canvas
from hpc_astrossl.report.base.look import SCHEMES, scheme_style


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
    """Accuracy against training objects for every scheme, with bands of one std over seeds and the majority share.

    Bands end where accuracies do, at 0 and 1.
    """
    figure = canvas(4.3, 3.7)
    axes = figure.add_subplot()
    others = [name for name in found.curves if name not in SCHEMES]
    for scheme, points in found.curves.items():
        sizes = [size for size, _ in points]
        mean, std = ([value(spread) for _, spread in points] for value in (lambda s: s.mean, lambda s: s.std or 0))
        look = scheme_style(scheme, others)
        low, high = ([min(1, max(0, m + sign * s)) for m, s in zip(mean, std, strict=True)] for sign in (-1, 1))
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
