"""The pixels of rows: whole chunks, read ahead, kept for the run or put into the batches that want them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from hpc_astrossl.errors import InputError
from hpc_astrossl.loading.arrival import Arrivals, arrivals
from hpc_astrossl.loading.buffers import Buffers
from hpc_astrossl.loading.reading import TOGETHER, Reading
from hpc_astrossl.store import Store

MEBIBYTE = 1 << 20
READ_AHEAD = 32  # chunks that are being read beyond those needed; fewer leave a core idle while a batch is finished
SPARE = 8  # batches whose memory is kept beyond those in the making: the caller looks at some


@dataclass(kw_only=True)
class Skipped:
    """Rows that could not be read and were left out, with the reason; None when the policy is to stop at the first."""

    allowed: bool = False
    rows: dict[int, str] = field(default_factory=dict)

    def add(self, rows: np.ndarray, error: InputError) -> None:
        """Take note of unreadable rows, or raise the error."""
        if not self.allowed:
            raise error
        self.rows |= dict.fromkeys(rows.tolist(), str(error))


@dataclass(frozen=True, kw_only=True)
class Staged:
    """Memory of batches in the making: tensors (B, …) by the number of the batch, and where each begins, int64."""

    images: dict[int, torch.Tensor]
    addresses: np.ndarray


def as_stored(index: int, chunk: np.ndarray) -> np.ndarray:
    """A chunk is used as the store holds it."""
    return chunk


def copied(images: np.ndarray, moves: np.ndarray, staged: Staged) -> None:
    """Objects are put into their batches as they are."""
    for number, batch, place, _ in moves.tolist():
        staged.images[batch].numpy()[place] = images[number]


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """How a loader wants the pixels.

    ``prepare`` is called with (chunk number, what the store holds of it) once a chunk, and gives images of ``shape``;
    it may work in place. ``planes_first`` lays images out in memory as (channels, height, width); their shape is as
    ever. Images that fit ``resident_mb`` MiB all stay; others are put into batches by ``put`` (images of a chunk, with
    their axes as batches have them in memory, their ``Arrivals.moves``, the batches). Both are called by threads.
    """

    shape: tuple[int, ...]
    resident_mb: int
    prepare: Callable[[int, np.ndarray], np.ndarray] = as_stored
    planes_first: bool = False
    put: Callable[[np.ndarray, np.ndarray, Staged], None] = copied

    def room(self, count: int) -> tuple[int, ...]:
        """The shape of so many images as they lie in memory."""
        if not self.planes_first:
            return count, *self.shape
        height, width, channels = self.shape
        return count, channels, height, width

    def laid_out(self, images: np.ndarray) -> np.ndarray:
        """Images with their axes as they lie in memory."""
        return images.transpose(0, 3, 1, 2) if self.planes_first else images

    def shown(self, images: np.ndarray) -> np.ndarray:
        """Images that are laid out so, in their shape."""
        return images.transpose(0, 2, 3, 1) if self.planes_first else images


class Pixels(ABC):
    """Images of chosen rows for the batches of an iteration, as they lie in the store, or prepared."""

    resident: bool

    def __init__(self, store: Store, keeping: Keeping, skipped: Skipped):
        self.store, self.keeping, self.skipped = store, keeping, skipped
        self._reading = Reading(store)

    @property
    def reads(self) -> int:
        """The chunks read so far."""
        return self._reading.reads

    @property
    @abstractmethod
    def staged(self) -> int:
        """Batches that are in the making now."""

    @abstractmethod
    def begin(self, batches: Sequence[np.ndarray], codes: np.ndarray | None = None) -> None:
        """Announce the batches of the next iteration, each the rows of its objects; reading begins.

        ``codes`` (``geometry.codes``) are of the objects of all batches, and for ``Keeping.put``.
        """

    @abstractmethod
    def _wait(self, number: int) -> None:
        """Until all chunks that a batch wants have been read."""

    @abstractmethod
    def find(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(images, the numbers in it of the rows that ``ready`` gave last)."""

    def ready(self, number: int, rows: np.ndarray) -> np.ndarray:
        """Wait for the next batch, which is announced and of these rows; those that can be read, all but the skipped.

        InputError, naming the store, the chunk and its objects, when one is damaged and the policy is to stop.
        """
        self._wait(number)
        if not self.skipped.rows:
            return rows
        return rows[[row not in self.skipped.rows for row in rows.tolist()]]

    def take(self, rows: np.ndarray) -> list[np.ndarray]:
        """What ``find`` finds, image by image."""
        images, numbers = self.find(rows)
        return [images[number] for number in numbers.tolist()]

    def release(self) -> None:
        """End the iteration."""
        self._reading.stop()

    def close(self) -> None:
        """Free threads, and all memory but the resident rows."""
        self.release()
        self._reading.close()

    def _lost(self, index: int, error: InputError) -> None:
        """Take note of a chunk that cannot be read."""
        size = self.store.chunk_rows
        self.skipped.add(np.arange(index * size, min((index + 1) * size, len(self.store))), error)


