"""Which object comes when, on which rank, flipped how: arithmetic on row numbers, all of it pure.

All draws are hashes of (stream, seed, epoch, number): they depend neither on the number of ranks, nor on the batch
size, nor on where an epoch is resumed, nor on the version of a random number library.
"""

from dataclasses import dataclass

import numpy as np

WINDOW_CHUNKS = 256  # objects are mixed over this many chunks of about a mebibyte

# Streams keep draws for different purposes apart.
_AUGMENTATION, _CHUNKS, _PLACES, _ENDS = range(4)


def _splitmix64(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014): uint64 to uint64, one to one, all bits mixed."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def hashed(stream: int, seed: int, epoch: int, numbers: np.ndarray) -> np.ndarray:
    """64 hashed bits for each of ``numbers`` (not negative), uint64."""
    key = np.zeros(1, dtype=np.uint64)
    for part in (stream, seed, epoch):
        key = _splitmix64(key ^ np.uint64(part))
    return _splitmix64(key ^ np.asarray(numbers).astype(np.uint64))


def _uniform(bits: np.ndarray) -> np.ndarray:
    """float64 in [0, 1) from 64 bits."""
    return (bits >> np.uint64(11)) * 2.0**-53


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How each of B objects is put: mirrored left-right, then upside down, then turned by quarters.

    ``horizontal`` and ``vertical`` are bool (B,), ``turns`` uint8 (B,): quarter turns anticlockwise as shown with
    row 0 on top, as ``numpy.rot90`` does.
    """

    horizontal: np.ndarray
    vertical: np.ndarray
    turns: np.ndarray


def augmentation(seed: int, epoch: int, rows: np.ndarray, *, flips: bool = True, turns: bool = True) -> Augmentation:
    """The augmentation of ``rows`` in an epoch; each flip has probability 1/2, each of four turns 1/4."""
    bits = hashed(_AUGMENTATION, seed, epoch, rows)
    one = np.uint64(1)
    return Augmentation(
        horizontal=((bits >> np.uint64(63)) & one).astype(bool) & flips,
        vertical=((bits >> np.uint64(62)) & one).astype(bool) & flips,
        turns=((bits >> np.uint64(60)) & np.uint64(3)).astype(np.uint8) * np.uint8(turns),
    )


def epoch_order(rows: np.ndarray, chunk_rows: int, *, seed: int, epoch: int, window: int = WINDOW_CHUNKS) -> np.ndarray:
    """A permutation of ``rows`` that mixes objects over ``window`` chunks, the chunks themselves being shuffled.

    Chunk number p of the shuffled chunks spreads its objects evenly over the stretch p .. p + window of the epoch, so
    at most window + 1 chunks are in use at any time. The first and the last stretch, where fewer chunks overlap, are
    mixed once more. With no more than ``window`` chunks the order is a plain shuffle.
    """
    rows = np.asarray(rows, dtype=np.int64)
    chunks, which = np.unique(rows // chunk_rows, return_inverse=True)
    place = _uniform(hashed(_PLACES, seed, epoch, rows))
    if len(chunks) > window:
        shuffled = np.empty(len(chunks), dtype=np.int64)
        shuffled[np.argsort(hashed(_CHUNKS, seed, epoch, chunks), kind="stable")] = np.arange(len(chunks))
        place = shuffled[which] + window * place
        again = window * _uniform(hashed(_ENDS, seed, epoch, rows))
        place = np.where(place < window, again, np.where(place >= len(chunks), len(chunks) + again, place))
    return rows[np.argsort(place, kind="stable")]


def rank_slice(total: int, rank: int, size: int) -> tuple[int, int]:
    """(start, stop) of a rank's part of ``total`` things: contiguous, the first ``total % size`` parts one longer."""
    part, rest = divmod(total, size)
    start = rank * part + min(rank, rest)
    return start, start + part + (rank < rest)


def steps(total: int, batch_size: int) -> int:
    """Global batches in an epoch of ``total`` objects; the last one may be smaller."""
    return -(-total // batch_size)


@dataclass(frozen=True, kw_only=True)
class Part:
    """One rank's part of a global batch: its rows (may be none), where it begins in the batch, the batch's size."""

    rows: np.ndarray
    offset: int
    total: int


def training_parts(order: np.ndarray, batch_size: int, *, rank: int, size: int, start: int = 0) -> list[Part]:
    """A rank's parts of the global batches from step ``start`` to the end of the epoch."""
    parts = []
    for first in range(start * batch_size, len(order), batch_size):
        batch = order[first : first + batch_size]
        begin, end = rank_slice(len(batch), rank, size)
        parts.append(Part(rows=batch[begin:end], offset=begin, total=len(batch)))
    return parts


def evaluation_parts(rows: np.ndarray, batch_size: int, *, rank: int, size: int) -> list[Part]:
    """A rank's contiguous share of ``rows`` in pieces of its part of a batch; "the batch" is all of ``rows``."""
    begin, end = rank_slice(len(rows), rank, size)
    piece = max(1, batch_size // size)
    return [
        Part(rows=rows[first : min(first + piece, end)], offset=first, total=len(rows))
        for first in range(begin, end, piece)
    ]
