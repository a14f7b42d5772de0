"""Who keeps what a phase has reached: records and checkpoints in the run folder, the best weights in memory."""

import time
from dataclasses import dataclass
from typing import Any

import torch

from hpc_astrossl.training import progress
from hpc_astrossl.training.loop import Phase, Within
from hpc_astrossl.training.phase import Weights, snapshot
from hpc_astrossl.training.shared import Shared


@dataclass(kw_only=True)
class Keeper:
    """Keeps what a phase has reached: the best weights in memory, records and checkpoints in the run folder.

    ``first`` is the phase's first epoch, ``frozen`` what its checkpoints need beside the net that is trained.
    """

    training: Shared
    phase: Phase
    index: int
    first: int
    frozen: Weights

    def __post_init__(self):
        self.best: Weights = {}

    def epoch(self, record: dict[str, Any], better: bool) -> None:
        """Keep an epoch's record, write it, and tell of it; save when it is time."""
        training = self.training
        training.hold()
        if better:
            prefix = "head." if self.phase.net is self.phase.head else ""
            self.best = snapshot(self.phase.net, add=prefix)
        training.records.append({"phase": self.index, **record})
        training.folder.add_metrics(training.records[-1])
        training.folder.say(progress.line(training.run, training.records, self.first, training.data.target.headline))
        if training.folder.writes and (training.checkpoints.due() or training.stop.name):
            self.save(None)

    def within(self, place: Within) -> None:
        """Save in the midst of an epoch."""
        self.training.hold()
        if self.training.folder.writes:
            self.save(place)

    def end(self, weights: Weights) -> Weights:
        """Close the phase: ``weights`` with the best of this phase in them."""
        self.phase.train.close()
        self.phase.validation.close()
        return weights | self.frozen | self.best

    def save(self, place: Within | None) -> None:
        """Write a checkpoint; not of weights that are no numbers: the loss of the next step will say so."""
        training, state = self.training, self.phase.state()
        if not all(torch.isfinite(tensor).all() for tensor in state["net"].values()):
            return
        training.folder.check()
        epoch = len(training.records)
        about = {
            "run": training.run.run_id,
            "phase": self.index,
            "store": training.data.store.identity,
            "weights": training.source.sha256,
            "first": self.first,
            "frozen": self.frozen,
            "best": self.best,
            "epoch": epoch,
            "within": vars(place) if place else None,
            "seconds": time.monotonic() - training.began,
            "records": training.records,
        }
        training.checkpoints.save((epoch, place.step if place else 0), about | state)
