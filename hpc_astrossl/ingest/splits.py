"""Draws that depend on nothing but a seed and the objects' ids, and the stratified split made with them.

A draw is a hash of the seed, a purpose and the id. So it does not change with the order of the catalogue, the number
of tasks or the version of a random generator.
"""

import hashlib

import numpy as np


def draw(ids: np.ndarray, seed: int, purpose: str) -> np.ndarray:
    """A pseudo-random uint64 for each id."""
    prefix = f"{seed}/{purpose}/"
    digests = b"".join(hashlib.sha256((prefix + text).encode()).digest()[:8] for text in ids.tolist())
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def assign(
    ids: np.ndarray, labels: np.ndarray, magnitudes: np.ndarray, shares: tuple[float, ...], seed: int
) -> np.ndarray:
    """The split of each object, a code into ``shares``; uint8.

    Objects of a class are put in order of their rounded magnitude (unknown ones last) and, inside one magnitude, of
    a seeded draw; walking along that order, each goes to the split that lags furthest behind its share in the class,
    or, if two lag alike, in all classes so far. So every class, and every stretch of magnitudes in it, is divided as
    the shares say to within about one object.
    """
    order = np.lexsort((draw(ids, seed, "split"), np.round(magnitudes), labels))
    splits = np.empty(len(ids), dtype=np.uint8)
    overall = [0.0] * len(shares)
    for code in np.unique(labels):
        rows = order[labels[order] == code]
        splits[rows] = _walk(len(rows), shares, overall)
    return splits


def _walk(count: int, shares: tuple[float, ...], overall: list[float]) -> list[int]:
    """Splits of ``count`` objects in a row; ``overall``, how far each split lags in all classes, is kept up to date."""
    behind, walked = [0.0] * len(shares), []
    for _ in range(count):
        for i, share in enumerate(shares):
            behind[i] += share
            overall[i] += share
        split = max(range(len(shares)), key=lambda i: (round(behind[i], 6), round(overall[i], 6)))
        behind[split] -= 1
        overall[split] -= 1
        walked.append(split)
    return walked


def balance(ids: np.ndarray, labels: np.ndarray, seed: int) -> np.ndarray:
    """True for objects that stay when every class is cut to the size of the smallest by a seeded draw; bool."""
    stay = np.zeros(len(ids), dtype=bool)
    keys = draw(ids, seed, "balance")
    classes, counts = np.unique(labels, return_counts=True)
    for code in classes:
        rows = np.flatnonzero(labels == code)
        stay[rows[np.argsort(keys[rows])[: counts.min()]]] = True
    return stay
