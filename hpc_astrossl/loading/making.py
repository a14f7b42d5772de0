"""The batches of a streamed iteration, in the making: memory, and the objects that threads put into it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.loading.arrival import Arrivals
from hpc_astrossl.loading.buffers import Buffers
from hpc_astrossl.loading.reading import TOGETHER, Readers, Reading


@dataclass(frozen=True, kw_only=True)
class Staged:
    """Memory of batches in the making: arrays (B, …) by the number of the batch, and where each begins, int64."""

    images: dict[int, np.ndarray]
    addresses: np.ndarray


def as_stored(index: int, chunk: np.ndarray) -> np.ndarray:
    """A chunk is used as the store holds it."""
    return chunk


def copied(images: np.ndarray, moves: np.ndarray, staged: Staged) -> None:
    """Objects are put into their batches as they are."""
    for number, batch, place, _ in moves.tolist():
        staged.images[batch][place] = images[number]


@dataclass(frozen=True, kw_only=True)
class Keeping:
    """How a loader wants the pixels.

    ``prepare`` is called with (chunk number, what the store holds of it) once a chunk, and gives images of ``shape``;
    it may work in place. ``planes_first`` lays images out in memory as (channels, height, width); their shape is as
    ever. Images that fit ``resident_mb`` MiB all stay; others are put into batches by ``put`` (images of a chunk, with
    their axes as batches have them in memory, their ``Arrivals.moves``, the batches), or read and put by ``fast``
    (numbers of chunks, where each's moves begin and end, all moves, the batches), which says of which it did: of the
    others, whatever is the matter is found out by reading them alone. All are called by threads.
    """

    shape: tuple[int, ...]
    resident_mb: int
    prepare: Callable[[int, np.ndarray], np.ndarray] = as_stored
    planes_first: bool = False
    put: Callable[[np.ndarray, np.ndarray, Staged], None] = copied
    fast: Callable[[list[int], np.ndarray, np.ndarray, Staged], np.ndarray] | None = None

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


class Making:
    """The batches of one iteration. ``images`` of a batch are lent from ``buffers`` until it is taken."""

    def __init__(self, arrivals: Arrivals, keeping: Keeping, readers: Readers, buffers: Buffers):
        self.arrivals, self._keeping, self._buffers = arrivals, keeping, buffers
        self._staged = Staged(images={}, addresses=np.zeros(len(arrivals.lengths), dtype=np.int64))
        self._lent = 0  # batches that have memory, or had
        self._reading = Reading(readers, arrivals.chunks, self._put, self._put_fast if keeping.fast else None)

    @property
    def staged(self) -> int:
        """Batches that have memory."""
        return len(self._staged.images)

    def depth(self, more: int) -> int:
        """The most batches that have memory at a time when so many chunks are read beyond those that are due."""
        return self.arrivals.depth(more + TOGETHER)

    def want(self, number: int, more: int) -> int:
        """Have read what is due for a batch and so many chunks more, as far as there are any; how many there are not.

        A negative number is before the iteration (``Arrivals.due``).
        """
        self._lend(number + 1)
        count, chunks = self.arrivals.due(number) + more, len(self.arrivals.chunks)
        begun = min(-(-count // TOGETHER) * TOGETHER, chunks)
        if begun > 0:
            self._lend(self.arrivals.reach[begun - 1])
            self._reading.read(begun)
        return min(more, max(0, count - chunks))

    def take(self, number: int, lost: Callable[[int, InputError], None]) -> np.ndarray:
        """The images of a wanted batch, when they are all there; ``lost`` hears (chunk, error) of damage."""
        self._reading.wait(self.arrivals.needed[number], lost)
        return self._staged.images.pop(number)

    def stop(self) -> None:
        """Give all memory back; when this is back, no thread writes there."""
        self._reading.stop()
        self._staged.images.clear()

    def _lend(self, batches: int) -> None:
        """Give memory to the first so many batches."""
        for number in range(self._lent, batches):
            images = self._buffers.lend(self._keeping.room(self.arrivals.lengths[number]))
            self._staged.images[number], self._staged.addresses[number] = images, images.ctypes.data
            self._lent = number + 1

    def _put(self, place: int, chunk: np.ndarray) -> None:
        """Runs in a thread."""
        images = self._keeping.prepare(self.arrivals.chunks[place], chunk)
        self._keeping.put(self._keeping.laid_out(images), self.arrivals.of(place), self._staged)

    def _put_fast(self, places: range) -> list[int]:
        """Runs in a thread; the places that are left."""
        chunks, bounds = (of[places.start : places.stop] for of in (self.arrivals.chunks, self.arrivals.bounds))
        done = self._keeping.fast(chunks, bounds, self.arrivals.moves, self._staged)
        return [place for place, put in zip(places, done.tolist(), strict=True) if not put]
