"""Clusters of an embedding, and how well they agree with labels where there are any."""

import warnings
from typing import Any

import numpy as np
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import adjusted_mutual_info_score, adjusted_rand_score, silhouette_score

from hpc_astrossl.errors import InputError
from hpc_astrossl.explore.space import SEED

LEARNT_FROM, HDBSCAN_UP_TO, SILHOUETTE_OF = 100_000, 50_000, 5_000  # objects


def cluster(values: np.ndarray, method: str, count: int) -> np.ndarray:
    """A cluster number an object, (N,); −1 for what HDBSCAN calls noise. ``count``: clusters of k-means, whose centres
    are those of up to 100,000 objects, drawn evenly."""
    if method == "kmeans":
        if not 2 <= count < len(values):
            raise InputError(f"--clusters {count}: k-means takes 2 clusters or more, and fewer than the {len(values)} "
                             "objects")  # fmt: skip
        learnt = values
        if len(values) > LEARNT_FROM:
            some = np.random.default_rng(SEED).choice(
                len(values), max(LEARNT_FROM, count), replace=False, shuffle=False
            )
            learnt = values[np.sort(some)]
        with warnings.catch_warnings():  # that equal objects make fewer clusters, which is told as their number
            warnings.simplefilter("ignore", ConvergenceWarning)
            return KMeans(n_clusters=count, n_init=5, random_state=SEED).fit(learnt).predict(values)
    if len(values) > HDBSCAN_UP_TO:
        raise InputError(f"--method hdbscan: its cost grows with the square of the number, {len(values):,} objects are "
                         f"more than {HDBSCAN_UP_TO:,}; take --method kmeans")  # fmt: skip
    return HDBSCAN(min_cluster_size=max(5, len(values) // 100), copy=True).fit_predict(values)


def scores(values: np.ndarray, found: np.ndarray, label: np.ndarray) -> dict[str, Any]:
    """Numbers of a clustering: clusters, noise, silhouette, and against labels where there are any.

    Purity: the share of labelled objects that are of the commonest label of their cluster. Noise counts as a cluster
    of its own against labels, and not in the silhouette.
    """
    inside = np.flatnonzero(found >= 0)
    told: dict[str, Any] = {
        "clusters": len(np.unique(found[inside])),
        "noise": int((found < 0).sum()),
        "silhouette": _silhouette(values[inside], found[inside]),
    }
    known = label >= 0
    if len(np.unique(label[known])) > 1:
        truth, given = label[known], found[known]
        best = sum(np.bincount(truth[given == one]).max() for one in np.unique(given))
        told |= {
            "labelled": int(known.sum()),
            "adjusted_rand": float(adjusted_rand_score(truth, given)),
            "adjusted_mutual_information": float(adjusted_mutual_info_score(truth, given)),
            "purity": float(best / known.sum()),
        }
    return told


def _silhouette(values: np.ndarray, found: np.ndarray) -> float | None:
    if not 2 <= len(np.unique(found)) < len(found):
        return None
    return float(silhouette_score(values, found, sample_size=min(SILHOUETTE_OF, len(values)), random_state=SEED))