class Resident(Pixels):
    """Images of ``rows``, ascending, that stay in memory: each chunk is read once."""

    resident, staged = True, 0

    def __init__(self, store: Store, keeping: Keeping, skipped: Skipped, rows: np.ndarray):
        super().__init__(store, keeping, skipped)
        self.rows = rows
        self._kept: np.ndarray | None = None
        self._number = np.zeros(len(store), dtype=np.int64)  # of a row among ``rows``
        self._number[rows] = np.arange(len(rows))
        self._filled = np.zeros(-(-len(store) // store.chunk_rows), dtype=bool)  # chunks
        self._coming: list[int] = []

    def begin(self, batches: Sequence[np.ndarray], codes: np.ndarray | None = None) -> None:
        self.release()
        if self._kept is None:
            self._kept = self.keeping.shown(np.empty(self.keeping.room(len(self.rows)), dtype=self.store.dtype))
        wanted = np.zeros_like(self._filled)
        wanted[np.concatenate([self.rows[:0], *batches]) // self.store.chunk_rows] = True
        self._coming = np.flatnonzero(wanted & ~self._filled).tolist()
        self._reading.begin(self._coming, self._keep)
        self._reading.read(len(self._coming))

    def find(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._kept, self._number[rows]

    def _wait(self, number: int) -> None:
        self._reading.wait(len(self._coming), self._lost)
        self._filled[self._coming] = True

    def _keep(self, place: int, chunk: np.ndarray) -> None:
        """Runs in a thread: copy the wanted rows of a chunk to those that stay."""
        index, size = self._coming[place], self.store.chunk_rows
        begin, end = np.searchsorted(self.rows, [index * size, (index + 1) * size])
        self._kept[begin:end] = self.keeping.prepare(index, chunk)[self.rows[begin:end] - index * size]


class Streamed(Pixels):
    """Images that are put into batches as soon as their chunk is read, which is once an iteration.

    Memory holds the batches in the making, as many as the order spreads a chunk over (``order.epoch_order``).
    """

    resident = False

    def __init__(self, store: Store, keeping: Keeping, skipped: Skipped):
        super().__init__(store, keeping, skipped)
        self._buffers = Buffers(store.dtype)
        self._arrivals: Arrivals = arrivals([], 1)
        self._lengths: list[int] = []
        self._lent = 0  # batches that have memory, or had
        self._staged = Staged(images={}, addresses=np.empty(0, dtype=np.int64))
        self._ready: tuple[np.ndarray, np.ndarray]  # images of the batch that was made ready last, its rows

    @property
    def staged(self) -> int:
        return len(self._staged.images)

    def begin(self, batches: Sequence[np.ndarray], codes: np.ndarray | None = None) -> None:
        self.release()
        self._arrivals, self._lengths = arrivals(batches, self.store.chunk_rows, codes), list(map(len, batches))
        self._buffers.keep = self._arrivals.depth(READ_AHEAD + TOGETHER) + SPARE
        self._staged = Staged(images={}, addresses=np.zeros(len(batches), dtype=np.int64))
        self._lent = 0
        self._reading.begin(self._arrivals.chunks, self._put)
        self._read(READ_AHEAD)

    def ready(self, number: int, rows: np.ndarray) -> np.ndarray:
        readable = super().ready(number, rows)
        self._ready = self.keeping.shown(self._staged.images.pop(number).numpy()), rows
        return readable

    def find(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images, wanted = self._ready
        return images, np.arange(len(rows)) if len(rows) == len(wanted) else np.flatnonzero(np.isin(wanted, rows))

    def release(self) -> None:
        super().release()
        self._staged.images.clear()

    def close(self) -> None:
        super().close()
        self._buffers.clear()

    def _wait(self, number: int) -> None:
        self._lend(number + 1)
        needed = self._arrivals.needed[number]
        self._read(needed + READ_AHEAD)
        self._reading.wait(needed, self._lost)

    def _read(self, count: int) -> None:
        """Have so many chunks of the iteration read, or all, into batches that have memory."""
        count = min(-(-count // TOGETHER) * TOGETHER, len(self._arrivals.chunks))
        if count:
            self._lend(self._arrivals.reach[count - 1])
        self._reading.read(count)

    def _lend(self, batches: int) -> None:
        """Give memory to the first so many batches."""
        for number in range(self._lent, batches):
            images = self._buffers.lend(self.keeping.room(self._lengths[number]))
            self._staged.images[number], self._staged.addresses[number] = images, images.data_ptr()
            self._lent = number + 1

    def _put(self, place: int, chunk: np.ndarray) -> None:
        """Runs in a thread."""
        images = self.keeping.prepare(self._arrivals.chunks[place], chunk)
        self.keeping.put(self.keeping.laid_out(images), self._arrivals.of(place), self._staged)


def fits(store: Store, rows: np.ndarray, resident_mb: int, shape: tuple[int, ...] | None = None) -> bool:
    """Whether the images of ``rows`` may stay in memory."""
    return len(rows) * int(np.prod(shape or store.image_shape)) * store.dtype.itemsize <= resident_mb * MEBIBYTE


def open_pixels(store: Store, rows: np.ndarray, keeping: Keeping, skipped: Skipped) -> Pixels:
    """Of the images of ``rows``, resident where they fit."""
    if fits(store, rows, keeping.resident_mb, keeping.shape):
        return Resident(store, keeping, skipped, rows)
    return Streamed(store, keeping, skipped)
