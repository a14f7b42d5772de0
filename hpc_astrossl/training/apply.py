"""A finished run put to use: features (``embed``) and answers (``predict``) for a store or a folder of images.

The objects are cut into parts; parts are shared among ranks and tasks, each is written whole, and whoever is last puts
them together. Memory holds the network, one part's answers and a few batches, however many objects there are (and the
store's table). An interrupted command is repeated as it was: parts that are there are not made again.
"""

import csv
import sys
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hpc_astrossl import identity, names, npz
from hpc_astrossl.engines import open_engine
from hpc_astrossl.errors import InputError
from hpc_astrossl.files import rows_as_csv, write_aside
from hpc_astrossl.nets import weights
from hpc_astrossl.nets.backbones import Network, empty
from hpc_astrossl.nets.vgg import VGG16, steady
from hpc_astrossl.specs import making
from hpc_astrossl.specs.run import RunSpec
from hpc_astrossl.store import StoreInfo
from hpc_astrossl.training import control
from hpc_astrossl.training.folder import ANYWAY, WEIGHTS, RunFolder
from hpc_astrossl.training.parts import LEFT_OUT, PLACE, Columns, Parts, written
from hpc_astrossl.training.pictures import NOTHING, TOGETHER, PictureSource, Wish, together
from hpc_astrossl.training.source import StoreSource, Takes, open_source
from hpc_astrossl.training.tables import FEATURES, PREDICTIONS, Writer, assemble, check_outs

PART_ROWS = 16384
LEFT_OUT_HEAD = ("object_id", "reason")
NO_VALUE, BLANK = "pixels without a value", "blank image"  # as preprocess calls them


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
        made = making.read(known.get("images"), "result.json")
        return Takes(shape=shape, channels=channels, data=self.run.data, statistics=known.get("statistics") or {},
                     making=made)  # fmt: skip

    @property
    def target(self):
        """The run's target, as its result describes it."""
        fields = dict.fromkeys(StoreInfo.__dataclass_fields__)
        known = {key: tuple(self.result[key]) for key in ("class_names", "bands")}
        info = StoreInfo(**fields | known | {"name": self.result["store"]["name"]})
        return names.resolve(names.TARGETS, self.run.data.target, "target")(info, self.run.data)


def open_trained(path: Path, *, anyway: bool = False) -> Trained:
    """Read a run folder; InputError when the run is not done, or (not so ``anyway``) out of date."""
    result, run = RunFolder(path).held(None)
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
    if not anyway:
        RunFolder(path).hold(result, ANYWAY)
    return Trained(run=run, result=result, model=model.eval(), size=size, sha256=sha256)


def _size(path: Path) -> tuple[int, int]:
    """(height, width) of a run's cutouts; InputError when they cannot be read."""
    try:
        with zipfile.ZipFile(path) as archive:
            height, width = npz.header(archive, "images.npy")[0][1:3]
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: damaged or not there ({error}); train the run again") from None
    return height, width


@dataclass(frozen=True, kw_only=True)
class Job:
    """What to apply to what: a run's folder, a store or folder of images, the files to write, this task of how many.

    ``anyway``: a run that is out of date is used all the same. ``wish`` is what the user says of the images.
    """

    run: Path
    source: Path
    outs: list[Path]
    task: tuple[int, int] = (0, 1)
    part_rows: int = PART_ROWS
    anyway: bool = False
    wish: Wish = NOTHING


@dataclass(frozen=True, kw_only=True)
class Verb:
    """What is made of the encoded images of a part, beside their ids, and how it may be written."""

    name: str
    columns: Callable[[Trained, torch.Tensor], Columns]
    writers: dict[str, Writer]
    labels: bool


@dataclass(frozen=True, kw_only=True)
class Applied:
    """What came of it: the number of ``objects`` in the table, None while other tasks have some of them; of those
    ``left_out`` how many have each reason; what else is to be said of the images."""

    objects: int | None
    left_out: dict[str, int]
    remarks: tuple[str, ...]


def embed(job: Job) -> Applied:
    """Write ``object_id``, ``label`` and pooled ``features`` (N, 512), in Parquet with ``ra`` and ``dec`` of a store's
    objects."""
    return apply(job, Verb(name="embed", columns=_features, writers=FEATURES, labels=True))


