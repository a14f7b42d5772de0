"""Frozen convolutions see every image once: their features stay in memory and are what the head is trained on."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from hpc_astrossl.loading import Batch
from hpc_astrossl.loading.order import Part, epoch_order, evaluation_parts, steps, training_parts


class FeatureLoader:
    """Batches of features, with the manners of a ``loading.Loader``: the same shares of ranks, order by (seed, epoch).

    ``rows`` (N,) are the store's rows, ascending; ``features`` (N, D) float32 theirs, on the device of training.
    """

    name = "features"

    def __init__(self, rows: np.ndarray, features: Tensor, *, batch_size: int, seed: int, engine):
        self.rows, self.features = rows, features
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
        return map(self._batch, training_parts(order, self.batch_size, start=start, **ranks))

    def evaluate(self) -> Iterator[Batch]:
        """This rank's share of the rows, ascending."""
        ranks = {"rank": self.engine.rank, "size": self.engine.size}
        return map(self._batch, evaluation_parts(self.rows, max(self.batch_size, 1024), **ranks))

    def close(self) -> None:
        """Nothing to end."""

    def _batch(self, part: Part) -> Batch:
        places = torch.from_numpy(np.searchsorted(self.rows, part.rows)).to(self.features.device)
        return Batch(images=self.features[places], rows=part.rows, offset=part.offset, total=part.total)
