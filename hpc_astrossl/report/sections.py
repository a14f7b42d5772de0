"""The sections of the page: which tables, figures and cutouts stand in each, for which runs."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from hpc_astrossl.errors import InputError
from hpc_astrossl.report import accuracy, arrays, figures, inventory, objects, pretext, projection, published, summary
from hpc_astrossl.report import cells as c
from hpc_astrossl.report.cells import Cell, Key
from hpc_astrossl.report.drawing import Drawing, keep, png_uri, style
from hpc_astrossl.report.records import Problem, Run, Study
from hpc_astrossl.report.tables import Table

_FROZEN = ("features-imagenet", "features-magnitudes")
_MOST_CURVES = 60  # runs whose metrics.jsonl is read for learning curves, a set


@dataclass(kw_only=True)
class Section:
    """A part of the page. ``notes`` are sentences; ``cards`` cutouts as (data URI, Example)."""

    anchor: str
    title: str
    lead: str = ""
    tables: list[Table] = field(default_factory=list)
    folded: list[Table] = field(default_factory=list)
    drawings: list[Drawing] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    cards: list[tuple[str, list[tuple]]] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What every section builder needs: the study, its cells, where figures go, and a list for what went wrong."""

    study: Study
    classes: dict[Key, Cell]
    pretext: dict[Key, Cell]
    out: Path
    problems: list[Problem]

    @property
    def figures(self) -> Path:
        """The folder of figures."""
        return self.out / "figures"

    def attempt(self, run: Run, read, *more):
        """``read(run, …)``, or None with the reason among the problems."""
        try:
            return read(run, *more)
        except InputError as error:
            self.problems.append(Problem(name=run.run_id, reason=str(error)))
            return None


def _accuracy(desk: Desk) -> Section | None:
    if not desk.classes:
        return None
    section = Section(anchor="accuracy", title="Accuracy")
    section.tables.append(accuracy.table_two(desk.classes))
    section.folded.append(accuracy.every_cell(desk.classes))
    section.notes += summary.other_sets(desk.study)
    return section


def _low_data(desk: Desk) -> Section | None:
    table = accuracy.low_data(desk.classes) if desk.classes else None
    if table is None:
        return None
    section = Section(
        anchor="low-data",
        title="With few labels",
        lead="Accuracy against the number of labelled training objects; bars are one sample standard deviation over "
        "seeds. Frozen features are dashed, fine-tuning is solid.",
    )
    for set_ in c.sets_of(desk.classes):
        if len(c.sizes_of(desk.classes, set_)) > 1:
            for split in ("validation", "test"):
                name = f"low_data_{set_}_{split}"
                with style(name):
                    drawn = figures.low_data_curve(desk.classes, set_, split)
                    section.drawings.append(keep(drawn, desk.figures, name, title=f"{set_}, {split} accuracy"))
    section.tables.append(table)
    return section


def _pretext(desk: Desk) -> Section | None:
    section = Section(anchor="pretext", title="Predicting magnitudes from images")
    for cell in desk.pretext.values():
        if not cell.runs:
            section.notes.append(f"{cell.set}: {cell.why_empty()}.")
            continue
        run = cell.runs[0]
        found = desk.attempt(run, arrays.predictions)
        shown = pretext.shown_split(found) if found else None
        section.tables.append(pretext.table(cell, shown))
        for column in pretext.shown_bands(run) if shown else ():
            band = run.bands[column]
            name = f"magnitudes_{len(section.drawings)}"
            with style(name):
                drawn = figures.magnitudes(shown, column)
                section.drawings.append(keep(drawn, desk.figures, name, title=band, heading=f"{cell.set}, {band}"))
    return section if section.tables or section.notes else None


def _features(desk: Desk) -> Section | None:
    chosen = _feature_runs(desk.classes)
    if not chosen:
        return None
    section = Section(anchor="features", title="What the frozen features look like")
    for run in chosen:
        found = desk.attempt(run, arrays.features)
        made = desk.attempt(run, lambda _, found=found: projection.project(found)) if found else None
        if made is None:
            continue
        silhouette = "not defined" if made.silhouette is None else f"{made.silhouette:.3f}"
        caption = (
            f"t-SNE of {len(made.label):,} validation objects, perplexity {made.perplexity:.0f}, after PCA, seeded. In "
            f"the features themselves ({made.objects:,} objects): silhouette {silhouette}, accuracy of the "
            f"{projection.NEIGHBOURS} nearest neighbours {made.neighbour_accuracy:.4f}. Weights: {run.weights.name}."
        )
        name = f"projection_{run.set}_{run.scheme}"
        with style(name):
            drawn = figures.projection(made, run.class_names)
            title = f"{run.set}, {run.scheme}"
            section.drawings.append(keep(drawn, desk.figures, name, title=title, caption=caption))
    chosen_set, size = chosen[0].set, chosen[0].train_size
    for scheme in _FROZEN:
        if reason := c.get(desk.classes, chosen_set, scheme, size).why_empty():
            section.notes.append(f"{scheme} on {chosen_set} is not shown: {reason}.")
    return section if section.drawings else None


