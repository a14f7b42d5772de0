"""The pretext task: how well magnitudes, or measured properties, are predicted, and what the residuals follow."""

from hpc_astrossl.report.base import arrays
from hpc_astrossl.report.base.arrays import Predictions
from hpc_astrossl.report.base.desk import Desk, Section
from hpc_astrossl.report.base.records import Run
from hpc_astrossl.report.pretext import figures
from hpc_astrossl.report.pretext import tables as numbers

_HOLLOW = "Hollow: objects whose catalogue uncertainty is unknown."
_WITHIN = (
    "Dotted: residuals as large as the catalogue's uncertainty; the share of objects within is written. Hollow, at the "
    "right edge: objects without an uncertainty. A few far beyond the others are drawn at the end of the axis."
)


def pretext(desk: Desk) -> Section | None:
    """A table and the figures of each pretext set, of its first seed; None when no run has such a target."""
    section = Section(anchor="pretext", title=f"Predicting {desk.taught} from images")
    for cell in desk.pretext.values():
        if cell.runs and cell.runs[0].target not in _KINDS:
            continue  # of another kind of pretext, which has a section of its own
        if not cell.runs:
            section.notes.append(f"{cell.set}: {cell.why_empty()}.")
            continue
        run = cell.runs[0]
        said = [desk.attempt(one, arrays.predictions) for one in cell.runs]
        make, draw = _KINDS[run.target]
        section.tables.append(make(cell, said))
        shown = numbers.shown_split(said[0]) if said[0] else None
        if shown is not None and len(shown.split):
            draw(desk, section, run, shown)
    return section if section.tables or section.notes else None


def _magnitudes(desk: Desk, section: Section, run: Run, shown: Predictions) -> None:
    hollow = _HOLLOW if shown.uncertainty is not None else ""
    makers = [
        ("predicted", "predicted against catalogue magnitude", figures.predicted, hollow),
        ("residual_magnitude", "residual against magnitude", figures.residual_by_magnitude,
         f"Solid: the median in bins of equal number; dashed: the central 68%. Brighter to the left. {hollow}".strip()),
        ("residual_uncertainty", "residual against uncertainty", figures.residual_by_uncertainty, _WITHIN),
    ]  # fmt: skip
    if shown.uncertainty is None:
        makers.pop()
        section.notes.append(
            f"{run.run_id} did not keep the catalogue's uncertainties (an older version wrote it): no figure of "
            "residuals against uncertainty."
        )
    for kind, title, make, caption in makers:
        name, title = f"pretext_{run.set}_{kind}", f"{run.set}, {title}"
        section.drawings.append(desk.draw(name, make, shown, run.bands, title=title, caption=caption))


def _measured(desk: Desk, section: Section, run: Run, shown: Predictions) -> None:
    title = f"{run.set}, predicted against measured"
    name, make = f"pretext_{run.set}_predicted", figures.predicted
    section.drawings.append(desk.draw(name, make, shown, run.bands, "measured from the cutout", title=title))


_KINDS = {"magnitudes": (numbers.table, _magnitudes), "measured": (numbers.measured_table, _measured)}
