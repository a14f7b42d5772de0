"""The plan of a store on disk: which objects, in which order, what is known of each, and what was left out.

It lies in ``NAME.zarr.partial/selection/KEY/`` as columns and a page of facts. One task makes the selection, under a
lease; all map from here what their shards need. KEY is of what a selection follows from and can be looked at without
reading it: the recipe, the program, sizes and times of tables and of the images whose headers were asked. Where one of
them has changed, the selection is made anew, and held against what the store was begun with.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl import __version__, config
from hpc_astrossl import store as stores
from hpc_astrossl.files import make_aside, remove, sync, write_aside
from hpc_astrossl.ingest.planning import Draft, libraries
from hpc_astrossl.objects import Objects
from hpc_astrossl.selection.catalogue import table_files
from hpc_astrossl.selection.chosen import KEPT
from hpc_astrossl.selection.columns import BLOCK, Columns, write_columns
from hpc_astrossl.selection.workspace import in_order
from hpc_astrossl.specs.recipe import Recipe, is_path
from hpc_astrossl.store import Arrays
from hpc_astrossl.store.encoded import Encoding
from hpc_astrossl.store.layout import chunk_rows
from hpc_astrossl.tables.folders import list_images

FACTS, OBJECTS, LEFT_OUT = "facts.json", "objects.arrow", "left_out.arrow"
_COLUMN = "column "  # before the names of columns that only labels, sizes and file names are read from


@dataclass(frozen=True, kw_only=True)
class Job:
    """One store on its way, by its plan on disk. Rows are those of the store, from 0."""

    name: str
    path: Path
    recipe: Recipe  # as far as this store depends on it
    folder: Path  # where its tables and images are
    facts: dict[str, Any]
    table: Columns
    left_out: Columns

    @property
    def images(self) -> str:
        """rgb or bands."""
        return self.recipe.stores[self.name].images

    @property
    def channels(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.facts["channels"])

    @property
    def dtype(self) -> np.dtype:
        """Of the images."""
        return np.dtype(self.facts["dtype"])

    @property
    def encoding(self) -> Encoding | None:
        """Of images whose files are kept."""
        return Encoding(**self.facts["encoding"]) if self.facts["encoding"] else None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the store's images."""
        return len(self.table), *self.facts["row"]

    @property
    def arrays(self) -> Arrays:
        """What the store is to hold."""
        return Arrays(shape=self.shape, dtype=self.dtype, bands=len(self.recipe.catalogue.measured),
                      encoding=self.encoding, compression=self.recipe.compression)  # fmt: skip

    @property
    def plan(self) -> dict[str, Any]:
        """What must agree between all who write this store."""
        return self.facts["plan"]

    @property
    def inputs(self) -> dict[str, Any]:
        """Its tables, and the number of images without a row."""
        return self.facts["inputs"]

    @cached_property
    def shards(self) -> list[tuple[int, int]]:
        """The rows (start, stop) of each shard, in order."""
        length, count = chunk_rows(self.shape, self.dtype)[1], len(self.table)
        return [(start, min(start + length, count)) for start in range(0, count, length)]

    def column(self, name: str) -> np.ndarray:
        """A column, all rows."""
        return self.table.read(name)

    def objects(self, start: int, stop: int) -> Objects:
        """What cutting needs to know of some rows."""
        unknown = np.full(stop - start, np.nan)
        read = {name: self.table.read(name, start, stop) for name in ("object_id", "field", "ra", "dec", "x", "y")}
        more = {name.removeprefix(_COLUMN): self.table.read(name, start, stop)
                for name in self.table.names if name.startswith(_COLUMN)}  # fmt: skip
        none = np.empty((stop - start, 0))
        return Objects(**read, flag=None, magnitudes=none, errors=none, reference=unknown, columns=more)

    def counts(self) -> dict[str, int]:
        """How many objects were left out for each reason, in the order in which they come."""
        found = np.zeros(len(self.facts["reasons"]), dtype=np.int64)
        for start in range(0, len(self.left_out), BLOCK):
            codes = self.left_out.read("reason", start, min(start + BLOCK, len(self.left_out)))
            found += np.bincount(codes, minlength=len(found))
        return dict(zip(self.facts["reasons"], found.tolist(), strict=True))

    def reasons(self) -> Iterator[tuple[str, str]]:
        """(id, reason) of what the catalogue decided, in its order."""
        for start in range(0, len(self.left_out), BLOCK):
            stop = min(start + BLOCK, len(self.left_out))
            ids, codes = (self.left_out.read(name, start, stop) for name in ("object_id", "reason"))
            yield from zip(ids.tolist(), (self.facts["reasons"][code] for code in codes.tolist()), strict=True)


def key_of(recipe: Recipe, source: Path) -> str:
    """What a selection is known by before anything is read, so far as tables, folders and other stores go."""
    spec = recipe.catalogue
    listed = list_images(source).files if spec.tree else []
    others = {path for store in recipe.stores.values() for path in filter(is_path, store.disjoint_from)}
    facts = {
        "recipe": config.plain(recipe), "program": __version__, "libraries": libraries(),
        "tables": _signatures(table_files(recipe, source), source), "listed": listed,
        "fields": _signatures(_fields(recipe, source), source),
        "others": {path: stores.open_store(path).info.provenance.get("digest") for path in sorted(others)},
    }  # fmt: skip
    # Not sorted by key: the order of classes is that of their numbers.
    return hashlib.sha256(json.dumps(facts).encode()).hexdigest()[:24]


