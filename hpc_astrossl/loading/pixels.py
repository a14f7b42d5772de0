"""The pixels of rows: whole chunks, read ahead, kept for the run or put into the batches that want them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import numpy as np

from hpc_astrossl.errors import InputError, StoreChanged
from hpc_astrossl.loading import order
from hpc_astrossl.loading.arrival import Arrivals, arrivals
from hpc_astrossl.loading.buffers import Buffers
from hpc_astrossl.loading.making import Keeping, Making
from hpc_astrossl.loading.reading import Readers, Reading
from hpc_astrossl.store import RowSet, Store

MEBIBYTE = 1 << 20
NOTHING = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)  # rows, and batches
READ_AHEAD = 32  # chunks that are being read beyond those due; fewer leave a core idle while a batch is finished
SPARE = 8  # batches whose memory is kept beyond those in the making: the caller looks at some


@dataclass(kw_only=True)
class Skipped:
    """Rows that could not be read and were left out, with the reason; None when the policy is to stop at the first."""

    allowed: bool = False
    rows: dict[int, str] = field(default_factory=dict)

    def add(self, rows: np.ndarray, error: InputError) -> None:
        """Take note of unreadable rows, or raise the error."""
        if not self.allowed or isinstance(error, StoreChanged):
            raise error
        self.rows |= dict.fromkeys(rows.tolist(), str(error))


class Pixels(ABC):
    """Images of chosen rows for the batches of an iteration, as they lie in the store, or prepared."""

    resident: bool

    def __init__(self, store: Store, keeping: Keeping, skipped: Skipped):
        self.store, self.keeping, self.skipped = store, keeping, skipped
        self._readers = Readers(store)

    @property
    def reads(self) -> int:
        """The chunks read so far."""
        return self._readers.reads

    @property
    @abstractmethod
    def staged(self) -> int:
        """Batches that are in the making now."""

    def plan(self, rows: np.ndarray, lengths: np.ndarray, codes: np.ndarray | None = None) -> Arrivals:
        """What ``begin`` wants to know of an iteration, by the rows of all objects and how many are in each batch.

        ``codes`` (``geometry.codes``) are of the objects of all batches, and for ``Keeping.put``. Any thread may ask.
        """
        if len(rows) >= order.COMPILED:
            from hpc_astrossl.loading import compiled

            return compiled.arrivals(rows, lengths, self.store.chunk_rows, codes)
        return arrivals(rows, lengths, self.store.chunk_rows, codes)

    @abstractmethod
    def begin(self, plan: Arrivals) -> None:
        """Begin an iteration, after the one before has ended; reading begins, or goes on if this was announced."""

    @abstractmethod
    def announce(self, plan: Arrivals) -> None:
        """Hear what iteration is likely to come after this one."""

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

    @abstractmethod
    def release(self) -> None:
        """End the iteration; what was announced may be begun."""

    def close(self) -> None:
        """Free threads, and all memory but the resident rows."""
        self.release()
        self._readers.close()

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
        self._filled = np.zeros(-(-len(store) // store.chunk_rows), dtype=bool)  # chunks
        self._coming: list[int] = []
        self._reading = Reading(self._readers, self._coming, self._keep)

    def plan(self, rows: np.ndarray, lengths: np.ndarray, codes: np.ndarray | None = None) -> Arrivals:
        """Of what may have to be read."""
        rows = rows[~self._filled[rows // self.store.chunk_rows]]
        return arrivals(rows, np.array([len(rows)]), self.store.chunk_rows)

    def begin(self, plan: Arrivals) -> None:
        self.release()
        if self._kept is None:
            self._kept = self.keeping.shown(np.empty(self.keeping.room(len(self.rows)), dtype=self.store.dtype))
        self._coming = sorted(index for index in plan.chunks if not self._filled[index])
        self._reading = Reading(self._readers, self._coming, self._keep)
        self._reading.read(len(self._coming))

    def announce(self, plan: Arrivals) -> None:
        """All that it wants stays."""

    def find(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self._kept, np.searchsorted(self.rows, rows)

    def release(self) -> None:
        self._reading.stop()

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

    Memory holds the batches in the making, as many as the order spreads a chunk over (``order.epoch_order``). Towards
    the end of an iteration those of the one that was announced are begun, so that its first batches need not wait.
    """

    resident = False

    def __init__(self, store: Store, keeping: Keeping, skipped: Skipped):
        super().__init__(store, keeping, skipped)
        self._buffers = Buffers(store.dtype)
        self._now: Making = self._making(self.plan(*NOTHING))
        self._next: Making | None = None
        self._images: np.ndarray  # of the batch that was made ready last
        self._rows: np.ndarray
        self._numbers: np.ndarray  # of the images of a batch

    @property
    def staged(self) -> int:
        return self._now.staged + (self._next.staged if self._next else 0)

    def begin(self, plan: Arrivals) -> None:
        self.release()
        if self._next is None or self._next.arrivals is not plan:
            self._forget()
            self._next = self._making(plan)
        self._now, self._next = self._next, None
        self._numbers = np.arange(max(plan.lengths, default=0))
        self._buffers.keep = self._now.depth(READ_AHEAD) + SPARE
        if plan.lengths:
            self._now.want(0, READ_AHEAD)

    def announce(self, plan: Arrivals) -> None:
        self._next = self._making(plan)
        self._buffers.keep += self._next.depth(READ_AHEAD)

    def ready(self, number: int, rows: np.ndarray) -> np.ndarray:
        self._rows = rows
        return super().ready(number, rows)

    def find(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        whole = len(rows) == len(self._rows)
        return self._images, self._numbers[: len(rows)] if whole else np.flatnonzero(np.isin(self._rows, rows))

    def release(self) -> None:
        self._now.stop()

    def close(self) -> None:
        self._forget()
        super().close()
        self._buffers.clear()

    def _wait(self, number: int) -> None:
        more = self._now.want(number, READ_AHEAD)
        if self._next is not None:
            self._next.want(number + 1 - len(self._now.arrivals.lengths), more)
        self._images = self.keeping.shown(self._now.take(number, self._lost))

    def _making(self, plan: Arrivals) -> Making:
        return Making(plan, self.keeping, self._readers, self._buffers)

    def _forget(self) -> None:
        """What was announced does not come."""
        if self._next is not None:
            self._next.stop()
            self._next = None


def fits(store: Store, rows: RowSet, resident_mb: int, shape: tuple[int, ...] | None = None) -> bool:
    """Whether the images of ``rows`` may stay in memory."""
    return len(rows) * int(np.prod(shape or store.image_shape)) * store.dtype.itemsize <= resident_mb * MEBIBYTE


def open_pixels(store: Store, rows: RowSet, keeping: Keeping, skipped: Skipped) -> Pixels:
    """Of the images of ``rows``, resident where they fit."""
    if fits(store, rows, keeping.resident_mb, keeping.shape):
        return Resident(store, keeping, skipped, rows[:])
    return Streamed(store, keeping, skipped)
