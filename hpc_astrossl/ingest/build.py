"""From a recipe and a source folder to stores: select, cut, split, write, each store whole or not at all."""

import csv
import errno
import importlib.metadata
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl import config, provenance
from hpc_astrossl import store as stores
from hpc_astrossl.errors import InputError, unknown
from hpc_astrossl.ingest import splits
from hpc_astrossl.ingest.catalogue import Objects, read_objects
from hpc_astrossl.ingest.cutouts import FieldSource, FileSource, Source
from hpc_astrossl.ingest.select import KEPT, Selection, select
from hpc_astrossl.ingest.select import inputs as selection_inputs
from hpc_astrossl.ingest.shards import Cutouts, write_store
from hpc_astrossl.specs.recipe import Recipe

NO_ROW = "image without a row in the table"
_OUT_OF_REACH = {errno.EACCES, errno.EDQUOT, errno.EEXIST, errno.EFBIG, errno.ENOSPC, errno.ENOTDIR, errno.EROFS}
LIBRARIES = ("astropy", "numpy", "Pillow", "scipy", "zarr")  # what the pixels and the bytes depend on


@dataclass(frozen=True, kw_only=True)
class Made:
    """A store that is there now; ``fresh`` is False when it was there before and nothing had to be done."""

    path: Path
    info: stores.StoreInfo
    fresh: bool


@dataclass(frozen=True, kw_only=True)
class _Job:
    """One store on its way: what it takes, from where, and the identity of both."""

    name: str
    path: Path
    recipe: Recipe
    selection: Selection
    inputs: dict[str, Any]
    extra: list[tuple[str, str]] = field(default_factory=list)  # (id, reason) of what is not in the catalogue

    @property
    def digest(self) -> str:
        return config.digest({"recipe": config.plain(self.recipe), "inputs": self.inputs})


def build(recipe: Recipe, source: Path, out: Path, *, only: str | None = None, overwrite: bool = False,
          progress: Callable[[str], None] = lambda line: None) -> list[Made]:  # fmt: skip
    """Make the stores of a recipe (or ``only`` one) as ``out/<name>.zarr``; each appears when it is complete.

    A store that is there, made by the same recipe from the same inputs, is left as it is; another one is replaced
    only with ``overwrite``. InputError says what is wrong with recipe, source or an existing store.
    """
    if only is not None and only not in recipe.stores:
        raise unknown("store", only, recipe.stores)
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; --source is the folder that holds {recipe.catalogue.file}")
    objects = read_objects(recipe, source)
    selections = select(recipe, objects, source)
    progress(f"read {recipe.catalogue.file}: {len(objects)} objects")
    jobs = _jobs(
        recipe, source, out, objects, {name: selections[name] for name in recipe.stores if only in (None, name)}
    )
    made = {job.name: standing for job in jobs if (standing := _standing(job, overwrite))}
    for images in ("rgb", "bands"):
        due = [job for job in jobs if job.name not in made and recipe.stores[job.name].images == images]
        if due:
            made |= _make(due, objects, _source(recipe, source, objects, images), progress)
    return [made[job.name] for job in jobs]


def _source(recipe: Recipe, folder: Path, objects: Objects, images: str) -> Source:
    if recipe.files is not None:
        return FileSource(recipe, folder, objects)
    return FieldSource(recipe, folder, objects, images)


def _jobs(recipe: Recipe, source: Path, out: Path, objects: Objects, chosen: dict[str, Selection]) -> list[_Job]:
    hashes: dict[Path, dict] = {}
    jobs = []
    for name, selection in chosen.items():
        _require_some(name, selection.reasons)
        cutter = _source(recipe, source, objects, recipe.stores[name].images)
        extra = [(stem, NO_ROW) for stem in cutter.without_row()] if isinstance(cutter, FileSource) else []
        files = [path for unit in cutter.units(selection.rows) for path in cutter.files(unit)]
        for path in files:
            hashes.setdefault(path, provenance.inputs([path])[0])
        inputs = {
            **selection_inputs(recipe, source, name),
            "images": _summary([hashes[path] for path in files]),
            "images_without_row": len(extra),
        }
        jobs.append(_Job(name=name, path=out / f"{name}.zarr", recipe=recipe.part(name), selection=selection,
                         inputs=inputs, extra=extra))  # fmt: skip
    return jobs


def _summary(files: list[dict]) -> dict[str, Any]:
    """Number and total size of many files, and one hash over all their names, sizes and hashes."""
    files = sorted(files, key=lambda entry: entry["file"])
    return {"files": len(files), "bytes": sum(entry["bytes"] for entry in files), "digest": config.digest(files)}


def _require_some(name: str, reasons: np.ndarray) -> None:
    if not (reasons == KEPT).any():
        raise InputError(f"store {name}: no object is left of {len(reasons)}. Left out: {_worded(Counter(reasons))}. "
                         "Loosen the filters of the recipe, or check its column names and --source")  # fmt: skip


