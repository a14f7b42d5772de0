"""Accuracy tables: Table II's layout with the paper beside ours, the low-data table, and every cell at full length."""

import math

from hpc_astrossl.report.base import by_class, judged, statistics
from hpc_astrossl.report.base import cells as c
from hpc_astrossl.report.base.cells import Cell, spread_text
from hpc_astrossl.report.base.desk import Desk
from hpc_astrossl.report.base.outcomes import Outcome
from hpc_astrossl.report.base.published import (
    PAPER_SETS,
    TABLE_II,
    TABLE_III,
    TABLE_III_SIZE,
    paper_error,
    single_run_error,
)
from hpc_astrossl.report.base.statistics import Verdict
from hpc_astrossl.report.base.tables import DASH, Entry, Table, number, signed, text

MEASURES = (
    ("validation accuracy", "validation", "accuracy"),
    ("test accuracy", "test", "accuracy"),
    ("test balanced accuracy", "test", "balanced_accuracy"),
    ("test macro F1", "test", "macro_f1"),
)
_LOW_DATA_MEASURES = (("validation", "validation", "accuracy"), ("test", "test", "accuracy"))
_HOW = (
    "Mean ± sample standard deviation (ddof = 1) over n seeds; in brackets the 95% interval of the mean over objects "
    "(Wilson). Bold: above every other scheme by a paired test over seeds and objects (p < 0.05 after Holm's "
    "correction). Underlined: the largest mean and those not significantly below it; no mark: all are level. "
    "Majority: the accuracy of always naming the commonest class of that split."
)
_JOINT = (
    " Ours − paper: ± joins our standard error over seeds and objects with the paper's, its standard deviation over "
    "√3 runs and the binomial error of its validation objects, taken as one tenth of the set; σ is that sum."
)
_JOINT_III = (
    " Ours − paper: ± joins our standard error with the binomial error of the paper's validation objects, a tenth of "
    "the set; its Table III is of single runs, whose spread it does not give."
)


def state(cell: Cell) -> str:
    """n, and what is to be known about a cell's runs: ``n = 2 of 3, 1 collapsed``."""
    short = f" of {cell.expected}" if cell.expected > len(cell.runs) else ""
    words = [f"n = {len(cell.runs)}{short}"]
    if cell.collapsed:
        words.append(f"{cell.collapsed} collapsed")
    if cell.failed:
        words.append(f"{len(cell.failed)} failed")
    return ", ".join(words)


def _measured(cell: Cell, measure: tuple, first: bool, verdict: Verdict | None, said: Outcome | None) -> Entry:
    """An entry; the ``first`` of a set and scheme says how many runs it rests on, or why there is none."""
    _, split, metric = measure
    spread = cell.spread(split, metric)
    if spread is None:
        return text(cell.why_empty() or "not measured", mark="absent") if first else text(DASH, mark="absent")
    never = _never(cell, said) if said else ""
    notes = [never if first or metric == "accuracy" else "", state(cell) if first else ""]
    if said and metric in ("accuracy", "balanced_accuracy"):
        notes.append("[{:.4f}, {:.4f}]".format(*statistics.interval(said, metric)))
    mark = "bad" if cell.collapsed or never else verdict.mark(cell.scheme) if verdict else ""
    return Entry(text=spread_text(spread), note="\n".join(filter(None, notes)), mark=mark)


def _never(cell: Cell, said: Outcome) -> str:
    """``never names quasar``: classes of the split that no seed names."""
    names = [cell.runs[0].class_names[k] for k in by_class.never_named(said)]
    return f"never names {', '.join(names)}" if names else ""


def _measure_row(desk: Desk, set_: str, size: int | None, measure: tuple, head: tuple, first: bool) -> tuple:
    label, split, metric = measure
    table, said = desk.classes, desk.row(set_, size, split)
    verdict = statistics.verdict(said, metric)
    share = number(c.majority(table, set_, split), mark="quiet") if metric == "accuracy" else text("", mark="quiet")
    cells = (c.get(table, set_, name, size) for name in c.schemes_of(table))
    entries = (_measured(cell, measure, first, verdict, said.get(cell.scheme)) for cell in cells)
    return (*head, text(label), share, *entries)


