"""Figures of what goes wrong with classes: confusion matrices and reliability diagrams."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from hpc_astrossl.report.base import by_class
from hpc_astrossl.report.base.drawing import ACCENT, INK, PAPER, QUIET, canvas
from hpc_astrossl.report.base.look import scheme_style, short
from hpc_astrossl.report.base.outcomes import Outcome
from hpc_astrossl.report.errors import calibration

_NUMBERS_UP_TO = 6  # classes; more leave no room for numbers


def confusion(found: dict[str, Outcome], names: tuple[str, ...]) -> Figure:
    """Small multiples, a panel a scheme: share of the true class (rows) that is taken for each class (columns)."""
    count = len(names)
    side = 1.5 + 0.06 * count
    figure = canvas(side * len(found) + 0.9, side + 1.0)
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for axes, (scheme, said) in zip(panels, found.items(), strict=True):
        counts = by_class.confusion(said)
        share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        axes.add_collection(_squares(share))
        axes.set(aspect="equal", xlim=(0, count), ylim=(count, 0))
        axes.set_title(scheme, fontsize=8.5)
        labels = [short(name, 11) for name in names]
        ticks = np.arange(count) + 0.5
        axes.set_xticks(ticks, labels, rotation=90 if count > 2 else 0, fontsize=7.5)
        axes.set_yticks(ticks, labels, fontsize=7.5)
        axes.grid(False)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        if count <= _NUMBERS_UP_TO:
            _write_shares(axes, share)
    panels[0].set_ylabel("true class")
    panels[len(panels) // 2].set_xlabel("predicted class")  # below the longest name; a label of the figure may touch it
    return figure


def _squares(share: np.ndarray) -> PatchCollection:
    """The accent, as opaque as the share is large: it stands on a light page and on a dark one."""
    gap = 0.03
    places = list(np.ndindex(share.shape))
    squares = [Rectangle((column + gap, row + gap), 1 - 2 * gap, 1 - 2 * gap) for row, column in places]
    colours = [to_rgba(ACCENT, share[place]) for place in places]
    return PatchCollection(squares, facecolors=colours, linewidths=0)


def _write_shares(axes: Axes, share: np.ndarray) -> None:
    for (row, column), value in np.ndenumerate(share):
        colour = PAPER if value > 0.65 else INK
        axes.text(column + 0.5, row + 0.5, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=7)


def reliability(found: dict[str, Outcome]) -> Figure:
    """Accuracy against the largest probability, a line a scheme, all seeds together; the diagonal is honest."""
    figure = canvas(4.3, 3.9)
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=0.9)
    others = list(found)
    lowest = 1.0
    for scheme, said in found.items():
        made = calibration.of_outcome(said)
        shown = made.count >= max(5, 0.005 * made.count.sum())  # an accuracy of fewer objects is noise
        confidence, accuracy = made.confidence[shown], made.accuracy[shown]
        axes.plot(confidence, accuracy, markersize=4.5, label=scheme, **scheme_style(scheme, others))
        lowest = min([lowest, *confidence, *accuracy])
    low = max(0.0, lowest - 0.05)
    axes.set(xlabel="probability of the predicted class", ylabel="accuracy", xlim=(low, 1.01), ylim=(low, 1.01))
    figure.legend(loc="outside lower center", ncols=2, handlelength=3.2)
    return figure
