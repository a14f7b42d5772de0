"""The paper's Figure 4: t-SNE (or UMAP) of validation features, with numbers that do not depend on the projection."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.metrics import silhouette_score
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from hpc_astrossl.errors import InputError
from hpc_astrossl.report.base.arrays import Features

PERPLEXITY, PRINCIPAL, NEIGHBOURS, SEED = 50, 50, 10, 0
UMAP_NEIGHBOURS = 15
MOST = 800  # objects projected; more take long and hide each other
LEAST = 12


@dataclass(frozen=True, kw_only=True)
class Projection:
    """``points`` (M × 2) with ``label`` (M); the scores are of the features themselves, not of the points."""

    method: str  # in words, with what it was given
    points: np.ndarray
    label: np.ndarray
    silhouette: float | None
    neighbour_accuracy: float
    objects: int  # the scores' number of objects

    def record(self) -> dict[str, Any]:
        """As plain data."""
        return vars(self) | {"points": self.points.tolist(), "label": self.label.tolist()}

    @classmethod
    def of_record(cls, record: dict[str, Any]) -> "Projection":
        """The projection that ``record`` tells of."""
        found = {field.name: record[field.name] for field in fields(cls)}
        return cls(**found | {"points": np.array(record["points"]), "label": np.array(record["label"])})


def project(found: Features, method: str = "tsne") -> Projection:
    """PCA to at most 50 components, then t-SNE or UMAP, seeded.

    InputError for fewer than 12 objects, equal features, or a method whose library is not installed.
    """
    values, label = found.features.astype("float64"), found.label
    if len(values) < LEAST:
        raise InputError(
            f"features.npz: a projection needs at least {LEAST} labelled objects, and it has {len(values)}"
        )
    if not np.ptp(values, axis=0).any():
        raise InputError("features.npz: every object has the same features")
    rows = np.sort(np.random.default_rng(SEED).permutation(len(values))[:MOST])
    few = values[rows]
    reduced = PCA(min(PRINCIPAL, *few.shape), random_state=SEED).fit_transform(few)
    with threadpool_limits(1):  # the sum's order, and so the picture, does not depend on the number of cores
        words, points = METHODS[method](reduced)
    return Projection(
        method=words,
        points=points.astype(np.float64),  # as they come back from a record
        label=label[rows].astype(np.int64),
        silhouette=silhouette(values, label),
        neighbour_accuracy=neighbour_accuracy(values, label),
        objects=len(values),
    )


def _tsne(values: np.ndarray) -> tuple[str, np.ndarray]:
    perplexity = min(PERPLEXITY, (len(values) - 1) / 3)
    start = "pca" if values.shape[1] > 1 else "random"
    points = TSNE(perplexity=perplexity, init=start, random_state=SEED).fit_transform(values)
    return f"t-SNE (perplexity {perplexity:.0f})", points


def _umap(values: np.ndarray) -> tuple[str, np.ndarray]:
    try:
        from umap import UMAP
    except ModuleNotFoundError:
        raise InputError("projection umap needs umap-learn; pip install 'hpc_astrossl[explore]'") from None
    neighbours = min(UMAP_NEIGHBOURS, len(values) - 1)
    points = UMAP(n_neighbors=neighbours, random_state=SEED, n_jobs=1).fit_transform(values)
    return f"UMAP ({neighbours} neighbours)", points


METHODS = {"tsne": _tsne, "umap": _umap}


def silhouette(values: np.ndarray, label: np.ndarray) -> float | None:
    """Mean silhouette coefficient of the true classes in feature space; None for one class or all different."""
    if not 2 <= len(np.unique(label)) < len(values):
        return None
    return float(silhouette_score(values, label))


def neighbour_accuracy(values: np.ndarray, label: np.ndarray, neighbours: int = NEIGHBOURS) -> float:
    """Share of objects whose nearest others (Euclidean, leave one out) mostly are of their class; ties to the lower.

    No more neighbours than an object of the smallest class has others of its class: else these could not be most.
    """
    smallest = int(np.unique(label, return_counts=True)[1].min())
    count = max(1, min(neighbours, smallest - 1))
    near = NearestNeighbors(n_neighbors=count).fit(values).kneighbors(return_distance=False)
    votes = np.array([np.bincount(label[row], minlength=int(label.max()) + 1).argmax() for row in near])
    return float((votes == label).mean())
