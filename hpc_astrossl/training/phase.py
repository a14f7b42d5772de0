"""The objects of one phase: network, loaders, optimiser and what watches them, made from a run's configuration."""

from functools import partial
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.optim import Optimizer

from hpc_astrossl.errors import InputError
from hpc_astrossl.loading import Loader, LoaderSpec, MappedLoader, open_loader
from hpc_astrossl.nets.vgg import VGG16
from hpc_astrossl.pretexts import Pretext
from hpc_astrossl.specs.run import PhaseSpec
from hpc_astrossl.store import RowSet, sweep
from hpc_astrossl.training.changing import Changing, Still
from hpc_astrossl.training.control import controlled
from hpc_astrossl.training.features import FeatureLoader
from hpc_astrossl.training.loop import Phase
from hpc_astrossl.training.optim import Plateau, Stopping, optimizer
from hpc_astrossl.training.shared import Shared
from hpc_astrossl.training.state import agree, copied
from hpc_astrossl.training.watch import Watch

Weights = dict[str, Tensor]


Rows = RowSet | np.ndarray | None


def prepare(training: Shared, spec: PhaseSpec, model: VGG16) -> Phase:
    """The objects of a phase on ``model``, the engine around network and optimiser."""
    run, data, engine = training.run, training.data, training.engine
    if spec.trains == "head":
        net, loaders = model.head, {split: _features(training, model, split) for split in ("train", "validation")}
    else:
        check_norm(training)
        net, loaders = model, {split: images(training, split) for split in ("train", "validation")}
        training.encoder.loader = loaders["train"].name
    agree(engine, loaders["train"].steps, "steps of an epoch")
    wrapped, wrapped_optimizer = engine.prepare(net, optimizer(net, spec))
    due, last = training.checkpoints.due, not getattr(data.target, "comparable", True)
    return Phase(
        net=net,
        wrapped=wrapped,
        head=model.head,
        optimizer=wrapped_optimizer,
        plateau=Plateau(wrapped_optimizer, run.training, constant=last),
        stopping=Stopping(None if last else run.training.patience, last=last),
        changing=changing(training, spec, net, wrapped_optimizer, loaders["train"].steps),
        target=data.target,
        truth=training.truth,
        engine=engine,
        watch=Watch(
            engine, training.stop, partial(sweep.taken, data.store.table, "object_id"), lambda: due(within=True)
        ),
        seed=run.seed,
        batch_size=run.data.batch_size,
        **loaders,
    )


def images(training: Shared, split: str, *, rows: Rows = None, ranks: Any = None) -> Loader | MappedLoader:
    """A loader of a split's images, or of a pretext's views of them; of some ``rows`` and for other ``ranks``."""
    data = training.run.data
    spec = LoaderSpec(
        batch_size=data.batch_size,
        scaling=data.scaling,
        flips=data.flips,
        turns=data.turns,
        seed=training.run.seed,
        resident_mb=data.resident_mb,
        rotation=data.rotation,
        shift=data.shift,
        corrupt=data.corrupt,
    )
    engine = training.engine
    rows = training.data.rows[split] if rows is None else rows
    loader = open_loader(training.data.store, rows, spec, engine=ranks or engine, device=engine.device)
    training.skipped.append(loader.skipped)
    training.folder.say(f"{split}: loader {loader.name}, {loader.reason}")
    loader, target = controlled(loader, data.control), training.data.target
    return MappedLoader(loader, target.batch) if isinstance(target, Pretext) else loader


def check_norm(training: Shared) -> None:
    """InputError where normalisation by batches would make ranks disagree, or has one image to go by."""
    if training.run.model.norm != "batch":
        return
    if training.engine.size > 1:
        raise InputError(f"model.norm batch: each of {training.engine.size} ranks would go by its own part of a batch, "
                         "and the result by their number; train on one rank, or set model.norm to frozen")  # fmt: skip
    size = training.run.data.batch_size
    if len(training.data.rows["train"]) % size == 1 or size == 1:
        raise InputError(f"model.norm batch: batches of {size} leave one image alone, which has no statistics; change "
                         "data.batch_size, or set model.norm to frozen")  # fmt: skip


def changing(training: Shared, spec: PhaseSpec, net: nn.Module, optimizer: Optimizer, steps: int) -> Still:
    """What changes between the epochs of a phase of so many steps each."""
    target = training.data.target
    if not isinstance(target, Pretext):
        return Still()
    target.engine = training.engine
    return Changing(pretext=target, training=training, net=net, optimizer=optimizer, steps=steps, epochs=spec.epochs)


def _features(training: Shared, model: VGG16, split: str) -> FeatureLoader:
    """A loader of what the model's convolutions make of a split; the training split in all its views."""
    run = training.run
    views = run.data.feature_views if split == "train" else 1
    known, features = training.encoder.features(model, training.data.rows[split], views=views)
    rows = np.asarray(training.readable(split))
    return FeatureLoader(
        rows, known, features[:views], batch_size=run.data.batch_size, seed=run.seed, engine=training.engine
    )


def snapshot(net: nn.Module, add: str = "") -> Weights:
    """A copy on the CPU of the parameters, ``add`` put before their names."""
    return {add + name: copied(tensor) for name, tensor in net.state_dict().items()}