def _paper_rows(desk: Desk, set_: str, size: int | None) -> list[tuple]:
    if not (desk.papers(set_) and desk.whole(set_, size)):
        return []
    head, paper, ours = text("", value=set_), [], []
    for scheme in c.schemes_of(desk.classes):
        value = desk.theirs(TABLE_II, set_, scheme)
        paper.append(text(f"{value[0]:.4f} ± {value[1]:.4f}", mark="quiet") if value else text(DASH, mark="absent"))
        mean, error = (value[0], paper_error(set_, scheme)) if value else (None, 0.0)
        ours.append(_difference(desk, c.get(desk.classes, set_, scheme, size), mean, error))
    share = number(PAPER_SETS[set_].majority_share, mark="quiet")
    return [
        (head, text("paper, validation", mark="quiet"), share, *paper),
        (head, text("ours − paper, validation"), text("", mark="quiet"), *ours),
    ]


def _difference(desk: Desk, cell: Cell, theirs: float | None, their_error: float) -> Entry:
    ours = cell.spread("validation", "accuracy")
    if theirs is None or ours is None:
        return text(DASH, mark="absent")
    delta, error = ours.mean - theirs, judged.our_error(desk, cell)
    if error is None:
        return text(signed(delta))
    joint = math.hypot(error, their_error)
    return text(signed(delta), note=f"± {joint:.4f}, {abs(delta) / joint:.1f} σ")


def _leading_first(desk: Desk, set_: str) -> tuple[tuple, ...]:
    """The measures, balanced accuracy first where classes are uneven: accuracy hides rare ones there."""
    if not judged.uneven(desk, set_):
        return MEASURES
    return tuple(sorted(MEASURES, key=lambda measure: measure[2] != "balanced_accuracy"))


def table_two(desk: Desk) -> Table:
    """Rows: sets, a few lines each; columns: schemes. The largest training size of each set."""
    rows: list[tuple] = []
    table = desk.classes
    for set_ in c.sets_of(table):
        size = c.main_size(table, set_)
        for index, measure in enumerate(_leading_first(desk, set_)):
            note = "" if size is None else f"{size:,} labels"
            head = Entry(text="" if index else set_, value=set_, note="" if index else note)
            rows.append(_measure_row(desk, set_, size, measure, (head,), index == 0))
        rows += _paper_rows(desk, set_, size)
    schemes = c.schemes_of(table)
    return Table(
        name="accuracy",
        title="Accuracy by set and scheme",
        columns=("set", "measure", "majority", *schemes),
        rows=tuple(rows),
        caption=_HOW + (_JOINT if _any_papers(desk) else ""),
        numeric=frozenset(range(2, 3 + len(schemes))),
        grouped=True,
    )


def low_data(desk: Desk) -> Table | None:
    """Accuracy against training size, for sets with more than one size; None when no set has."""
    rows: list[tuple] = []
    table, joint = desk.classes, ""
    for set_ in c.sets_of(table):
        sizes = c.sizes_of(table, set_)
        for place, size in enumerate(sizes if len(sizes) > 1 else []):
            for index, measure in enumerate(_LOW_DATA_MEASURES):
                first = place == index == 0
                head = text(set_ if first else "", value=set_)
                labels = text("" if index else c.size_name(size), value=c.size_name(size))
                rows.append(_measure_row(desk, set_, size, measure, (head, labels), index == 0))
            if size == TABLE_III_SIZE and set_ in TABLE_III and desk.papers(set_):
                rows += _table_three_rows(desk, set_, size)
                joint = _JOINT_III
    if not rows:
        return None
    return Table(
        name="low_data",
        title="Accuracy against training size",
        columns=("set", "labels", "split", "majority", *c.schemes_of(table)),
        rows=tuple(rows),
        caption=_HOW + joint,
        numeric=frozenset({1, *range(3, 4 + len(c.schemes_of(table)))}),
        grouped=True,
    )


