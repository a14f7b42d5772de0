"""Accuracy tables: Table II's layout with the paper beside ours, the low-data table, and every cell at full length."""

import math

from hpc_astrossl.report import cells as c
from hpc_astrossl.report.cells import Cell, Key, Spread
from hpc_astrossl.report.published import ANCHORS, PAPER_SETS, TABLE_II, TABLE_III, TABLE_III_SIZE, difference
from hpc_astrossl.report.tables import DASH, Entry, Table, number, signed, text

MEASURES = (
    ("validation accuracy", "validation", "accuracy"),
    ("test accuracy", "test", "accuracy"),
    ("test balanced accuracy", "test", "balanced_accuracy"),
    ("test macro F1", "test", "macro_f1"),
)
_LOW_DATA_MEASURES = (("validation", "validation", "accuracy"), ("test", "test", "accuracy"))
_HOW = (
    "Mean ± sample standard deviation (ddof = 1) over n seeds. Bold: the largest mean of the row, which is not yet "
    "a significant one. Majority: the accuracy of always naming the commonest class of that split."
)


def spread_text(spread: Spread) -> str:
    """``0.9123 ± 0.0021``, or the mean alone for one seed."""
    return f"{spread.mean:.4f}" if spread.std is None else f"{spread.mean:.4f} ± {spread.std:.4f}"


def state(cell: Cell) -> str:
    """n, and what is to be known about a cell's runs: ``n = 2 of 3, 1 collapsed``."""
    short = f" of {cell.expected}" if cell.expected > len(cell.runs) else ""
    words = [f"n = {len(cell.runs)}{short}"]
    if cell.collapsed:
        words.append(f"{cell.collapsed} collapsed")
    if cell.failed:
        words.append(f"{len(cell.failed)} failed")
    return ", ".join(words)


def _measured(cell: Cell, split: str, metric: str, best: bool, first: bool) -> Entry:
    spread = cell.spread(split, metric)
    if spread is None:
        return text(cell.why_empty() or "not measured", mark="absent") if first else text(DASH, mark="absent")
    mark = "bad" if cell.collapsed else "best" if best else ""
    return Entry(text=spread_text(spread), note=state(cell) if first else "", mark=mark)


def _measure_row(table: dict[Key, Cell], set_: str, size: int | None, measure: tuple, head: tuple) -> tuple:
    label, split, metric = measure
    ranking = c.best_scheme(table, set_, size, split, metric)
    ahead = len(ranking) > 1 and ranking[0][1].mean > ranking[1][1].mean
    best = ranking[0][0] if ahead else None
    share = number(c.majority(table, set_, split), mark="quiet") if metric == "accuracy" else text("", mark="quiet")
    found = ((name, c.get(table, set_, name, size)) for name in c.schemes_of(table))
    entries = (_measured(cell, split, metric, name == best, split == "validation") for name, cell in found)
    return (*head, text(label), share, *entries)


def _paper_rows(table: dict[Key, Cell], set_: str, size: int | None) -> list[tuple]:
    if set_ not in TABLE_II:
        return []
    head, paper, ours = text("", value=set_), [], []
    for scheme in c.schemes_of(table):
        value = TABLE_II[set_].get(scheme)
        spread = c.get(table, set_, scheme, size).spread("validation", "accuracy")
        paper.append(text(f"{value[0]:.4f} ± {value[1]:.4f}", mark="quiet") if value else text(DASH, mark="absent"))
        ours.append(_difference(value, spread))
    share = number(PAPER_SETS[set_].majority_share, mark="quiet")
    return [
        (head, text("paper, validation", mark="quiet"), share, *paper),
        (head, text("ours − paper, validation"), text("", mark="quiet"), *ours),
    ]


def _difference(paper: tuple[float, float] | None, ours: Spread | None) -> Entry:
    if paper is None or ours is None:
        return text(DASH, mark="absent")
    joint = "" if ours.std is None else f" ± {math.hypot(ours.std, paper[1]):.4f}"
    return text(signed(ours.mean - paper[0]) + joint)


