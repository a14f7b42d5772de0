"""Accuracy by set and scheme, beside the paper's Table II."""

from hpc_astrossl.report.accuracy import tables, words
from hpc_astrossl.report.base.desk import Desk, Section


def accuracy(desk: Desk) -> Section | None:
    """Table II beside the paper."""
    if not desk.classes:
        return None
    section = Section(anchor="accuracy", title="Accuracy")
    section.tables.append(tables.table_two(desk))
    section.folded.append(tables.every_cell(desk))
    section.notes += words.other_sets(desk)
    if desk.taught != "magnitudes":
        section.notes.append(f"The schemes *-magnitudes begin here with weights learnt from {desk.taught}.")
    return section
