"""Label efficiency: with how many labels another scheme reaches the same accuracy."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from hpc_astrossl.report.base import cells as c
from hpc_astrossl.report.base.cells import Cell
from hpc_astrossl.report.base.desk import Desk
from hpc_astrossl.report.base.judged import our_error, skilled
from hpc_astrossl.report.base.tables import Table, number, text

PAIRS = (
    ("features-magnitudes", "features-imagenet"),
    ("finetune-magnitudes", "finetune-imagenet"),
    ("features-magnitudes", "scratch"),
    ("finetune-magnitudes", "scratch"),
)
BELOW, ABOVE = 0.0, math.inf  # fewer than the smallest size measured, more than the largest


@dataclass(frozen=True, kw_only=True)
class Equal:
    """``scheme`` with ``labels`` is as good as ``other`` with ``needs``; ``low`` and ``high``: within ± 1 s.e."""

    set: str
    scheme: str
    other: str
    labels: int
    accuracy: float
    needs: float
    low: float
    high: float
    measured: tuple[int, int]  # the smallest and largest size of the other scheme

    @property
    def words(self) -> str:
        """The number of labels in words."""
        return label_words(self.needs, self.measured)


def label_words(needs: float, measured: tuple[int, int]) -> str:
    """``1,234``, or how it lies beyond what was measured."""
    if needs == BELOW:
        return f"fewer than {measured[0]:,}"
    return f"more than {measured[1]:,}" if needs == ABOVE else f"{needs:,.0f}"


def labels_for(curve: Sequence[tuple[int, float]], accuracy: float) -> float:
    """The first number of labels at which a curve reaches an accuracy, linear in log(labels) between its points."""
    if curve[0][1] >= accuracy:
        return float(curve[0][0]) if curve[0][1] == accuracy else BELOW
    for (left, low), (right, high) in pairwise(curve):
        if low < accuracy <= high:
            share = (accuracy - low) / (high - low)
            return math.exp(math.log(left) + share * math.log(right / left))
    return ABOVE


def curve_of(table: dict, set_: str, scheme: str, split: str) -> list[tuple[int, float, Cell]]:
    """(labels, mean accuracy, cell) of a scheme by rising number of labels; a full set by its training objects."""
    found = []
    for size in c.sizes_of(table, set_):
        cell = c.get(table, set_, scheme, size)
        if spread := cell.spread(split, "accuracy"):
            found.append((size or cell.runs[0].objects.get("train") or 1, spread.mean, cell))
    return sorted(found, key=lambda point: point[0])


def equals(desk: Desk, split: str = "test") -> list[Equal]:
    """Every pair of schemes at every size of every set with two sizes or more.

    An accuracy that naming the commonest class reaches as well is worth no label, and is left out.
    """
    found = []
    for set_ in c.sets_of(desk.classes):
        for scheme, other in PAIRS:
            ours, theirs = (curve_of(desk.classes, set_, name, split) for name in (scheme, other))
            if len(theirs) < 2:
                continue
            reference = [(labels, mean) for labels, mean, _ in theirs]
            for labels, mean, cell in ours:
                if not skilled(desk, cell, split):
                    continue
                error = our_error(desk, cell, split) or 0.0
                needs, low, high = (labels_for(reference, mean + shift) for shift in (0.0, -error, error))
                ends = (reference[0][0], reference[-1][0])
                found.append(Equal(set=set_, scheme=scheme, other=other, labels=labels, accuracy=mean, needs=needs,
                                   low=low, high=high, measured=ends))  # fmt: skip
    return found


def table(found: list[Equal]) -> Table | None:
    """The equal numbers of labels as a table; None when there is nothing to compare."""
    if not found:
        return None
    rows = []
    for one in found:
        bounds = " to ".join(dict.fromkeys(label_words(value, one.measured) for value in (one.low, one.high)))
        finite = 0 < one.needs < math.inf
        rows.append((text(one.set), text(one.scheme), number(one.labels, 0), number(one.accuracy), text(one.other),
                     text(one.words, value=one.needs if finite else None, note=bounds if bounds != one.words else ""),
                     text(f"{one.needs / one.labels:.1f}" if finite else "", value=one.needs / one.labels if finite
                          else None)))  # fmt: skip
    return Table(
        name="label_efficiency",
        title="Label efficiency",
        columns=("set", "scheme", "labels", "test accuracy", "is reached by", "with labels", "times"),
        rows=tuple(rows),
        caption="The number of labels at which the other scheme's mean test accuracy first reaches this one, linear in "
        "log(labels) between the sizes measured; small print: for this accuracy ± its standard error. Left out: "
        "accuracies that are not above that of always naming the commonest class (paired test, p < 0.05).",
        numeric=frozenset({2, 3, 5, 6}),
    )


def sentences_of(equal: list[Equal]) -> list[str]:
    """At the smallest size of each set: how many labels ImageNet needs for the accuracy of magnitudes."""
    found = []
    for set_ in dict.fromkeys(one.set for one in equal):
        pairs = [one for one in equal if one.set == set_ and one.other.endswith("imagenet")]
        smallest = min((one.labels for one in pairs), default=None)
        parts = [
            f"{one.scheme} with {one.labels:,} labels equals {one.other} with {one.words}"
            for one in pairs
            if one.labels == smallest
        ]
        found += [f"{set_}: {'; '.join(parts)}"] if parts else []
    return found