def table_two(table: dict[Key, Cell]) -> Table:
    """Rows: sets, a few lines each; columns: schemes. The largest training size of each set."""
    rows: list[tuple] = []
    for set_ in c.sets_of(table):
        size = c.main_size(table, set_)
        for index, measure in enumerate(MEASURES):
            note = "" if size is None else f"{size:,} labels"
            head = Entry(text="" if index else set_, value=set_, note="" if index else note)
            rows.append(_measure_row(table, set_, size, measure, (head,)))
        rows += _paper_rows(table, set_, size)
    schemes = c.schemes_of(table)
    return Table(
        name="accuracy",
        title="Accuracy by set and scheme",
        columns=("set", "measure", "majority", *schemes),
        rows=tuple(rows),
        caption=f"{_HOW} The difference's ± joins both standard deviations in quadrature.",
        numeric=frozenset(range(2, 3 + len(schemes))),
        grouped=True,
    )


def low_data(table: dict[Key, Cell]) -> Table | None:
    """Accuracy against training size, for sets with more than one size; None when no set has."""
    rows: list[tuple] = []
    for set_ in c.sets_of(table):
        sizes = c.sizes_of(table, set_)
        for place, size in enumerate(sizes if len(sizes) > 1 else []):
            for index, measure in enumerate(_LOW_DATA_MEASURES):
                first = place == index == 0
                head = text(set_ if first else "", value=set_)
                labels = text("" if index else c.size_name(size), value=c.size_name(size))
                rows.append(_measure_row(table, set_, size, measure, (head, labels)))
            if size == TABLE_III_SIZE and set_ in TABLE_III:
                rows.append(_table_three_row(set_, c.schemes_of(table)))
    if not rows:
        return None
    return Table(
        name="low_data",
        title="Accuracy against training size",
        columns=("set", "labels", "split", "majority", *c.schemes_of(table)),
        rows=tuple(rows),
        caption=_HOW,
        numeric=frozenset({1, *range(3, 4 + len(c.schemes_of(table)))}),
        grouped=True,
    )


def _table_three_row(set_: str, schemes: list[str]) -> tuple:
    values = [TABLE_III[set_].get(scheme) for scheme in schemes]
    cells = [text(DASH, mark="absent") if value is None else text(f"{value:.4f}", mark="quiet") for value in values]
    heads = (
        text("", value=set_),
        text("", value=f"~{TABLE_III_SIZE}"),
        text("paper, validation", mark="quiet"),
    )
    return (*heads, number(PAPER_SETS[set_].majority_share, mark="quiet"), *cells)


def every_cell(table: dict[Key, Cell]) -> Table:
    """One row a set, scheme and size, every number at full precision in CSV."""
    rows = []
    for set_ in c.sets_of(table):
        for size in c.sizes_of(table, set_):
            for scheme in c.schemes_of(table):
                if (set_, scheme, size) in table:
                    rows.append(_cell_row(table, table[set_, scheme, size]))
    numbers = [f"{label}{suffix}" for label, _, _ in MEASURES for suffix in ("", " std")]
    columns = ("set", "scheme", "labels", "n", "failed", "collapsed", *numbers, "majority validation",
               "majority test", "paper validation", "difference", "state")  # fmt: skip
    return Table(
        name="cells",
        title="Every cell",
        columns=columns,
        rows=tuple(rows),
        numeric=frozenset(range(2, len(columns) - 1)),
    )


def _cell_row(table: dict[Key, Cell], cell: Cell) -> tuple[Entry, ...]:
    spreads = [cell.spread(split, metric) for _, split, metric in MEASURES]
    numbers = [number(value) for s in spreads for value in ((s.mean, s.std) if s else (None, None))]
    main = cell.size == c.main_size(table, cell.set)
    paper = TABLE_II.get(cell.set, {}).get(cell.scheme) if main else None
    ours = spreads[0]
    delta = difference(cell.set, cell.scheme, ours.mean) if ours and main else None
    return (
        text(cell.set),
        text(cell.scheme),
        text(c.size_name(cell.size), value=cell.size),
        number(len(cell.runs), 0),
        number(len(cell.failed), 0),
        number(cell.collapsed, 0),
        *numbers,
        number(c.majority(table, cell.set, "validation")),
        number(c.majority(table, cell.set, "test")),
        number(paper[0] if paper else None),
        number(delta),
        text(cell.why_empty() or ("partly done" if cell.pending else "done")),
    )


def anchors(sets: list[str]) -> Table | None:
    """Published numbers of others for the sets at hand; None when there are none."""
    known = [one for one in ANCHORS if one.set in sets]
    if not known:
        return None
    rows = tuple(
        (text(one.set), number(one.value, 3), text(one.what), text(one.source.short, link=one.source.url))
        for one in known
    )
    return Table(
        name="anchors",
        title="Published anchors",
        columns=("set", "accuracy", "what", "source"),
        rows=rows,
        numeric=frozenset({1}),
    )
