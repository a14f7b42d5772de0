"""What every loader is: the spec, the batch, and the plan of an epoch; a loader only makes a plan's batches."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Literal, Protocol

import numpy as np
import torch

from hpc_astrossl.errors import InputError
from hpc_astrossl.loading import order
from hpc_astrossl.loading.arrival import Arrivals
from hpc_astrossl.loading.draws import Augmentation, Augmenting, augmentation
from hpc_astrossl.loading.geometry import codes
from hpc_astrossl.loading.making import Keeping
from hpc_astrossl.loading.order import Part, Parts
from hpc_astrossl.loading.pixels import Skipped, open_pixels
from hpc_astrossl.loading.scaling import CAFFE_MEANS, scaling
from hpc_astrossl.loading.sections import Members, Sections
from hpc_astrossl.store import Encoding, RowSet, Store
from hpc_astrossl.store.encoded import decode


class Ranks(Protocol):
    """What a loader needs of an engine."""

    rank: int
    size: int


@dataclass(frozen=True, kw_only=True)
class LoaderSpec:
    """How rows become batches.

    ``batch_size`` counts the objects of a step over all ranks; scaling is one of ``scaling.KINDS``. Training images
    are flipped, turned by 90°, turned by up to ``rotation`` degrees and shifted by up to ``shift`` pixels, as drawn by
    (seed, epoch, object). A split of up to ``resident_mb`` MiB of decoded images stays in memory. ``corrupt`` says
    what to do about images that cannot be read: stop, or skip and count them. ``statistics`` take the place of the
    store's in the scaling: a trained network must see images scaled as those it was trained on.
    """

    batch_size: int
    scaling: Literal["unit", "caffe", "imagenet", "none", "standard", "asinh"]
    flips: bool
    turns: bool
    seed: int
    resident_mb: int
    rotation: float = 0.0
    shift: float = 0.0
    corrupt: Literal["stop", "skip"] = "stop"
    statistics: Mapping[str, Any] | None = None

    @property
    def augmenting(self) -> Augmenting:
        """What is drawn for a training image."""
        return Augmenting(flips=self.flips, turns=self.turns, rotation=self.rotation, shift=self.shift)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """This rank's part of a global batch.

    ``images`` is float32 (B, channels, height, width) on the loader's device and the caller's to keep; ``rows`` int64
    (B,) the store's rows; ``offset`` the place of the first object in the global batch; ``total`` the objects of the
    global batch over all ranks. B is 0 where the tail of an epoch has fewer objects than there are ranks. Skipped
    objects (``LoaderSpec.corrupt``) are in ``total``, but not in ``rows`` and ``images``.
    """

    images: torch.Tensor
    rows: np.ndarray
    offset: int
    total: int


@dataclass(frozen=True, kw_only=True)
class Iteration:
    """A section of an epoch: its parts, what is drawn for all their objects, None in evaluation, the chunks it reads.

    ``following`` is the (epoch, section) that is likely to be wanted after it, None where that is not known.
    """

    parts: Parts
    drawn: Augmentation | None
    arrivals: Arrivals
    following: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True)
class Task:
    """A part to be made into a batch; ``augmentation`` is None in evaluation."""

    part: Part
    augmentation: Augmentation | None


class Loader(ABC):
    """Batches of ``rows`` of ``store``. One iteration at a time: beginning another one ends the one before.

    ``skipped.rows`` holds the rows that could not be read, each with its reason, as far as they have been met.
    ``reason`` says why this loader was chosen. ``waited`` adds up the seconds spent waiting for batches; set it to 0
    to begin anew.
    """

    name: ClassVar[str]

    def __init__(
        self,
        store: Store,
        rows: Sequence[int] | np.ndarray | RowSet,
        spec: LoaderSpec,
        *,
        engine: Ranks,
        device: torch.device | str,
    ):
        check(store, spec)
        self.store, self.spec, self.device = store, spec, torch.device(device)
        self.rows = RowSet.of(rows, len(store))
        self._members = Members(self.rows, store.chunk_rows)
        self._sections = lru_cache(2)(self._order)  # of this epoch and the next
        self.rank, self.size = engine.rank, engine.size
        self.scaling = scaling(spec.scaling, store.image_shape[2], spec.statistics or store.info.statistics)
        self.skipped = Skipped(allowed=spec.corrupt == "skip")
        self.pixels = open_pixels(self.store, self.rows, self._keeping(), self.skipped)
        self.waited, self.reason = 0.0, ""
        self._open: Iterator[Batch] | None = None
        self._planner = ThreadPoolExecutor(1, "astrossl-planning")
        self._planned: tuple[tuple[int, int], Future[Iteration]] | None = None  # the section that is planned ahead
        self._closed = False

    @property
    def steps(self) -> int:
        """Global batches in an epoch, the same number on every rank."""
        return order.steps(len(self.rows), self.spec.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """This rank's part of each global batch, shuffled and augmented by (seed, epoch).

        It begins at batch ``start`` exactly as the whole epoch would have gone on; what is skipped is not read.
        """
        return self._iterate(self._epoch(epoch, start))

    def evaluate(self) -> Iterator[Batch]:
        """This rank's share of the rows in ascending order, as they are; no object twice over all ranks."""
        return self._iterate(self._evaluation())

    def close(self) -> None:
        """End a running iteration and free threads and memory."""
        if self._open is not None:
            self._open.close()
            self._open = None
        self._planner.shutdown(cancel_futures=True)
        self.pixels.close()
        self._closed = True

    def _keeping(self) -> Keeping:
        """Decoded images; a loader that wants them otherwise says so."""
        return Keeping(shape=self.store.image_shape, resident_mb=self.spec.resident_mb, prepare=self._prepare)

    def _prepare(self, index: int, chunk: np.ndarray) -> np.ndarray:
        """What is kept of a chunk."""
        if self.store.encoding is None:
            return chunk
        return self.store.decoded(index, chunk, self._broken, self._decode)

    def _broken(self, row: int, error: InputError) -> None:
        self.skipped.add(np.array([row]), error)

    def _decode(self, row: np.ndarray, encoding: Encoding, out: np.ndarray) -> None:
        """Decode a file of the store; a loader that has a faster way says so."""
        decode(row, encoding, out)

    @abstractmethod
    def _batches(self, tasks: Iterator[Task]) -> Iterator[Batch]:
        """Make the batches of ``tasks``, in order; a generator that cleans up when closed."""

    def _epoch(self, epoch: int, start: int) -> Iterator[Iteration]:
        """The sections of an epoch, from batch ``start`` on; runs where the batches are made."""
        sections = self._sections(epoch)
        first, skip = divmod(start, sections.steps)
        for number in range(first, len(sections)):
            planned, self._planned = self._planned, None
            if planned is not None and planned[0] == (epoch, number) and not skip:
                yield planned[1].result()
            else:
                yield self._iteration((epoch, number), skip)
            skip = 0

    def _order(self, epoch: int) -> Sections:
        spec = self.spec
        return Sections(self._members, seed=spec.seed, epoch=epoch, batch_size=spec.batch_size,
                        window=order.WINDOW_CHUNKS)  # fmt: skip

    def _iteration(self, place: tuple[int, int], skip: int = 0) -> Iteration:
        """The (epoch, section) at ``place``, from its batch ``skip`` on; any thread may ask."""
        spec, (epoch, number) = self.spec, place
        sections = self._sections(epoch)
        parts = order.training_parts(sections[number], spec.batch_size, rank=self.rank, size=self.size, start=skip)
        drawn = None
        if spec.augmenting:
            drawn = augmentation(spec.seed, epoch, parts.rows, spec.augmenting)
        following = (epoch, number + 1) if number + 1 < len(sections) else (epoch + 1, 0)
        return Iteration(parts=parts, drawn=drawn, arrivals=self._arrivals(parts, drawn), following=following)

    def _evaluation(self) -> Iterator[Iteration]:
        for parts in order.evaluation_sections(self.rows, self.spec.batch_size, rank=self.rank, size=self.size):
            yield Iteration(parts=parts, drawn=None, arrivals=self._arrivals(parts, None), following=None)

    def _arrivals(self, parts: Parts, drawn: Augmentation | None) -> Arrivals:
        """Which chunks are read for the parts, and what is drawn for the objects."""
        return self.pixels.plan(parts.rows, parts.lengths, None if drawn is None else codes(drawn))

    def _iterate(self, iterations: Iterator[Iteration]) -> Iterator[Batch]:
        if self._open is not None:
            self._open.close()
        self._open = self._run(iterations)
        return self._open

    def _ready(self, number: int, rows: np.ndarray) -> np.ndarray:
        """Wait until the rows of the next part, which has that number, can be taken; those that can be read."""
        return self.pixels.ready(number, rows)

    def _run(self, iterations: Iterator[Iteration]) -> Iterator[Batch]:
        if self._closed:
            raise ValueError("the loader is closed")
        batches = self._batches(task for iteration in iterations for task in self._tasks(iteration))
        try:
            while True:
                before = time.perf_counter()
                batch = next(batches, None)
                self.waited += time.perf_counter() - before
                if batch is None:
                    return
                yield batch
        finally:
            batches.close()
            self.pixels.release()

    def _tasks(self, iteration: Iteration) -> Iterator[Task]:
        """Runs where the batches are made: it waits for the chunks."""
        self.pixels.begin(iteration.arrivals)
        start, planned = 0, None
        if iteration.following is not None:
            planned = iteration.following, self._planner.submit(self._iteration, iteration.following)
            self._planned = planned
        for number, part in enumerate(iteration.parts):
            if planned is not None and planned[1].done():
                self.pixels.announce(planned[1].result().arrivals)
                planned = None
            readable = self._ready(number, part.rows)
            places: slice | np.ndarray = slice(start, start := start + len(part.rows))
            if len(readable) < len(part.rows):
                places = np.arange(places.start, places.stop)[np.isin(part.rows, readable)]
                part = part._replace(rows=readable)
            yield Task(part=part, augmentation=None if iteration.drawn is None else iteration.drawn.of(places))

    def _batch(self, part: Part, images: torch.Tensor) -> Batch:
        return Batch(images=images, rows=part.rows, offset=part.offset, total=part.total)


def check(store: Store, spec: LoaderSpec) -> None:
    """InputError unless the spec suits the store's images."""
    height, width, channels = store.image_shape
    if store.dtype not in (np.uint8, np.float32):
        raise InputError(f"{store.path}: images are {store.dtype}; training reads uint8 and float32")
    if store.dtype != np.uint8 and spec.scaling in ("unit", "caffe", "imagenet"):
        raise InputError(
            f"{store.path}: scaling {spec.scaling} is for uint8 images, this store holds {store.dtype}; "
            "set data.scaling to asinh, standard or none"
        )
    if spec.scaling in ("caffe", "imagenet") and channels != len(CAFFE_MEANS):
        raise InputError(
            f"{store.path}: scaling {spec.scaling} is for red, green and blue, this store has {channels} channels "
            f"({', '.join(store.info.channels)}); set data.scaling to unit"
        )
    if spec.turns and height != width:
        raise InputError(f"{store.path}: images of {height} × {width} pixels cannot be turned by 90°; "
                         "set data.turns to false")  # fmt: skip
    if spec.corrupt not in ("stop", "skip"):
        raise InputError(f"corrupt must be stop or skip, found {spec.corrupt!r}")
