"""The pixels of rows: whole chunks, read ahead, kept for the run or for as long as an iteration needs them."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.loading.slots import Slots
from hpc_astrossl.store import Store

MEBIBYTE = 1 << 20
READ_AHEAD = 16  # chunks that are being read while others are used; fewer leave a core idle while a batch is put
NOWHERE = -1


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


def as_stored(index: int, chunk: np.ndarray) -> np.ndarray:
    """A chunk is kept as the store holds it."""
    return chunk


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """How a loader wants the pixels.

    ``prepare`` is called with (chunk number, what the store holds of it) once a chunk, and gives what is kept, images
    of ``shape``; it may work in place. Images that fit ``resident_mb`` MiB all stay; ``planes_first`` lays those out in
    memory as (channels, height, width); their shape is as ever.
    """

    shape: tuple[int, ...]
    resident_mb: int
    prepare: Callable[[int, np.ndarray], np.ndarray] = as_stored
    planes_first: bool = False


class Pixels:
    """Images of chosen rows, as they lie in the store, or prepared. ``reads`` counts the chunks read so far.

    When the rows' images fit the room for them they are read once and stay. Otherwise a chunk is dropped as soon as
    the iteration announced by ``begin`` has taken the last of its rows: each chunk is read once an iteration, and
    memory holds as many as the order keeps in use (``order.epoch_order``), and READ_AHEAD more.
    """

    def __init__(self, store: Store, rows: np.ndarray, keeping: Keeping, skipped: Skipped):
        self.store, self.rows, self.keeping, self.skipped, self.reads = store, rows, keeping, skipped, 0
        self.resident = fits(store, rows, keeping.resident_mb, keeping.shape)
        size = store.chunk_rows
        self._raw = Slots((size, *store.raw_shape), store.dtype)  # what chunks are read into
        same = keeping.shape == store.raw_shape
        self._prepared = self._raw if same else Slots((size, *keeping.shape), store.dtype)
        chunks = -(-len(store) // size)
        self._slot = np.full(chunks, NOWHERE, dtype=np.int64)  # where a chunk in use is
        self._left = np.zeros(chunks, dtype=np.int64)  # of a chunk's rows, those that the iteration has not taken
        self._coming: deque[int] = deque()
        self._begun: dict[int, tuple[int, Callable[[], np.ndarray]]] = {}
        self._over: list[int] = []  # chunks whose last row has been taken, and may still be looked at
        self._kept: np.ndarray | None = None  # images of ``rows``, where they are resident
        self._number = np.zeros(len(store), dtype=np.int64)  # of a row among ``rows``
        self._number[rows] = np.arange(len(rows))
        self._filled: set[int] = set()

    @property
    def chunks_held(self) -> int:
        """Chunks in memory now, the resident rows and those being read ahead aside."""
        return int((self._slot != NOWHERE).sum()) - len(self._over)

    def begin(self, rows: np.ndarray) -> None:
        """Announce the rows that the next iteration will take, in this order; reading begins."""
        self.release()
        if self.resident and self._kept is None and len(rows):
            self._kept = self._room()
        chunks, first, counts = np.unique(rows // self.store.chunk_rows, return_index=True, return_counts=True)
        coming = chunks[np.argsort(first, kind="stable")].tolist()
        if self.resident:
            coming = [index for index in sorted(coming) if index not in self._filled]
        self._left[chunks] = counts
        self._coming = deque(coming)
        self._read_on()

    def ready(self, rows: np.ndarray) -> np.ndarray:
        """Bring the chunks of ``rows`` into memory; the rows that can be read, which are all but the skipped ones.

        InputError, naming the store, the chunk and its objects, when one is damaged and the policy is to stop.
        """
        if self.resident:
            while self._begun:
                self._next()
        else:
            self._drop()
            chunks = rows // self.store.chunk_rows
            missing = set(chunks[self._slot[chunks] == NOWHERE].tolist())
            while missing:
                missing.discard(self._next())
        if not self.skipped.rows:
            return rows
        lost = np.array([row in self.skipped.rows for row in rows.tolist()], dtype=bool)
        if not self.resident:
            self._used(rows[lost] // self.store.chunk_rows)
        return rows[~lost]

    def take(self, rows: np.ndarray) -> list[np.ndarray]:
        """The images of rows that are ready, as views that hold until the next call of ``ready``."""
        found: list[np.ndarray] = [None] * len(rows)
        for images, numbers, places in self.find(rows):
            for number, place in zip(numbers.tolist(), places.tolist(), strict=True):
                found[place] = images[number]
        return found

    def find(self, rows: np.ndarray) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """What ``take`` gives, by the arrays that hold it: [(images, numbers of those wanted, their places), …]."""
        if not len(rows):
            return []
        if self.resident:
            return [(self._kept, self._number[rows], np.arange(len(rows)))]
        chunks, numbers = np.divmod(rows, self.store.chunk_rows)
        self._used(chunks)
        return self._prepared.find(self._slot[chunks], numbers)

    def release(self) -> None:
        """Forget the chunks of the iteration; resident rows stay."""
        for slot, wait in self._begun.values():
            with suppress(InputError):  # nobody wanted this chunk after all
                wait()  # memory that is being read into must not be given away
            self._raw.give(slot)
        for slot in self._slot[self._slot != NOWHERE].tolist():
            self._prepared.give(slot)
        self._slot[:], self._left[:] = NOWHERE, 0
        for held in (self._begun, self._coming, self._over):
            held.clear()

    def close(self) -> None:
        """Give back all memory but the resident rows."""
        self.release()
        self._raw.clear()
        self._prepared.clear()

    def _read_on(self) -> None:
        """Begin to read the next chunks."""
        while self._coming and len(self._begun) < READ_AHEAD:
            index, slot = self._coming.popleft(), self._raw.take()
            self._begun[index] = slot, self.store.begin_chunk(index, self._raw.memory(slot))

    def _next(self) -> int:
        """Keep the next chunk that was announced, prepared; its number."""
        index = next(iter(self._begun))
        slot, wait = self._begun.pop(index)
        self.reads += 1
        try:
            chunk = self.keeping.prepare(index, wait())
        except InputError as error:
            size = self.store.chunk_rows
            self.skipped.add(np.arange(index * size, min((index + 1) * size, len(self.store))), error)
            chunk = np.zeros((size, *self.keeping.shape), dtype=self.store.dtype)
        if self.resident:
            self._keep(index, chunk)
            self._raw.give(slot)
        else:
            self._slot[index] = self._hold(slot, chunk)
        self._read_on()
        return index

    def _hold(self, slot: int, chunk: np.ndarray) -> int:
        """The slot of a chunk that was read into ``slot`` and is in use from now on."""
        if self._prepared is not self._raw:
            self._raw.give(slot)
            slot = self._prepared.take()
        memory = self._prepared.memory(slot)
        if not np.may_share_memory(chunk, memory):
            memory[: len(chunk)] = chunk
        return slot

    def _room(self) -> np.ndarray:
        """Memory for the resident images."""
        count, dtype = len(self.rows), self.store.dtype
        if not self.keeping.planes_first:
            return np.empty((count, *self.keeping.shape), dtype=dtype)
        height, width, channels = self.keeping.shape
        return np.empty((count, channels, height, width), dtype=dtype).transpose(0, 2, 3, 1)

    def _keep(self, index: int, chunk: np.ndarray) -> None:
        """Copy the wanted rows of a chunk to those that stay."""
        size = self.store.chunk_rows
        begin, end = np.searchsorted(self.rows, [index * size, (index + 1) * size])
        self._kept[begin:end] = chunk[self.rows[begin:end] - index * size]
        self._filled.add(index)

    def _used(self, chunks: np.ndarray) -> None:
        """A row of each of these chunks, which may be repeated, has been taken, or will never be."""
        chunks, counts = np.unique(chunks, return_counts=True)
        self._left[chunks] -= counts
        self._over += chunks[self._left[chunks] == 0].tolist()

    def _drop(self) -> None:
        for index in self._over:
            self._prepared.give(int(self._slot[index]))
            self._slot[index] = NOWHERE
        self._over.clear()


def fits(store: Store, rows: np.ndarray, resident_mb: int, shape: tuple[int, ...] | None = None) -> bool:
    """Whether the images of ``rows`` may stay in memory."""
    return len(rows) * int(np.prod(shape or store.image_shape)) * store.dtype.itemsize <= resident_mb * MEBIBYTE
