"""Which object comes when and on which rank: arithmetic on row numbers (docs/decisions/order-and-tail.md).

The order is cut into global batches that do not depend on the number of ranks. A batch is made of lanes: each draws
from a few chunks of its own, and a rank's contiguous part of every batch is the same few lanes.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from hpc_astrossl.loading import draws
from hpc_astrossl.store.rowset import RowSet

WINDOW_CHUNKS = 256  # objects are mixed over this many chunks of about a mebibyte
LANES = 64  # at least, where a batch has as many objects
COMPILED = 1 << 17  # rows from which on a plan is made by ``compiled``: fewer are planned before it is loaded
AT_A_TIME = 1 << 20  # rows that are planned at a time in evaluation


def epoch_order(rows: np.ndarray, chunk_rows: int, *, seed: int, epoch: int, batch_size: int = 1,
                window: int = WINDOW_CHUNKS) -> np.ndarray:  # fmt: skip
    """A permutation of ``rows``, to be cut into batches of ``batch_size``, that mixes objects over ``window`` chunks.

    With no more than ``window`` chunks it is a plain shuffle. Otherwise the shuffled chunks are laid end to end and
    cut into ``lanes``; each lane mixes its objects over window / lanes chunks, and every batch takes the next few
    objects of every lane, in the order of lanes. Every other lane goes backwards, so that the chunk in which two lanes
    meet is wanted by both at the same end of the epoch.
    """
    rows = np.asarray(rows, dtype=np.int64)
    chunks, which = np.unique(rows // chunk_rows, return_inverse=True)
    place = draws.uniform(draws.PLACES, seed, epoch, rows)
    if len(chunks) <= window:
        return rows[np.argsort(place, kind="stable")]
    shuffled = np.empty(len(chunks), dtype=np.int64)
    shuffled[np.argsort(draws.hashed(draws.CHUNKS, seed, epoch, chunks), kind="stable")] = np.arange(len(chunks))
    laid = np.argsort(shuffled[which] + place, kind="stable")
    each, lengths = lane_sizes(len(rows), batch_size)
    lane = np.repeat(np.arange(len(lengths)), lengths)
    again = draws.uniform(draws.ENDS, seed, epoch, rows)
    place = _spread(shuffled[which][laid], lane, (place[laid], again[laid]), max(1, window // len(lengths)))
    # Lanes end to end, each in its own order, every other one backwards.
    mixed = np.lexsort((np.where(lane % 2, -place, place), lane))
    first = np.cumsum(lengths) - lengths
    batch = (np.arange(len(rows)) - first[lane]) // each[lane]
    return rows[laid][mixed][np.argsort(batch, kind="stable")]


def _spread(chunk: np.ndarray, lane: np.ndarray, draw: tuple[np.ndarray, np.ndarray], window: int) -> np.ndarray:
    """Places within lanes: the q-th chunk of a lane is spread over the stretch q .. q + window.

    So at most window + 1 chunks of a lane are in use at any time. Its first and last stretch, where fewer chunks
    overlap, are mixed once more.
    """
    starts = np.flatnonzero(np.r_[True, lane[1:] != lane[:-1]])
    which = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(lane)]))
    first, last = chunk[starts][which], chunk[np.r_[starts[1:], len(lane)] - 1][which]
    count = last - first + 1
    place = chunk - first + window * draw[0]
    again = window * draw[1]
    mixed = np.where(place < window, again, np.where(place >= count, count + again, place))
    return np.where(count <= window, draw[0], mixed)


def lane_sizes(total: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """(objects of each lane in a whole batch, objects of each lane in an epoch of ``total``), int64.

    Position p of a batch belongs to lane p · lanes // batch size. The last, smaller batch takes positions evenly.
    """
    lanes = min(batch_size, max(LANES, batch_size // 32))
    position = np.arange(batch_size)
    lane = position * lanes // batch_size
    tail = total - (steps(total, batch_size) - 1) * batch_size
    last = (position + 1) * tail // batch_size - position * tail // batch_size
    each = np.bincount(lane, minlength=lanes)
    rest = np.bincount(lane, weights=last, minlength=lanes).astype(np.int64)
    return each, each * (steps(total, batch_size) - 1) + rest


def rank_slice(total: int, rank: int, size: int) -> tuple[int, int]:
    """(start, stop) of a rank's part of ``total`` things: contiguous, the first ``total % size`` parts one longer."""
    part, rest = divmod(total, size)
    start = rank * part + min(rank, rest)
    return start, start + part + (rank < rest)


