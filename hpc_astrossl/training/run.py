"""One run from its configuration to its result: open and check everything, go through the phases, write the folder."""

import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hpc_astrossl import names
from hpc_astrossl.engines import open_engine
from hpc_astrossl.errors import Interrupted, TrainingError
from hpc_astrossl.loading import Loader, LoaderSpec, open_loader
from hpc_astrossl.nets.vgg import VGG16, build, empty, pooled
from hpc_astrossl.specs.run import PhaseSpec, RunSpec
from hpc_astrossl.training import outcome, progress
from hpc_astrossl.training.checkpoint import Checkpoints
from hpc_astrossl.training.control import controlled
from hpc_astrossl.training.data import Data, Source, open_data, open_source
from hpc_astrossl.training.features import FeatureLoader
from hpc_astrossl.training.folder import RunFolder, run_path
from hpc_astrossl.training.loop import Phase, collect, fit, measure, rows_of
from hpc_astrossl.training.optim import Plateau, Stopping, optimizer
from hpc_astrossl.training.watch import Stop, Watch

Weights = dict[str, Tensor]


def train(run: RunSpec, workdir: Path) -> dict[str, Any]:
    """Train one run, or go on with it, and return what ``result.json`` holds; a run that is done is not touched.

    InputError when the configuration, the store or the weights are wrong, before the first step; Interrupted when a
    signal asked to stop; TrainingError when the loss is no longer a number or the disk is full.
    """
    run = names.resolved(run)
    folder = RunFolder(run_path(workdir, run.experiment, run.run_id))
    if (result := folder.result()) is not None:
        print(f"{folder.path}: this run is done already", flush=True)
        return result
    data = open_data(run, workdir)
    source = open_source(run, workdir, data.store)
    if run.threads:
        torch.set_num_threads(run.threads)
    with open_engine(run.engine, run.device) as engine, folder.locked(engine), Stop().listening() as stop:
        try:
            return Training(run, data, source, folder, engine, stop).run_phases()
        except (Interrupted, TrainingError) as error:
            folder.say(str(error))
            raise


