"""The training loop: one phase on ready-made objects. This page is the whole of it.

The loss of a step is the mean over the objects of the global batch. Each rank sums over its own objects, multiplies
by ranks / objects of all ranks, and the engine averages the gradients over ranks: the sum over all, divided by their
number, however unevenly they are split. A rank whose part is empty adds zero gradients.
"""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from hpc_astrossl.errors import Interrupted
from hpc_astrossl.loading import Batch
from hpc_astrossl.nets.vgg import Head, steady
from hpc_astrossl.training.optim import Plateau, Stopping
from hpc_astrossl.training.state import agree, copied, fingerprint
from hpc_astrossl.training.watch import Stop, Watch


@dataclass(kw_only=True)
class Phase:
    """What one phase needs. ``net`` is what is trained, ``wrapped`` the same as the engine wants it called.

    ``truth`` holds the target's truth of all rows of the store, on the CPU; the loaders give batches of what ``net``
    takes (images, or features when the head alone is trained).
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
    changing: Any  # see training.changing
    truth: Tensor
    engine: Any
    watch: Watch
    seed: int
    batch_size: int

    def state(self) -> dict[str, Any]:
        """All that changes from epoch to epoch, for a checkpoint, in tensors of its own on the CPU."""
        return {
            "net": copied(dict(self.net.state_dict())),
            "optimizer": copied(self.optimizer.state_dict()),
            "plateau": self.plateau.state(),
            "stopping": self.stopping.state(),
            "changing": self.changing.state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.plateau.restore(state["plateau"])
        self.stopping = Stopping(**state["stopping"])
        self.changing.restore(state.get("changing", {}))


@dataclass(kw_only=True)
class Within:
    """Where an epoch was left: ``step`` steps were done; the losses so far by rank; the seconds spent and waited."""

    step: int = 0
    sums: list[tuple[float, int]] | None = None
    seconds: float = 0.0
    waited: float = 0.0


class Keeper(Protocol):
    """Who keeps what a phase has reached."""

    def epoch(self, record: dict[str, Any], better: bool) -> None:
        """An epoch is over: its record, and whether its validation loss is the best of the phase."""

    def within(self, place: Within) -> None:
        """Save the state in the midst of the epoch under way. Called on every rank."""


@dataclass(frozen=True, kw_only=True)
class Step:
    """A course asks for a step of the optimiser on ``batch``; the answer is the summed loss of its objects.

    ``key`` is (seed, epoch, step): what dropout is a function of.
    """

    batch: Batch
    key: tuple[int, int, int]


class Validation:
    """A course asks for (rows, raw outputs) of the validation objects."""


Course = Generator[Step | Validation, Any, str]


def fit(phase: Phase, epochs: range, keeper: Keeper, place: Within | None = None) -> str:
    """Train for ``epochs``, the first of them from ``place`` on. Returns why it ended.

    Interrupted, after the state has been saved, when a rank was asked to stop; TrainingError when a loss, of training
    or validation, is not finite.
    """
    course, answer = training_course(phase, epochs, keeper, place), None
    while True:
        try:
            request = course.send(answer)
        except StopIteration as end:
            return end.value
        try:
            answer = train_step(phase, request) if isinstance(request, Step) else validate(phase)
        except Interrupted as stopped:
            course.throw(stopped)


def training_course(phase: Phase, epochs: range, keeper: Keeper, place: Within | None = None) -> Course:
    """All that ``fit`` does but the computing, which is asked for; ``training.together`` answers many courses."""
    for epoch in epochs:
        if phase.stopping.exhausted:
            return "patience"
        place = place or Within()
        begin = time.perf_counter() - place.seconds
        try:
            phase.changing.begin(epoch)
        except Interrupted:
            keeper.within(place)
            raise
        record = {"epoch": epoch, **(yield from training_epoch(phase, epoch, keeper, place))}
        agree(phase.engine, fingerprint(phase.net), f"weights after epoch {epoch}")
        try:
            rows, raw = yield Validation()
        except Interrupted:
            keeper.within(place)
            raise
        metrics = judge(phase, rows, raw)
        loss = metrics["loss"]
        better = phase.stopping.better(loss, epoch)
        phase.plateau.step(loss)
        record |= {
            "validation_loss": loss,
            f"validation_{phase.target.headline}": metrics[phase.target.headline],
            "seconds": time.perf_counter() - begin,
            **phase.changing.record(),
        }
        keeper.epoch(record, better)
        place = None
    return "patience" if phase.stopping.exhausted else "epochs"


def training_epoch(
    phase: Phase, epoch: int, keeper: Keeper, place: Within
) -> Generator[Step, Tensor, dict[str, float]]:
    """One pass over the training objects, or its rest; returns what the record tells of it.

    ``place`` moves along: after the pass it says that all steps are done.
    """
    begin, phase.train.waited = time.perf_counter() - place.seconds, place.waited
    rate = phase.optimizer.param_groups[0]["lr"]
    phase.watch.begin(epoch, place.sums)
    for step, batch in enumerate(phase.train.epoch(epoch, place.step), place.step):
        loss = yield Step(batch=batch, key=(phase.seed, epoch, step))
        place.step = step + 1
        if phase.watch.step(step, loss, batch.rows):
            place.sums, place.seconds = phase.watch.sums(), time.perf_counter() - begin
            place.waited = phase.train.waited
            keeper.within(place)
            phase.watch.obey()
    loss, objects = phase.watch.end()
    place.sums, place.seconds, place.waited = phase.watch.sums(), time.perf_counter() - begin, phase.train.waited
    return {
        "train_loss": loss,
        "learning_rate": rate,
        "samples_per_second": objects / place.seconds,
        "data_wait": min(1.0, place.waited / place.seconds),
    }


def train_step(phase: Phase, step: Step) -> Tensor:
    """One step of the optimiser; the summed loss of this rank's objects, on the device."""
    batch = step.batch
    keep = phase.head.keep(batch.total, step.key)
    if keep is not None:
        keep = keep[batch.offset : batch.offset + len(batch.rows)].to(batch.images.device, non_blocking=True)
    phase.net.train()  # of account for batch normalisation alone
    raw = phase.wrapped(batch.images, keep)
    phase.net.eval()
    loss = phase.target.losses(raw, rows_of(phase.truth, batch.rows, raw.device)).sum()
    phase.optimizer.zero_grad()
    (loss * (phase.engine.size / batch.total)).backward()
    phase.optimizer.step()
    phase.head.constrain()
    phase.changing.stepped(*step.key[1:])
    return loss.detach()