def _fields(recipe: Recipe, source: Path) -> list[Path]:
    """The images among which objects are looked for by their position: a new one may hold some."""
    spec = recipe.fields
    if spec is None or recipe.catalogue.has_field:
        return []
    return sorted(source.glob(spec.pattern.format(field="*", band="*")))


def _signatures(paths: list[Path], folder: Path) -> list[list]:
    """Name, size and times of change of files; only the name of those that are not there."""
    return [[os.path.relpath(path, folder), *_about(path)] for path in paths]


def _about(path: Path) -> list[int]:
    try:
        about = path.stat()
    except OSError:
        return []
    return [about.st_size, about.st_mtime_ns, about.st_ctime_ns]


def save(draft: Draft, key: str, *, replace: bool = False) -> None:
    """Begin the store and leave its plan in it, complete or not there. InputError when it was begun by another plan
    and is not to be replaced."""
    stores.join(draft.path, draft.arrays, plan=draft.plan, replace=replace)
    folder = stores.selection_folder(draft.path)
    folder.mkdir(exist_ok=True)
    seen = _signatures(draft.seen, draft.folder)
    place = folder / hashlib.sha256(json.dumps([key, seen]).encode()).hexdigest()[:24]
    remove(place)  # only one that could not be read is there
    make_aside(place, lambda aside: _fill(aside, draft, key, seen))


def _fill(folder: Path, draft: Draft, key: str, seen: list) -> None:
    folder.mkdir()
    write_columns(folder / OBJECTS, _blocks(draft))
    words = [word for word in draft.selection.counts() if word != KEPT]
    write_columns(folder / LEFT_OUT, _left_out(draft, words))
    facts = {
        "key": key, "seen": seen, "plan": draft.plan, "channels": draft.channels, "dtype": draft.dtype.str,
        "row": draft.row, "encoding": asdict(draft.encoding) if draft.encoding else None,
        "pixel_scale": draft.pixel_scale, "inputs": draft.inputs, "extra": draft.extra, "reasons": words,
        "sums": {name: Columns(folder / name).sums() for name in (OBJECTS, LEFT_OUT)},
    }  # fmt: skip
    (folder / FACTS).write_text(json.dumps(facts), encoding="utf-8")
    for name in (OBJECTS, LEFT_OUT, FACTS):
        sync(folder / name)


def _left_out(draft: Draft, words: list[str]) -> Iterator[dict[str, np.ndarray]]:
    """Ids of what was left out, and the number of each one's reason, block by block."""
    selection = draft.selection
    number = np.array([words.index(word) if word in words else -1 for word in selection.words], dtype=np.int32)
    for start in range(0, len(selection), BLOCK):
        out = start + np.flatnonzero(selection.codes[start : start + BLOCK])
        yield {"object_id": draft.objects.object_id[out], "reason": number[selection.codes[out]]}


def _blocks(draft: Draft) -> Iterator[dict[str, np.ndarray]]:
    """The columns of the store's rows, in its order, block by block."""
    objects, bands = draft.objects, bool(draft.recipe.catalogue.measured)
    whole = {name: getattr(objects, name) for name in ("object_id", "field", "ra", "dec", "x", "y")}
    whole |= {"magnitudes": objects.magnitudes, "errors": objects.errors} if bands else {}
    whole |= {_COLUMN + name: values for name, values in objects.columns.items()}
    for number, block in enumerate(in_order(whole, draft.rows, BLOCK, draft.space)):
        part = slice(number * BLOCK, (number + 1) * BLOCK)
        rows = draft.rows[part]
        yield block | {
            "number": rows,
            "split": draft.split[part],
            "label": draft.selection.labels[rows].astype(np.int16),
        }


def load(recipe: Recipe, name: str, places: tuple[Path, Path], key: str) -> Job | None:
    """The plan of a store in the making that was made from what lies there now; None when there is none.

    ``places`` are the folders of the source and of the stores.
    """
    source, out = places
    path = out / f"{name}.zarr"
    for folder in sorted(stores.selection_folder(path).glob("[!.]*")):
        try:
            facts = json.loads((folder / FACTS).read_bytes())
            current = facts["key"] == key and facts["seen"] == [
                [file, *_about(source / file)] for file, *_ in facts["seen"]
            ]
            if current:
                table, left_out = (Columns(folder / file, facts["sums"][file]) for file in (OBJECTS, LEFT_OUT))
                return Job(name=name, path=path, recipe=recipe.part(name), folder=source, facts=facts, table=table,
                           left_out=left_out)  # fmt: skip
        except (OSError, ValueError, KeyError):  # another task has finished the store meanwhile
            continue
    return None


def note(draft: Draft, key: str) -> None:
    """Leave beside the store by what it is known, for tasks that come when it is finished and have no shard of it."""
    path = _note(draft.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, json.dumps({"key": key, "digest": draft.digest, "shards": len(draft.shards)}).encode())


def noted(path: Path, key: str) -> dict[str, Any] | None:
    """What ``note`` left of the store at ``path``, if it was made from what lies there now."""
    try:
        facts = json.loads(_note(path).read_bytes())
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) and facts.get("key") == key else None


def _note(path: Path) -> Path:
    return path.parent / f"{path.stem}.tasks" / "selection.json"
