"""Cells of a table: the runs that share set, scheme and training size, and their mean and spread over seeds."""

import re
import statistics
from dataclasses import dataclass

from hpc_astrossl.names import PAPER
from hpc_astrossl.report.base.published import PAPER_SETS
from hpc_astrossl.report.base.records import NOT_STARTED, Pending, Run, Study

Key = tuple[str, str, int | None]  # set, scheme, training size (None: all)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean over ``n`` seeds; ``std`` is the sample standard deviation (ddof = 1), None for one seed."""

    mean: float
    std: float | None
    n: int

    @classmethod
    def of(cls, values: list[float]) -> "Spread | None":
        """The spread of some values; None when there are none."""
        if not values:
            return None
        std = statistics.stdev(values) if len(values) > 1 else None
        return cls(mean=statistics.fmean(values), std=std, n=len(values))


@dataclass(frozen=True, kw_only=True)
class Cell:
    """Runs of one set, scheme and training size. Failed runs (loss not finite) count in no mean."""

    set: str
    scheme: str
    size: int | None
    runs: tuple[Run, ...] = ()
    failed: tuple[Run, ...] = ()
    pending: tuple[Pending, ...] = ()

    @property
    def control(self) -> str:
        """What was taken away from its runs on purpose (``data.control``); empty for a plain cell."""
        return next((one.control for one in (*self.runs, *self.failed, *self.pending) if one.control), "")

    @property
    def collapsed(self) -> int:
        """How many of the runs predict one class for everything; they do count in the mean."""
        return sum(run.collapsed for run in self.runs)

    @property
    def expected(self) -> int:
        """How many runs there are or should be, without the skipped ones."""
        return len(self.runs) + len(self.failed) + sum(not one.skipped for one in self.pending)

    def spread(self, split: str, metric: str) -> Spread | None:
        """Mean and std over seeds of a metric; None when no run has it."""
        values = [run.metric(split, metric) for run in self.runs]
        return Spread.of([value for value in values if value is not None])

    def why_empty(self) -> str:
        """Why there is no number, in few words; empty when there is one. The full reason is in the table of runs."""
        if self.runs:
            return ""
        if self.failed:
            return f"failed: loss not finite in {len(self.failed)} of {self.expected} runs"
        if open_runs := [one for one in self.pending if not one.skipped]:
            begun = [one for one in open_runs if one.state != NOT_STARTED]
            return "not finished" if begun else NOT_STARTED
        if self.pending:
            kind, colon, reason = self.pending[0].state.partition(": ")
            return kind + colon + re.split(r"[:;(]|\. ", reason)[0].strip()
        return "not planned"


def spread_text(spread: Spread) -> str:
    """``0.9123 ± 0.0021``, or the mean alone for one seed."""
    return f"{spread.mean:.4f}" if spread.std is None else f"{spread.mean:.4f} ± {spread.std:.4f}"


def cells(study: Study, pretext: bool = False) -> dict[Key, Cell]:
    """Every cell that has a run with classes, or a pending one of a scheme with them; or else those of pretext runs."""
    found: dict[Key, dict[str, list]] = {}

    def slot(one: Run | Pending) -> dict[str, list]:
        empty: dict[str, list] = {"runs": [], "failed": [], "pending": []}
        return found.setdefault((one.set, one.scheme, one.train_size), empty)

    for run in study.runs:
        if (run.target != "classes") == pretext:
            slot(run)["failed" if run.failed else "runs"].append(run)
    for one in study.pending:
        if (one.scheme == "pretext") == pretext:
            slot(one)["pending"].append(one)
    result = {}
    for (set_, scheme, size), lists in found.items():
        ordered = {key: tuple(sorted(items, key=lambda one: one.seed)) for key, items in lists.items()}
        result[set_, scheme, size] = Cell(set=set_, scheme=scheme, size=size, **ordered)
    return result


def get(table: dict[Key, Cell], set_: str, scheme: str, size: int | None) -> Cell:
    """The cell, or an empty one: not planned."""
    return table.get((set_, scheme, size)) or Cell(set=set_, scheme=scheme, size=size)


def sets_of(table: dict[Key, Cell]) -> list[str]:
    """The sets in the paper's order, then others by name."""
    names = {key[0] for key in table}
    return [name for name in PAPER_SETS if name in names] + sorted(names - set(PAPER_SETS))


def schemes_of(table: dict[Key, Cell]) -> list[str]:
    """The schemes that are done or planned: the paper's in its order, then others by name."""
    names = {key[1] for key in table}
    return [name for name in PAPER if name in names] + sorted(names - set(PAPER))


def sizes_of(table: dict[Key, Cell], set_: str) -> list[int | None]:
    """Training sizes of a set, ascending; None, all of it, comes last."""
    sizes = {key[2] for key in table if key[0] == set_}
    return sorted(size for size in sizes if size is not None) + ([None] if None in sizes else [])


def main_size(table: dict[Key, Cell], set_: str) -> int | None:
    """The size that Table II shows: the whole training split, or else the largest, of those with a finished run."""
    sizes = sizes_of(table, set_)
    done = {key[2] for key, cell in table.items() if key[0] == set_ and (cell.runs or cell.failed)}
    return [size for size in sizes if size in done or not done][-1]


def size_name(size: int | None) -> str:
    """A training size in words."""
    return "all" if size is None else f"{size:,}"


def majority(table: dict[Key, Cell], set_: str, split: str) -> float | None:
    """The share of the commonest class of that split; of the first run that says it."""
    shares = (run.majority_share.get(split) for key, cell in table.items() if key[0] == set_ for run in cell.runs)
    return next((share for share in shares if share is not None), None)


def best_scheme(table: dict[Key, Cell], set_: str, size: int | None, split: str, metric: str) -> list[tuple]:
    """(scheme, Spread) of the schemes with a number, best mean first."""
    spreads = ((name, get(table, set_, name, size).spread(split, metric)) for name in schemes_of(table))
    return sorted(((name, s) for name, s in spreads if s), key=lambda pair: -pair[1].mean)
