"""The pixels of rows: whole chunks, read ahead, kept for the run or for as long as an iteration needs them."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.store import Store

MEBIBYTE = 1 << 20
READ_AHEAD = 4  # chunks that are being read while others are used


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
    of ``shape``; it may work in place. Images that fit ``resident_mb`` MiB all stay. ``planes_first`` lays them out in
    memory as (channels, height, width) then; their shape is as ever.
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
        self._chunks: dict[int, np.ndarray] = {}
        self._left: dict[int, int] = {}
        self._coming: deque[int] = deque()
        self._begun: dict[int, tuple[np.ndarray, Callable[[], np.ndarray]]] = {}
        self._memory: dict[int, np.ndarray] = {}  # what the chunks in use were read into
        self._free: list[np.ndarray] = []
        self._filled: set[int] = set()
        self._kept: np.ndarray | None = None
        self._over: list[int] = []  # chunks whose last row has been taken, and may still be looked at

    @property
    def chunks_held(self) -> int:
        """Chunks in memory now, the resident rows and those being read ahead aside."""
        return len(self._chunks) - len(self._over)

    def begin(self, rows: np.ndarray) -> None:
        """Announce the rows that the next iteration will take, in this order; reading begins."""
        self.release()
        if self.resident and self._kept is None and len(rows):
            self._kept = self._room()
        chunks, first, counts = np.unique(rows // self.store.chunk_rows, return_index=True, return_counts=True)
        coming = chunks[np.argsort(first, kind="stable")].tolist()
        if self.resident:
            coming = [index for index in sorted(coming) if index not in self._filled]
        self._left = dict(zip(chunks.tolist(), counts.tolist(), strict=True))
        self._coming = deque(coming)
        self._read_on()

    def ready(self, rows: np.ndarray) -> np.ndarray:
        """Bring the chunks of ``rows`` into memory; the rows that can be read, which are all but the skipped ones.

        InputError, naming the store, the chunk and its objects, when one is damaged and the policy is to stop.
        """
        if self.resident:
            while self._begun:
                self._keep(*self._next())
        else:
            self._drop()
            while not self._chunks.keys() >= set((rows // self.store.chunk_rows).tolist()):
                index, chunk = self._next()
                self._chunks[index] = chunk
        if not self.skipped.rows:
            return rows
        lost = np.array([row in self.skipped.rows for row in rows.tolist()], dtype=bool)
        if not self.resident:
            for index in (rows[lost] // self.store.chunk_rows).tolist():
                self._used(index, 1)
        return rows[~lost]

    def take(self, rows: np.ndarray) -> list[np.ndarray]:
        """The images of rows that are ready, as views that hold until the next call of ``ready``."""
        images: list[np.ndarray] = [None] * len(rows)
        numbers, places, stretches = self.find(rows)
        for held, part in stretches:
            for number, place in zip(numbers[part], places[part], strict=True):
                images[place] = held[number]
        return images

    def find(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, list[tuple[np.ndarray, slice]]]:
        """What ``take`` gives, by the arrays that hold it: (numbers, places, [(images, stretch of the two), …]).

        ``numbers`` are those of the wanted images in the array of their stretch, ``places`` theirs in ``rows``.
        """
        if not len(rows):
            return rows, rows, []
        if self.resident:
            return np.searchsorted(self.rows, rows), np.arange(len(rows)), [(self._kept, slice(None))]
        chunks, numbers = np.divmod(rows, self.store.chunk_rows)
        places = np.argsort(chunks, kind="stable")
        first = np.flatnonzero(np.diff(chunks[places], prepend=-1))
        bounds = [*first.tolist(), len(rows)]
        stretches = []
        for index, start, stop in zip(chunks[places[first]].tolist(), bounds, bounds[1:], strict=False):
            stretches.append((self._chunks[index], slice(start, stop)))
            self._used(index, stop - start)
        return numbers[places], places, stretches

    def release(self) -> None:
        """Forget the chunks of the iteration; resident rows stay."""
        for _, wait in self._begun.values():
            try:
                wait()  # memory that is being read into must not be given away
            except InputError:
                continue  # nobody wanted this chunk after all
        self._free += [memory for memory, _ in self._begun.values()] + list(self._memory.values())
        for held in (self._chunks, self._memory, self._begun, self._coming, self._over):
            held.clear()

    def close(self) -> None:
        """Give back all memory but the resident rows."""
        self.release()
        self._free.clear()

    def _read_on(self) -> None:
        """Begin to read the next chunks, into memory that is free."""
        store = self.store
        while self._coming and len(self._begun) < READ_AHEAD:
            index = self._coming.popleft()
            memory = self._free.pop() if self._free else np.empty((store.chunk_rows, *store.raw_shape), store.dtype)
            self._begun[index] = (memory, store.begin_chunk(index, memory))

    def _next(self) -> tuple[int, np.ndarray]:
        """The next chunk that was announced, prepared."""
        index = next(iter(self._begun))
        self._memory[index], wait = self._begun.pop(index)
        self.reads += 1
        try:
            chunk = self.keeping.prepare(index, wait())
        except InputError as error:
            size = self.store.chunk_rows
            self.skipped.add(np.arange(index * size, min((index + 1) * size, len(self.store))), error)
            chunk = np.zeros((size, *self.keeping.shape), dtype=self.store.dtype)
        self._read_on()
        return index, chunk

    def _room(self) -> np.ndarray:
        """Memory for the resident images."""
        count, dtype = len(self.rows), self.store.dtype
        if not self.keeping.planes_first:
            return np.empty((count, *self.keeping.shape), dtype=dtype)
        height, width, channels = self.keeping.shape
        return np.empty((count, channels, height, width), dtype=dtype).transpose(0, 2, 3, 1)

    def _keep(self, index: int, chunk: np.ndarray) -> None:
        size = self.store.chunk_rows
        begin, end = np.searchsorted(self.rows, [index * size, (index + 1) * size])
        self._kept[begin:end] = chunk[self.rows[begin:end] - index * size]
        self._filled.add(index)
        self._free.append(self._memory.pop(index))

    def _used(self, index: int, count: int) -> None:
        """``count`` rows of a chunk have been taken, or will never be."""
        self._left[index] -= count
        if self._left[index] == 0:
            self._over.append(index)

    def _drop(self) -> None:
        for index in self._over:
            del self._chunks[index]
            self._free.append(self._memory.pop(index))
        self._over.clear()


def fits(store: Store, rows: np.ndarray, resident_mb: int, shape: tuple[int, ...] | None = None) -> bool:
    """Whether the images of ``rows`` may stay in memory."""
    return len(rows) * int(np.prod(shape or store.image_shape)) * store.dtype.itemsize <= resident_mb * MEBIBYTE
