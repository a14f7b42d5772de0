"""Many runs on the same frozen features at once: every course of training asks, and one computation answers them all.

Each run has its own subset, order, dropout, stopping, plateau, records, checkpoints and folder; what it leaves behind
is what it would have left alone, to within the rounding of batched products.
"""

import contextlib
import time
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hpc_astrossl.engines import open_engine
from hpc_astrossl.errors import Interrupted, TrainingError
from hpc_astrossl.specs.run import RunSpec
from hpc_astrossl.training.data import open_data, open_source
from hpc_astrossl.training.encoding import Encoder, open_cache
from hpc_astrossl.training.folder import RunFolder, run_path
from hpc_astrossl.training.loop import Step, rows_of, training_course
from hpc_astrossl.training.run import Training
from hpc_astrossl.training.stack import Stack
from hpc_astrossl.training.watch import Stop, interrupted


def train_together(runs: list[RunSpec], workdir: Path) -> list[dict[str, Any]]:
    """Train runs that ``specs.heads.alike`` calls alike, or go on with them; the results of all, in their order.

    A run that fails is told of and the others go on; its TrainingError is raised at the end. Interrupted, with every
    state saved, when a signal asked to stop. InputError as of a run alone, before any of them begins.
    """
    folders = [RunFolder(run_path(workdir, run.experiment, run.run_id)) for run in runs]
    todo = [(run, folder) for run, folder in zip(runs, folders, strict=True) if folder.finished() is None]
    if todo:
        begin = time.monotonic()
        with Stop().listening() as stop:
            _train(todo, workdir, stop)
        print(f"{len(todo)} runs trained together in {time.monotonic() - begin:.0f} s", flush=True)
    return [folder.result() for folder in folders]


def _train(todo: list[tuple[RunSpec, RunFolder]], workdir: Path, stop: Stop) -> None:
    first = todo[0][0]
    data = [open_data(run, workdir) for run, _ in todo]
    store = data[0].store
    source = open_source(first, workdir, store)
    if first.threads:
        torch.set_num_threads(first.threads)
    with contextlib.ExitStack() as stack:
        engine = stack.enter_context(open_engine(first.engine, first.device))
        for _, folder in todo:
            stack.enter_context(folder.locked(engine))
        stack.enter_context(stop.gently())
        say = todo[0][1].say
        cache = open_cache(first, workdir, store, source, engine=engine, say=say)
        encoder = Encoder(run=first, store=store, engine=engine, stop=stop, say=say, cache=cache)
        shared = {"source": source, "encoder": encoder}
        trainings = [
            Training(run=run, data=one, folder=folder, **shared) for (run, folder), one in zip(todo, data, strict=True)
        ]
        Together(trainings).train()


