"""One run from its configuration to its result: open and check everything, go through the phases, write the folder."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hpc_astrossl import names
from hpc_astrossl.cache import bundled
from hpc_astrossl.engines import open_engine
from hpc_astrossl.errors import InputError, Interrupted, TrainingError
from hpc_astrossl.identity import UNKNOWN, both
from hpc_astrossl.nets.backbones import Network, build, empty, has_statistics, settle
from hpc_astrossl.nets.vgg import VGG16
from hpc_astrossl.pretexts import Pretext, Viewed, learner
from hpc_astrossl.specs.run import PhaseSpec, RunSpec
from hpc_astrossl.training import outcome, progress
from hpc_astrossl.training.data import open_data, open_source
from hpc_astrossl.training.encoding import Encoder, open_cache
from hpc_astrossl.training.folder import RunFolder, run_path
from hpc_astrossl.training.keeper import Keeper
from hpc_astrossl.training.loop import Within, collect, fit, measure, rows_of
from hpc_astrossl.training.phase import Weights, images, prepare, snapshot
from hpc_astrossl.training.pictures import Alone
from hpc_astrossl.training.shared import Shared
from hpc_astrossl.training.watch import Stop

SETTLING = 128  # training images that frozen normalisations take their statistics from, where no weights bring them


def train(run: RunSpec, workdir: Path) -> dict[str, Any]:
    """Train one run, or go on with it, and return what ``result.json`` holds; a run that is done is not touched.

    InputError when the configuration, the store or the weights are wrong, before the first step; Interrupted when a
    signal asked to stop; TrainingError when the loss is no longer a number or the disk is full.
    """
    run = names.resolved(run)
    folder = RunFolder(run_path(workdir, run.experiment, run.run_id))
    if (result := folder.finished()) is not None:
        print(f"{folder.path}: this run is done already", flush=True)
        return result
    with Stop().listening() as stop:
        data = open_data(run, workdir)
        source = open_source(run, workdir, data.store)
        if run.threads:
            torch.set_num_threads(run.threads)
        with open_engine(run.engine, run.device) as engine, folder.locked(engine), told(folder), stop.gently():
            torch.backends.cudnn.benchmark = True  # shapes are few and repeat; of no account on a CPU
            cache = open_cache(run, workdir, data.store, source, engine=engine, say=folder.say)
            encoder = Encoder(run=run, store=data.store, engine=engine, stop=stop, say=folder.say, cache=cache)
            return Training(run=run, data=data, source=source, folder=folder, encoder=encoder).run_phases()


@contextmanager
def told(folder: RunFolder) -> Iterator[None]:
    """Write into the log why a run ended early."""
    try:
        yield
    except (Interrupted, TrainingError) as error:
        folder.log(str(error))
        raise


@dataclass(kw_only=True)
class Training(Shared):
    """A run while it is trained, from its first weights, through its phases, to what it leaves behind."""

    def run_phases(self) -> dict[str, Any]:
        """Every phase from the best weights of the one before; then the test, once."""
        saved, weights = self.open()
        for index, spec in enumerate(self.run.phases):
            if saved and saved["phase"] > index:
                continue
            here = saved if saved and saved["phase"] == index else None
            keeper, *rest = self.begin(index, spec, weights, here)
            why = fit(keeper.phase, *rest)
            weights = keeper.end(weights)
        return self.finish(weights, stopped=why, best_epoch=keeper.phase.stopping.best_epoch)

    def open(self) -> tuple[dict[str, Any] | None, Weights]:
        """What the newest checkpoint holds, and the run's first weights; the folder is ready."""
        saved = self.restore()
        self.folder.write_config(self.run)
        self.folder.begin_metrics(self.records)
        self.folder.say(progress.greeting(self.run, self.data, self.engine, saved))
        if bundled(self.source.sha256):
            self.folder.say(f"weights {self.source.name}: the shipped ones, in half precision; astrossl weights fetch "
                            f"{self.source.name} brings full precision")  # fmt: skip
        return saved, self.first_weights()

    def restore(self) -> dict[str, Any] | None:
        """The newest whole checkpoint, the same on every rank, and the metrics up to it."""
        newest = self.engine.gather(self.checkpoints.newest() if self.folder.writes else None)[0]
        if newest is None:
            return None
        saved = self.checkpoints.load(newest)
        self._hold(saved)
        self.records = saved["records"]
        self.began -= saved["seconds"]
        return saved

    def _hold(self, saved: dict[str, Any]) -> None:
        """InputError when a checkpoint is another run's, or its epochs were on another store or began from other
        weights."""
        store, folder = self.data.store, self.folder.path
        begin = f"or remove {self.checkpoints.folder} to begin again"
        if (of := saved.get("run", self.run.run_id)) != self.run.run_id:  # it, or its whole folder, was copied
            raise InputError(f"{self.checkpoints.folder}: is of run {of}, and this is {self.run.run_id}; move it back, "
                             f"{begin}")  # fmt: skip
        if (then := saved.get("store", store.identity)) != store.identity:
            words = both(then, store.identity)
            raise InputError(f"{store.path}: has been made anew since {folder} was begun; bring the old store back, "
                             f"{begin} ({words})")  # fmt: skip
        source = self.source
        if "weights" not in saved and source.name is not None:
            self.source = replace(source, sha256=None)
            self.folder.say(f"{self.checkpoints.folder}: {UNKNOWN}; the result will not tell its first weights")
        elif saved.get("weights") != source.sha256:
            words = both(saved["weights"], source.sha256)
            raise InputError(f"weights {source.name}: are others since {folder} was begun ({words}); bring the "
                             f"old ones back, {begin}")  # fmt: skip

    def first_weights(self) -> Weights:
        """The network begun from the seed, its outputs at the mean of the truth, the convolutions from the source."""
        target = self.data.target
        whole = isinstance(target, Pretext)
        model = learner(target) if whole else build(self.run.model, **self.sizes(), seed=self.run.seed)
        if has_statistics(model) and not self.source.tensors:
            settle(model, self._first_images())
        start = self.data.target.first_output(self.data.learnt())
        model.head.output.bias.data.copy_(torch.from_numpy(start))
        return snapshot(model) | self.source.tensors

    def _first_images(self) -> Tensor:
        """Training images, or views of them, that normalisations take their statistics from; alike on every rank."""
        loader = images(self, "train", rows=self.data.rows["train"][:SETTLING], ranks=Alone())
        try:
            found = torch.cat([batch.images.cpu() for batch in loader.evaluate()])
        finally:
            loader.close()
        return found.flatten(0, -4)

    def begin(
        self, index: int, spec: PhaseSpec, weights: Weights, saved: dict[str, Any] | None
    ) -> tuple["Keeper", range, "Keeper", Within | None]:
        """A phase, in its keeper, and what ``fit`` needs beside it to train it, or its rest."""
        frozen = saved["frozen"] if saved else self.frozen(index, weights)
        if frozen or spec.trains == "all":
            self.encoder.forget()
        phase = prepare(self, spec, self.placed(weights | frozen))
        keeper = Keeper(training=self, phase=phase, index=index, first=len(self.records) + 1, frozen=frozen)
        place = None
        if saved:  # after the engine has wrapped the optimiser: Horovod's wrapper drops what was loaded before
            phase.restore(saved)
            keeper.first, keeper.best = saved["first"], saved["best"]
            place = Within(**saved["within"]) if saved["within"] else None
        return keeper, range(len(self.records) + 1, keeper.first + spec.epochs), keeper, place

    def finish(self, weights: Weights, *, stopped: str, best_epoch: int) -> dict[str, Any]:
        """Measure the best weights on validation and test, and write what the run leaves behind."""
        model, target, engine = self.placed(weights), self.data.target, self.engine
        answers, metrics = {}, {}
        for split in ("validation", "test"):
            self.encoder.features(model, self.data.rows[split])
            rows = self.readable(split)
            features = self.encoder.plain(model, rows)
            if split == "validation":
                shown = model.pooled(features).cpu().numpy()
            raw = self.asked(model, split) if isinstance(target, Pretext) else model.head.answers(features)
            metrics[split] = measure(target, raw, rows_of(self.truth, np.asarray(rows)))
            answers[split] = target.answer(raw).numpy()
        lost = self.left_out()
        self.hold()
        files = outcome.write_weights(self.folder, weights, self.run) | outcome.write_objects(self.folder, self.data)
        files |= outcome.write_predictions(self.folder, self.data, answers)
        files |= outcome.write_samples(self.folder, self.data, shown, answers["validation"])
        result = outcome.summary(self.run, self.data, self.source, metrics=metrics, answers=answers) | {
            "epochs": len(self.records),
            "best_epoch": best_epoch,
            "stopped": stopped,
            "engine": {"name": engine.name, "reason": engine.reason, "ranks": engine.size},
            "device": torch.cuda.get_device_name(engine.device) if engine.device.type == "cuda" else "cpu",
            "loader": self.encoder.loader or "none, features from the cache",
            "left_out": len(lost),
            "files": files,
            "seconds": time.monotonic() - self.began,
        }
        self.folder.write_result(result)
        if self.folder.writes:
            self.checkpoints.remove()
        self.folder.say(progress.farewell(result, self.folder.path, target.headline))
        engine.barrier()
        return result

    def left_out(self) -> dict[int, str]:
        """Row -> reason of the objects that could not be read, over all ranks, as ``data.corrupt`` allowed."""
        told = self.engine.gather(self.encoder.skipped | {k: v for one in self.skipped for k, v in one.rows.items()})
        reasons = {row: why for share in told for row, why in share.items()}
        if reasons:
            self.folder.say(f"left out {len(reasons)} objects that cannot be read; the first: {reasons[min(reasons)]}")
        for split, rows in self.data.rows.items():
            self.data.rows[split] = rows.without(np.array(sorted(reasons), dtype=np.int64))
        return reasons

    def sizes(self) -> dict[str, Any]:
        """What the data decide of the network."""
        return {"shape": self.data.store.image_shape, "outputs": self.data.target.outputs}

    def asked(self, model: Viewed, split: str) -> Tensor:
        """A pretext's raw outputs of a split, rows ascending."""
        loader = images(self, split)
        try:
            return collect(model, loader, self.engine, self.stop)[1]
        finally:
            loader.close()

    def placed(self, weights: Weights) -> VGG16 | Network | Viewed:
        """A fresh network with these weights, on the device: an engine's hooks stay on the parameters they are put."""
        target = self.data.target
        model = learner(target) if isinstance(target, Pretext) else empty(self.run.model, **self.sizes())
        model.load_state_dict(weights)
        return model.to(self.engine.device)

    def frozen(self, index: int, weights: Weights) -> Weights:
        """What a checkpoint of a head phase needs beside the head: convolutions that an earlier phase has trained."""
        phases = self.run.phases
        changed = phases[index].trains == "head" and any(phase.trains == "all" for phase in phases[:index])
        return {name: tensor for name, tensor in weights.items() if changed and name.startswith("features.")}