class Training:
    """A run while it is trained: what its phases share."""

    def __init__(self, run: RunSpec, data: Data, source: Source, folder: RunFolder, engine, stop: Stop):
        self.run, self.data, self.source, self.folder, self.engine, self.stop = run, data, source, folder, engine, stop
        self.truth = torch.from_numpy(data.truth).to(engine.device)
        self.checkpoints = Checkpoints(folder.checkpoints, folder.say)
        self.records: list[dict[str, Any]] = []
        self.began = time.monotonic()
        self.lost: dict[str, Any] = {}  # by split, what its loader had to skip
        self.encoded: dict[str, Tensor] = {}  # features by split, while the convolutions stay as they are

    def run_phases(self) -> dict[str, Any]:
        """Every phase from the best weights of the one before; then the test, once."""
        saved = self.restore()
        self.folder.write_config(self.run)
        self.folder.begin_metrics(self.records)
        self.folder.say(progress.greeting(self.run, self.data, self.engine, saved and saved["epoch"]))
        weights = self.first_weights()
        for index, spec in enumerate(self.run.phases):
            if saved and saved["phase"] > index:
                continue
            here = saved if saved and saved["phase"] == index else None
            weights, stopping, why = self.run_phase(index, spec, weights, here)
        return self.finish(weights, stopped=why, best_epoch=stopping.best_epoch)

    def restore(self) -> dict[str, Any] | None:
        """The newest whole checkpoint, the same on every rank, and the metrics up to it."""
        newest = self.engine.gather(self.checkpoints.newest() if self.folder.writes else None)[0]
        if newest is None:
            return None
        saved = self.checkpoints.load(newest)
        self.records = saved["records"]
        self.began -= saved["seconds"]
        return saved

    def first_weights(self) -> Weights:
        """The network begun from the seed, its outputs at the mean of the truth, the convolutions from the source."""
        model = build(self.run.model, **self.sizes(), seed=self.run.seed)
        start = self.data.target.first_output(self.data.truth[self.data.rows["train"]])
        model.head.output.bias.data.copy_(torch.from_numpy(start))
        return snapshot(model) | self.source.tensors

    def run_phase(
        self, index: int, spec: PhaseSpec, weights: Weights, saved: dict[str, Any] | None
    ) -> tuple[Weights, Stopping, str]:
        """Train one phase, or its rest. Returns the best weights, the stopping state, and why the phase ended."""
        frozen = saved["frozen"] if saved else self.frozen(index, weights)
        model = self.placed(weights | frozen)
        phase = self.prepare(spec, model)
        first, best = len(self.records) + 1, {}
        if saved:  # after the engine has wrapped the optimiser: Horovod's wrapper drops what was loaded before
            phase.restore(saved)
            first, best = saved["first"], saved["best"]

        def after(record: dict[str, Any], better: bool) -> None:
            nonlocal best
            if better:
                best = snapshot(model, prefix="head." if spec.trains == "head" else "")
            self.note(index, first, record)
            if self.folder.writes and (self.checkpoints.due() or self.stop.name):
                state = {"phase": index, "first": first, "frozen": frozen, "best": best, **phase.state()}
                self.save(state)

        why = fit(phase, range(len(self.records) + 1, first + spec.epochs), after)
        phase.train.close()
        phase.validation.close()
        return weights | frozen | best, phase.stopping, why

    def prepare(self, spec: PhaseSpec, model: VGG16) -> Phase:
        """The objects of a phase, the engine around network and optimiser."""
        if spec.trains == "head":
            net, loaders = model.head, {split: self.features(model, split) for split in ("train", "validation")}
        else:
            net, loaders = model, {split: self.images(split) for split in ("train", "validation")}
            self.encoded = {}
        wrapped, wrapped_optimizer = self.engine.prepare(net, optimizer(net, spec))
        return Phase(
            net=net,
            wrapped=wrapped,
            head=model.head,
            optimizer=wrapped_optimizer,
            plateau=Plateau(wrapped_optimizer, self.run.training),
            stopping=Stopping(self.run.training.patience),
            target=self.data.target,
            truth=self.truth,
            engine=self.engine,
            watch=Watch(self.engine, self.stop, self.data.store.table["object_id"]),
            seed=self.run.seed,
            **loaders,
        )

    def finish(self, weights: Weights, *, stopped: str, best_epoch: int) -> dict[str, Any]:
        """Measure the best weights on validation and test, and write what the run leaves behind."""
        model, target, engine = self.placed(weights), self.data.target, self.engine
        answers, metrics = {}, {}
        for split in ("validation", "test"):
            rows, raw = collect(model.head, self.features(model, split), engine)
            metrics[split] = measure(target, raw, rows_of(self.truth.cpu(), rows))
            answers[split] = target.answer(raw).numpy()
        outcome.write_weights(self.folder, weights, self.run)
        outcome.write_predictions(self.folder, self.data, answers)
        pictured = pooled(self.encoded["validation"]).cpu().numpy()
        outcome.write_samples(self.folder, self.data, pictured, answers["validation"])
        result = outcome.summary(self.run, self.data, self.source, metrics=metrics, answers=answers) | {
            "epochs": len(self.records),
            "best_epoch": best_epoch,
            "stopped": stopped,
            "engine": {"name": engine.name, "reason": engine.reason, "ranks": engine.size},
            "device": torch.cuda.get_device_name(engine.device) if engine.device.type == "cuda" else "cpu",
            "loader": self.loader,
            "left_out": self.left_out(),
            "seconds": time.monotonic() - self.began,
        }
        self.folder.write_result(result)
        if self.folder.writes:
            self.checkpoints.remove()
        self.folder.say(progress.farewell(result, self.folder.path, target.headline))
        engine.barrier()
        return result

    def sizes(self) -> dict[str, Any]:
        """What the data decide of the network."""
        return {"shape": self.data.store.image_shape, "outputs": self.data.target.outputs}

    def placed(self, weights: Weights) -> VGG16:
        """A fresh network with these weights, on the device: an engine's hooks stay on the parameters they are put."""
        model = empty(self.run.model, **self.sizes())
        model.load_state_dict(weights)
        return model.to(self.engine.device)

    def frozen(self, index: int, weights: Weights) -> Weights:
        """What a checkpoint of a head phase needs beside the head: convolutions that an earlier phase has trained."""
        phases = self.run.phases
        changed = phases[index].trains == "head" and any(phase.trains == "all" for phase in phases[:index])
        return {name: tensor for name, tensor in weights.items() if changed and name.startswith("features.")}

    def images(self, split: str) -> Loader:
        """A loader of a split's images."""
        data = self.run.data
        spec = LoaderSpec(
            batch_size=data.batch_size,
            scaling=data.scaling,
            flips=data.flips,
            turns=data.turns,
            seed=self.run.seed,
            resident_mb=data.resident_mb,
            rotation=data.rotation,
            shift=data.shift,
            corrupt=data.corrupt,
        )
        loader = open_loader(
            self.data.store, self.data.rows[split], spec, engine=self.engine, device=self.engine.device
        )
        self.loader = loader.name
        self.lost[split] = loader.skipped
        self.folder.say(f"{split}: loader {loader.name}, {loader.reason}")
        return controlled(loader, data.control)

    def left_out(self) -> int:
        """How many objects could not be read, over all ranks; ``data.corrupt`` allowed to skip them."""
        told = self.engine.gather({row: why for lost in self.lost.values() for row, why in lost.rows.items()})
        reasons = {row: why for share in told for row, why in share.items()}
        if reasons:
            self.folder.say(f"left out {len(reasons)} objects that cannot be read; the first: {reasons[min(reasons)]}")
        return len(reasons)

    def features(self, model: VGG16, split: str) -> FeatureLoader:
        """A loader of what the model's convolutions make of a split; each image goes through them once."""
        if split not in self.encoded:
            loader, begin = self.images(split), time.monotonic()
            self.data.rows[split], features = collect(model.encode, loader, self.engine)  # those that can be read
            loader.close()
            self.encoded[split] = features.to(self.engine.device)
            seconds = time.monotonic() - begin
            self.folder.say(f"features of {len(features)} {split} objects: {len(features) / seconds:.0f} samples/s")
        return FeatureLoader(
            self.data.rows[split],
            self.encoded[split],
            batch_size=self.run.data.batch_size,
            seed=self.run.seed,
            engine=self.engine,
        )

    def note(self, index: int, first: int, record: dict[str, Any]) -> None:
        """Keep an epoch's record, write it, and tell of it."""
        record = {"phase": index, **record}
        self.records.append(record)
        self.folder.add_metrics(record)
        self.folder.say(progress.line(self.run, self.records, first, self.data.target.headline))

    def save(self, state: dict[str, Any]) -> None:
        """Write a checkpoint of the epoch just noted."""
        epoch, seconds = len(self.records), time.monotonic() - self.began
        self.checkpoints.save(epoch, {**state, "epoch": epoch, "seconds": seconds, "records": self.records})


def snapshot(model: VGG16, prefix: str = "") -> Weights:
    """A copy on the CPU of the parameters whose names begin with ``prefix``."""
    return {
        name: tensor.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, tensor in model.state_dict().items()
        if name.startswith(prefix)
    }
