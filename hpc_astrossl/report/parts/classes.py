"""Accuracy, accuracy with few labels, and what goes wrong: confusion and calibration."""

from hpc_astrossl.report import accuracy as tables
from hpc_astrossl.report import calibration, efficiency, error_figures, figures, summary
from hpc_astrossl.report import cells as c
from hpc_astrossl.report.desk import Desk, Section


def accuracy(desk: Desk) -> Section | None:
    """Table II beside the paper."""
    if not desk.classes:
        return None
    section = Section(anchor="accuracy", title="Accuracy")
    section.tables.append(tables.table_two(desk))
    section.folded.append(tables.every_cell(desk))
    section.notes += summary.other_sets(desk.study)
    if desk.taught != "magnitudes":
        section.notes.append(f"The schemes *-magnitudes begin here with weights learnt from {desk.taught}; the paper's "
                             "with magnitudes.")  # fmt: skip
    return section


def low_data(desk: Desk) -> Section | None:
    """Table III, Figure 5 and label efficiency; None where no set has two sizes."""
    table = tables.low_data(desk) if desk.classes else None
    if table is None:
        return None
    section = Section(
        anchor="low-data",
        title="With few labels",
        lead="Accuracy against the number of labelled training objects; bands are one sample standard deviation over "
        "seeds. Frozen features are dashed, fine-tuning is solid.",
    )
    for set_ in c.sets_of(desk.classes):
        if len(c.sizes_of(desk.classes, set_)) > 1:
            for split in ("validation", "test"):
                section.drawings.append(
                    desk.draw(
                        f"low_data_{set_}_{split}",
                        figures.low_data_curve,
                        figures.LowData.of(desk.classes, set_, split),
                        title=f"{set_}, {split} accuracy",
                    )
                )
    equal = efficiency.equals(desk)
    section.notes += [f"{sentence}." for sentence in summary.efficiency(equal)]
    section.tables.append(table)
    section.folded += [one for one in (efficiency.table(equal),) if one is not None]
    return section


def errors(desk: Desk) -> Section | None:
    """Confusion and calibration on test objects, at the largest size of each set; None without predictions."""
    section = Section(
        anchor="errors",
        title="Confusion and calibration",
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
                error_figures.confusion,
                found,
                names,
                title=f"{set_}, confusion",
            )
        )
        title = f"{set_}, reliability"
        diagrams.append(desk.draw(f"reliability_{set_}", error_figures.reliability, found, title=title))
        section.folded.append(calibration.confusion_table(set_, found, names))
    section.drawings += diagrams  # narrower: two beside each other
    if (table := calibration.calibration_table(desk)) is not None:
        section.tables.append(table)
    return section if section.drawings else None
