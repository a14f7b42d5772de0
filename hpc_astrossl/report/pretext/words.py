"""What the summary says of the pretext task."""

from hpc_astrossl.report.base import arrays
from hpc_astrossl.report.base.cells import Cell
from hpc_astrossl.report.base.desk import Desk
from hpc_astrossl.report.base.published import PRETEXT_MAE, papers_pretext
from hpc_astrossl.report.pretext import tables as pretext


def pretext_error(desk: Desk, cell: Cell) -> str:
    """The pretext error: of magnitudes in both scales, beside the paper's; of properties beside guessing."""
    scaled, test = cell.spread("test", "mae"), cell.spread("test", "mae_magnitudes")
    if scaled and cell.runs[0].target == "measured":
        found = desk.attempt(cell.runs[0], arrays.predictions)
        guess = pretext.median_guess(pretext.shown_split(found), cell.runs[0].bands) if found else None
        known = pretext.scaled_guess(guess) if guess else None
        beside = f"; always guessing the medians gives {known:.4f}" if known else ""
        return (
            f"Pretext ({cell.set}): measured properties are predicted with a mean absolute error of {scaled.mean:.4f} "
            f"of their ranges on test objects{beside}."
        )
    if not scaled or not test:
        return ""
    held = cell.spread("validation", "mae") if papers_pretext(cell.runs[0]) else None
    beside = f"; on validation objects {held.mean / PRETEXT_MAE:.1f} times the paper's {PRETEXT_MAE}" if held else ""
    return (
        f"Pretext ({cell.set}): magnitudes are predicted with a mean absolute error of {test.mean:.3f} mag on test "
        f"objects ({scaled.mean:.4f} of magnitudes/30{beside})."
    )
