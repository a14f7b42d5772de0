"""Loss against epoch."""

import math

from matplotlib.figure import Figure

from hpc_astrossl.report.base.drawing import ACCENT, QUIET, canvas

_ALIKE = 5.0  # times the lowest panel, up to which panels share an axis


def learning_curves(curves: dict[str, list[list[dict]]]) -> Figure:
    """Small multiples: loss against epoch, a panel a scheme, a line a seed; validation solid, training dotted.

    Panels share an axis that holds every curve of all; where one would flatten another, each has its own.
    """
    tops = [_top(runs) for runs in curves.values()]
    shared = max(tops) <= _ALIKE * min(tops)
    figure = canvas(1.75 * len(curves) + 0.5, 2.1)
    panels = figure.subplots(1, len(curves), sharey=shared, squeeze=False)[0]
    for axes, (scheme, runs), top in zip(panels, curves.items(), tops, strict=True):
        for lines in runs:
            epochs = [line["epoch"] for line in lines]
            axes.plot(epochs, [line["train_loss"] for line in lines], color=QUIET, linestyle=":", linewidth=1)
            axes.plot(epochs, [line["validation_loss"] for line in lines], color=ACCENT, linewidth=1.1)
        axes.set_title(scheme if len(curves) > 1 else "", fontsize=8.5)
        axes.set_xlabel("epoch")
        axes.set_ylim(0, 1.05 * (max(tops) if shared else top))
    panels[0].set_ylabel("loss")
    return figure


def _top(runs: list[list[dict]]) -> float:
    """The largest finite loss of any line; 1 when there is none above zero."""
    losses = [line[key] for lines in runs for line in lines for key in ("train_loss", "validation_loss")]
    return max((loss for loss in losses if math.isfinite(loss) and loss > 0), default=1.0)