def predict(job: Job) -> Applied:
    """Write ``object_id`` (in Parquet with ``ra`` and ``dec`` of a store's objects), then ``class`` and a probability a
    class, or a magnitude a band."""
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


def apply(job: Job, verb: Verb) -> Applied:
    """Make this task's parts, and put all together when they are there.

    InputError when the run is not done, the source does not suit it, or an output cannot be written.
    """
    trained = open_trained(job.run, anyway=job.anyway)
    if verb.name == "predict" and trained.run.data.target in names.PRETEXTS:
        raise InputError(f"{job.run}: was trained on pretext {trained.run.data.target}, which says nothing about an "
                         "object by itself; take astrossl embed, or predict with a run of a labelled set")  # fmt: skip
    source = open_source(job.source, trained.takes, replace(job.wish, anyway=job.anyway or job.wish.anyway))
    about = made_by(verb, job.run, trained) | source.about
    parts = Parts(_folder(job), source.shares(job.part_rows), about | {"part": job.part_rows, "together": TOGETHER})
    made = _Made(job=job, verb=verb, trained=trained, source=source, about=about, parts=parts)
    with open_engine("auto", trained.run.device) as engine:
        begun, there = engine.gather((parts.begun, all(out.exists() for out in job.outs)))[0]
        check_outs(job.outs, verb.writers, about=made.contents if begun else None)
        if not there:  # else it was interrupted while it removed the parts
            parts.open()
            trained.model.to(engine.device)
            made.make(engine)
        if engine.rank == 0:
            made.assemble(there)
        engine.barrier()
        return engine.gather(made.applied)[0]


def _folder(job: Job) -> Path:
    return job.outs[0].with_name(job.outs[0].name + ".parts")


@dataclass(kw_only=True)
class _Made:
    """The parts of one command, until they are put together. ``applied`` is what came of it."""

    job: Job
    verb: Verb
    trained: Trained
    source: StoreSource | PictureSource
    about: dict[str, Any]
    parts: Parts
    applied: Applied = Applied(objects=None, left_out={}, remarks=())

    @property
    def contents(self) -> dict[str, Any]:
        """What the table tells of what it was made from."""
        return self.about | self.source.contents

    def make(self, engine) -> None:
        """Make this worker's parts, and once more while there are other pictures than before."""
        worker = self.job.task[0] * engine.size + engine.rank
        workers = self.job.task[1] * engine.size
        while True:
            with self.parts.working(worker, workers):
                mine = [share for share in self.parts.open_parts() if share.turn % workers == worker]
                for share in mine:
                    self.parts.write(share, _part(self.trained, self.source, share.rows, self.verb, engine))
                self.parts.finished(worker, workers)
            engine.barrier()
            for share in self.parts.orphans(workers)[engine.rank :: engine.size]:
                self.parts.write(share, _part(self.trained, self.source, share.rows, self.verb, engine))
            engine.barrier()
            if not any(engine.gather(self.source.again())):
                return
            self.parts.shares = self.source.shares(self.job.part_rows)

    def assemble(self, there: bool) -> None:
        """Write the table when every part is there, or remove them when it is ``there`` already."""
        with self.parts.assembling() as complete:
            if complete:
                left_out = self.parts.left_out()
                if not self.source.skips and (skipped := [one for one in left_out if one[1] != BLANK]):
                    raise InputError(f"{self.parts.folder}: holds parts without {len(skipped):,} objects, of which "
                                     f"{skipped[0][0]} is the first ({skipped[0][1]}), made with --unreadable skip; "
                                     "say that again, or remove the folder")  # fmt: skip
                if left_out and len(left_out) == len(self.source):
                    raise InputError(f"{self.job.source}: none of {len(left_out):,} images can be used: "
                                     f"{_counted(left_out)}")  # fmt: skip
                self.applied = Applied(objects=len(self.source) - len(left_out), left_out=_reasons(left_out),
                                       remarks=tuple(self.source.remarks()))  # fmt: skip
                for remark in self.applied.remarks:
                    print(f"{self.job.source}: {remark}", file=sys.stderr, flush=True)
                self._tell(left_out)
                self.source.hold()
                assemble(self.job.outs, self.parts, self.verb.writers, self.contents)
        if there:
            self.parts.remove()
        if self.applied.objects is None and all(out.exists() for out in self.job.outs):  # put together by another
            left_out = self._listed()
            self.applied = Applied(objects=len(self.source) - len(left_out), left_out=_reasons(left_out), remarks=())

    @property
    def _list(self) -> Path:
        """Of those that are left out, beside the first table."""
        return self.job.outs[0].with_name(self.job.outs[0].name + ".rejected.csv")

    def _listed(self) -> list[tuple[str, str]]:
        if not self._list.exists():
            return []
        with self._list.open(newline="", encoding="utf-8") as stream:
            head, *rows = csv.reader(stream)
        return [(one, why) for one, why in rows] if tuple(head) == LEFT_OUT_HEAD else []

    def _tell(self, left_out: list[tuple[str, str]]) -> None:
        """Count those that are left out, and list them beside the table; a list of an earlier time goes."""
        file = self._list
        head = rows_as_csv([LEFT_OUT_HEAD])
        if not left_out:
            if file.exists() and file.read_text(errors="replace").startswith(head):
                file.unlink()
            return
        if file.exists() and not file.read_text(errors="replace").startswith(head):
            raise InputError(f"{file}: is there already, and is no list of what is left out; remove it, and run the "
                             "same command again")  # fmt: skip
        with written(file):
            write_aside(file, rows_as_csv([LEFT_OUT_HEAD, *left_out]).encode())
        print(f"{len(left_out):,} left out ({_counted(left_out)}), listed in {file}", file=sys.stderr, flush=True)


