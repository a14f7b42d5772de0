"""The end of a store's making: its table, counts, list of what was left out, and its name."""

import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from hpc_astrossl import config, provenance
from hpc_astrossl import inputs as noting
from hpc_astrossl import store as stores
from hpc_astrossl.cutting.badfile import NO_FILE
from hpc_astrossl.cutting.cutouts import open_source
from hpc_astrossl.cutting.source import BLOCK
from hpc_astrossl.errors import InputError
from hpc_astrossl.files import make_aside, rows_as_csv
from hpc_astrossl.identity import sha256
from hpc_astrossl.ingest import scales
from hpc_astrossl.ingest.equal import put_together
from hpc_astrossl.ingest.planning import summary
from hpc_astrossl.ingest.plans import Job
from hpc_astrossl.manifest import Record
from hpc_astrossl.specs import making
from hpc_astrossl.store.packed import unpack

PART = 100_000  # lines that are written at once
SMALL = 1 << 20  # bytes of a file that is hashed once more


def finish(job: Job, say: Callable[[str], None] = lambda text: None) -> stores.StoreInfo:
    """Write what remains when all shards are there, and let the store appear. Any task may; one does. Equal pictures
    are put into one split, and ``say`` tells of them.

    InputError when a file was replaced after it was read, or no object has an image.
    """
    with stores.ending(job.path):
        records = stores.records(job.path)
        if not records:  # another task was faster
            return stores.open_store(job.path).info
        rejected = [pair for record in records for pair in record.rejected]
        split, labels = job.column("split").copy(), job.column("label")
        split[[row for row, _ in rejected]] = stores.REJECTED
        writer = stores.StoreWriter(job.path)
        equal = put_together(job, records, split, writer.hashes)
        split = equal.split
        files, begun = inputs(records), stores.begun(job.path)
        tables = {facts["file"]: facts for facts in job.inputs["tables"]}
        times = noting.times(job.folder, tables | files)
        if name := noting.replaced(job.folder, tables | files, times, begun) or _foreign(job.folder, records):
            raise _replaced(name)
        info = _info(job, (split, labels), _counts(job, rejected), files)
        info = replace(info, counts=info.counts | equal.facts)
        info.provenance["inputs"]["shards"] = [summary(record.inputs)["digest"] for record in records]
        if info.counts["kept"] == 0:
            raise _nothing_left(job, Counter(reason for _, reason in rejected))
        facts = _facts(records, len(split))
        told = scales.afterwards(job, facts, split)
        writer.write_table(_columns(job, split, labels) | facts)
        _write_rejected(job.path.with_name(f"{job.name}.rejected.csv"), _left_out(job, rejected))
        if job.encoding is None:
            info = replace(info, statistics=writer.statistics(split))
        writer.finish(info)
        noting.note(job.path, job.folder, tables | files, times, tree=job.recipe.catalogue.tree, since=begun)
    for line in (*told, *equal.words(job.name)):
        say(line)
    return info


class NothingLeft(InputError):
    """No object of a store has an image: what was made of it is worth nothing. ``store`` is its path."""

    def __init__(self, message: str, store: Path):
        super().__init__(message)
        self.store = store


def _nothing_left(job: Job, reasons: Counter) -> NothingLeft:
    counts = ", ".join(f"{reason} {count:,}" for reason, count in reasons.most_common())
    words = f"store {job.name}: none of its {len(job.table):,} objects has an image that can be used: {counts}"
    if NO_FILE in reasons:
        some = job.objects(0, min(BLOCK, len(job.table)))
        lost = open_source(job.recipe, job.folder, some, job.images).missing(np.arange(len(some)))
        words += f". The first that is not there is {lost}; correct the names of the files in the recipe, or --source"
    return NothingLeft(words, job.path)


def inputs(records: list[Record]) -> dict[str, Any]:
    """Size and hash of every image file that the shards were cut from; InputError when two saw different contents."""
    seen: dict[str, Any] = {}
    for record in records:
        for name, facts in record.inputs.items():
            if seen.setdefault(name, facts) != facts:
                raise _replaced(name)
    return seen


