"""Loss against epoch."""

from matplotlib.figure import Figure

from hpc_astrossl.report.base.drawing import ACCENT, QUIET, canvas


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
