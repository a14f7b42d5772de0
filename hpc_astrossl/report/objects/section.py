"""Single objects: the most confident mistakes as cutouts, and as a table."""

from hpc_astrossl.report.base import arrays
from hpc_astrossl.report.base import cells as c
from hpc_astrossl.report.base.cells import Cell, Key
from hpc_astrossl.report.base.desk import Desk, Section
from hpc_astrossl.report.base.drawing import png_uri
from hpc_astrossl.report.base.records import Run
from hpc_astrossl.report.objects import examples, figures


def objects(desk: Desk) -> Section | None:
    """Cutouts and mistakes of each set, as the best scheme's first seed sees them."""
    section = Section(
        anchor="objects",
        title="Objects",
        lead="Validation cutouts with the true class and what the best scheme's first seed says; the most confident "
        "mistakes come first, framed.",
    )
    for set_ in c.sets_of(desk.classes):
        run = shown_run(desk.classes, set_)
        found = desk.attempt(run, arrays.predictions) if run else None
        if run is None or found is None:
            continue
        section.folded.append(examples.mistakes(set_, found, run.class_names))
        cutouts = desk.attempt(run, arrays.cutouts)
        shown = examples.examples(cutouts, found, run.class_names) if cutouts else []
        if shown:
            name = f"cutouts_{set_}"
            desk.draw(name, figures.contact_sheet, shown, title=f"Cutouts of {set_}")
            section.cards.append((f"{set_}, {run.run_id}", name, [(png_uri(one.image), one) for one in shown]))
    return section if section.cards or section.folded else None


def shown_run(table: dict[Key, Cell], set_: str) -> Run | None:
    """The first seed of the scheme with the highest mean validation accuracy at the largest size."""
    size = c.main_size(table, set_)
    ranking = c.best_scheme(table, set_, size, "validation", "accuracy")
    return c.get(table, set_, ranking[0][0], size).runs[0] if ranking else None