def validate(phase: Phase) -> tuple[np.ndarray, Tensor]:
    """Rows and raw outputs of the validation objects, each once over all ranks; the same on every rank."""
    return collect(phase.net, phase.validation, phase.engine, phase.watch.stop)


def judge(phase: Phase, rows: np.ndarray, raw: Tensor) -> dict[str, Any]:
    """Metrics of the validation objects; TrainingError when the loss of one is not finite."""
    truth = rows_of(phase.truth, rows)
    bad = ~torch.isfinite(phase.target.losses(raw, truth)).numpy()
    if bad.any():
        first = int(bad.argmax()) // phase.batch_size
        here = slice(first * phase.batch_size, (first + 1) * phase.batch_size)
        phase.watch.diverged(f"validation batch {first + 1}", phase.watch.names(rows[here][bad[here]]))
    return measure(phase.target, raw, truth)


def measure(target, raw: Tensor, truth: Tensor) -> dict[str, Any]:
    """The target's metrics of raw outputs, (N, outputs) on the CPU."""
    return target.metrics(target.answer(raw).numpy(), truth.numpy(), target.losses(raw, truth).numpy())


def collect(function: Callable[[Tensor], Tensor], loader, engine, stop: Stop) -> tuple[np.ndarray, Tensor]:
    """``function`` of every object of a loader, as (rows ascending, values on the CPU), from all ranks' shares.

    Interrupted, on every rank, when one was asked to stop; that one leaves off at once.
    """
    parts = []
    with steady(engine.device):
        for batch in loader.evaluate():
            if stop.name:
                break
            parts.append((batch.rows, function(batch.images).cpu()))
    told = engine.gather((stop.name, parts))
    stop.obey([name for name, _ in told], "while it was evaluating")
    shares = [part for _, share in told for part in share]
    rows, values = np.concatenate([rows for rows, _ in shares]), torch.cat([values for _, values in shares])
    order = np.argsort(rows)
    return rows[order], values[torch.from_numpy(order)]


def rows_of(truth: Tensor, rows: np.ndarray, device: torch.device | str = "cpu") -> Tensor:
    """The truth of these rows of the store, on a device, which is not waited for: it may have steps to do yet."""
    return truth[torch.from_numpy(rows)].to(device, non_blocking=True)
