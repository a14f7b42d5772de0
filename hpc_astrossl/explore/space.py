"""The space in which objects are near or far: standardised features, their principal components, and an index."""

from dataclasses import dataclass

import numpy as np
from sklearn.decomposition import PCA
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from hpc_astrossl.errors import InputError

COMPONENTS, SEED, LEAST = 50, 0, 12
EXACT_UP_TO = 50_000  # objects; more take the library made for that, where it is installed


@dataclass(frozen=True, kw_only=True)
class Space:
    """``values`` (N × components, float32) and the share of the features' variance that they keep."""

    values: np.ndarray
    kept: float


def space(features: np.ndarray) -> Space:
    """Standardise each feature, then keep up to 50 principal components, seeded. InputError when all are alike."""
    if len(features) < LEAST:
        raise InputError(f"the embedding has {len(features)} objects, {LEAST} are needed")
    if not np.ptp(features, axis=0).any():
        raise InputError(f"all {len(features)} objects of the embedding have the same features: nothing to explore")
    scaled = StandardScaler(copy=True).fit_transform(features.astype(np.float32))
    pca = PCA(min(COMPONENTS, *scaled.shape), random_state=SEED)
    values = np.ascontiguousarray(pca.fit_transform(scaled), dtype=np.float32)
    return Space(values=values, kept=float(pca.explained_variance_ratio_.sum()))


class Index:
    """Nearest neighbours (Euclidean). ``about`` says by which library, and whether exactly."""

    def __init__(self, values: np.ndarray, kind: str = "auto"):
        self.values = values
        if kind not in ("auto", "exact", "faiss"):
            raise InputError(f"--index {kind}: allowed are auto, exact, faiss")
        many = len(values) > EXACT_UP_TO
        self._faiss = _faiss(required=kind == "faiss") if kind == "faiss" or (kind == "auto" and many) else None
        if self._faiss is None:
            self._exact = NearestNeighbors(algorithm="brute" if values.shape[1] > 15 else "auto").fit(values)
            self.about = "exact (scikit-learn)"
        else:
            self._built = _inverted(self._faiss, values)
            self.about = f"approximate (faiss, {self._built.nprobe} of {self._built.nlist} cells)"

    def nearest(self, rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(distances, rows) of the ``count`` nearest others of each of ``rows``, (M × count), nearest first."""
        count = min(count, len(self.values) - 1)
        if self._faiss is None:
            distance, found = self._exact.kneighbors(self.values[rows], n_neighbors=count + 1)
        else:
            squared, found = self._built.search(self.values[rows], count + 1)
            distance = np.sqrt(np.maximum(squared, 0))
        return _without_self(distance, found, rows, count)


def _without_self(distance: np.ndarray, found: np.ndarray, rows: np.ndarray, count: int) -> tuple:
    """Each row's neighbours without itself; where equal objects have pushed it out, without the last."""
    other = found != rows[:, None]
    other[other.all(axis=1), -1] = False
    return distance[other].reshape(-1, count), found[other].reshape(-1, count)


def _faiss(required: bool):
    try:
        import faiss
    except ModuleNotFoundError:
        if required:
            raise InputError(
                "--index faiss needs faiss; pip install 'hpc_astrossl[explore]', or --index exact"
            ) from None
        return None
    return faiss


def _inverted(faiss, values: np.ndarray):
    """An inverted file of about √N cells, of which a query looks at 32: near enough, and fast for millions."""
    cells = max(1, min(int(len(values) ** 0.5), len(values) // 40))
    index = faiss.IndexIVFFlat(faiss.IndexFlatL2(values.shape[1]), values.shape[1], cells)
    index.train(values)
    index.add(values)
    index.nprobe = min(32, cells)
    return index
