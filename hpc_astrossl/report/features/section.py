"""The paper's Figure 4: frozen features projected to the plane, ImageNet's beside the magnitudes'."""

from hpc_astrossl.report.base import arrays
from hpc_astrossl.report.base import cells as c
from hpc_astrossl.report.base.arrays import Features
from hpc_astrossl.report.base.cells import Cell, Key
from hpc_astrossl.report.base.desk import Desk, Section
from hpc_astrossl.report.base.kept import digest
from hpc_astrossl.report.base.records import Run
from hpc_astrossl.report.base.tables import Table, number, text
from hpc_astrossl.report.features import figures, projection

_FROZEN = ("features-imagenet", "features-magnitudes")


def features(desk: Desk) -> Section | None:
    """Both projections of one set with their numbers; None when no run with frozen convolutions is done."""
    chosen = feature_runs(desk.classes)
    if not chosen:
        return None
    section = Section(anchor="features", title="What the frozen features look like")
    rows = []
    for run in chosen:
        found = desk.attempt(run, arrays.features)
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
    chosen_set, size = chosen[0].set, chosen[0].train_size
    for scheme in _FROZEN:
        if reason := c.get(desk.classes, chosen_set, scheme, size).why_empty():
            section.notes.append(f"{scheme} on {chosen_set} is not shown: {reason}.")
    return section if section.drawings else None


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
        caption=f"Silhouette: mean coefficient of the true classes, −1 to 1. Neighbour accuracy: share of objects "
        f"whose {projection.NEIGHBOURS} nearest others mostly are of their class. Neither depends on the projection.",
        numeric=frozenset({2, 3, 4}),
    )


def feature_runs(table: dict[Key, Cell]) -> list[Run]:
    """Runs of one set: the first with both frozen schemes, else the first with one of them."""
    found: list[list[Run]] = []
    for set_ in reversed(c.sets_of(table)):  # SG first: the paper's Figure 4 is clearest there
        size = c.main_size(table, set_)
        cells = [c.get(table, set_, scheme, size) for scheme in _FROZEN]
        runs = [cell.runs[0] for cell in cells if cell.runs and (cell.runs[0].folder / "features.npz").exists()]
        found += [runs] if runs else []
    return max(found, key=len, default=[])