def _feature_runs(table: dict[Key, Cell]) -> list[Run]:
    """Runs of one set: the first with both frozen schemes, else the first with one of them."""
    found: list[list[Run]] = []
    for set_ in reversed(c.sets_of(table)):  # SG first: the paper's Figure 4 is clearest there
        size = c.main_size(table, set_)
        cells = [c.get(table, set_, scheme, size) for scheme in _FROZEN]
        runs = [cell.runs[0] for cell in cells if cell.runs and (cell.runs[0].folder / "features.npz").exists()]
        found += [runs] if runs else []
    return max(found, key=len, default=[])


def _objects(desk: Desk) -> Section | None:
    section = Section(
        anchor="objects",
        title="Objects",
        lead="Validation cutouts with the true class and what the best scheme's first seed says; the most confident "
        "mistakes come first, framed.",
    )
    for set_ in c.sets_of(desk.classes):
        run = _shown_run(desk.classes, set_)
        found = desk.attempt(run, arrays.predictions) if run else None
        if run is None or found is None:
            continue
        section.folded.append(objects.mistakes(set_, found, run.class_names))
        cutouts = desk.attempt(run, arrays.cutouts)
        shown = objects.examples(cutouts, found, run.class_names) if cutouts else []
        if shown:
            name = f"cutouts_{set_}"
            with style(name):
                keep(figures.contact_sheet(shown), desk.figures, name, title=f"Cutouts of {set_}")
            section.cards.append((f"{set_}, {run.run_id}", name, [(png_uri(one.image), one) for one in shown]))
    return section if section.cards or section.folded else None


def _shown_run(table: dict[Key, Cell], set_: str) -> Run | None:
    """The first seed of the scheme with the highest mean validation accuracy at the largest size."""
    size = c.main_size(table, set_)
    ranking = c.best_scheme(table, set_, size, "validation", "accuracy")
    return c.get(table, set_, ranking[0][0], size).runs[0] if ranking else None


def _curves(desk: Desk) -> Section | None:
    section = Section(
        anchor="curves",
        title="Learning curves",
        lead="Loss against epoch at the largest training size, one line a seed: validation solid, training dotted.",
    )
    groups = [(set_, desk.classes, c.schemes_of(desk.classes)) for set_ in c.sets_of(desk.classes)]
    groups += [(set_, desk.pretext, ["pretext"]) for set_ in c.sets_of(desk.pretext)]
    for set_, table, schemes in groups:
        size = c.main_size(table, set_)
        curves = {}
        for scheme in schemes:
            runs = c.get(table, set_, scheme, size).runs[: _MOST_CURVES // len(schemes)]
            lines = [read for run in runs if (read := desk.attempt(run, _metrics))]
            if lines:
                curves[scheme] = lines
        if curves:
            name = f"learning_{set_}"
            with style(name):
                drawn = figures.learning_curves(curves)
                section.drawings.append(keep(drawn, desk.figures, name, title=set_))
    return section if section.drawings else None


def _metrics(run: Run) -> list[dict]:
    """The lines of ``metrics.jsonl`` with finite losses; InputError when it is missing or damaged."""
    try:
        lines = [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        return [{key: float(line[key]) for key in ("epoch", "train_loss", "validation_loss")} for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"metrics.jsonl cannot be read: {error!r}") from None


def _what_was_run(desk: Desk) -> Section | None:
    if not desk.study.runs:
        return None
    table, unread = inventory.configuration(desk.study)
    desk.problems.extend(unread)
    study = desk.study
    section = Section(anchor="configuration", title="What was run")
    section.tables += [inventory.stores(study), inventory.machines(study), table]
    section.folded.append(inventory.versions(study))
    return section


def _runs(desk: Desk) -> Section:
    section = Section(anchor="runs", title="Runs")
    if (table := inventory.missing(desk.study)) is not None:
        section.tables.append(table)
    if desk.study.runs:
        section.folded.append(inventory.every_run(desk.study, desk.out))
    return section


def _published(desk: Desk) -> Section:
    section = Section(anchor="published", title="About the published numbers", notes=list(published.NOTES))
    if (table := accuracy.anchors(c.sets_of(desk.classes))) is not None:
        section.tables.append(table)
    return section


def _problems(desk: Desk) -> Section | None:
    table = inventory.problems(desk.problems)
    return Section(anchor="problems", title="Problems", tables=[table]) if table else None


# In the order of the page; problems last, for they gather what the others could not read.
SECTIONS: tuple[Callable[[Desk], Section | None], ...] = (
    _accuracy, _low_data, _pretext, _features, _objects, _curves, _what_was_run, _runs, _published, _problems,
)  # fmt: skip