def _counted(left_out: list[tuple[str, str]]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in _reasons(left_out).items())


def _reasons(left_out: list[tuple[str, str]]) -> dict[str, int]:
    return dict(Counter(why for _, why in left_out).most_common())


def made_by(verb: Verb, folder: Path, trained: Trained) -> dict[str, Any]:
    """What the parts and the table keep of who made them: the run, its weights, and the store it was trained on."""
    return {
        "verb": verb.name,
        "run": trained.result["run_id"],
        "run_folder": str(folder.resolve()),
        "weights_sha256": trained.sha256,
        "trained_on": trained.result["store"].get("sha256") or identity.UNKNOWN,
    }


def _part(trained: Trained, source, rows: tuple[int, int], verb: Verb, engine) -> Columns:
    """The columns of some of the source's objects, and which could not be used.

    Batches are filled up to one size: a network rounds by the number of images it is given at a time, and the same
    image must have the same answer wherever it stands.
    """
    masked, size = trained.run.data.control == control.MASKED, together(trained.size, engine.device)
    found: dict[str, list[np.ndarray]] = {}
    for known, batches in source.pieces(rows, engine):
        kept = known if verb.labels else {name: column for name, column in known.items() if name != "label"}
        for name, column in kept.items():
            found.setdefault(name, []).append(column)
        with steady(engine.device):
            for images in batches:
                images = images.to(engine.device)
                count = len(images)
                if count < size:
                    images = torch.cat([images, images.new_zeros((size - count, *images.shape[1:]))])
                made = verb.columns(trained, trained.model.encode(control.masked(images) if masked else images))
                for name, column in made.items():
                    found.setdefault(name, []).append(column[:count])
    whole = _finite({name: np.concatenate(columns) for name, columns in found.items()}, source)
    if len(whole["object_id"]):
        return whole
    return {name: whole[name] for name in LEFT_OUT}


def _finite(whole: Columns, source) -> Columns:
    """The columns without objects whose numbers are none; InputError for the first, unless those are left out."""
    numbers = [column.reshape(len(column), -1) for name, column in whole.items()
               if column.dtype.kind == "f" and name not in PLACE]  # fmt: skip
    odd = ~np.isfinite(np.concatenate(numbers, axis=1)).all(axis=1) if numbers else np.zeros(0, bool)
    if not odd.any():
        return whole
    ids = whole["object_id"][odd]
    if not source.skips:
        raise InputError(f"object {ids[0]}: what the network makes of it is not finite: its image has pixels without "
                         "a value. Make the store again without it, or leave it out: --unreadable skip")  # fmt: skip
    before = {name: whole.get(name, np.empty(0, dtype="U1")) for name in LEFT_OUT}
    more = {"left_out": ids, "reason": np.full(len(ids), NO_VALUE)}
    kept = {name: column[~odd] for name, column in whole.items() if name not in LEFT_OUT}
    return kept | {name: np.concatenate([before[name].astype(str), more[name].astype(str)]) for name in LEFT_OUT}
