"""The features as classifiers see them (standardised), and the space in which objects are near to labels or far."""

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors

from hpc_astrossl.errors import InputError
from hpc_astrossl.store.embedding import Opened

COMPONENTS, SAMPLE, SEED = 50, 50_000, 0
SURE = 0.95  # of objects like the labelled ones, this share is nearer to a label than the limit
MOST_LABELS = 5_000  # that distances are measured to; of more, a seeded choice


@dataclass(frozen=True, kw_only=True)
class Scaling:
    """Mean and inverse standard deviation of every feature, (width,); of a constant one the latter is 0."""

    mean: np.ndarray
    inverse: np.ndarray

    def of(self, features: np.ndarray) -> np.ndarray:
        """Standardised features, a new array."""
        return (features - self.mean) * self.inverse


@dataclass(frozen=True, kw_only=True)
class Taken:
    """What one pass through the embedding brought: its scaling, a sample of features, and those of some rows."""

    scaling: Scaling
    sample: np.ndarray
    chosen: np.ndarray


def take(found: Opened, rows: np.ndarray) -> Taken:
    """Read all features once, keep those of ``rows`` (in that order). InputError when one is not a finite number."""
    every = max(1, -(-len(found) // SAMPLE))
    total, squares = np.zeros(found.width), np.zeros(found.width)
    chosen, sample = np.empty((len(rows), found.width), np.float32), []
    shift = found.features(0, 1)[0].astype(np.float64)  # near the mean: squares lose nothing
    for start, block in found.blocks():
        if not np.isfinite(block).all():
            name = found.object_id[start + np.flatnonzero(~np.isfinite(block).all(axis=1))[0]]
            raise InputError(f"{found.path}: object {name} has a feature that is not a finite number; "
                             "make the embedding again with astrossl embed")  # fmt: skip
        centred = block - shift.astype(np.float32)
        total += centred.sum(axis=0, dtype=np.float64)
        squares += np.einsum("ij,ij->j", centred, centred, dtype=np.float64)
        here = np.flatnonzero((rows >= start) & (rows < start + len(block)))
        chosen[here] = block[rows[here] - start]
        sample.append(block[-start % every :: every])
    mean = total / len(found)
    spread = np.sqrt(np.maximum(squares / len(found) - mean**2, 0))
    level = shift + mean
    varies = spread > 1e-6 * np.maximum(np.abs(level), 1e-30)
    if not varies.any():
        raise InputError(f"{found.path}: all {len(found)} objects have the same features: nothing to learn from")
    inverse = np.divide(1, spread, out=np.zeros_like(spread), where=varies)
    scaling = Scaling(mean=level.astype(np.float32), inverse=inverse.astype(np.float32))
    return Taken(scaling=scaling, sample=np.concatenate(sample), chosen=chosen)


class Nearness:
    """Distances to the nearest label among principal components of standardised features.

    ``limit``: the distance below which 95 % of objects like the labelled ones lie, by the conformal quantile of each
    label's distance to the nearest other label (Vovk, Gammerman & Shafer 2005); farther objects are unlike any.
    """

    def __init__(self, taken: Taken):
        values = taken.scaling.of(taken.sample)
        count = min(COMPONENTS, *values.shape)
        kind = "covariance_eigh" if values.shape[0] > values.shape[1] else "full"
        pca = PCA(count, svd_solver=kind).fit(values)
        self._mean, self._axes = pca.mean_.astype(np.float32), np.ascontiguousarray(pca.components_.T, np.float32)
        self.kept = float(pca.explained_variance_ratio_.sum())
        self.labels = self.reduced(taken.scaling.of(taken.chosen))
        few = np.sort(np.random.default_rng(SEED).permutation(len(self.labels))[:MOST_LABELS])
        self._index = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(self.labels[few])
        others = NearestNeighbors(n_neighbors=1, algorithm="brute").fit(self.labels)
        self.own = others.kneighbors()[0][:, 0]  # of each label to the nearest other
        place = int(np.ceil(SURE * (len(self.own) + 1)))
        self.limit = float(np.sort(self.own)[min(place, len(self.own)) - 1])

    def reduced(self, values: np.ndarray) -> np.ndarray:
        """Principal components (N × 50 at most) of standardised features."""
        return (values - self._mean) @ self._axes

    def distance(self, reduced: np.ndarray) -> np.ndarray:
        """To the nearest label, (N,)."""
        return self._index.kneighbors(reduced)[0][:, 0]
