"""Accuracy with few labels: Table III, Figure 5 and label efficiency."""

from hpc_astrossl.report.accuracy import tables
from hpc_astrossl.report.base import cells as c
from hpc_astrossl.report.base.desk import Desk, Section
from hpc_astrossl.report.low_data import efficiency, figures


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
    section.notes += [f"{sentence}." for sentence in efficiency.sentences_of(equal)]
    section.tables.append(table)
    section.folded += [one for one in (efficiency.table(equal),) if one is not None]
    return section