def _worded(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason} {count:,}" for reason, count in counts.items())


def _standing(job: _Job, overwrite: bool) -> Made | None:
    """The store that is there already, if it is what the job would make; None if the job must run."""
    if not job.path.exists():
        return None
    if overwrite:
        if not (job.path / "zarr.json").is_file():
            raise InputError(f"{job.path}: is no Zarr group, so --overwrite will not remove it; move it away")
        return None
    try:
        info = stores.open_store(job.path).info
    except InputError as error:
        raise InputError(f"{error}. To replace it say --overwrite") from None
    if info.provenance.get("digest") != job.digest:
        raise InputError(f"{job.path}: already there, made by another recipe or from other inputs; "
                         "say --overwrite to replace it, or choose another --out")  # fmt: skip
    return Made(path=job.path, info=info, fresh=False)


def _make(jobs: list[_Job], objects: Objects, source: Source, progress: Callable[[str], None]) -> dict[str, Made]:
    out = jobs[0].path.parent
    rows = np.unique(np.concatenate([job.selection.rows for job in jobs]))
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=out, prefix=".cutouts-") as folder:
            cutouts = Cutouts(source, jobs[0].recipe.size, Path(folder), len(objects))
            cutouts.cut(source.units(rows), progress)
            for job in jobs:
                _finish_selection(job, objects, cutouts)
            return {job.name: _write(job, objects, cutouts) for job in jobs}
    except OSError as error:
        if error.errno not in _OUT_OF_REACH:
            raise
        raise InputError(f"{out}: cannot be written ({error.strerror})") from None


def _finish_selection(job: _Job, objects: Objects, cutouts: Cutouts) -> None:
    """Leave out what cannot be cut; then, so that it stays exact, balance the classes."""
    selection = job.selection
    for reason in dict.fromkeys(cutouts.reasons[cutouts.reasons != KEPT]):
        selection.reject(cutouts.reasons == reason, reason)
    _require_some(job.name, selection.reasons)
    if job.recipe.stores[job.name].balanced:
        rows = selection.rows
        stay = splits.balance(objects.object_id[rows], selection.labels[rows], job.recipe.split.seed)
        selection.reasons[rows[~stay]] = "beyond the size of the smallest class"


def _write(job: _Job, objects: Objects, cutouts: Cutouts) -> Made:
    """Order the rows (by split, then by a draw), write the rejected list and the store."""
    rows, seed = job.selection.rows, job.recipe.split.seed
    ids, labels = objects.object_id[rows], job.selection.labels[rows]
    split = splits.divide(job.recipe.split, objects, rows, labels)
    order = np.lexsort((splits.draw(ids, seed, "order"), split))
    rows, ids, labels, split = rows[order], ids[order], labels[order], split[order]
    columns = {"object_id": ids, "ra": objects.ra[rows], "dec": objects.dec[rows], "split": split, "label": labels}
    if job.recipe.catalogue.bands:
        columns |= {"magnitudes": objects.magnitudes[rows], "magnitude_errors": objects.errors[rows]}
    rejected = _rejected(job, objects)
    info = _info(job, cutouts, split, labels, Counter(reason for _, reason in rejected))
    _write_rejected(job.path.with_name(f"{job.name}.rejected.csv"), rejected)
    write_store(job.path, cutouts, rows, columns, info)
    return Made(path=job.path, info=info, fresh=True)


def _rejected(job: _Job, objects: Objects) -> list[tuple[str, str]]:
    out = np.flatnonzero(job.selection.reasons != KEPT)
    pairs = zip(objects.object_id[out].tolist(), job.selection.reasons[out].tolist(), strict=True)
    return [*pairs, *job.extra]


def _info(job: _Job, cutouts: Cutouts, split: np.ndarray, labels: np.ndarray, rejected: Counter) -> stores.StoreInfo:
    recipe, spec = job.recipe, job.recipe.stores[job.name]
    names = tuple(spec.labels.classes) if spec.labels else ()
    counts = {
        "kept": len(split),
        "rejected": dict(rejected.most_common()),
        "splits": {name: int((split == code).sum()) for code, name in enumerate(stores.SPLITS)},
        "classes": {name: int((labels == code).sum()) for code, name in enumerate(names)},
    }
    return stores.StoreInfo(
        name=job.name, survey=recipe.survey, release=recipe.release, bands=recipe.catalogue.bands,
        channels=tuple(cutouts.source.channels), class_names=names, pixel_scale=cutouts.source.pixel_scale,
        counts=counts, recipe=config.plain(recipe),
        provenance={
            "digest": job.digest, "inputs": job.inputs, "code": provenance.code(),
            "libraries": {name: importlib.metadata.version(name) for name in LIBRARIES},
        },
    )  # fmt: skip


def _write_rejected(path: Path, rejected: Iterable[tuple[str, str]]) -> None:
    """A CSV of object_id and reason, complete or not there."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(("object_id", "reason"))
        writer.writerows(rejected)
    partial.replace(path)
