"""Which chunk is wanted when, and where its objects go: arithmetic on row numbers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True)
class Arrivals:
    """The chunks of an iteration, in the order in which its batches want them.

    ``moves`` is int32 (N, 4), chunk by chunk: an object's number in its chunk, its batch, its place there, its code
    (``geometry.codes``); ``bounds`` are each chunk's (start, stop) in it. The first b + 1 batches are made of the
    first ``needed[b]`` chunks; the first k + 1 chunks have objects of the first ``reach[k]`` batches, at most.
    ``lengths`` are the objects of each batch. Reading ``rate`` chunks a batch, evenly, ``arrears[b]`` are those to
    have been read beyond b batches' worth for no batch from b on to wait.
    """

    lengths: list[int]
    chunks: list[int]
    bounds: list[tuple[int, int]]
    moves: np.ndarray
    needed: list[int]
    reach: list[int]
    rate: float
    arrears: list[float]

    def of(self, place: int) -> np.ndarray:
        """The moves of the chunk at a place in the order."""
        start, stop = self.bounds[place]
        return self.moves[start:stop]

    def due(self, number: int) -> int:
        """The chunks to have been read for a batch, that the next need not wait.

        A negative number is before the iteration; so is a negative count.
        """
        return math.ceil(self.arrears[max(0, number)] + number * self.rate) if self.lengths else 0

    def depth(self, ahead: int) -> int:
        """The most batches that are in the making at a time, when ``ahead`` more chunks than needed are read."""
        begun = (min(self.due(number) + ahead, len(self.chunks)) for number in range(len(self.lengths)))
        return max((self.reach[count - 1] - batch for batch, count in enumerate(begun) if count), default=0)


def arrivals(batches: Sequence[np.ndarray], chunk_rows: int, codes: np.ndarray | None = None) -> Arrivals:
    """The arrivals of batches, each the row numbers of its objects; ``codes`` are those of all of them, or 0."""
    lengths = np.array([len(rows) for rows in batches], dtype=np.int64)
    ends = np.cumsum(lengths)
    rows = np.concatenate([*batches, np.empty(0, dtype=np.int64)])
    chunk = rows // chunk_rows
    by = np.argsort(chunk, kind="stable")  # a chunk's objects, each as it is wanted
    moves = np.empty((len(rows), 4), dtype=np.int32)
    batch = np.repeat(np.arange(len(batches)), lengths)
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
        lengths=lengths.tolist(), chunks=chunks.tolist(), bounds=[tuple(pair) for pair in bounds.tolist()], moves=moves,
        needed=needed.tolist(), reach=(np.maximum.accumulate(last) + 1).tolist(), rate=rate,
        arrears=np.maximum.accumulate(arrears[::-1])[::-1].tolist(),
    )  # fmt: skip
