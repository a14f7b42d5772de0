"""The space in which objects are near or far: standardised features, their principal components, and an index."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from sklearn.neighbors import NearestNeighbors

from hpc_astrossl.errors import InputError
from hpc_astrossl.store.embedding import Opened

COMPONENTS, SEED, LEAST = 50, 0, 12
BLOCK, MEMORY = 1 << 14, 1 << 30  # objects at a time; bytes that the values of all may take
FINE_UP_TO = 200_000  # objects, whose values an index holds as they are; of more, codes of 4 bits a component
FINE, COARSE = 256, 64  # objects a cell that the cells of few, and of many objects are found by
AGAIN, ASKED = 8, 1024  # candidates a neighbour that codes name; objects whose candidates are compared at a time
EXACT_UP_TO = 50_000  # objects; more take the library made for that, where it is installed


@dataclass(frozen=True, kw_only=True)
class Space:
    """``values`` (N × components, float32) and the share of the features' variance that they keep."""

    values: np.ndarray
    kept: float


def space(features: np.ndarray | Opened) -> Space:
    """Standardise each feature, then keep up to 50 principal components, fewer of many millions of objects, whose
    values are to take a gigabyte. InputError when all are alike.

    Features are read in stretches, three times over: for their means, their covariance, and the components.
    """
    count = len(features)
    if count < LEAST:
        raise InputError(f"the embedding has {count} objects, {LEAST} are needed")
    mean, inverse = _scaling(features)
    if not inverse.any():
        raise InputError(f"all {count} objects of the embedding have the same features: nothing to explore")
    covariance = sum(scaled.T @ scaled for scaled in (_scaled(block, mean, inverse) for block in _blocks(features)))
    variances, axes = (found[..., ::-1] for found in np.linalg.eigh(covariance))
    most = max(2, MEMORY // (4 * count))
    axes = axes[:, : min(COMPONENTS, most, count, len(mean))]
    axes = axes * np.sign(axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])])
    values, at = np.empty((count, axes.shape[1]), dtype=np.float32), 0
    for block in _blocks(features):
        values[at : at + len(block)] = _scaled(block, mean, inverse) @ axes
        at += len(block)
    variances = np.maximum(variances, 0)
    return Space(values=values, kept=float(variances[: axes.shape[1]].sum() / variances.sum()))


def _blocks(features: np.ndarray | Opened) -> Iterator[np.ndarray]:
    if isinstance(features, Opened):
        yield from (block for _, block in features.blocks(BLOCK))
    else:
        yield from (features[start : start + BLOCK] for start in range(0, len(features), BLOCK))


def _scaling(features: np.ndarray | Opened) -> tuple[np.ndarray, np.ndarray]:
    """(mean, inverse standard deviation) of each feature, float64; of a constant one the latter is 0.

    Each stretch has a mean of its own, and they are put together as Chan, Golub & LeVeque (1979) do: no digits are lost
    to an outlier.
    """
    count, mean, squares = 0, 0.0, 0.0
    for block in _blocks(features):
        here = block.mean(axis=0, dtype=np.float64)
        away = block - here
        apart, share = here - mean, len(block) / (count + len(block))
        squares = squares + np.einsum("ij,ij->j", away, away) + apart**2 * (count * share)
        mean, count = mean + apart * share, count + len(block)
    spread = np.sqrt(squares / count)
    varies = spread > 1e-7 * np.maximum(np.abs(mean), 1e-30)
    return mean, np.divide(1, spread, out=np.zeros_like(spread), where=varies)


def _scaled(block: np.ndarray, mean: np.ndarray, inverse: np.ndarray) -> np.ndarray:
    return (block - mean) * inverse


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
            self._coarse = len(values) > FINE_UP_TO
            words = f", the nearest of {AGAIN} times as many by values in 4 bits" if self._coarse else ""
            self.about = f"approximate (faiss, {self._built.nprobe} of {self._built.nlist} cells{words})"

    def nearest(self, rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """(distances, rows) of the ``count`` nearest others of each of ``rows``, (M × count), nearest first."""
        count = min(count, len(self.values) - 1)
        if self._faiss is None:
            distance, found = self._exact.kneighbors(self.values[rows], n_neighbors=count + 1)
        else:
            distance, found = self._approximately(rows, count + 1)
        return _without_self(distance, found, rows, count)

    def _approximately(self, rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """The neighbours that faiss names, by their true distances."""
        parts = [self._candidates(rows[i : i + ASKED], count) for i in range(0, max(1, len(rows)), ASKED)]
        return np.concatenate([far for far, _ in parts]), np.concatenate([found for _, found in parts])

    def _candidates(self, rows: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        asked, wanted = self.values[rows], min(count * (AGAIN if self._coarse else 1), len(self.values))
        _, found = self._built.search(asked, wanted)
        few = np.flatnonzero((found >= 0).sum(axis=1) < count)  # the cells that were looked at hold fewer
        if len(few):
            all_ = self._faiss.SearchParametersIVF(nprobe=self._built.nlist)
            found[few] = self._built.search(asked[few], wanted, params=all_)[1]
        distance = np.linalg.norm(self.values[found] - asked[:, None], axis=2)
        distance[found < 0] = np.inf
        order = np.argsort(distance, axis=1, kind="stable")[:, :count]
        return np.take_along_axis(distance, order, axis=1), np.take_along_axis(found, order, axis=1)


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
    """An inverted file of about √N cells, of which a query looks at 32: near enough, and fast for millions. Of many
    objects it holds codes of 4 bits a component (André, Kermarrec & Le Scouarnec 2015), which are compared sixteen at a
    time: what they name is compared by value."""
    cells, width = max(1, min(int(len(values) ** 0.5), len(values) // 40)), values.shape[1]
    coarse, quantiser = len(values) > FINE_UP_TO, faiss.IndexFlatL2(width)
    if coarse:
        index = faiss.IndexIVFPQFastScan(quantiser, width, cells, width, 4)
    else:
        index = faiss.IndexIVFFlat(quantiser, width, cells)
    index.train(values[:: max(1, len(values) // ((COARSE if coarse else FINE) * cells))])
    for start in range(0, len(values), BLOCK):
        index.add(values[start : start + BLOCK])
    index.nprobe = min(32, cells)
    return index
