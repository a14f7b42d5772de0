"""The loader of arrays on the CPU: strided copies into memory that is used again, then arithmetic on whole batches.

DALI's price for each sample, some 30 µs of CPU, is more than all of this work (docs/loading.md), so where pixels need
no decoding and no GPU is there, the pixels are put by numpy.
"""

import os
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from hpc_astrossl.loading.buffers import Buffers
from hpc_astrossl.loading.geometry import codes, view, warped
from hpc_astrossl.loading.loader import Batch, Loader, Task
from hpc_astrossl.loading.order import Part
from hpc_astrossl.loading.prefetch import ahead

AHEAD = 3  # finished batches that may wait for the training step
THREADS = min(2, len(os.sched_getaffinity(0)))  # that put a batch together; numpy works beside Python


class VectorisedLoader(Loader):
    """A thread makes batches ahead of the training step; fluxes are scaled once, when their chunk is read."""

    name = "vectorised"

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self._buffers, self._pool = Buffers(), ThreadPoolExecutor(THREADS, "astrossl-putting")
        height, width, channels = self.store.image_shape
        self._shape = channels, height, width
        if self._staged:
            self._staging = np.empty((-(-self.spec.batch_size // self.size), *self._shape), dtype=np.uint8)
            values = np.repeat(np.arange(256, dtype=np.float32)[:, None], channels, axis=1)
            self._table = self.scaling.apply(values, values).T.copy()  # (channels, 256)

    def close(self) -> None:
        super().close()
        self._pool.shutdown()

    @property
    def _staged(self) -> bool:
        """Whether pixels are put as uint8, a quarter of the bytes, and scaled afterwards."""
        return self.store.dtype == np.uint8

    def _prepare(self, index: int, chunk: np.ndarray) -> np.ndarray:
        images = super()._prepare(index, chunk)
        return images if self._staged or not self.scaling.changes else self.scaling.apply(images, images)

    def _batches(self, tasks: Iterator[Task]) -> Iterator[Batch]:
        made = ahead(self._made(tasks), AHEAD)
        try:
            for part, images in made:
                yield self._batch(part, images)
        finally:
            made.close()

    def _made(self, tasks: Iterator[Task]) -> Generator[tuple[Part, torch.Tensor], None, None]:
        """Runs in the thread."""
        for task in tasks:
            count = len(task.part.rows)
            images = self._buffers.lend((count, *self._shape))
            out = images.numpy()
            put = self._staging[:count] if self._staged else out
            self._put(task, put)
            if self._staged:
                self._scale(put, out)
            if task.augmentation is not None and task.augmentation.warp is not None and count:
                images = warped(images, task.augmentation.warp)
            yield task.part, images.to(self.device)

    def _put(self, task: Task, out: np.ndarray) -> None:
        """Copy the images of a task into ``out`` (B, channels, height, width), flipped and turned."""
        rows = task.part.rows
        code = [0] * len(rows) if task.augmentation is None else codes(task.augmentation).tolist()
        images = self.pixels.take(rows)

        def some(places: range) -> None:
            for place in places:
                out[place] = view(images[place], code[place])

        self._share(some, len(rows))

    def _scale(self, pixels: np.ndarray, out: np.ndarray) -> None:
        """Scale uint8 ``pixels`` into ``out``, both (B, channels, height, width), bit by bit as the reference does."""
        subtract, multiply = (values[:, None, None] for values in (self.scaling.subtract, self.scaling.multiply))

        def some(places: range) -> None:
            part = slice(places.start, places.stop)
            if self.scaling.soften is not None:
                for channel, table in enumerate(self._table):
                    out[part, channel] = table[pixels[part, channel]]
            elif not subtract.any():
                np.multiply(pixels[part], multiply, out=out[part])
            else:
                np.subtract(pixels[part], subtract, out=out[part])
                if (multiply != 1).any():
                    np.multiply(out[part], multiply, out=out[part])

        self._share(some, len(out))

    def _share(self, work, count: int) -> None:
        """Do ``work`` on ranges of places, in the threads."""
        size = -(-count // THREADS) or 1
        list(self._pool.map(work, [range(first, min(first + size, count)) for first in range(0, count, size)]))
