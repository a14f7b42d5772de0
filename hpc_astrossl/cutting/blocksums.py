"""Sums of the words of each block of FITS files, kept from when a file was hashed until its DATASUM is looked at."""

import threading
from collections.abc import Hashable

import numpy as np

MOST = 1 << 26  # bytes that are kept, of 23 GB of files
_EACH = 256  # bytes, about, that an entry takes beside its sums


class BlockSums:
    """The latest sums, as long as there is room. Threads hash files side by side, so that each call is alone."""

    def __init__(self, most: int = MOST):
        self._most, self._bytes, self._lock = most, 0, threading.Lock()
        self._known: dict[Hashable, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, stamp: Hashable) -> np.ndarray | None:
        """The sums of the file of that stamp, None when they are not known any more."""
        return self._known.get(stamp)

    def put(self, stamp: Hashable, sums: np.ndarray) -> None:
        """Keep them, and let the oldest go where there is no room."""
        with self._lock:
            self._drop(stamp)
            self._known[stamp] = sums
            self._bytes += sums.nbytes + _EACH
            while self._bytes > self._most and self._known:
                self._drop(next(iter(self._known)))

    def _drop(self, stamp: Hashable) -> None:
        if (old := self._known.pop(stamp, None)) is not None:
            self._bytes -= old.nbytes + _EACH
