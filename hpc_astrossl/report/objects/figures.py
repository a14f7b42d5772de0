"""Cutouts with what they are and what a run says."""

from matplotlib.figure import Figure

from hpc_astrossl.report.base.drawing import ACCENT, canvas
from hpc_astrossl.report.base.look import short
from hpc_astrossl.report.objects.examples import Example


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
