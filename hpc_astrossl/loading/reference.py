"""The reference loader: numpy, one object at a time, no thread. What it gives, every loader must give, bit by bit."""

from collections.abc import Iterator

import numpy as np
import torch

from hpc_astrossl.loading.loader import CAFFE_MEANS, Batch, Loader, Task


class ReferenceLoader(Loader):
    """Slow and plain, for the contract tests and for places without DALI."""

    name = "reference"

    def _batches(self, tasks: Iterator[Task]) -> Iterator[Batch]:
        for task in tasks:
            images = np.empty((len(task.part.rows), *self.store.image_shape), dtype=self.store.dtype)
            self.pixels.take(task.part.rows, images)
            if task.augmentation is not None:
                flags = task.augmentation
                images = [put(*one) for one in zip(images, flags.horizontal, flags.vertical, flags.turns, strict=True)]
            scaled = np.empty((len(images), *self._channels_first), dtype=np.float32)
            for index, image in enumerate(images):
                scaled[index] = scale(image, self.spec.scaling).transpose(2, 0, 1)
            yield self._batch(task.part, torch.from_numpy(scaled).to(self.device))

    @property
    def _channels_first(self) -> tuple[int, int, int]:
        height, width, channels = self.store.image_shape
        return channels, height, width


def put(image: np.ndarray, horizontal: bool, vertical: bool, turns: int) -> np.ndarray:
    """The image (height, width, channels) mirrored, turned upside down and turned, see ``order.Augmentation``."""
    if horizontal:
        image = image[:, ::-1]
    if vertical:
        image = image[::-1]
    return np.rot90(image, turns)


def scale(image: np.ndarray, scaling: str) -> np.ndarray:
    """The image in float32. "unit" multiplies by the float32 nearest 1/255, as the fast loaders do: within one unit
    in the last place of the quotient."""
    image = image.astype(np.float32)
    if scaling == "unit":
        return image * np.float32(1 / 255)
    if scaling == "caffe":
        return image - np.array(CAFFE_MEANS, dtype=np.float32)
    return image