class Together:
    """Trainings whose only phase is a head on the same features."""

    def __init__(self, trainings: list[Training]):
        self.trainings = trainings
        self.first = trainings[0]
        self.stop, self.engine, self.encoder = self.first.stop, self.first.engine, self.first.encoder
        self.heads: list[_Head] = []
        self.failed: TrainingError | Interrupted | None = None

    def train(self) -> None:
        """All of them to their results."""
        self._encode()
        self.heads = [_Head(training) for training in self.trainings]
        for head in self.heads:
            self._answer(head, None)
        stack = self._stack()
        while self.heads:
            ended = [head for head in self.heads if not isinstance(head.request, Step)]
            if ended:
                self._validate(stack, ended)
            else:
                losses = _step(stack, self.heads)
                for head, loss in zip(self.heads, losses, strict=True):
                    self._answer(head, loss)
            stack = self._stack(stack)
        if self.failed:
            raise self.failed

    def _encode(self) -> None:
        """Features of every object that any of them needs, once."""
        run, rows = self.first.run, [training.data.rows for training in self.trainings]
        model = self.first.placed(self.first.first_weights())
        train = reduce(or_, [found["train"] for found in rows])
        self.encoder.features(model, train, views=run.data.feature_views)
        for split in ("validation", "test"):
            self.encoder.features(model, rows[0][split])

    def _stack(self, before: Stack | None = None) -> Stack | None:
        """The stack of the heads that still train; ``before`` itself while none has ended."""
        if before is not None and len(before.heads) == len(self.heads):
            return before
        nets = [head.keeper.phase.net for head in self.heads]
        return Stack(nets, [head.keeper.phase.optimizer for head in self.heads]) if nets else None

    def _validate(self, stack: Stack, ended: list["_Head"]) -> None:
        if self.stop.name:  # answered before the work, as in a run alone
            for head in ended:
                self._answer(head, interrupted(self.stop.name, "while it was evaluating"))
            return
        rows = np.asarray(self.first.data.rows["validation"])
        raw = stack.evaluate(self.encoder.plain(None, rows), [self.heads.index(head) for head in ended])
        for head, outputs in zip(ended, raw, strict=True):
            self._answer(head, (rows, outputs))

    def _answer(self, head: "_Head", answer: Any) -> None:
        """Let a course go on; when it has ended, its run's result is written; when it failed, that is noted."""
        try:
            if head.go_on(answer):
                return
        except (Interrupted, TrainingError) as error:
            head.training.folder.say(f"{head.training.run.run_id}: {error}")
            if self.failed is None or isinstance(error, Interrupted):
                self.failed = error
        self.heads = [other for other in self.heads if other is not head]


class _Head:
    """One run: its keeper, its course, and what the course asks for now."""

    def __init__(self, training: Training):
        self.training = training
        saved, self.weights = training.open()
        self.keeper, epochs, _, place = training.begin(0, training.run.phases[0], self.weights, saved)
        self.weights = {name: tensor for name, tensor in self.weights.items() if name.startswith("head.")}
        self.course = training_course(self.keeper.phase, epochs, self.keeper, place)
        self.request = None

    def go_on(self, answer: Any) -> bool:
        """Answer the course (None: begin) and take its request; False when it has ended and the result is written."""
        try:
            send = self.course.throw if isinstance(answer, Interrupted) else self.course.send
            self.request = send(answer)
        except StopIteration as end:
            weights = self.keeper.end(self.weights | self.training.source.tensors)
            best = self.keeper.phase.stopping.best_epoch
            self.training.finish(weights, stopped=end.value, best_epoch=best)
            return False
        return True


def _step(stack: Stack, heads: list[_Head]) -> Tensor:
    """One step of every head on its own batch; the summed loss of each, (K,)."""
    batches = [head.request.batch for head in heads]
    counts = [len(batch.rows) for batch in batches]
    size, phase = max(counts), heads[0].keeper.phase
    features = _padded([batch.images for batch in batches], size)
    keeps = [stack.first.keep(head.request.batch.total, head.request.key) for head in heads]
    keep = None if keeps[0] is None else _padded(keeps, size).to(features.device)
    rows = np.stack([np.resize(batch.rows, size) for batch in batches])  # a shorter batch is filled, and not counted
    counted = torch.arange(size) < torch.tensor(counts)[:, None]
    counted = counted.to(features.device)
    totals = torch.tensor([batch.total for batch in batches], device=features.device)
    truth, told = rows_of(phase.truth, rows.ravel(), features.device), []

    def losses(raw: Tensor) -> Tensor:
        each = phase.target.losses(raw.flatten(0, 1), truth).view(len(heads), size)
        told.append(each.where(counted, 0).sum(dim=1))
        return (told[0] / totals).sum()

    stack.step(features, keep, losses)
    return told[0].detach()


def _padded(parts: list[Tensor], size: int) -> Tensor:
    """(K, size, …): each part with zeros behind it."""
    return torch.nn.utils.rnn.pad_sequence([*parts, parts[0].new_zeros(size, *parts[0].shape[1:])], batch_first=True)[
        :-1
    ]
