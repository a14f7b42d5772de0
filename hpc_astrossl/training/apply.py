"""A finished run put to use: features (``embed``) and answers (``predict``) for a store or a folder of images.

The objects are cut into parts; parts are shared among ranks and tasks, each is written whole, and whoever is last puts
them together. Memory holds the network, one part's answers and a few batches, however many objects there are (and the
store's table). An interrupted command is repeated as it was: parts that are there are not made again.
"""

import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hpc_astrossl import identity, names
from hpc_astrossl.engines import open_engine
from hpc_astrossl.errors import InputError
from hpc_astrossl.nets import weights
from hpc_astrossl.nets.backbones import Network, empty
from hpc_astrossl.nets.vgg import VGG16
from hpc_astrossl.specs.run import RunSpec
from hpc_astrossl.store import StoreInfo
from hpc_astrossl.training import control
from hpc_astrossl.training.folder import ANYWAY, WEIGHTS, RunFolder
from hpc_astrossl.training.parts import Columns, Parts
from hpc_astrossl.training.source import Takes, open_source
from hpc_astrossl.training.tables import FEATURES, PREDICTIONS, Writer, assemble, check_outs

PART_ROWS = 16384


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished run: its configuration, its result, its network, and the (height, width) it was trained on.

    ``sha256`` is that of its weights.
    """

    run: RunSpec
    result: dict[str, Any]
    model: VGG16 | Network
    size: tuple[int, int]
    sha256: str = ""

    @property
    def takes(self) -> Takes:
        """The images it takes."""
        shape = (*self.size, self.model.channels)
        known = self.result["store"]
        channels = tuple(known.get("channels", ()))  # runs of earlier programs did not note them, nor statistics
        return Takes(shape=shape, channels=channels, data=self.run.data, statistics=known.get("statistics") or {})

    @property
    def target(self):
        """The run's target, as its result describes it."""
        fields = dict.fromkeys(StoreInfo.__dataclass_fields__)
        known = {key: tuple(self.result[key]) for key in ("class_names", "bands")}
        info = StoreInfo(**fields | known | {"name": self.result["store"]["name"]})
        return names.resolve(names.TARGETS, self.run.data.target, "target")(info, self.run.data)


def open_trained(path: Path, *, anyway: bool = False) -> Trained:
    """Read a run folder; InputError when the run is not done, or (not so ``anyway``) out of date."""
    result, run = RunFolder(path).held(None if anyway else ANYWAY)
    file = path / WEIGHTS
    tensors, sha256 = weights.read_whole(file, RunFolder(path).weights_digest())
    size = _size(path / "cutouts.npz")
    try:
        channels, outputs = tensors[weights.first_layer(run.model.backbone)].shape[1], len(tensors["head.output.bias"])
        model = empty(run.model, shape=(*size, channels), outputs=outputs)
        if run.data.target in names.PRETEXTS:  # its head is for views, and nothing is asked of it any more
            model.head = nn.Identity()
            tensors = {name: tensor for name, tensor in tensors.items() if not name.startswith("head.")}
        model.load_state_dict(tensors)
    except (KeyError, IndexError, TypeError, RuntimeError) as error:
        raise InputError(
            f"{file}: not the network of {path / 'config.yaml'} ({' '.join(str(error).split())})"
        ) from None
    if run.data.target == "classes" and len(result["class_names"]) != outputs:
        raise InputError(f"{path / 'result.json'}: damaged: {len(result['class_names'])} classes, and its network has "
                         f"{outputs} outputs")  # fmt: skip
    return Trained(run=run, result=result, model=model.eval(), size=size, sha256=sha256)


