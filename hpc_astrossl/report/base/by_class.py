"""Completeness, purity and F1 of each class, and the classes that a scheme never names."""

from dataclasses import dataclass

import numpy as np

from hpc_astrossl.report.base.outcomes import Outcome
from hpc_astrossl.report.base.statistics import wilson


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A share with its 95% interval."""

    share: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ClassMeasures:
    """One class as a scheme tells it, all seeds together: ``objects`` of a seed, ``named`` in the mean over seeds.

    ``completeness`` (recall): the share of its objects that are named so; ``purity`` (precision): the share of the
    objects named so that are of it. None where it has no object, or none is named so.
    """

    number: int
    objects: int
    named: float
    completeness: Measure | None
    purity: Measure | None
    f1: Measure | None


def confusion(said: Outcome) -> np.ndarray:
    """Objects by true (rows) and predicted class (columns), summed over seeds, int64 (classes, classes)."""
    pairs = said.truth.astype(np.int64) * said.classes + said.said
    return np.bincount(pairs.ravel(), minlength=said.classes**2).reshape(said.classes, said.classes)


def measures(said: Outcome) -> list[ClassMeasures]:
    """Every class of an outcome. Intervals are Wilson's over the objects of one seed: seeds see the same objects.

    F1 = 2J / (1 + J) with J, the right ones among the objects that are of the class or named so: J's interval goes
    through the same function.
    """
    counts, seeds = confusion(said), len(said.seeds)
    right, true, named = np.diag(counts), counts.sum(axis=1), counts.sum(axis=0)
    found = []
    for k in range(said.classes):
        joint = _measure(right[k], true[k] + named[k] - right[k], seeds)
        found.append(
            ClassMeasures(
                number=k,
                objects=int(true[k]) // seeds,
                named=float(named[k]) / seeds,
                completeness=_measure(right[k], true[k], seeds),
                purity=_measure(right[k], named[k], seeds),
                f1=Measure(**{key: 2 * j / (1 + j) for key, j in vars(joint).items()}) if joint else None,
            )
        )
    return found


def _measure(part: int, whole: int, seeds: int) -> Measure | None:
    if not whole:
        return None
    low, high = wilson(float(part / whole), float(whole / seeds))
    return Measure(share=float(part / whole), low=low, high=high)


def never_named(said: Outcome) -> list[int]:
    """Classes that have objects and that no seed ever names."""
    return [one.number for one in measures(said) if one.objects and not one.named]
