"""What to label next: uncertain objects, spread out. Diverse mini-batch active learning of Zhdanov (2019).

Of ten times as many objects as are wanted, those of the smallest margin, k-means weighted by uncertainty makes one
cluster a wanted object; the object nearest to each centre is taken, the least certain first.
"""

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

BETA, SEED = 10, 0
RULE = (
    "Diverse mini-batch active learning: of the ten times as many objects with the smallest margins, one a cluster of "
    "k-means weighted by uncertainty. F. Zhdanov (2019), arXiv:1901.05954"
)


def margins(chances: np.ndarray) -> np.ndarray:
    """Largest minus second largest probability, (N,); 1 where there is one class."""
    if chances.shape[1] < 2:
        return np.ones(len(chances), dtype=chances.dtype)
    top = np.partition(chances, -2, axis=1)[:, -2:]
    return top[:, 1] - top[:, 0]


def candidates(margin: np.ndarray, allowed: np.ndarray, count: int) -> np.ndarray:
    """Rows of the ``BETA × count`` allowed objects with the smallest margins, ascending by margin."""
    rows = np.flatnonzero(allowed)
    most = min(BETA * count, len(rows))
    if most < len(rows):
        rows = rows[np.argpartition(margin[rows], most - 1)[:most]]
    return rows[np.argsort(margin[rows], kind="stable")]


def choose(places: np.ndarray, margin: np.ndarray, count: int) -> np.ndarray:
    """Positions among the candidates, ``count`` at most, the least certain first; ``places`` are (M × dimensions)."""
    count = min(count, len(places))
    if count == len(places):
        return np.argsort(margin, kind="stable")
    weight = np.maximum(1 - margin, 1e-6)
    with warnings.catch_warnings():  # equal objects make equal centres, each of which takes an object of its own
        warnings.simplefilter("ignore", ConvergenceWarning)
        centres = KMeans(count, n_init=1, random_state=SEED).fit(places, sample_weight=weight).cluster_centers_
    taken: list[int] = []
    free = np.ones(len(places), dtype=bool)
    for centre in centres:
        far = np.where(free, ((places - centre) ** 2).sum(axis=1), np.inf)
        taken.append(int(far.argmin()))
        free[taken[-1]] = False
    chosen = np.array(taken)
    return chosen[np.argsort(margin[chosen], kind="stable")]