def _size(path: Path) -> tuple[int, int]:
    """(height, width) of a run's cutouts; InputError when they cannot be read."""
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as cutouts:
            height, width = cutouts["images"].shape[1:3]
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: damaged or not there ({error}); train the run again") from None
    return height, width


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to apply to what: a run's folder, a store or folder of images, the files to write, this task of how many.

    ``anyway``: a run that is out of date is used all the same.
    """

    run: Path
    source: Path
    outs: list[Path]
    task: tuple[int, int] = (0, 1)
    part_rows: int = PART_ROWS
    anyway: bool = False


@dataclass(frozen=True, kw_only=True)
class Verb:
    """What is made of the encoded images of a part, beside their ids, and how it may be written."""

    name: str
    columns: Callable[[Trained, torch.Tensor], Columns]
    writers: dict[str, Writer]
    labels: bool


def embed(job: Job) -> int | None:
    """Write ``object_id``, ``label`` and pooled ``features`` (N, 512); see ``apply`` for what is returned."""
    return apply(job, Verb(name="embed", columns=_features, writers=FEATURES, labels=True))


def predict(job: Job) -> int | None:
    """Write ``object_id``, then ``class`` and a probability a class, or a magnitude a band; see ``apply``."""
    return apply(job, Verb(name="predict", columns=_answers, writers=PREDICTIONS, labels=False))


def _features(trained: Trained, encoded: torch.Tensor) -> Columns:
    return {"features": trained.model.pooled(encoded).cpu().numpy()}


def _answers(trained: Trained, encoded: torch.Tensor) -> Columns:
    answer = trained.target.answer(trained.model.head(encoded)).cpu().numpy()
    if trained.run.data.target == "classes":
        classes = np.array(trained.result["class_names"])
        chances = {f"p_{name}": column for name, column in zip(classes, answer.T, strict=True)}
        return {"class": classes[answer.argmax(axis=1)], **chances}
    return dict(zip(trained.result["bands"], answer.T, strict=True))


def apply(job: Job, verb: Verb) -> int | None:
    """The number of objects when everything is written, None while other tasks have parts to make.

    InputError when the run is not done, the source does not suit it, or an output cannot be written.
    """
    trained = open_trained(job.run, anyway=job.anyway)
    if verb.name == "predict" and trained.run.data.target in names.PRETEXTS:
        raise InputError(f"{job.run}: was trained on pretext {trained.run.data.target}, which says nothing about an "
                         "object by itself; take astrossl embed, or predict with a run of a labelled set")  # fmt: skip
    source = open_source(job.source, trained.takes)
    about = made_by(verb, job.run, trained) | source.about
    parts = Parts(job.outs[0].with_name(job.outs[0].name + ".parts"), len(source), job.part_rows, about)
    with open_engine("auto", trained.run.device) as engine:
        begun, there = engine.gather((parts.begun, all(out.exists() for out in job.outs)))[0]
        check_outs(job.outs, verb.writers, about=about if begun else None)
        if not there:  # else it was interrupted while it removed the parts
            parts.open()
            trained.model.to(engine.device)
            worker, workers = job.task[0] * engine.size + engine.rank, job.task[1] * engine.size
            with parts.working(worker, workers):
                for part in parts.open_parts():
                    if part % workers == worker:
                        parts.write(part, _part(trained, source, parts.rows(part), verb, engine))
            engine.barrier()
        if engine.rank == 0:
            with parts.assembling() as complete:
                if complete:
                    source.hold()
                    assemble(job.outs, parts, verb.writers, about)
            if there:
                parts.remove()
        engine.barrier()
    return len(source) if all(out.exists() for out in job.outs) else None


def made_by(verb: Verb, folder: Path, trained: Trained) -> dict[str, Any]:
    """What the parts and the table keep of who made them: the run, its weights, and the store it was trained on."""
    return {
        "verb": verb.name,
        "run": trained.result["run_id"],
        "run_folder": str(folder.resolve()),
        "weights_sha256": trained.sha256,
        "trained_on": trained.result["store"].get("sha256") or identity.UNKNOWN,
    }


@torch.no_grad()
def _part(trained: Trained, source, rows: tuple[int, int], verb: Verb, engine) -> Columns:
    """The columns of some of the source's objects."""
    masked = trained.run.data.control == control.MASKED
    found: list[Columns] = []
    for images in source.batches(*rows, engine):
        images = images.to(engine.device)
        found.append(verb.columns(trained, trained.model.encode(control.masked(images) if masked else images)))
    source.hold()
    known = source.columns(*rows)
    kept = known if verb.labels else {"object_id": known["object_id"]}
    return kept | {name: np.concatenate([columns[name] for columns in found]) for name in found[0]}
