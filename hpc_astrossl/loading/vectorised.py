"""The loader of arrays on the CPU: one compiled loop from stored pixels into memory that is used again.

DALI's price for each sample, some 30 µs of CPU, is more than all of this work (docs/loading.md), so where pixels need
no decoding and no GPU is there, the pixels are put by a kernel of our own.
"""

import os
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from hpc_astrossl.loading.buffers import Buffers
from hpc_astrossl.loading.geometry import codes, warped
from hpc_astrossl.loading.kernel import put
from hpc_astrossl.loading.loader import Batch, Loader, Task
from hpc_astrossl.loading.order import Part
from hpc_astrossl.loading.pixels import Pixels
from hpc_astrossl.loading.prefetch import ahead
from hpc_astrossl.loading.scaling import scaling

AHEAD = 3  # finished batches that may wait for the training step
THREADS = min(2, len(os.sched_getaffinity(0)))  # that put a batch together


class VectorisedLoader(Loader):
    """A thread makes batches ahead of the training step; fluxes are scaled once, when their chunk is read."""

    name = "vectorised"

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self._buffers, self._pool = Buffers(), ThreadPoolExecutor(THREADS, "astrossl-putting")
        height, width, channels = self.store.image_shape
        self._shape = channels, height, width
        # What is left to the kernel: all linear scaling of uint8; anything else has been done when a chunk was read.
        linear = self.scaling if self._bytes and self.scaling.soften is None else scaling("none", channels)
        self._subtract, self._multiply = linear.subtract, linear.multiply

    def close(self) -> None:
        super().close()
        self._pool.shutdown()

    @property
    def _bytes(self) -> bool:
        """Whether chunks hold bytes, a quarter of the memory; they are scaled when they are put."""
        return self.store.dtype == np.uint8

    def _open_pixels(self) -> Pixels:
        return Pixels(self.store, self.rows, self.spec.resident_mb, skipped=self.skipped, prepare=self._prepare,
                      shape=self.store.image_shape, planes_first=True)  # fmt: skip

    def _prepare(self, index: int, chunk: np.ndarray) -> np.ndarray:
        images = super()._prepare(index, chunk)
        return images if self._bytes or not self.scaling.changes else self.scaling.apply(images, images)

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
            images = self._buffers.lend((len(task.part.rows), *self._shape))
            self._put(task, images.numpy())
            if task.augmentation is not None and task.augmentation.warp is not None and len(images):
                images = warped(images, task.augmentation.warp)
            yield task.part, images.to(self.device)

    def _put(self, task: Task, out: np.ndarray) -> None:
        """Put the images of a task into ``out`` (B, channels, height, width), flipped, turned and scaled."""
        code = np.zeros(len(out), dtype=np.int64) if task.augmentation is None else codes(task.augmentation)
        numbers, places, stretches = self.pixels.find(task.part.rows)
        moves = np.stack([numbers, places, code[places]], axis=1)
        work = [(images.transpose(0, 3, 1, 2), moves[part]) for images, part in stretches]
        if len(work) == 1:  # what is resident is one array
            work = [(images, piece) for images, whole in work for piece in np.array_split(whole, THREADS)]

        def share(thread: int) -> None:
            for images, piece in work[thread::THREADS]:
                put(images, piece, self._subtract, self._multiply, out)

        list(self._pool.map(share, range(THREADS)))
        if self._bytes and self.scaling.soften is not None:
            shown = out.transpose(0, 2, 3, 1)
            self.scaling.apply(shown, shown)
