"""The door to scikit-learn's k-means: features whitened, clustered, the same whoever asks and however often.

One thread, because sums over threads depend on who is first.
"""

import warnings
from dataclasses import dataclass

import numpy as np

from hpc_astrossl.errors import InputError

try:
    from sklearn.cluster import KMeans
    from sklearn.decomposition import PCA
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import normalized_mutual_info_score
    from threadpoolctl import threadpool_limits
except ImportError as error:
    raise InputError(f"pretext clusters needs scikit-learn, which cannot be imported here ({error}): "
                     "pip install scikit-learn") from None  # fmt: skip

LEAST = 1e-10  # of the largest variance: what varies less is rounding, and whitening would blow it up
ROUNDS = 20  # of Lloyd's algorithm, as in DeepCluster


@dataclass(frozen=True, kw_only=True)
class Clustering:
    """Where features go: less ``mean`` (D,), times ``whiten`` (D, d), to length one, nearest of ``centres`` (k, d)."""

    mean: np.ndarray
    whiten: np.ndarray
    centres: np.ndarray
    split: int  # clusters that k-means left empty

    def label(self, features: np.ndarray) -> np.ndarray:
        """The number of the nearest centre, int64 (N,), of features (N, D); the first of centres that are level."""
        points = whitened(features, self.mean, self.whiten)
        squares = (self.centres**2).sum(axis=1) - 2 * points @ self.centres.T
        return squares.argmin(axis=1).astype(np.int64)


def clustering(features: np.ndarray, k: int, components: int, seed: int) -> tuple[Clustering, np.ndarray]:
    """(clusters, labels int64 (N,)) of features (N, D): PCA to ``components`` with whitening, length one, k-means.

    A cluster that is left empty takes the farther half of the largest. ``seed`` is a number below 2³².
    """
    with threadpool_limits(limits=1), warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ConvergenceWarning
        )  # fewer distinct points than clusters: told of by the counts
        mean, whiten = _whitening(features.astype(np.float64), components)
        points = whitened(features, mean, whiten)
        found = KMeans(n_clusters=k, n_init=1, max_iter=ROUNDS, random_state=seed).fit(points)
        labels = split_empty(points, found.labels_.astype(np.int64), k)
        centres = np.stack([points[labels == one].mean(axis=0) if (labels == one).any() else found.cluster_centers_[one]
                            for one in range(k)])  # fmt: skip
        split = k - len(np.unique(found.labels_))
    return Clustering(mean=mean, whiten=whiten, centres=centres, split=split), labels


def _whitening(features: np.ndarray, components: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean (D,) and (D, d) that makes variances one; directions in which nothing varies are left out."""
    if not np.ptp(features, axis=0).any():  # all features are the same: every point is at zero
        return features[0], np.zeros((features.shape[1], 1))
    found = PCA(n_components=min(components, *features.shape), svd_solver="full").fit(features)
    variance = found.explained_variance_
    real = variance > LEAST * max(variance.max(), np.finfo(float).tiny)
    return found.mean_, (found.components_[real] / np.sqrt(variance[real])[:, None]).T


def whitened(features: np.ndarray, mean: np.ndarray, whiten: np.ndarray) -> np.ndarray:
    """Features (N, D) as points of length one, float64 (N, d); what lies at the mean stays at zero."""
    points = (features.astype(np.float64) - mean) @ whiten
    length = np.linalg.norm(points, axis=1, keepdims=True)
    return points / np.where(length > 0, length, 1)


def split_empty(points: np.ndarray, labels: np.ndarray, k: int) -> np.ndarray:
    """Labels in which each empty cluster has taken, of the largest, the half that is farthest from its mean.

    As faiss splits, but on the points themselves. A cluster stays empty when the largest holds one point.
    """
    labels = labels.copy()
    for empty in np.flatnonzero(np.bincount(labels, minlength=k) == 0):
        counts = np.bincount(labels, minlength=k)
        members = np.flatnonzero(labels == counts.argmax())
        if len(members) < 2:
            break
        away = np.linalg.norm(points[members] - points[members].mean(axis=0), axis=1)
        labels[members[np.argsort(-away, kind="stable")[: len(members) // 2]]] = empty
    return labels


def mutual_information(first: np.ndarray, second: np.ndarray) -> float:
    """Normalised mutual information of two labellings, 0 to 1, by the mean of their entropies."""
    return float(normalized_mutual_info_score(first, second))