def _table_three_rows(desk: Desk, set_: str, size: int) -> list[tuple]:
    theirs, ours = [], []
    for scheme in c.schemes_of(desk.classes):
        value = desk.theirs(TABLE_III, set_, scheme)
        theirs.append(text(DASH, mark="absent") if value is None else text(f"{value:.4f}", mark="quiet"))
        error = single_run_error(set_, value) if value is not None else 0.0
        ours.append(_difference(desk, c.get(desk.classes, set_, scheme, size), value, error))
    head, labels = text("", value=set_), text("", value=f"~{TABLE_III_SIZE}")
    share = number(PAPER_SETS[set_].majority_share, mark="quiet")
    return [
        (head, labels, text("paper, validation", mark="quiet"), share, *theirs),
        (head, labels, text("ours − paper, validation"), text("", mark="quiet"), *ours),
    ]


def _any_papers(desk: Desk) -> bool:
    """Whether a set of the study is the paper's, and all of it was learnt from: only then is there a column of it."""
    table = desk.classes
    return any(desk.papers(set_) and desk.whole(set_, c.main_size(table, set_)) for set_ in c.sets_of(table))


def every_cell(desk: Desk) -> Table:
    """One row a set, scheme and size, every number at full precision in CSV."""
    rows = []
    table = desk.classes
    for set_ in c.sets_of(table):
        for size in c.sizes_of(table, set_):
            for scheme in c.schemes_of(table):
                if (set_, scheme, size) in table:
                    rows.append(_cell_row(desk, table[set_, scheme, size]))
    numbers = [f"{label}{suffix}" for label, _, _ in MEASURES for suffix in ("", " std")]
    beside = ("paper validation", "difference", "joint error") if _any_papers(desk) else ()
    columns = ("set", "scheme", "labels", "n", "failed", "collapsed", *numbers, "test low", "test high",
               "majority validation", "majority test", *beside, "state")  # fmt: skip
    return Table(
        name="cells",
        title="Every cell",
        columns=columns,
        rows=tuple(rows),
        caption="Low and high: the 95% interval of the mean test accuracy over objects (Wilson).",
        numeric=frozenset(range(2, len(columns) - 1)),
    )


def _cell_row(desk: Desk, cell: Cell) -> tuple[Entry, ...]:
    spreads = [cell.spread(split, metric) for _, split, metric in MEASURES]
    numbers = [number(value) for s in spreads for value in ((s.mean, s.std) if s else (None, None))]
    said = desk.said(cell, "test")
    low, high = statistics.interval(said, "accuracy") if said else (None, None)
    main = cell.size == c.main_size(desk.classes, cell.set) and desk.whole(cell.set, cell.size)
    paper, ours = desk.theirs(TABLE_II, cell.set, cell.scheme) if main else None, spreads[0]
    delta = ours.mean - paper[0] if ours and paper else None
    error = judged.our_error(desk, cell) if delta is not None else None
    joint = None if error is None else math.hypot(error, paper_error(cell.set, cell.scheme))
    beside = (number(paper[0] if paper else None), number(delta), number(joint))
    return (
        text(cell.set),
        text(cell.scheme),
        text(c.size_name(cell.size), value=cell.size),
        number(len(cell.runs), 0),
        number(len(cell.failed), 0),
        number(cell.collapsed, 0),
        *numbers,
        number(low),
        number(high),
        number(c.majority(desk.classes, cell.set, "validation")),
        number(c.majority(desk.classes, cell.set, "test")),
        *(beside if _any_papers(desk) else ()),
        text(cell.why_empty() or ("partly done" if cell.pending else "done")),
    )
