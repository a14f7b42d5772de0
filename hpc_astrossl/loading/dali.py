"""The loader by DALI: of images that the survey delivered encoded, and of everything on a GPU.

A split within the budget is decoded once and stays on the device of training, from where batches are gathered. Else
chunks are streamed, and each batch is decoded or copied to the device as it is made.
"""

from collections.abc import Generator, Iterator
from typing import Any

import numpy as np
import torch

from hpc_astrossl.errors import InputError
from hpc_astrossl.loading import pipeline
from hpc_astrossl.loading.arrival import Arrivals
from hpc_astrossl.loading.draws import Augmentation
from hpc_astrossl.loading.geometry import matrices
from hpc_astrossl.loading.loader import Batch, Loader, Task
from hpc_astrossl.loading.making import Keeping
from hpc_astrossl.loading.order import Part, Parts, evaluation_parts
from hpc_astrossl.loading.pixels import MEBIBYTE, NOTHING, fits
from hpc_astrossl.loading.prefetch import ahead
from hpc_astrossl.store.encoded import decode, intact

AHEAD = 3  # finished batches that may wait for the training step
PIECE = 256  # images that are decoded at a time when a split becomes resident
ROOM = 0.5  # of a GPU's free memory, at most, is taken by a resident split


class DaliLoader(Loader):
    """A thread reads, gathers and runs the pipeline ahead of the training step."""

    name = "dali"

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        self.resident = fits(self.store, self.rows, self._budget())
        self._largest = -(-self.spec.batch_size // self.size)
        self._kept: torch.Tensor | None = None  # the resident split, (rows, height, width, channels)
        self._kept_rows: np.ndarray  # ascending
        self._pipelines: dict[pipeline.Plan, Any] = {}
        if not self.resident and not self._encoded:
            room = self.pixels.keeping.room(self._largest)
            gathered = torch.from_numpy(np.empty(room, dtype=self.store.dtype))
            self._gathered = gathered.pin_memory() if self.device.type == "cuda" else gathered

    def close(self) -> None:
        super().close()
        self._pipelines.clear()
        self._kept = None

    def _budget(self) -> float:
        """MiB that a resident split may take: on a GPU no more than ROOM of what is free there."""
        if self.device.type != "cuda":
            return self.spec.resident_mb
        free, _ = torch.cuda.mem_get_info(self.device)
        return min(self.spec.resident_mb, ROOM * free / MEBIBYTE)

    @property
    def _encoded(self) -> bool:
        return self.store.encoding is not None

    def _keeping(self) -> Keeping:
        """Rows as they lie in the store, streamed; what is resident is kept by the loader itself."""
        return Keeping(shape=self.store.raw_shape, resident_mb=0, planes_first=self.store.planes_first)

    def _arrivals(self, parts: Parts, drawn: Augmentation | None) -> Arrivals:
        return self.pixels.plan(*NOTHING) if self.resident else super()._arrivals(parts, drawn)

    def _ready(self, number: int, rows: np.ndarray) -> np.ndarray:
        if not self.resident:
            return super()._ready(number, rows)
        if self._kept is None:
            self._kept = self._read_all()
        return rows[[row not in self.skipped.rows for row in rows.tolist()]] if self.skipped.rows else rows

    def _read_all(self) -> torch.Tensor:
        """All images of the loader on the device, decoded; zeros where one was skipped."""
        kept = torch.zeros((len(self.rows), *self.store.image_shape), device=self.device,
                           dtype=torch.uint8 if self.store.dtype == np.uint8 else torch.float32)  # fmt: skip
        self._kept_rows = self.rows[:]
        pieces = evaluation_parts(self._kept_rows, PIECE, rank=0, size=1)
        self.pixels.begin(self.pixels.plan(pieces.rows, pieces.lengths))
        for number, piece in enumerate(pieces):
            rows = self.pixels.ready(number, piece.rows)
            images = self.pixels.take(rows)
            if self._encoded:
                plan = pipeline.Plan(device=self.device, dtype=self.store.dtype, encoded=True)
                good, whole = self._from_files(rows, images, plan, PIECE)
                rows = rows[good]
            elif len(rows):
                whole = torch.from_numpy(np.stack(images))
            if len(rows):
                kept[torch.from_numpy(np.searchsorted(self._kept_rows, rows)).to(self.device)] = whole.to(self.device)
        self.pixels.close()
        return kept

    def _batches(self, tasks: Iterator[Task]) -> Iterator[Batch]:
        made = ahead(self._made(tasks), AHEAD)
        try:
            for part, images in made:
                if images.is_cuda:
                    images.record_stream(torch.cuda.current_stream(images.device))
                yield self._batch(part, images)
        finally:
            made.close()

    def _made(self, tasks: Iterator[Task]) -> Generator[tuple[Part, torch.Tensor], None, None]:
        """Runs in the thread."""
        for task in tasks:
            part, plan = task.part, self._plan(task.augmentation)
            if plan.encoded:
                packed = self.pixels.take(part.rows)
                good, images = self._from_files(part.rows, packed, plan, self._largest, task.augmentation)
                part = part if len(good) == len(part.rows) else part._replace(rows=part.rows[good])
            else:
                images = self._made_of(plan, self._largest, self._gather(part.rows), task.augmentation)
            yield part, images

    def _plan(self, drawn: Augmentation | None) -> pipeline.Plan:
        augmented = "no" if drawn is None else "nearest" if drawn.warp is None else "linear"
        on_device = self.resident and self.device.type == "cuda"
        return pipeline.Plan(device=self.device, dtype=self.store.dtype, encoded=self._encoded and not self.resident,
                             on_device=on_device, planes_first=self.store.planes_first and not self.resident,
                             augmented=augmented, scaling=self.scaling)  # fmt: skip

    def _made_of(self, plan: pipeline.Plan, batch_size: int, images, drawn: Augmentation | None = None) -> torch.Tensor:
        """What the pipeline of ``plan`` makes of images, or of a list of files."""
        height, width, channels = self.store.image_shape
        if not len(images):  # DALI has no empty batch
            return torch.empty((0, channels, height, width), device=self.device)
        if plan not in self._pipelines:
            self._pipelines[plan] = pipeline.build(plan, batch_size)
        inputs = {} if drawn is None else {"matrix": matrices(drawn, height, width)}
        return pipeline.run(self._pipelines[plan], self.device, images=images, **inputs)

    def _gather(self, rows: np.ndarray) -> torch.Tensor | np.ndarray:
        """Decoded images, (B, height, width, channels), on the device if they are resident; else as they lie."""
        if self.resident:
            gathered = self._kept[torch.from_numpy(np.searchsorted(self._kept_rows, rows)).to(self.device)]
            return gathered if gathered.is_cuda else gathered.numpy()
        images, numbers = self.pixels.find(rows)
        gathered = self._gathered[: len(rows)].numpy()
        lain = self.pixels.keeping.laid_out(images)
        np.take(lain, numbers, axis=0, out=gathered, mode="clip")  # not buffered
        return gathered

    def _from_files(self, rows: np.ndarray, packed: list[np.ndarray], plan: pipeline.Plan, batch_size: int,
                    drawn: Augmentation | None = None) -> tuple[np.ndarray, torch.Tensor]:  # fmt: skip
        """(places of the rows whose files are whole, what the pipeline makes of these)."""
        good, files = [], []
        for place, (row, image) in enumerate(zip(rows.tolist(), packed, strict=True)):
            try:  # copied: DALI may read it after the batch's memory is used again
                files.append(intact(image, self.store.encoding.format).copy())
                good.append(place)
            except ValueError as error:
                self.skipped.add(np.array([row]), self._damage(row, error))
        good = np.array(good, dtype=np.int64)
        try:
            return good, self._made_of(plan, batch_size, files, None if drawn is None else drawn.of(good))
        except RuntimeError:
            self._name_the_broken(rows[good], [packed[place] for place in good])
            raise

    def _name_the_broken(self, rows: np.ndarray, packed: list[np.ndarray]) -> None:
        """InputError for the first that another decoder cannot read either; DALI does not survive such a file."""
        for row, image in zip(rows.tolist(), packed, strict=True):
            try:
                decode(image, self.store.encoding, np.empty(self.store.image_shape, dtype=np.uint8))
            except ValueError as error:
                raise self._damage(row, error) from None

    def _damage(self, row: int, error: ValueError) -> InputError:
        index, place = divmod(row, self.store.chunk_rows)
        return self.store.damage(index, error, place)
