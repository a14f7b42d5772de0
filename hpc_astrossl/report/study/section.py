"""The study itself: what was run, every run, what is missing, published numbers, and problems."""

from hpc_astrossl.report.accuracy import words
from hpc_astrossl.report.base import cells as c
from hpc_astrossl.report.base import published
from hpc_astrossl.report.base.current import sameness
from hpc_astrossl.report.base.desk import Desk, Section
from hpc_astrossl.report.base.published import ANCHORS
from hpc_astrossl.report.base.tables import Table, number, text
from hpc_astrossl.report.study import inventory, run_lists


def what_was_run(desk: Desk) -> Section | None:
    """Stores, machines, hours, configuration and versions."""
    if not desk.study.runs:
        return None
    table, unread = inventory.configuration(desk.study)
    desk.problems.extend(unread)
    study = desk.study
    section = Section(anchor="configuration", title="What was run")
    section.tables += [inventory.stores(study), inventory.hours(study), inventory.machines(study), table]
    if (differing := inventory.differences(study)) is not None:
        section.tables.append(differing)
    else:
        section.notes.append(sameness(study.runs))
    section.folded.append(inventory.versions(study))
    return section


def runs(desk: Desk) -> Section:
    """What is missing, collapsed or failed, and the list of every run."""
    section = Section(anchor="runs", title="Runs")
    for table in (run_lists.missing(desk.study), run_lists.troubled(desk.study, desk.out)):
        if table is not None:
            section.tables.append(table)
    if desk.study.runs:
        section.folded.append(run_lists.every_run(desk.study, desk.out))
    return section


def published_numbers(desk: Desk) -> Section | None:
    """Traps of the paper's tables where they stand beside ours, and what others published, each with its survey."""
    sets = c.sets_of(desk.classes)
    few = any(len(c.sizes_of(desk.classes, set_)) > 1 for set_ in sets)
    section = Section(anchor="published", title="Published numbers")
    section.notes += published.notes([set_ for set_ in sets if desk.papers(set_)])
    section.notes += words.other_sets(desk)
    names = [*sets, *(["few labels"] if few else []), *(["pretext"] if desk.pretext else [])]
    if (table := _anchors(names)) is not None:
        section.tables.append(table)
    return section if section.tables or section.notes else None


def problems(desk: Desk) -> Section | None:
    """Folders and files that could not be used."""
    table = run_lists.problems(desk.problems)
    return Section(anchor="problems", title="Problems", tables=[table]) if table else None


def _anchors(names: list[str]) -> Table | None:
    """Published numbers of others for sets of these names; None when there are none."""
    known = [one for one in ANCHORS if one.set in names]
    if not known:
        return None
    rows = tuple(
        (
            text(one.set),
            text(one.survey),
            number(one.value),
            text(one.what),
            text(one.source.short, link=one.source.url),
        )
        for one in known
    )
    return Table(
        name="anchors",
        title="What others published",
        columns=("their set", "survey", "value", "what it is", "source"),
        rows=rows,
        caption="Numbers of other data than yours, for orientation: they are compared with nothing on this page.",
        numeric=frozenset({2}),
    )
