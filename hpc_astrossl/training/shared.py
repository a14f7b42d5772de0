"""What the phases of one run share while it is trained."""

import time
from dataclasses import dataclass
from typing import Any

import torch

from hpc_astrossl.loading import Skipped
from hpc_astrossl.specs.run import RunSpec
from hpc_astrossl.store import RowSet
from hpc_astrossl.training.checkpoint import Checkpoints
from hpc_astrossl.training.data import Data, Source
from hpc_astrossl.training.encoding import Encoder
from hpc_astrossl.training.folder import RunFolder


@dataclass(kw_only=True)
class Shared:
    """A run's configuration, data, first weights and folder; its records and checkpoints; what it could not read."""

    run: RunSpec
    data: Data
    source: Source
    folder: RunFolder
    encoder: Encoder

    def __post_init__(self):
        self.engine, self.stop = self.encoder.engine, self.encoder.stop
        self.truth = torch.from_numpy(self.data.truth)
        minutes = self.run.training.checkpoint_minutes
        self.checkpoints = Checkpoints(self.folder.checkpoints, self.folder.say, minutes)
        self.records: list[dict[str, Any]] = []
        self.began = time.monotonic()
        self.skipped: list[Skipped] = []  # by loader of images, what it could not read

    def hold(self) -> None:
        """StoreChanged, on every rank, when the store was replaced or changed since it was opened."""
        self.encoder.hold()

    def readable(self, split: str) -> RowSet:
        """The rows of a split without those that the encoder found unreadable; from here on, the split is these."""
        self.data.rows[split] = self.data.rows[split].without(self.encoder.unreadable)
        return self.data.rows[split]
