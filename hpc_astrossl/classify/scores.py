"""Accuracy, balanced accuracy, and recall and precision by class, each with a 95 % interval over objects.

Shares are means over the repeats of cross-validation, which are no new objects: intervals are Wilson's (1927) for the
number of objects. Balanced accuracy is a mean of recalls, whose intervals are combined by MOVER (Zou & Donner 2008).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from hpc_astrossl.classify.crossval import FOLDS, Held

Z = 1.959964  # of 95 %
FEW = 2 * FOLDS  # labels of a class below which little can be said of it


@dataclass(frozen=True, kw_only=True)
class Share:
    """A share with its interval and the number of objects that it rests on; None where there was none."""

    value: float | None
    low: float
    high: float
    objects: float

    @classmethod
    def of(cls, value: float | None, objects: float) -> "Share":
        """A share of so many objects, with Wilson's interval."""
        if value is None or objects <= 0:
            return cls(value=None, low=0.0, high=1.0, objects=0)
        middle = (value + Z**2 / (2 * objects)) / (1 + Z**2 / objects)
        half = Z / (1 + Z**2 / objects) * np.sqrt(value * (1 - value) / objects + Z**2 / (4 * objects**2))
        return cls(value=value, low=float(max(0, middle - half)), high=float(min(1, middle + half)), objects=objects)

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return {"value": self.value, "low": self.low, "high": self.high, "objects": self.objects}


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Of one classifier by cross-validation; ``recall`` and ``precision`` hold a share a class, in their order."""

    accuracy: Share
    balanced_accuracy: Share
    recall: tuple[Share, ...]
    precision: tuple[Share, ...]

    def plain(self) -> dict[str, Any]:
        """As plain data."""
        return {
            "accuracy": self.accuracy.plain(),
            "balanced_accuracy": self.balanced_accuracy.plain(),
            "recall": [one.plain() for one in self.recall],
            "precision": [one.plain() for one in self.precision],
        }


def scores(held: Held) -> Scores:
    """The scores of answers for held-out objects."""
    said, truth, classes = held.said, held.truth, held.logits.shape[2]
    right = said == truth
    recall, precision = [], []
    for one in range(classes):
        own, named = truth == one, said == one
        recall.append(Share.of(float(right[:, own].mean()) if own.any() else None, int(own.sum())))
        claimed = float(named.sum() / len(said))  # objects, on average over the repeats
        precision.append(Share.of(float(right[named].mean()) if claimed else None, claimed))
    return Scores(
        accuracy=Share.of(float(right.mean()), len(truth)),
        balanced_accuracy=_mean([one for one in recall if one.value is not None]),
        recall=tuple(recall),
        precision=tuple(precision),
    )


def confusion(held: Held) -> np.ndarray:
    """Objects by true (rows) and told class (columns), a mean over repeats, (classes × classes)."""
    classes = held.logits.shape[2]
    pairs = (held.truth * classes + held.said).ravel()
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes) / len(held.logits)


def _mean(shares: list[Share]) -> Share:
    """The mean of independent shares, its interval from theirs."""
    value = float(np.mean([one.value for one in shares]))
    below = np.sqrt(sum((one.value - one.low) ** 2 for one in shares)) / len(shares)
    above = np.sqrt(sum((one.high - one.value) ** 2 for one in shares)) / len(shares)
    return Share(value=value, low=float(max(0, value - below)), high=float(min(1, value + above)),
                 objects=sum(one.objects for one in shares))  # fmt: skip
