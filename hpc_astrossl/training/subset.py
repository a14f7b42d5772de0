"""Training subsets for the low-data regime: of exact size, stratified, and nested (the 100 are part of the 200)."""

import heapq
from collections.abc import Callable, Iterator

import numpy as np

from hpc_astrossl.loading import draws
from hpc_astrossl.store import RowSet

PERMUTED = 1 << 24  # training objects of which the order is a permutation; of more it is that of a hash
SUBSET = 7  # stream of draws, see loading/draws.py
BITS = 12  # of a hash, by which objects are counted: all but some 1/4096 of them need not be sorted

Strata = Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]


def subset(rows: RowSet, strata: Strata, size: int, seed: int) -> RowSet:
    """``size`` of ``rows`` with the proportions of ``strata``, which gives (rows, one number for each), in stretches,
    as often as it is called.

    Within a stratum the order is drawn from ``seed``; the j-th of n objects (j from 0) then stands at (j + ½) / n of
    the whole, and the subset is what stands first. That is Webster's (Sainte-Laguë) apportionment of the size to the
    strata: each gets its share to within a rounding, and a larger subset contains every smaller one. Of up to 2^24 rows
    (``PERMUTED``) the order is a permutation of numpy's; of more, that of a hash of seed and row, of which no more is
    kept than counts.
    """
    chosen = (_permuted if len(rows) <= PERMUTED else _hashed)(strata, size, seed)
    bits = RowSet.room(rows.total)
    for some in chosen:
        RowSet.mark(bits, some)
    return RowSet(bits, rows.total)


def _permuted(strata: Strata, size: int, seed: int) -> Iterator[np.ndarray]:
    rows, numbers = (np.concatenate(parts) for parts in zip(*strata(), strict=True))
    place = np.empty(len(rows))
    source = np.random.default_rng(seed)
    for stratum in np.unique(numbers):
        members = np.flatnonzero(numbers == stratum)
        place[source.permutation(members)] = (np.arange(len(members)) + 0.5) / len(members)
    first = np.lexsort((numbers, place))[:size]
    yield np.sort(rows[first])


def _hashed(strata: Strata, size: int, seed: int) -> Iterator[np.ndarray]:
    """Two passes: by the first bits of their hashes rows are counted, then taken, or sorted where the border runs."""
    names, counts = _counted(strata, seed)
    seats = apportioned(counts.sum(axis=1), size)
    upto = np.cumsum(counts, axis=1)
    border = (upto < seats[:, None]).sum(axis=1)
    rest = seats - np.where(border > 0, upto[np.arange(len(names)), border - 1], 0)
    edge = []
    for rows, numbers in strata():
        stratum, drawn = np.searchsorted(names, numbers), draws.hashed(SUBSET, seed, 0, rows)
        at = (drawn >> np.uint64(64 - BITS)).astype(np.int64) - border[stratum]
        yield rows[at < 0]
        edge.append((stratum[at == 0], drawn[at == 0], rows[at == 0]))
    stratum, drawn, rows = (np.concatenate(parts) for parts in zip(*edge, strict=True))
    order = np.lexsort((drawn, stratum))  # no two hashes are equal
    stratum = stratum[order]
    rank = np.arange(len(order)) - np.searchsorted(stratum, stratum)
    yield np.sort(rows[order[rank < rest[stratum]]])


def _counted(strata: Strata, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(the strata, ascending; how many rows of each begin with which bits, (strata, 2^BITS))."""
    found: dict[int, np.ndarray] = {}
    for rows, numbers in strata():
        names, stratum = np.unique(numbers, return_inverse=True)
        first = (draws.hashed(SUBSET, seed, 0, rows) >> np.uint64(64 - BITS)).astype(np.int64)
        counts = np.bincount((stratum << BITS) + first, minlength=len(names) << BITS).reshape(-1, 1 << BITS)
        for name, own in zip(names.tolist(), counts, strict=True):
            found[name] = found[name] + own if name in found else own
    names = np.sort(np.array(list(found)))
    return names, np.stack([found[name] for name in names.tolist()])


def apportioned(counts: np.ndarray, size: int) -> np.ndarray:
    """How many of ``size`` fall to strata of so many objects each; int64.

    As many as surely stand first are given at once, the last few one by one.
    """
    sure = counts * (size / counts.sum()) - len(counts) * counts / (2 * counts.sum()) - 1
    seats = np.maximum(0, np.floor(sure)).astype(np.int64)
    places = [(place, number) for number, place in enumerate(((seats + 0.5) / counts).tolist())]
    heapq.heapify(places)
    for _ in range(size - int(seats.sum())):
        number = places[0][1]
        seats[number] += 1
        place = (seats[number] + 0.5) / counts[number] if seats[number] < counts[number] else np.inf
        heapq.heapreplace(places, (place, number))
    return seats
