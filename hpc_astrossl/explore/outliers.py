"""Objects unlike the others, by two measures that fail in different ways."""

from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata
from sklearn.ensemble import IsolationForest

from hpc_astrossl.explore.space import SEED, Index

NEIGHBOURS, TREES, BATCH, FOREST = 10, 200, 8192, 1 << 17
GROWN = 1 << 20  # objects, of which the 256 of each tree are drawn: of many more, of so many drawn before


@dataclass(frozen=True, kw_only=True)
class Outliers:
    """Scores of all objects, larger is stranger; ``order`` (N,) the rows, strangest first by the mean of both ranks."""

    isolation: np.ndarray
    distance: np.ndarray
    order: np.ndarray


def outliers(values: np.ndarray, index: Index) -> Outliers:
    """``isolation``: of a seeded isolation forest. ``distance``: mean distance to the ten nearest neighbours."""
    forest = IsolationForest(n_estimators=TREES, random_state=SEED).fit(_some(values))
    starts = range(0, len(values), FOREST)
    isolation = -np.concatenate([forest.score_samples(values[i : i + FOREST]) for i in starts])
    rows = np.arange(len(values))
    parts = [index.nearest(rows[i : i + BATCH], NEIGHBOURS)[0].mean(axis=1) for i in range(0, len(rows), BATCH)]
    distance = np.concatenate(parts)
    both = rankdata(isolation) + rankdata(distance)
    return Outliers(isolation=isolation, distance=distance, order=np.argsort(-both, kind="stable"))


def _some(values: np.ndarray) -> np.ndarray:
    """Up to GROWN objects drawn by the seed: scikit-learn goes through all that it is given for every tree."""
    if len(values) <= GROWN:
        return values
    return values[np.random.default_rng(SEED).integers(0, len(values), GROWN)]
