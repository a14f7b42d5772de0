"""The account of a unit's objects while their bands are cut: which lie inside, are blank, or have bad pixels."""

import threading

import numpy as np

from hpc_astrossl.cutting.source import BLANK, EDGE, NO_VALUE, blank
from hpc_astrossl.specs.images import BandImages


class Books:
    """``share`` is the share of bad pixels of each object's worst band; float32, M."""

    def __init__(self, count: int, spec: BandImages):
        self._most, self._lock = spec.max_bad, threading.Lock()
        self.inside = np.ones(count, dtype=bool)
        self.empty = np.zeros(count, dtype=bool)
        self.share = np.zeros(count, dtype=np.float32)
        self.wcs = np.full((count, 6), np.nan)  # see ``orientation``

    def facts(self) -> dict[str, np.ndarray]:
        """What the store keeps of it."""
        return {"wcs": self.wcs} | ({"bad_pixels": self.share} if self._most else {})

    def enter(self, rows: np.ndarray, planes: np.ndarray, bad: np.ndarray | None) -> None:
        """Enter a band of some objects, (m, size, size), calibrated; ``bad`` None: without a bad pixel.

        Bad pixels of objects that are kept are filled: with the median of the band's good ones in the cutout.
        """
        empty = blank(planes[..., None])
        if bad is not None:
            share = bad.mean(axis=(1, 2), dtype=np.float64).astype(np.float32)
            for i in np.flatnonzero((share > 0) & (share <= self._most)):
                good = planes[i][~bad[i]]
                empty[i] |= good.min() == good.max()
                planes[i][bad[i]] = np.median(good)
        with self._lock:  # bands may be cut by several threads
            self.empty[rows] |= empty
            if bad is not None:
                self.share[rows] = np.maximum(self.share[rows], share)

    def enter_good(self, rows: np.ndarray, planes: np.ndarray) -> None:
        """Enter bands, (m, bands, size, size), of some objects without a bad pixel."""
        empty = blank(planes.reshape(-1, *planes.shape[2:], 1)).reshape(planes.shape[:2]).any(axis=1)
        with self._lock:
            self.empty[rows] |= empty

    def reasons(self) -> np.ndarray:
        """Why each object cannot be used; "" where it can."""
        reasons = np.full(len(self.inside), "", dtype=object)
        reasons[self.empty] = BLANK
        reasons[self.share > self._most] = NO_VALUE if self._most == 0 else f"bad pixels above {self._most:g}"
        reasons[~self.inside] = EDGE
        return reasons
