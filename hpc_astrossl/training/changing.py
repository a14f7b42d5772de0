"""What changes between the epochs and steps of a pretext, as the loop asks for it and a checkpoint holds it.

A run with labels has ``Still``: nothing changes.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from hpc_astrossl.pretexts import Pretext, Renewal
from hpc_astrossl.store import sweep
from hpc_astrossl.training.shared import Shared
from hpc_astrossl.training.state import copied


class Still:
    """Nothing changes."""

    def begin(self, epoch: int) -> None:
        """An epoch begins, or goes on."""

    def stepped(self, epoch: int, step: int) -> None:
        """A step of the optimiser was taken."""

    def record(self) -> dict[str, float]:
        """What an epoch's record tells of it."""
        return {}

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""


@dataclass(kw_only=True)
class Changing(Still):
    """A pretext's changes. ``steps`` are those of all epochs together; ``truth`` is changed in place."""

    pretext: Pretext
    training: Shared
    net: nn.Module
    optimizer: Any
    steps: int  # of an epoch
    epochs: int
    epoch: int = 0  # that was begun last

    def begin(self, epoch: int) -> None:
        """Renew, once an epoch: one that a checkpoint left in its midst goes on with what it began with."""
        if epoch == self.epoch:
            return
        now = Renewal(epoch=epoch, rows=self.training.data.rows, truth=self.training.truth, net=self.net,
                      optimizer=self.optimizer, features=self._features)  # fmt: skip
        self.pretext.told = {}
        self.pretext.renew(now)
        self.epoch = epoch

    def _features(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        encoder = self.training.encoder
        encoder.forget()  # the convolutions are others than an epoch ago
        known, found = encoder.features(self.net, rows)
        encoder.forget()
        return known, found[0].cpu().numpy()

    def stepped(self, epoch: int, step: int) -> None:
        """Tell the pretext how far it is."""
        self.pretext.stepped(self.net, ((epoch - 1) * self.steps + step + 1) / (self.epochs * self.steps))

    def record(self) -> dict[str, float]:
        """What the pretext tells of the epoch."""
        return self.pretext.told

    def state(self) -> dict[str, Any]:
        """The truth, if it is not zeros as at first, and what the pretext keeps."""
        truth = self.training.truth
        changed = any(part.any() for part in truth.split(sweep.HELD))
        return copied({"epoch": self.epoch, "truth": truth if changed else None, "told": self.pretext.told,
                       "own": self.pretext.state()})  # fmt: skip

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        if state["truth"] is not None:
            self.training.truth.copy_(state["truth"])
        self.epoch, self.pretext.told = state["epoch"], state["told"]
        self.pretext.restore(state["own"])