def _foreign(source: Path, records: list[Record]) -> str | None:
    """A file that is not what a shard was cut from, though nothing has changed it: the shard came with its record from
    another store on its way. One small file of each shard is looked at, which costs nothing."""
    for record in records:
        name, facts = min(record.inputs.items(), key=lambda one: one[1]["bytes"], default=("", {"bytes": SMALL + 1}))
        if facts["bytes"] <= SMALL and sha256(source / name) not in (None, facts["sha256"]):
            return name
    return None


def _replaced(name: str) -> InputError:
    return InputError(f"{name}: was replaced while the store was made; run preprocess (or every task of it) again: "
                      "only the shards that need this file are cut anew")  # fmt: skip


def _columns(job: Job, split: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    columns = {name: job.table.lazily(name) for name in ("object_id", "ra", "dec")} | {"split": split, "label": labels}
    if job.recipe.catalogue.measured:
        columns |= {"magnitudes": job.table.lazily("magnitudes"), "magnitude_errors": job.table.lazily("errors")}
    return columns


def _facts(records: list[Record], rows: int) -> dict[str, np.ndarray]:
    """Columns that only the images told, of shards that were told them; none that is unknown everywhere."""
    found: dict[str, np.ndarray] = {}
    for record in records:
        for name, packed in record.facts.items():
            values = unpack(packed)
            column = found.setdefault(name, np.full((rows, *values.shape[1:]), np.nan))
            column[slice(*record.rows)] = values
    return {name: column for name, column in found.items() if np.isfinite(column).any()}


def _left_out(job: Job, rejected: list[tuple[int, str]]) -> Iterator[tuple[str, str]]:
    """(id, reason): what the catalogue decided, then what the pixels did, then images without a row."""
    yield from job.reasons()
    for row, reason in rejected:
        yield str(job.table.read("object_id", row, row + 1)[0]), reason
    yield from map(tuple, job.facts["extra"])


def _counts(job: Job, rejected: list[tuple[int, str]]) -> Counter:
    """How many of those have each reason, in the order in which they come."""
    found = Counter(job.counts())
    found.update(reason for _, reason in rejected)
    found.update(reason for _, reason in job.facts["extra"])
    return found


def _info(job: Job, codes: tuple[np.ndarray, np.ndarray], rejected: Counter, images: dict) -> stores.StoreInfo:
    recipe, spec = job.recipe, job.recipe.stores[job.name]
    names = tuple(spec.labels.classes) if spec.labels else ()
    split, labels = codes
    kept = split != stores.REJECTED
    counts = {
        "kept": int(kept.sum()),
        "rejected_rows": int((~kept).sum()),
        "rejected": dict(rejected.most_common()),
        "splits": {name: int((split == code).sum()) for code, name in enumerate(stores.SPLITS)},
        "classes": {name: int((labels[kept] == code).sum()) for code, name in enumerate(names)},
    }
    return stores.StoreInfo(
        name=job.name, survey=recipe.survey, release=recipe.release, bands=recipe.catalogue.measured,
        channels=job.channels, class_names=names, pixel_scale=job.facts["pixel_scale"], counts=counts,
        recipe=config.plain(recipe), images=_making(job, images),
        provenance={
            "digest": job.plan["digest"],
            "inputs": {**job.inputs, "images": summary(images), "unverified_images": _unverified(images)},
            "code": provenance.code(), "libraries": job.plan["libraries"],
        },
    )  # fmt: skip


def _making(job: Job, images: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """How the images were made, for whoever applies a network to others; ``images`` are the files that were read."""
    kinds = {PurePath(name).suffix.lower() for name in images}
    made = making.of_recipe(config.plain(job.recipe), job.name, channels=job.channels,
                            pixel_scale=job.facts["pixel_scale"], kinds=kinds)  # fmt: skip
    return made.record() if made else {}


def _unverified(images: dict[str, dict[str, Any]]) -> int:
    """FITS files without a DATASUM that was held against their data."""
    return sum(not facts.get("verified", True) for facts in images.values())


def _write_rejected(path: Path, rejected: Iterable[tuple[str, str]]) -> None:
    """A CSV of object_id and reason, complete or not there."""

    def fill(aside: Path) -> None:
        rows = itertools.chain([("object_id", "reason")], rejected)
        with aside.open("xb") as stream:
            while part := list(itertools.islice(rows, PART)):
                stream.write(rows_as_csv(part).encode())
            stream.flush()
            os.fsync(stream.fileno())

    make_aside(path, fill)
