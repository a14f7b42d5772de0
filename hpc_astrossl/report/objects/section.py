"""Single objects: the most confident mistakes as cutouts, and as a table."""

from hpc_astrossl.report.base import arrays, judged
from hpc_astrossl.report.base import cells as c
from hpc_astrossl.report.base.desk import Desk, Section
from hpc_astrossl.report.base.drawing import png_uri
from hpc_astrossl.report.base.records import Run
from hpc_astrossl.report.objects import examples, figures


def objects(desk: Desk) -> Section | None:
    """Cutouts and mistakes of each set, as the first seed of the leading scheme sees them."""
    section = Section(
        anchor="objects",
        title="Objects",
        lead="Validation cutouts with the true class and what the first seed of the leading scheme says (the one that "
        "the summary names); the most confident mistakes come first, framed.",
    )
    for set_ in c.sets_of(desk.classes):
        run = shown_run(desk, set_)
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


def shown_run(desk: Desk, set_: str) -> Run | None:
    """The first seed of the leading scheme (``judged.ranking``: the summary names the same one)."""
    found = judged.ranking(desk, set_)
    return c.get(desk.classes, set_, found.schemes[0][0], c.main_size(desk.classes, set_)).runs[0] if found else None
