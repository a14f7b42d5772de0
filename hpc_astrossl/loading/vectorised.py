"""The loader on the CPU: one compiled loop from stored pixels into memory that is used again.

Images of a streamed chunk are put where their batches are made by the thread that has read it. Floats are then what
the network gets; bytes, a quarter of the memory, wait as bytes until their batch is wanted.

What the thread that makes batches does in between is done without a call that gives Python's lock away, where there is
a choice: threads that read wait for it, too, and it comes back late.

DALI's price for each sample, some 30 µs of CPU, is more than all of this work (docs/loading.md), so where no GPU is
there, the pixels are put by a kernel of our own; files are decoded by the thread that has read them (``decoding``).
"""

import os
import threading
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
import torch

from hpc_astrossl.loading import direct
from hpc_astrossl.loading.buffers import Buffers
from hpc_astrossl.loading.decoding import decode_fast
from hpc_astrossl.loading.geometry import codes, warped
from hpc_astrossl.loading.kernel import Into, put
from hpc_astrossl.loading.loader import Batch, Loader, Task
from hpc_astrossl.loading.making import Keeping, Staged
from hpc_astrossl.loading.order import Part
from hpc_astrossl.loading.prefetch import ahead
from hpc_astrossl.loading.scaling import scaling
from hpc_astrossl.store import Encoding

AHEAD = 2  # finished batches that may wait for the training step; of more than a few the memory is cold again
THREADS = min(2, len(os.sched_getaffinity(0)))  # that put batches together, each one


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A batch that a thread is putting together; None: it is as it should be."""

    task: Task
    images: np.ndarray
    done: Future | None = None


class VectorisedLoader(Loader):
    """A thread makes batches ahead of the training step."""

    name = "vectorised"

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self._memory = threading.local()
        self._buffers, self._pool = Buffers(), ThreadPoolExecutor(THREADS, "astrossl-putting")
        height, width, channels = self.store.image_shape
        self._shape = channels, height, width
        self._places = np.arange(self.spec.batch_size, dtype=np.int32)
        # The kernel scales linearly, which costs it nothing; asinh is done when a chunk of fluxes is read.
        self._unscaled = scaling("none", channels)
        self._linear = self.scaling if self.scaling.soften is None else self._unscaled

    def close(self) -> None:
        super().close()
        self._pool.shutdown()

    @property
    def _bytes(self) -> bool:
        """Whether chunks hold bytes, a quarter of the memory: asinh of those has to wait for the batch."""
        return self.store.dtype == np.uint8

    def _keeping(self) -> Keeping:
        fast = self._read if direct.suits(self.store) and self._as_stored else None
        return replace(super()._keeping(), planes_first=True, put=self._arrived, fast=fast)

    @property
    def _as_stored(self) -> bool:
        """Whether chunks are put as they are; asinh of fluxes is done before."""
        return self._bytes or self.scaling.soften is None

    def _read(self, chunks: list[int], bounds: np.ndarray, moves: np.ndarray, staged: Staged) -> np.ndarray:
        """Read streamed chunks and put their images as ``_arrived`` does, in one call."""
        if not hasattr(self._memory, "room"):
            self._memory.room = direct.room(self.store)
        found = self.store.extents(chunks)
        wanted = direct.Wanted(files=found.files, offsets=found.offsets, bounds=bounds, moves=moves)
        return direct.put_chunks(wanted, self._memory.room, self._into(staged))

    def _decode(self, row: np.ndarray, encoding: Encoding, out: np.ndarray) -> None:
        decode_fast(row, encoding, out)

    def _arrived(self, images: np.ndarray, moves: np.ndarray, staged: Staged) -> None:
        """Put the images of a streamed chunk into their batches, flipped and turned; floats are scaled as well."""
        put(images, moves, self._into(staged))

    def _into(self, staged: Staged) -> Into:
        scaled = self._unscaled if self._bytes else self._linear
        return Into(addresses=staged.addresses, like=np.empty(0, self.store.dtype), subtract=scaled.subtract,
                    multiply=scaled.multiply)  # fmt: skip

    def _prepare(self, index: int, chunk: np.ndarray) -> np.ndarray:
        images = super()._prepare(index, chunk)
        return images if self._as_stored else self.scaling.apply(images, images)

    def _batches(self, tasks: Iterator[Task]) -> Iterator[Batch]:
        made = ahead(self._made(tasks), AHEAD)
        try:
            for part, images in made:
                yield self._batch(part, images)
        finally:
            made.close()

    def _made(self, tasks: Iterator[Task]) -> Generator[tuple[Part, torch.Tensor], None, None]:
        """Runs in the thread. Where threads put batches together, the next are begun before one is waited for."""
        begun: deque[Begun] = deque()
        for task in tasks:
            begun.append(self._begin_batch(task))
            if len(begun) > (THREADS if self.pixels.resident else 0):
                yield self._finished(begun.popleft())
        while begun:
            yield self._finished(begun.popleft())

    def _begin_batch(self, task: Task) -> Begun:
        """Have the images of a task put into memory that is used again; streamed floats are there already."""
        held, numbers = self.pixels.find(task.part.rows)
        source = self.pixels.keeping.laid_out(held)
        if not self.pixels.resident and not self._bytes:
            images = source if len(numbers) == len(source) else source[numbers]
            return Begun(task=task, images=images)
        images = self._buffers.lend((len(numbers), *self._shape))
        moves = np.empty((len(numbers), 4), dtype=np.int32)
        moves[:, 0], moves[:, 1], moves[:, 2], moves[:, 3] = numbers, 0, self._places[: len(numbers)], 0
        if not self.pixels.resident:  # the cores are busy with chunks: handing over would cost a fifth of the work
            self._put_into(images, source, moves)
            return Begun(task=task, images=images)
        if task.augmentation is not None:
            moves[:, 3] = codes(task.augmentation)
        return Begun(task=task, images=images, done=self._pool.submit(self._put_into, images, source, moves))

    def _put_into(self, images: np.ndarray, source: np.ndarray, moves: np.ndarray) -> None:
        """Put images, linearly scaled. Who runs this holds the memory, also when nobody waits any more."""
        put(source, moves, Into(addresses=np.array([images.ctypes.data]), like=np.empty(0, np.float32),
                                subtract=self._linear.subtract, multiply=self._linear.multiply))  # fmt: skip

    def _finished(self, begun: Begun) -> tuple[Part, torch.Tensor]:
        """The batch, when all of it has been put; softened and warped if that is wanted."""
        if begun.done is not None:
            begun.done.result()
        images, drawn = torch.from_numpy(begun.images), begun.task.augmentation
        if self._bytes and self.scaling.soften is not None:
            shown = begun.images.transpose(0, 2, 3, 1)
            self.scaling.apply(shown, shown)
        if drawn is not None and drawn.warp is not None and len(images):
            images = warped(images, drawn.warp)
        if images.device != self.device:  # asked to do nothing, it would give the lock away nevertheless
            images = images.to(self.device)
        return begun.task.part, images
