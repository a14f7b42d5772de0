"""The pixels of rows: whole chunks read from the store, kept for the run or for as long as an iteration needs them."""

import numpy as np

from hpc_astrossl.store import Store

MEBIBYTE = 1 << 20


class Pixels:
    """Images of chosen rows. ``reads`` counts the chunks read so far.

    When the rows' images fit ``resident_mb`` they are read once and stay. Otherwise a chunk is dropped as soon as the
    iteration announced by ``begin`` has taken the last of its rows: each chunk is read once an iteration, and memory
    holds as many as the order keeps in use (``order.epoch_order``).
    """

    def __init__(self, store: Store, rows: np.ndarray, resident_mb: int):
        self.store, self.rows, self.reads = store, rows, 0
        size = len(rows) * int(np.prod(store.image_shape)) * store.dtype.itemsize
        self.resident = size <= resident_mb * MEBIBYTE
        self._chunks: dict[int, np.ndarray] = {}
        self._left: dict[int, int] = {}
        if self.resident:
            self._kept = np.empty((len(rows), *store.image_shape), dtype=store.dtype)
            self._filled: set[int] = set()

    @property
    def chunks_held(self) -> int:
        """Decoded chunks in memory now, the resident rows aside."""
        return len(self._chunks)

    def begin(self, rows: np.ndarray) -> None:
        """Announce the rows that the next iteration will take, in any order."""
        self._chunks.clear()
        chunks, counts = np.unique(rows // self.store.chunk_rows, return_counts=True)
        self._left = dict(zip(chunks.tolist(), counts.tolist(), strict=True))

    def take(self, rows: np.ndarray, out: np.ndarray) -> None:
        """Write the images of ``rows`` into ``out``, (len(rows), height, width, channels).

        InputError, naming the store and the rows, when a chunk is damaged.
        """
        if self.resident:
            self._fill(rows)
            np.take(self._kept, np.searchsorted(self.rows, rows), axis=0, out=out)
            return
        chunks = rows // self.store.chunk_rows
        for index in np.unique(chunks).tolist():
            here = np.flatnonzero(chunks == index)
            out[here] = self._chunk(index)[rows[here] - index * self.store.chunk_rows]
            self._left[index] -= len(here)
            if self._left[index] == 0:
                del self._chunks[index]

    def release(self) -> None:
        """Forget the chunks of the iteration; resident rows stay."""
        self._chunks.clear()

    def _chunk(self, index: int) -> np.ndarray:
        if index not in self._chunks:
            self._chunks[index] = self.store.chunk(index)
            self.reads += 1
        return self._chunks[index]

    def _fill(self, rows: np.ndarray) -> None:
        size = self.store.chunk_rows
        for index in set(np.unique(rows // size).tolist()) - self._filled:
            begin, end = np.searchsorted(self.rows, [index * size, (index + 1) * size])
            self._kept[begin:end] = self.store.chunk(index)[self.rows[begin:end] - index * size]
            self._filled.add(index)
            self.reads += 1
