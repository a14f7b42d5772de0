"""The paper's Figure 4 for every set: the frozen features of each scheme, projected to the plane."""

from hpc_astrossl.report.base import arrays
from hpc_astrossl.report.base import cells as c
from hpc_astrossl.report.base.arrays import Features
from hpc_astrossl.report.base.cells import Cell, Key
from hpc_astrossl.report.base.desk import Desk, Section
from hpc_astrossl.report.base.kept import digest
from hpc_astrossl.report.base.records import Run
from hpc_astrossl.report.base.tables import Table, number, text
from hpc_astrossl.report.features import figures, projection

_FROZEN = "features-"  # how the schemes with frozen convolutions begin


def features(desk: Desk) -> Section | None:
    """A projection of each set and frozen scheme, with numbers; None when no such run is done."""
    chosen = feature_runs(desk.classes)
    if not chosen:
        return None
    section = Section(anchor="features", title="What the frozen features look like")
    rows = []
    for run in chosen:
        found = desk.attempt(run, arrays.features)
        if found and len(found.label) < projection.LEAST:
            section.notes.append(
                f"{run.scheme} on {run.set} is not shown: a projection needs at least {projection.LEAST} labelled "
                f"validation objects, and it has {len(found.label)}."
            )
            continue
        made = desk.attempt(run, _projected, found, desk) if found else None
        if made is None:
            continue
        caption = f"{made.method} of {len(made.label):,} validation objects, after PCA, seeded. Axes have no meaning."
        section.drawings.append(
            desk.draw(
                f"projection_{run.set}_{run.scheme}",
                figures.projection,
                made,
                run.class_names,
                title=f"{run.set}, {run.scheme}",
                caption=caption,
            )
        )
        rows.append((text(run.set), text(run.scheme), number(made.silhouette), number(made.neighbour_accuracy),
                     number(made.objects, 0), text(run.weights.name or "from scratch")))  # fmt: skip
    if rows:
        section.tables.append(_numbers(tuple(rows)))
    for set_, scheme, size in desk.classes:
        cell = c.get(desk.classes, set_, scheme, size)
        if scheme.startswith(_FROZEN) and size == c.main_size(desk.classes, set_) and cell.why_empty():
            section.notes.append(f"{scheme} on {set_} is not shown: {cell.why_empty()}.")
    return section if section.drawings or section.notes else None


def _projected(run: Run, found: Features, desk: Desk) -> projection.Projection:
    """An earlier report's, if the features and the method are the same: it takes longer than all else for few runs."""
    name, key = f"points_{run.set}_{run.scheme}", digest(projection.project, desk.projection, found)
    if record := desk.kept.get(name, key):
        return projection.Projection.of_record(record)
    made = projection.project(found, desk.projection)
    desk.kept.put(name, key, made.record())
    return made


def _numbers(rows: tuple) -> Table:
    return Table(
        name="features",
        title="How far classes lie apart in the features themselves",
        columns=("set", "scheme", "silhouette", "neighbour accuracy", "objects", "weights"),
        rows=rows,
        caption="Silhouette: mean coefficient of the true classes, −1 to 1. Neighbour accuracy: share of objects whose "
        f"nearest others mostly are of their class: {projection.NEIGHBOURS}, or as many as an object of the smallest "
        "class has of its class. Neither depends on the projection.",
        numeric=frozenset({2, 3, 4}),
    )


def feature_runs(table: dict[Key, Cell]) -> list[Run]:
    """The first seed of every set and frozen scheme, at the set's largest size, that kept its features."""
    frozen = [name for name in c.schemes_of(table) if name.startswith(_FROZEN)]
    cells = [c.get(table, set_, name, c.main_size(table, set_)) for set_ in c.sets_of(table) for name in frozen]
    first = [cell.runs[0] for cell in cells if cell.runs]
    return [run for run in first if (run.folder / "features.npz").exists()]
