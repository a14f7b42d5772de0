"""The training loop: one phase on ready-made objects. This page is the whole of it.

The loss of a step is the mean over the objects of the global batch. Each rank sums over its own objects, multiplies
by ranks / objects of all ranks, and the engine averages the gradients over ranks: the sum over all, divided by their
number, however unevenly they are split. A rank whose part is empty adds zero gradients.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hpc_astrossl.nets.vgg import Head
from hpc_astrossl.training.optim import Plateau, Stopping
from hpc_astrossl.training.watch import Watch


@dataclass(kw_only=True)
class Phase:
    """What one phase needs. ``net`` is what is trained, ``wrapped`` the same as the engine wants it called.

    ``truth`` holds the target's truth of all rows of the store, on the device; the loaders give batches of what
    ``net`` takes (images, or features when the head alone is trained).
    """

    net: nn.Module
    wrapped: nn.Module
    head: Head  # of net, or net itself
    optimizer: torch.optim.Optimizer
    plateau: Plateau
    stopping: Stopping
    train: Any  # loading.Loader, or the like of it
    validation: Any
    target: Any  # see hpc_astrossl.targets
    truth: Tensor
    engine: Any
    watch: Watch
    seed: int

    def state(self) -> dict[str, Any]:
        """All that changes from epoch to epoch, for a checkpoint."""
        return {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "plateau": self.plateau.state(),
            "stopping": self.stopping.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.plateau.restore(state["plateau"])
        self.stopping = Stopping(**state["stopping"])


def fit(phase: Phase, epochs: range, after: Callable[[dict[str, Any], bool], None]) -> str:
    """Train for ``epochs``; ``after`` gets each epoch's record and whether it is the best. Returns why it ended."""
    for epoch in epochs:
        if phase.stopping.exhausted:
            return "patience"
        begin = time.perf_counter()
        record = {"epoch": epoch, **train_epoch(phase, epoch)}
        metrics = evaluate(phase)
        loss = metrics["loss"]
        better = phase.stopping.better(loss, epoch)
        phase.plateau.step(loss)
        record |= {
            "validation_loss": loss,
            f"validation_{phase.target.headline}": metrics[phase.target.headline],
            "seconds": time.perf_counter() - begin,
        }
        after(record, better)
    return "patience" if phase.stopping.exhausted else "epochs"


def train_epoch(phase: Phase, epoch: int) -> dict[str, float]:
    """One pass over the training objects: optimiser steps, and what the record tells of them."""
    begin, phase.train.waited = time.perf_counter(), 0.0
    rate = phase.optimizer.param_groups[0]["lr"]
    phase.watch.begin(epoch)
    for step, batch in enumerate(phase.train.epoch(epoch)):
        keep = phase.head.keep(batch.total, (phase.seed, epoch, step))
        if keep is not None:
            keep = keep[batch.offset : batch.offset + len(batch.rows)].to(batch.images.device, non_blocking=True)
        raw = phase.wrapped(batch.images, keep)
        loss = phase.target.losses(raw, rows_of(phase.truth, batch.rows)).sum()
        phase.optimizer.zero_grad()
        (loss * (phase.engine.size / batch.total)).backward()
        phase.optimizer.step()
        phase.head.constrain()
        phase.watch.step(step, loss.detach(), batch.rows)
    loss, objects = phase.watch.end()
    seconds = time.perf_counter() - begin
    return {
        "train_loss": loss,
        "learning_rate": rate,
        "samples_per_second": objects / seconds,
        "data_wait": min(1.0, phase.train.waited / seconds),
    }


def evaluate(phase: Phase) -> dict[str, Any]:
    """Metrics of the validation objects, each counted once over all ranks; the same on every rank."""
    rows, raw = collect(phase.net, phase.validation, phase.engine)
    return measure(phase.target, raw, rows_of(phase.truth.cpu(), rows))


def measure(target, raw: Tensor, truth: Tensor) -> dict[str, Any]:
    """The target's metrics of raw outputs, (N, outputs) on the CPU."""
    return target.metrics(target.answer(raw).numpy(), truth.numpy(), target.losses(raw, truth).numpy())


@torch.no_grad()
def collect(function: Callable[[Tensor], Tensor], loader, engine) -> tuple[np.ndarray, Tensor]:
    """``function`` of every object of a loader, as (rows ascending, values on the CPU), from all ranks' shares."""
    parts = [(batch.rows, function(batch.images).cpu()) for batch in loader.evaluate()]
    told = [part for share in engine.gather(parts) for part in share]
    rows, values = np.concatenate([rows for rows, _ in told]), torch.cat([values for _, values in told])
    order = np.argsort(rows)
    return rows[order], values[torch.from_numpy(order)]


def rows_of(truth: Tensor, rows: np.ndarray) -> Tensor:
    """The truth of these rows of the store."""
    return truth[torch.from_numpy(rows).to(truth.device)]
