"""A map of the embedding: UMAP, t-SNE or the first two principal components, seeded; and which objects are drawn."""

import warnings
from dataclasses import dataclass

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.explore.space import SEED, Index

MOST = 200_000  # points that a browser draws smoothly
UMAP_NEIGHBOURS, PERPLEXITY, FEW, TSNE_UP_TO = 15, 30, 3_000, 20_000
BATCH = 8192


@dataclass(frozen=True, kw_only=True)
class Layout:
    """``points`` (M × 2, float32, in 0 to 1, both axes by one scale) and the method in words."""

    points: np.ndarray
    words: str


def layout(values: np.ndarray, index: Index, method: str) -> Layout:
    """Lay objects out; ``index`` is that of ``values``. ``auto``: t-SNE for few, else UMAP if installed, else PCA.

    InputError for a method that is unknown, not installed, or takes hours for so many objects.
    """
    if method == "auto":
        method = "tsne" if len(values) <= FEW else "umap" if _umap(required=False) else "pca"
    if method not in METHODS:
        raise InputError(f"--map {method}: allowed are auto, {', '.join(METHODS)}")
    words, points = METHODS[method](values, index)
    points = np.asarray(points, dtype=np.float64)
    low, high = points.min(axis=0), points.max(axis=0)
    points = (points - (low + high) / 2) / max(float((high - low).max()), 1e-12) + 0.5
    return Layout(points=points.astype(np.float32), words=words)


def _by_umap(values: np.ndarray, index: Index) -> tuple[str, np.ndarray]:
    umap = _umap(required=True)
    count = min(UMAP_NEIGHBOURS, len(values) - 1)
    near, far = neighbours(index, count - 1)
    rows = np.arange(len(values))[:, None]
    known = (np.hstack([rows, near]), np.hstack([np.zeros((len(values), 1), np.float32), far]), None)
    start = values[:, :2] if values.shape[1] > 1 else np.hstack([values, values])
    start = 10 * start / max(float(np.abs(start).max()), 1e-12)
    source = np.random.default_rng(SEED)
    start = (start + source.normal(0, 1e-3, start.shape)).astype(np.float32)
    made = umap.UMAP(
        n_neighbors=count,
        init=start,
        precomputed_knn=known,
        random_state=SEED,
        n_jobs=1,
        force_approximation_algorithm=True,
    )
    with warnings.catch_warnings():  # that objects cannot be added to the map later: none are
        warnings.filterwarnings("ignore", "precomputed_knn", UserWarning)
        points = made.fit_transform(values)
    return f"UMAP ({count} neighbours, seed {SEED})", points


def _by_tsne(values: np.ndarray, index: Index) -> tuple[str, np.ndarray]:
    from sklearn.manifold import TSNE

    if len(values) > TSNE_UP_TO:
        raise InputError(
            f"--map tsne: takes hours for {len(values):,} objects, at most {TSNE_UP_TO:,}; take --map umap"
        )
    perplexity = min(PERPLEXITY, (len(values) - 1) / 3)
    start = "pca" if values.shape[1] > 1 else "random"
    points = TSNE(perplexity=perplexity, init=start, random_state=SEED).fit_transform(values)
    return f"t-SNE (perplexity {perplexity:.0f}, seed {SEED})", points


def _by_pca(values: np.ndarray, index: Index) -> tuple[str, np.ndarray]:
    points = values[:, :2] if values.shape[1] > 1 else np.hstack([values, np.zeros_like(values)])
    return "the first two principal components", points


METHODS = {"umap": _by_umap, "tsne": _by_tsne, "pca": _by_pca}


def _umap(required: bool):
    try:
        with warnings.catch_warnings():  # that a part of it which we do not use lacks a library
            warnings.simplefilter("ignore", ImportWarning)
            import umap
    except ModuleNotFoundError:
        if required:
            raise InputError("--map umap needs umap-learn; pip install 'hpc_astrossl[explore]', or --map pca") from None
        return None
    return umap


def neighbours(index: Index, count: int) -> tuple[np.ndarray, np.ndarray]:
    """(rows, distances) of the nearest others of every object of an index, (N × count)."""
    rows = np.arange(len(index.values))
    parts = [index.nearest(rows[i : i + BATCH], count) for i in range(0, len(rows), BATCH)]
    return np.concatenate([found for _, found in parts]), np.concatenate([far for far, _ in parts]).astype(np.float32)


def thinned(spread: np.ndarray, always: np.ndarray, most: int = MOST) -> np.ndarray:
    """Rows to draw, ascending, ``most`` at most: ``always``, and others the likelier the lonelier they are, seeded.

    ``spread`` (N,) is each object's mean distance to its neighbours: crowds are thinned, rare objects stay.
    """
    if len(spread) <= most:
        return np.arange(len(spread))
    chance = np.maximum(spread.astype(np.float64), 1e-12)
    low, high = 0.0, most / chance.min()
    for _ in range(200):  # the factor for which the chances add up to the room there is
        factor = (low + high) / 2
        low, high = (factor, high) if np.minimum(1, factor * chance).sum() < most else (low, factor)
    # The smallest draws, each weighed by its chance: as many as there is room for, whatever the draw.
    draw = np.random.default_rng(SEED).random(len(spread)) / np.minimum(1, low * chance + 1e-15)
    draw[always] = -1
    return np.sort(np.argpartition(draw, most - 1)[:most])
