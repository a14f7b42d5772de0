"""Memory for the chunks in use: in a few large arrays, so that images of many chunks are moved by one call."""

import numpy as np

FIRST = 64  # slots of the first array; each further one has twice as many, and untouched memory costs nothing


class Slots:
    """Places for chunks of one shape, taken and given back. What was given back last is taken first."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype):
        self.shape, self.dtype = shape, dtype
        self._arrays: list[np.ndarray] = []
        self._begins = np.zeros(0, dtype=np.int64)  # the first slot of each array
        self._memory: list[np.ndarray] = []  # of each slot
        self._free: list[int] = []

    def take(self) -> int:
        """A free slot."""
        if not self._free:
            begin, count = len(self._memory), FIRST << len(self._arrays)
            array = np.empty((count, *self.shape), self.dtype)
            self._arrays.append(array)
            self._begins = np.append(self._begins, begin)
            self._memory += list(array)
            self._free = list(range(begin, begin + count))[::-1]
        return self._free.pop()

    def give(self, slot: int) -> None:
        """Free a slot."""
        self._free.append(slot)

    def memory(self, slot: int) -> np.ndarray:
        """The memory of a slot."""
        return self._memory[slot]

    def find(self, slots: np.ndarray, rows: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Where ``rows`` (n,) of the chunks in ``slots`` (n,) are: [(images, their numbers, places among the n), …]."""
        numbers = slots * self.shape[0] + rows
        which = np.searchsorted(self._begins, slots, side="right") - 1
        found = []
        for index in np.unique(which).tolist():
            places = np.flatnonzero(which == index)
            images = self._arrays[index].reshape(-1, *self.shape[1:])
            found.append((images, numbers[places] - self._begins[index] * self.shape[0], places))
        return found

    def clear(self) -> None:
        """Free all slots, and their memory."""
        for held in (self._arrays, self._memory, self._free):
            held.clear()
        self._begins = self._begins[:0]
