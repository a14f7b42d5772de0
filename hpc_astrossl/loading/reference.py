"""The reference loader: numpy, one object at a time, no thread. What it gives, every loader must give.

An image is scaled, flipped and turned, warped, and its channels put first; in evaluation it is only scaled.
"""

from collections.abc import Iterator

import numpy as np
import torch

from hpc_astrossl.loading.draws import Augmentation
from hpc_astrossl.loading.geometry import warp_matrices
from hpc_astrossl.loading.loader import Batch, Loader, Task
from hpc_astrossl.loading.scaling import scaling


class ReferenceLoader(Loader):
    """Slow and plain, for the contract tests."""

    name = "reference"

    def _batches(self, tasks: Iterator[Task]) -> Iterator[Batch]:
        height, width, channels = self.store.image_shape
        for task in tasks:
            out = np.empty((len(task.part.rows), channels, height, width), dtype=np.float32)
            for place, image in enumerate(self.pixels.take(task.part.rows)):
                scaled = self.scaling.apply(image, np.empty(image.shape, dtype=np.float32))
                out[place] = augmented(scaled, task.augmentation, place).transpose(2, 0, 1)
            yield self._batch(task.part, torch.from_numpy(out).to(self.device))


def augmented(image: np.ndarray, drawn: Augmentation | None, place: int) -> np.ndarray:
    """The image (height, width, channels) of float32 as object ``place`` of ``drawn`` is put."""
    if drawn is None:
        return image
    image = put(image, drawn.horizontal[place], drawn.vertical[place], drawn.turns[place])
    return image if drawn.warp is None else warp(image, drawn.warp[place])


def put(image: np.ndarray, horizontal: bool, vertical: bool, turns: int) -> np.ndarray:
    """The image (height, width, channels) mirrored, turned upside down and turned, see ``draws.Augmentation``."""
    if horizontal:
        image = image[:, ::-1]
    if vertical:
        image = image[::-1]
    return np.rot90(image, turns)


def warp(image: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """The image (height, width, channels) turned and moved by ``drawn`` (angle, down, right); bilinear in float64."""
    height, width = image.shape[:2]
    y, x = np.mgrid[:height, :width] + 0.5
    (matrix,) = warp_matrices(drawn[None], height, width)
    from_x, from_y = (row[0] * x + row[1] * y + row[2] - 0.5 for row in matrix)
    left, above = np.floor(from_x).astype(int), np.floor(from_y).astype(int)
    right_share, below_share = (from_x - left)[..., None], (from_y - above)[..., None]

    def at(row: np.ndarray, column: np.ndarray) -> np.ndarray:
        return image[row.clip(0, height - 1), column.clip(0, width - 1)].astype(np.float64)

    upper = at(above, left) * (1 - right_share) + at(above, left + 1) * right_share
    lower = at(above + 1, left) * (1 - right_share) + at(above + 1, left + 1) * right_share
    return (upper * (1 - below_share) + lower * below_share).astype(np.float32)


def scale(image: np.ndarray, kind: str, statistics: dict | None = None) -> np.ndarray:
    """One image (height, width, channels), that is in no store, in float32 as a loader would scale it."""
    return scaling(kind, image.shape[2], statistics).apply(image, np.empty(image.shape, dtype=np.float32))
