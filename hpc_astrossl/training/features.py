"""Frozen convolutions see every image once: their features are what the head is trained on."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from hpc_astrossl.loading import Batch
from hpc_astrossl.loading.draws import Augmenting, augmentation
from hpc_astrossl.loading.order import Part, epoch_order, evaluation_parts, steps, training_parts


class FeatureLoader:
    """Batches of features, with the manners of a ``loading.Loader``: the same shares of ranks, order by (seed, epoch).

    ``rows`` (N,) are the store's rows, ascending; ``features`` (views, M, D) float32 those of the rows ``known`` (M,),
    ascending, all of ``rows`` among them, on the device of training. With 4 or 8 views each object is shown in one of
    them, drawn as flips (and turns) of images are; view 0, the image as it is, is what ``evaluate`` gives.
    """

    name = "features"

    def __init__(self, rows: np.ndarray, known: np.ndarray, features: Tensor, *, batch_size: int, seed: int, engine):
        self.rows, self.known, self.features = rows, known, features
        self.batch_size, self.seed, self.engine = batch_size, seed, engine
        self.waited = 0.0

    @property
    def steps(self) -> int:
        """Global batches in an epoch."""
        return steps(len(self.rows), self.batch_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """This rank's part of each global batch from step ``start``, shuffled by (seed, epoch)."""
        order = epoch_order(self.rows, 1 + int(self.rows[-1]), seed=self.seed, epoch=epoch)
        ranks = {"rank": self.engine.rank, "size": self.engine.size}
        parts = training_parts(order, self.batch_size, start=start, **ranks)
        return (self._batch(part, view_numbers(self.seed, epoch, part.rows, len(self.features))) for part in parts)

    def evaluate(self) -> Iterator[Batch]:
        """This rank's share of the rows, ascending."""
        ranks = {"rank": self.engine.rank, "size": self.engine.size}
        parts = evaluation_parts(self.rows, max(self.batch_size, 1024), **ranks)
        return (self._batch(part, np.zeros(len(part.rows), dtype=np.int64)) for part in parts)

    def close(self) -> None:
        """Nothing to end."""

    def _batch(self, part: Part, views: np.ndarray) -> Batch:
        device = self.features.device
        places = torch.from_numpy(np.searchsorted(self.known, part.rows)).to(device)
        features = self.features[torch.from_numpy(views).to(device), places]
        return Batch(images=features, rows=part.rows, offset=part.offset, total=part.total)


def view_numbers(seed: int, epoch: int, rows: np.ndarray, views: int) -> np.ndarray:
    """Which view each of ``rows`` is shown in, int64: the flips (4 views) and turns (8) that its image would get.

    Half a turn is both flips, so that view = mirrored + 2 × upside down + 4 × a quarter turn.
    """
    if views == 1:
        return np.zeros(len(rows), dtype=np.int64)
    drawn = augmentation(seed, epoch, rows, Augmenting(flips=True, turns=views == 8))
    half, quarter = (drawn.turns >> 1).astype(np.int64), (drawn.turns & 1).astype(np.int64)
    return (drawn.horizontal ^ half) + 2 * (drawn.vertical ^ half) + 4 * quarter


def view(images: Tensor, number: int) -> Tensor:
    """Images (B, channels, height, width) as view ``number`` shows them, see ``view_numbers``."""
    axes = [axis for bit, axis in ((1, 3), (2, 2)) if number & bit]
    images = images.flip(axes) if axes else images
    return torch.rot90(images, 1, (2, 3)) if number & 4 else images
