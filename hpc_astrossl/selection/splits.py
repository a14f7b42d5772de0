"""Draws that depend on nothing but a seed and the objects' ids, and the splits made with them.

A draw is a hash of the seed, a purpose and the id. So it does not change with the order of the catalogue, the number
of tasks or the version of a random generator.
"""

import functools
import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from hpc_astrossl.objects import Objects
from hpc_astrossl.selection import crossmatch
from hpc_astrossl.selection.workspace import BLOCK, HERE, Workspace
from hpc_astrossl.specs.recipe import SplitSpec
from hpc_astrossl.store import SPLITS

OTHER_SHARES = "split: {train: 0.6, validation: 0.2, test: 0.2}"


def draw(ids: np.ndarray, seed: int, purpose: str) -> np.ndarray:
    """A pseudo-random uint64 for each id."""
    prefix = f"{seed}/{purpose}/"
    digests = b"".join(hashlib.sha256((prefix + text).encode()).digest()[:8] for text in ids.tolist())
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def draws(ids: Any, rows: np.ndarray, seed: int, purpose: str) -> np.ndarray:
    """``draw`` of the ids of some rows, of a column that may lie in a file."""
    found = [draw(ids[rows[start : start + BLOCK]], seed, purpose) for start in range(0, len(rows), BLOCK)]
    return np.concatenate(found) if found else np.empty(0, dtype=np.uint64)


def divide(spec: SplitSpec, objects: Objects, rows: np.ndarray, labels: np.ndarray,
           together: Callable[[], crossmatch.Groups] | None = None) -> np.ndarray:  # fmt: skip
    """The split of the objects in ``rows`` (ascending), whose class codes are ``labels``; uint8, codes as in the store.

    What belongs together (``crossmatch.groups``, over the whole catalogue: also by way of an object that was left out)
    is drawn once, so that no group straddles two splits; ``together`` gives those groups, if they are known.
    """
    if spec.column is not None:
        values = objects.columns[spec.column]
        parts = [[spec.codes[value] for value in values[rows[start : start + BLOCK]].tolist()]
                 for start in range(0, len(rows), BLOCK)]  # fmt: skip
        return np.concatenate([np.array(part, dtype=np.uint8) for part in parts] or [np.empty(0, dtype=np.uint8)])
    groups = (together or belonging(spec, objects))()
    heads, first, member = np.unique(groups.heads(rows), return_index=True, return_inverse=True)
    if spec.by == "stratified":
        one = rows[first]
        keys = draws(objects.object_id, one, spec.seed, "split")
        return _assign(keys, labels[first], objects.reference[one], spec.shares)[member]
    found = np.empty(len(heads), dtype=np.uint8)
    for start in range(0, len(heads), BLOCK):
        part = slice(start, start + BLOCK)
        found[part] = _drawn(spec, objects, heads[part], rows[first[part]])
    return found[member]


def belonging(spec: SplitSpec, objects: Objects, space: Workspace = HERE) -> Callable[[], crossmatch.Groups]:
    """What gives the objects that belong together, found when it is asked for first."""
    return functools.cache(
        lambda: crossmatch.linked(objects.object_id, (objects.ra, objects.dec), spec.together, space)
    )


def _drawn(spec: SplitSpec, objects: Objects, heads: np.ndarray, members: np.ndarray) -> np.ndarray:
    """The splits of groups, of which the first row and one that is in are given."""
    if spec.by == "object":
        keys = objects.object_id[heads]
    else:
        placed = np.where(np.isfinite(objects.ra[heads] + objects.dec[heads]), heads, members)
        keys = cells(objects.ra[placed], objects.dec[placed], spec.cell)
    distinct, at = np.unique(keys, return_inverse=True)
    share = (draw(distinct, spec.seed, f"split by {spec.by}") >> np.uint64(11)) * 2.0**-53  # in [0, 1), exact
    return np.searchsorted(np.cumsum(spec.shares)[:-1], share, side="right").astype(np.uint8)[at]


def cells(ra: np.ndarray, dec: np.ndarray, size: float) -> np.ndarray:
    """The name of the cell of the sky that each position (degrees) is in; text.

    The sky is cut into bands of declination ``size`` degrees high, and each band into as many equal stretches of right
    ascension as fit with that width in its middle: all cells have about the same area, and none spans RA 0.
    """
    band = np.floor((dec + 90) / size).astype(np.int64)
    middle = np.clip((band + 0.5) * size - 90, -90, 90)
    count = np.maximum(1, np.round(360 * np.cos(np.radians(middle)) / size)).astype(np.int64)
    stretch = np.minimum(np.floor(ra % 360 / 360 * count).astype(np.int64), count - 1)
    width = int(360 / size) + 2
    numbers, inverse = np.unique(band * width + stretch, return_inverse=True)
    return np.array([f"{number // width}/{number % width}" for number in numbers.tolist()])[inverse]


def assign(
    ids: np.ndarray, labels: np.ndarray, magnitudes: np.ndarray, shares: tuple[float, ...], seed: int
) -> np.ndarray:
    """The split of each object, a code into ``shares``; uint8.

    Objects of a class are put in order of their rounded magnitude (unknown ones last) and, inside one magnitude, of
    a seeded draw; walking along that order, each goes to the split that lags furthest behind its share in the class,
    or, if two lag alike, in all classes so far. So every class, and every stretch of magnitudes in it, is divided as
    the shares say to within about one object.
    """
    return _assign(draw(ids, seed, "split"), labels, magnitudes, shares)


def _assign(draws: np.ndarray, labels: np.ndarray, magnitudes: np.ndarray, shares: tuple[float, ...]) -> np.ndarray:
    order = np.lexsort((draws, np.round(magnitudes), labels))
    splits = np.empty(len(draws), dtype=np.uint8)
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


def thin(spec: SplitSpec, split: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> list[str]:
    """What to say of splits without an object, and of classes that a split has no object of; labels −1 are none.

    A split whose share the recipe has as 0 is meant to be empty.
    """
    meant = {name: code for code, name in enumerate(SPLITS) if spec.by == "column" or spec.shares[code]}
    counts = {name: int((split == code).sum()) for name, code in meant.items()}
    if empty := [name for name, count in counts.items() if not count]:
        told = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        return [f"no object for {' and '.join(empty)} ({told}): nothing can be trained on such a store; give more "
                f"objects, or other shares ({OTHER_SHARES})"]  # fmt: skip
    lost: dict[str, list[str]] = {}
    for code, name in enumerate(classes):
        there = set(np.unique(split[labels == code]).tolist())
        if without := " and ".join(part for part, number in meant.items() if number not in there):
            lost.setdefault(without, []).append(name)
    return [f"no object for {without} in {'class' if len(names) == 1 else 'classes'} {', '.join(names)}"
            + (": how well such objects are found is not measured" if "test" in without else "")
            for without, names in lost.items()]  # fmt: skip


def balance(ids: Any, labels: np.ndarray, seed: int, rows: np.ndarray | None = None) -> np.ndarray:
    """True for objects (of ``rows``, where ``ids`` is a whole column) that stay when every class is cut to the size of
    the smallest by a seeded draw; bool."""
    stay = np.zeros(len(labels), dtype=bool)
    keys = draws(ids, np.arange(len(labels)) if rows is None else rows, seed, "balance")
    classes, counts = np.unique(labels, return_counts=True)
    for code in classes:
        own = np.flatnonzero(labels == code)
        stay[own[np.argsort(keys[own])[: counts.min()]]] = True
    return stay