def steps(total: int, batch_size: int) -> int:
    """Global batches in an epoch of ``total`` objects; the last one may be smaller."""
    return -(-total // batch_size)


class Part(NamedTuple):  # made in a third of a dataclass's time
    """One rank's part of a global batch: its rows (may be none), where it begins in the batch, the batch's size."""

    rows: np.ndarray
    offset: int
    total: int


class Parts(Sequence[Part]):
    """One rank's parts, which are made when they are wanted.

    ``rows`` are those of all parts, one after the other, int64; of each part the number, its place in the batch and
    the batch's size are in ``lengths``, ``offsets`` and ``totals``, int64.
    """

    def __init__(self, rows: np.ndarray, lengths: np.ndarray, offsets: np.ndarray, totals: np.ndarray):
        self.rows, self.lengths, self._offsets, self._totals = rows, lengths, offsets, totals

    def __len__(self) -> int:
        return len(self.lengths)

    def __iter__(self) -> Iterator[Part]:
        ends = np.cumsum(self.lengths)
        facts = (ends - self.lengths, ends, self._offsets, self._totals)
        for start, stop, offset, total in zip(*(values.tolist() for values in facts), strict=True):
            yield Part(self.rows[start:stop], offset, total)

    def __getitem__(self, number: int) -> Part:
        length = int(self.lengths[number])
        stop = int(self.lengths[: number % len(self) + 1].sum())
        offset, total = int(self._offsets[number]), int(self._totals[number])
        return Part(rows=self.rows[stop - length : stop], offset=offset, total=total)


def training_parts(order: np.ndarray, batch_size: int, *, rank: int, size: int, start: int = 0) -> Parts:
    """A rank's parts of the global batches from step ``start`` to the end of the epoch."""
    order = order[start * batch_size :]
    whole, tail = divmod(len(order), batch_size)
    (begin, end), (tail_begin, tail_end) = rank_slice(batch_size, rank, size), rank_slice(tail, rank, size)
    last = slice(whole, None if tail else whole)
    rows = [order[: whole * batch_size].reshape(-1, batch_size)[:, begin:end].ravel(),
            order[whole * batch_size :][tail_begin:tail_end]]  # fmt: skip
    facts = np.empty((3, whole + (tail > 0)), dtype=np.int64)
    for values, common, own in zip(facts, (end - begin, begin, batch_size), (tail_end - tail_begin, tail_begin, tail),
                                   strict=True):  # fmt: skip
        values[:], values[last] = common, own
    return Parts(np.concatenate(rows) if tail else rows[0], *facts)


def evaluation_sections(rows: RowSet, batch_size: int, *, rank: int, size: int) -> Iterator[Parts]:
    """``evaluation_parts`` of the rows, so many at a time."""
    begin, end = rank_slice(len(rows), rank, size)
    piece = max(1, batch_size // size)
    stretch = piece * max(1, AT_A_TIME // piece)
    for first in range(begin, end, stretch) or [begin]:
        yield _pieces(rows[first : min(first + stretch, end)], piece, first, len(rows))


def evaluation_parts(rows: np.ndarray, batch_size: int, *, rank: int, size: int) -> Parts:
    """A rank's contiguous share of ``rows`` in pieces of its part of a batch; "the batch" is all of ``rows``."""
    begin, end = rank_slice(len(rows), rank, size)
    return _pieces(rows[begin:end], max(1, batch_size // size), begin, len(rows))


def _pieces(rows: np.ndarray, piece: int, before: int, total: int) -> Parts:
    starts = np.arange(0, len(rows), piece)
    return Parts(rows, np.minimum(piece, len(rows) - starts), before + starts, np.full(len(starts), total))
