"""Pretexts side by side: what each taught, measured by labels; leak meters; what an epoch costs."""

from typing import Any

from hpc_astrossl.report.accuracy.tables import spread_text
from hpc_astrossl.report.base import cells as c
from hpc_astrossl.report.base.cells import Cell
from hpc_astrossl.report.base.desk import Desk, Section
from hpc_astrossl.report.base.records import Run
from hpc_astrossl.report.base.statistics import compare
from hpc_astrossl.report.base.tables import DASH, Entry, Table, number, text

FLOOR = "features-random"
LEAKS = ("rotation", "patches")  # kinds whose accuracy is above chance by what the instrument left


def pretexts(desk: Desk) -> Section | None:
    """Tables of pretexts and of labelled sets by pretext; None where a study has one pretext, or none."""
    runs = [run for cell in desk.pretext.values() for run in cell.runs]
    if len({run.set for run in runs}) < 2 and not any(run.pretext for run in runs):
        return None
    section = Section(
        anchor="pretexts",
        title="Pretexts side by side",
        lead="What each pretext taught the convolutions, measured on labelled sets, beside ImageNet, no weights, and "
        "random convolutions that learnt nothing. How well a pretext solves its own task says little about that.",
    )  # fmt: skip
    if runs:
        section.tables.append(_learnt(sorted(runs, key=lambda run: run.set)))
    section.tables += [_by_labels(desk, kind) for kind in ("features", "finetune") if _columns(desk, kind)]
    section.notes += [f"Pretext {cell.set}: {cell.why_empty()}." for cell in desk.pretext.values() if not cell.runs]
    return section


def _learnt(runs: list[Run]) -> Table:
    rows = []
    for run in runs:
        headline = run.pretext.get("headline", "mae")
        chance = run.pretext.get("chance")
        leak = run.metric("test", "leak") if run.target in LEAKS else None
        rows.append((
            text(run.set, note=run.run_id), text(run.target, note=_switches(run)),
            number(float(run.objects.get("train", 0)), 0), number(float(run.epochs), 0),
            number(run.metric("test", headline), 4, note=headline), number(chance, 4, mark="quiet"),
            text(DASH, mark="absent") if leak is None else text(f"{leak:+.1f} σ".replace("-", "−"), value=leak,
                                                                mark="bad" if leak > 3 else ""),
            text(_told(run.pretext.get("last_epoch", {}))),
            number(run.seconds / run.epochs / 60 if run.epochs else None, 2, note=run.device),
        ))  # fmt: skip
    return Table(
        name="pretexts",
        title="What each pretext learnt",
        columns=("pretext", "kind", "objects", "epochs", "test, own task", "guessing", "leak", "last epoch",
                 "minutes an epoch"),
        rows=tuple(rows),
        caption="Own task: on test objects, the measure named below the number. Leak: how far rotation or patches are "
        "above guessing, in standard errors of guessing. Position angles on the sky are uniform, so that what is above "
        "tells of the instrument, the reduction or the file format (of patches: of the known centre, too).",
        numeric=frozenset({2, 3, 4, 5, 6, 8}),
    )  # fmt: skip


def _switches(run: Run) -> str:
    given = run.pretext.get("switches")
    return ", ".join(f"{key} {value}" for key, value in given.items()) if isinstance(given, dict) else ""


def _told(last: Any) -> str:
    if not isinstance(last, dict) or not last:
        return DASH
    return ", ".join(f"{key.replace('_', ' ')} {value:.3g}" for key, value in last.items())


def _columns(desk: Desk, kind: str) -> list[str]:
    """Schemes with a run, those of one kind and, first, scratch and the floor beside it."""
    done = {key[1] for key, cell in desk.classes.items() if cell.runs}
    own = [scheme for scheme in c.schemes_of(desk.classes) if scheme in done and scheme.startswith(f"{kind}-")]
    return [*(["scratch"] if "scratch" in done and own else []), *own]


def _by_labels(desk: Desk, kind: str) -> Table:
    """A row a set and number of labels, a column a scheme."""
    schemes, rows = _columns(desk, kind), []
    for set_ in c.sets_of(desk.classes):
        for size in c.sizes_of(desk.classes, set_):
            found = {scheme: c.get(desk.classes, set_, scheme, size) for scheme in schemes}
            if any(cell.runs for cell in found.values()):
                majority = c.majority(desk.classes, set_, "test")
                rows.append((text(set_), text(c.size_name(size), value=size), number(majority, 4, mark="quiet"),
                             *(_entry(desk, cell) for cell in found.values())))  # fmt: skip
    words = {"features": "frozen convolutions", "finetune": "fine-tuned"}[kind]
    return Table(
        name=f"pretexts_{kind}",
        title=f"Test accuracy by pretext and number of labels, {words}",
        columns=("set", "labels", "majority", *(scheme.removeprefix(f"{kind}-") for scheme in schemes)),
        rows=tuple(rows),
        caption="Mean ± sample standard deviation (ddof = 1) over seeds, with their number; below, the difference from "
        "random convolutions (features-random) on the same objects, by a paired test over seeds and objects.",
        numeric=frozenset(range(1, 3 + len(schemes))),
    )  # fmt: skip


def _entry(desk: Desk, cell: Cell) -> Entry:
    spread = cell.spread("test", "accuracy")
    if spread is None:
        return text(DASH, mark="absent", note=cell.why_empty())
    note = f"n = {spread.n}"
    floor = c.get(desk.classes, cell.set, FLOOR, cell.size)
    if cell.scheme != FLOOR and floor.runs:
        said = [desk.said(one, "test") for one in (cell, floor)]
        test = compare(*said, "accuracy") if all(said) else None
        note += f", {test.delta:+.3f}, {test.words.partition(',')[0]}".replace("-", "−") if test else ""
    return text(spread_text(spread), value=spread.mean, note=note)
