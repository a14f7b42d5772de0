"""What is known of a cell's mean: its error, whether it shows skill, and which scheme of a set leads, by which measure.

"The leading scheme" means one thing on the whole page: the largest mean over seeds on test objects (validation objects
where no run has test ones) at the set's largest training size, of accuracy, or of balanced accuracy where classes are
uneven.
"""

import math
from dataclasses import dataclass

import numpy as np

from hpc_astrossl.report.base import cells as c
from hpc_astrossl.report.base import statistics
from hpc_astrossl.report.base.cells import Cell, Spread
from hpc_astrossl.report.base.desk import Desk

UNEVEN = 2.0  # objects of the commonest class over those of the rarest


def our_error(desk: Desk, cell: Cell, split: str = "validation") -> float | None:
    """Standard error of a cell's mean accuracy over seeds and objects; None when neither spread is known."""
    said = desk.said(cell, split)
    if said is not None:
        return statistics.accuracy_error(said)
    spread = cell.spread(split, "accuracy")
    return spread.std / math.sqrt(spread.n) if spread and spread.std is not None else None


def skilled(desk: Desk, cell: Cell, split: str) -> bool:
    """Whether a cell's mean accuracy is above always naming the commonest class, by the paired test.

    Without predictions to test it by: by more than two standard deviations over seeds.
    """
    outcome = desk.said(cell, split)
    if test := statistics.above_majority(outcome) if outcome else None:
        return test.significant and test.delta > 0
    spread, share = cell.spread(split, "accuracy"), c.majority(desk.classes, cell.set, split)
    return bool(spread and (share is None or spread.mean - share > 2 * (spread.std or 0)))


def class_counts(desk: Desk, set_: str) -> np.ndarray | None:
    """Test objects of each class, (classes,); None without predictions."""
    found = desk.row(set_, c.main_size(desk.classes, set_), "test")
    return next((np.bincount(said.truth, minlength=said.classes) for said in found.values()), None)


def uneven(desk: Desk, set_: str) -> bool:
    """Whether the commonest class has more than twice the objects of the rarest, or without predictions, one and a
    half times its even share.
    """
    counts = class_counts(desk, set_)
    if counts is not None:
        there = counts[counts > 0]
        return bool(there.max() > UNEVEN * there.min())
    share = c.majority(desk.classes, set_, "test")
    runs = [run for key, cell in desk.classes.items() if key[0] == set_ for run in cell.runs]
    return bool(share and runs and runs[0].class_names and share * len(runs[0].class_names) > 1.5)


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Schemes of a set with their spread, the leading one first; the split and metric they are ranked by."""

    split: str
    metric: str
    schemes: tuple[tuple[str, Spread], ...]

    @property
    def measure(self) -> str:
        """``test balanced accuracy``."""
        return f"{self.split} {self.metric.replace('_', ' ')}"


def ranking(desk: Desk, set_: str) -> Ranking | None:
    """The schemes of a set that have a number, by the rule of this module; None without one."""
    size, metric = c.main_size(desk.classes, set_), "balanced_accuracy" if uneven(desk, set_) else "accuracy"
    for split in ("test", "validation"):
        for measure in dict.fromkeys((metric, "accuracy")):
            if found := c.best_scheme(desk.classes, set_, size, split, measure):
                return Ranking(split=split, metric=measure, schemes=tuple(found))
    return None
