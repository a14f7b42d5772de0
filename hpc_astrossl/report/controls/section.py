"""Controls: is it the objects that tell the classes, or their background, or a leak?"""

import numpy as np

from hpc_astrossl.identity import UNKNOWN
from hpc_astrossl.report.base import cells as c
from hpc_astrossl.report.base.cells import Cell, spread_text
from hpc_astrossl.report.base.desk import Desk, Section
from hpc_astrossl.report.base.outcomes import Outcome
from hpc_astrossl.report.base.statistics import above_majority
from hpc_astrossl.report.base.tables import DASH, Entry, Table, number, text

SHUFFLES = 5  # of labels: all above the majority by chance once in 32
KINDS = {
    "masked-centre": "the centre of every cutout is masked: background, and outskirts of large objects, alone",
    "shuffled-labels": "labels of training and validation shuffled, those of test true",
}


def controls(desk: Desk) -> Section | None:
    """Background-only and label-shuffled runs beside the majority, and what the leakage check found."""
    if not desk.classes and not desk.controls:
        return None
    section = Section(
        anchor="controls",
        title="Controls",
        lead="A network that sees only the background, or learns shuffled labels, should do no better on test objects "
        "than always naming the commonest class.",
    )
    done = [cell for cell in desk.controls.values() if cell.runs]
    if done:
        section.tables.append(_table(desk, done))
    section.notes += [
        f"{cell.set}, {cell.scheme}: {cell.why_empty()}." for cell in desk.controls.values() if not cell.runs
    ]
    there = {cell.control for cell in done}
    section.notes += [
        f"No run with data.control: {kind} ({about}) is done in this study."
        for kind, about in KINDS.items()
        if kind not in there
    ]
    section.tables += [table for table in (_leakage(desk),) if table is not None]
    if len(section.tables) == bool(done):
        section.notes.append("No run began with the weights of another run that recorded a leakage check.")
    return section


def verdict(control: str, said: Outcome | None) -> tuple[str, bool]:
    """(what a control's outcome means, in words; whether it is a fault).

    Labels that were shuffled lie by chance a little along the true ones, or against them, and features that tell
    classes apart make an accuracy above the majority of that, or below it, on all objects alike. Each shuffle is one
    draw: only ``SHUFFLES`` that are all above say that labels leak.
    """
    test = above_majority(said) if said else None
    if test is None:
        return "no predictions to test it by", False
    if not (test.significant and test.delta > 0):
        return f"not above the majority ({test.words}): passed", False
    words = f"above the majority ({test.words}): "
    if control != "shuffled-labels":
        return words + "what lies outside the centre tells classes apart", True
    above = int(((said.said == said.truth).mean(axis=1) > np.bincount(said.truth).max() / len(said.truth)).sum())
    seeds = len(said.seeds)
    if above == seeds >= SHUFFLES:
        return words + "test labels reach the network, or the split is not clean", True
    asked = "" if seeds >= SHUFFLES else f"; {SHUFFLES} seeds would tell that from a leak"
    return (
        words + f"in {above} of {seeds} seeds, as shuffled labels may lie by chance along the true ones{asked}",
        False,
    )


def _table(desk: Desk, done: list[Cell]) -> Table:
    rows: list[tuple[Entry, ...]] = []
    for cell in sorted(done, key=lambda cell: (cell.control, cell.set, cell.scheme, cell.size or 0)):
        spread, said = cell.spread("test", "accuracy"), desk.said(cell, "test")
        plain = _plain(desk, cell)
        beside = plain.spread("test", "accuracy") if plain else None
        words, bad = verdict(cell.control, said)
        rows.append(
            (
                text(cell.set),
                text(cell.control, note=KINDS.get(cell.control, "")),
                text(cell.scheme),
                text(c.size_name(cell.size), value=cell.size),
                text(spread_text(spread) if spread else DASH, value=spread.mean if spread else None,
                     note=f"n = {len(cell.runs)}"),
                number(cell.runs[0].majority_share.get("test")),
                text(spread_text(beside) if beside else DASH, value=beside.mean if beside else None,
                     note=plain.set if plain else ""),
                text(words, mark="bad" if bad else ""),
            )
        )  # fmt: skip
    return Table(
        name="controls",
        title="Controls on test objects",
        columns=("set", "control", "scheme", "labels", "accuracy", "majority", "without the control", "verdict"),
        rows=tuple(rows),
        caption="Without the control: the same store, scheme and training size. The verdict is a paired test against "
        "always naming the commonest class.",
        numeric=frozenset({3, 4, 5, 6}),
    )


def _plain(desk: Desk, cell: Cell) -> Cell | None:
    """The cell of the same store, scheme and size without a control."""
    path = cell.runs[0].store.path
    same = (one for one in desk.classes.values() if one.runs and (one.scheme, one.size) == (cell.scheme, cell.size))
    return next((one for one in same if one.runs[0].store.path == path), None)


def _leakage(desk: Desk) -> Table | None:
    found: dict[tuple, int] = {}
    for run in desk.study.runs:
        for one in run.leakage:
            shared = one.shared if run.certain else None
            key = (run.store.path, one.store, one.run, one.compared, shared, one.radius)
            found[key] = found.get(key, 0) + 1
    if not found:
        return None
    rows = tuple(
        (text(store), text(other), text(run), number(compared, 0), number(shared, 0, mark="bad" if shared else ""),
         number(radius, 1), number(count, 0))
        for (store, other, run, compared, shared, radius), count in found.items()
    )  # fmt: skip
    return Table(
        name="leakage",
        title="Leakage check before training",
        columns=("labelled store", "store of the weights", "their run", "its objects", "shared", "radius in ″", "runs"),
        rows=rows,
        caption="Objects of the labelled store that the weights have seen, by id or within the radius on the sky. A "
        f"run does not begin when there is one. {DASH}: not known, of what was {UNKNOWN}.",
        numeric=frozenset({3, 4, 5, 6}),
    )
