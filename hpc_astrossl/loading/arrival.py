"""Which chunk is wanted when, and where its objects go: arithmetic on row numbers."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """The chunks of an iteration, in the order in which its batches want them.

    ``moves`` is int32 (N, 4), chunk by chunk: an object's number in its chunk, its batch, its place there, its code
    (``geometry.codes``); ``bounds``, int64 (chunks, 2), are each chunk's start and stop in it. The first b + 1 batches
    are made of the first ``needed[b]`` chunks; the first k + 1 chunks have objects of the first ``reach[k]`` batches,
    at most.
    ``lengths`` are the objects of each batch. Reading ``rate`` chunks a batch, evenly, ``arrears[b]`` are those to
    have been read beyond b batches' worth for no batch from b on to wait.
    """

    lengths: list[int]
    chunks: list[int]
    bounds: np.ndarray
    moves: np.ndarray
    needed: list[int]
    reach: list[int]
    rate: float
    arrears: list[float]

    def of(self, place: int) -> np.ndarray:
        """The moves of the chunk at a place in the order."""
        start, stop = self.bounds[place].tolist()
        return self.moves[start:stop]

    def due(self, number: int) -> int:
        """The chunks to have been read for a batch, that the next need not wait.

        A negative number is before the iteration; so is a negative count.
        """
        return math.ceil(self.arrears[max(0, number)] + number * self.rate) if self.lengths else 0

    def depth(self, ahead: int) -> int:
        """The most batches that are in the making at a time, when ``ahead`` more chunks than needed are read."""
        batch = np.arange(len(self.lengths))
        due = np.ceil(np.array(self.arrears) + batch * self.rate).astype(np.int64)
        begun = np.minimum(due + ahead, len(self.chunks))
        return int((np.array([0, *self.reach])[begun] - batch)[begun > 0].max(initial=0))


def arrivals(rows: np.ndarray, lengths: np.ndarray, chunk_rows: int, codes: np.ndarray | None = None) -> Arrivals:
    """The arrivals of batches, given by the row numbers of all their objects, one batch after the other, and by the
    objects of each; both int64. ``codes`` are those of all objects, or 0."""
    ends = np.cumsum(lengths)
    chunk = rows // chunk_rows
    by = np.argsort(chunk, kind="stable")  # a chunk's objects, each as it is wanted
    moves = np.empty((len(rows), 4), dtype=np.int32)
    batch = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(rows)) - np.repeat(ends - lengths, lengths)
    codes = np.zeros_like(rows) if codes is None else codes
    for column, values in enumerate((rows - chunk * chunk_rows, batch, place, codes)):
        moves[:, column] = values[by]
    starts = np.flatnonzero(np.diff(chunk[by], prepend=-1))
    stops = np.append(starts[1:], len(rows))
    first = by[starts]
    order = np.argsort(first)
    return arranged(
        lengths=lengths, chunks=chunk[first[order]], bounds=np.stack([starts[order], stops[order]], axis=1),
        moves=moves, needed=np.searchsorted(first[order], ends), last=batch[by[stops[order] - 1]],
    )  # fmt: skip


def arranged(*, lengths: np.ndarray, chunks: np.ndarray, bounds: np.ndarray, moves: np.ndarray, needed: np.ndarray,
             last: np.ndarray) -> Arrivals:  # fmt: skip
    """The arrivals of chunks in their order; ``last`` is the last batch that has objects of each."""
    rate = len(chunks) / max(1, len(lengths))
    arrears = needed - rate * np.arange(len(lengths))
    return Arrivals(
        lengths=lengths.tolist(), chunks=chunks.tolist(), bounds=bounds, moves=moves,
        needed=needed.tolist(), reach=(np.maximum.accumulate(last) + 1).tolist(), rate=rate,
        arrears=np.maximum.accumulate(arrears[::-1])[::-1].tolist(),
    )  # fmt: skip
