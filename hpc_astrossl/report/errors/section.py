"""Class by class: completeness and purity, confusion and calibration."""

from hpc_astrossl.report.accuracy import words
from hpc_astrossl.report.base import cells as c
from hpc_astrossl.report.base.desk import Desk, Section
from hpc_astrossl.report.errors import calibration, classes, figures

_FEW = 6  # classes; the table of more is folded


def errors(desk: Desk) -> Section | None:
    """Classes, confusion and calibration on test objects, at the largest size; None without predictions."""
    section = Section(
        anchor="errors",
        title="Class by class",
        lead="Test objects of all seeds together. Rows of a confusion matrix are true classes and add up to one. In a "
        "reliability diagram a scheme below the diagonal promises more than it keeps.",
    )
    diagrams = []
    for set_ in c.sets_of(desk.classes):
        size = c.main_size(desk.classes, set_)
        found = desk.row(set_, size, "test")
        if not found:
            continue
        names = c.get(desk.classes, set_, next(iter(found)), size).runs[0].class_names
        section.drawings.append(
            desk.draw(
                f"confusion_{set_}",
                figures.confusion,
                found,
                names,
                title=f"{set_}, confusion",
            )
        )
        title = f"{set_}, reliability"
        diagrams.append(desk.draw(f"reliability_{set_}", figures.reliability, found, title=title))
        if (by_class := classes.table(desk, set_)) is not None:
            (section.tables if len(names) <= _FEW else section.folded).append(by_class)
        section.notes += words.weights(desk, set_)
        section.folded.append(calibration.confusion_table(set_, found, names))
    section.drawings += diagrams  # narrower: two beside each other
    if (table := calibration.calibration_table(desk)) is not None:
        section.tables.append(table)
    return section if section.drawings else None
