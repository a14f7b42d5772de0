"""Memory for batches, used again as soon as nobody looks at it: fresh large arrays cost as much as the work on them.

Arrays, since every operation of torch gives Python's lock away and waits for it among the threads that read.
"""

import math
import sys

import numpy as np


class Buffers:
    """Lends arrays. What is lent is the caller's for as long as it, or any view of it, lives, tensors included.

    ``keep`` is how many are kept for use again.
    """

    def __init__(self, dtype: np.dtype = np.float32, keep: int = 8):
        self.keep, self._dtype = keep, dtype
        self._arrays: list[np.ndarray] = []

    def lend(self, shape: tuple[int, ...]) -> np.ndarray:
        """An array of ``shape`` with whatever numbers were in it.

        A view of an array holds a reference to it, and so does a tensor made by ``torch.from_numpy`` until its memory
        is needed no more, by autograd too; an array with no reference but ours is free.
        """
        size = math.prod(shape)
        for index in range(len(self._arrays)):
            if self._arrays[index].size >= size and _references(self._arrays, index) == _FREE:
                self._arrays.append(self._arrays.pop(index))  # what was lent first is likely to be free first
                return self._arrays[-1][:size].reshape(shape)
        array = np.empty(size, dtype=self._dtype)
        if size and len(self._arrays) < self.keep:
            self._arrays.append(array)
        return array.reshape(shape)

    def clear(self) -> None:
        """Keep none."""
        self._arrays.clear()


def _references(arrays: list[np.ndarray], index: int) -> int:
    return sys.getrefcount(arrays[index])


_FREE = _references([np.empty(0)], 0)  # what an array shows that only a list refers to
