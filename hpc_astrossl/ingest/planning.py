"""What the catalogue alone decides of a store: its rows, their order and splits, and what its making is known by.

Everything here is final before any pixel is read. One task decides it and leaves it on disk (``plans``) for all others.
"""

import hashlib
import importlib.metadata
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl import __version__, config, provenance
from hpc_astrossl.cutting.cutouts import open_source
from hpc_astrossl.errors import InputError
from hpc_astrossl.objects import Objects, ranked
from hpc_astrossl.selection import splits
from hpc_astrossl.selection.catalogue import table_files
from hpc_astrossl.selection.chosen import KEPT, Selection
from hpc_astrossl.selection.crossmatch import Groups
from hpc_astrossl.selection.select import require_classes
from hpc_astrossl.selection.workspace import BLOCK, HERE, Workspace, in_order
from hpc_astrossl.specs.recipe import Recipe, StoreSpec, is_path
from hpc_astrossl.store import Arrays, open_store
from hpc_astrossl.store.encoded import Encoding
from hpc_astrossl.store.layout import chunk_rows

NO_ROW = "image without a row in the table"
# What the pixels and the bytes depend on.
LIBRARIES = ("astropy", "numcodecs", "numpy", "Pillow", "pyarrow", "scipy", "zarr")


@dataclass(frozen=True, kw_only=True)
class Draft:
    """One store as its selection was just made: its rows (of the catalogue, in the store's order) and their splits.

    ``inputs`` are the tables and the number of images without a row; ``extra`` lists (id, reason) of what is not in
    the catalogue; ``files`` are the images that are needed, ``seen`` those whose headers the selection depends on.
    """

    name: str
    path: Path
    recipe: Recipe  # as far as this store depends on it
    images: str
    channels: tuple[str, ...]
    dtype: np.dtype
    row: tuple[int, ...]  # shape of an image, or (bytes,) of files that are kept as they are
    encoding: Encoding | None
    pixel_scale: float | None
    selection: Selection
    objects: Objects  # of the whole catalogue
    space: Workspace
    rows: np.ndarray
    split: np.ndarray
    inputs: dict[str, Any]
    extra: list[tuple[str, str]]
    files: list[Path]
    folder: Path  # where they are
    seen: list[Path]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the store's images."""
        return len(self.rows), *self.row

    @property
    def arrays(self) -> Arrays:
        """What the store is to hold."""
        return Arrays(shape=self.shape, dtype=self.dtype, bands=len(self.recipe.catalogue.measured),
                      encoding=self.encoding, compression=self.recipe.compression)  # fmt: skip

    @property
    def shards(self) -> list[np.ndarray]:
        """The catalogue rows of each shard, in order."""
        length = chunk_rows(self.shape, self.dtype)[1]
        return [self.rows[start : start + length] for start in range(0, len(self.rows), length)]

    @cached_property
    def plan(self) -> dict[str, Any]:
        """What must agree between all who write this store. Contents of images are not in it: each shard's record
        has those that it was cut from, so that a mended file costs its own shards only."""
        return {
            "store": self.name, "digest": self.digest, "shape": list(self.shape), "objects": self.digest_of_rows,
            "program": __version__, "libraries": libraries(),
        }  # fmt: skip

    @cached_property
    def digest(self) -> str:
        """Of the recipe, the tables, and which images there are."""
        names = sorted(os.path.relpath(path, self.folder) for path in self.files)
        facts = {"recipe": self.recipe, "inputs": self.inputs, "images": names, "objects": self.digest_of_rows}
        return config.digest(facts)

    @cached_property
    def digest_of_rows(self) -> str:
        """Of the rows: ids, splits and labels in the store's order."""
        table, before = hashlib.sha256(), ""
        for block in in_order({"id": self.objects.object_id}, self.rows, BLOCK, self.space):
            table.update((before + "\n".join(block["id"].tolist())).encode())
            before = "\n"
        table.update(self.split.tobytes())
        table.update(self.selection.labels[self.rows].astype("<i2").tobytes())
        return table.hexdigest()[:16]


def libraries() -> dict[str, str]:
    """Versions of the libraries that pixels and bytes depend on."""
    return {name: importlib.metadata.version(name) for name in LIBRARIES}


def drafts(recipe: Recipe, places: tuple[Path, Path], objects: Objects, chosen: dict[str, Selection],
           seen: set[Path], space: Workspace = HERE) -> list[Draft]:  # fmt: skip
    """A draft for each chosen store; ``places`` are the folders of the source and of the stores.

    InputError for a store without objects and for images that are not there.
    """
    source, out = places
    files = table_files(recipe, source)
    tables = [facts | {"file": os.path.relpath(path, source)}
              for path, facts in zip(files, provenance.inputs(files), strict=True)]  # fmt: skip
    known = objects, tables, seen, space, splits.belonging(recipe.split, objects, space)
    return [_draft(recipe.part(name), name, (source, out / f"{name}.zarr"), selection, known)
            for name, selection in chosen.items()]  # fmt: skip


def _draft(recipe: Recipe, name: str, places: tuple[Path, Path], selection: Selection, known: tuple) -> Draft:
    (folder, path), (objects, tables, seen, space, together) = places, known
    spec = recipe.stores[name]
    cutter = open_source(recipe, folder, objects, spec.images)
    require_some(name, selection)
    require_classes(name, spec.labels, selection)
    if spec.balanced:
        rows = selection.rows
        stay = splits.balance(objects.object_id, selection.labels[rows], recipe.split.seed, rows)
        selection.reject(rows[~stay], "beyond the size of the smallest class")
    rows, split = _order(recipe, objects, selection, together)
    extra = [(stem, NO_ROW) for stem in cutter.without_row()]
    files = [path for unit in cutter.units(rows) for path in cutter.files(unit)]
    return Draft(
        name=name, path=path, recipe=recipe, images=spec.images, channels=tuple(cutter.channels), dtype=cutter.dtype,
        row=cutter.row_shape(rows), encoding=cutter.encoding, pixel_scale=cutter.pixel_scale, selection=selection,
        objects=objects, space=space, rows=rows, split=split,
        inputs={"tables": tables, "images_without_row": len(extra), **_other_stores(spec)}, extra=extra,
        files=list(dict.fromkeys(files)), folder=folder, seen=sorted(seen),
    )  # fmt: skip


def remarks(draft: Draft) -> list[str]:
    """What to say of a store before its pixels are read: of its splits, and of pictures that will be resized."""
    recipe, labels = draft.recipe, draft.recipe.stores[draft.name].labels
    codes, classes = draft.selection.labels[draft.rows], list(labels.classes) if labels else []
    said = [f"{draft.name}: {line}" for line in splits.thin(recipe.split, draft.split, codes, classes)]
    if recipe.files is None:
        return said
    return said + open_source(recipe, draft.folder, draft.objects, draft.images).remarks(draft.rows)


def _other_stores(spec: StoreSpec) -> dict[str, Any]:
    """The stores of other recipes that this one must not overlap, as they are now."""
    paths = [path for path in spec.disjoint_from if is_path(path)]
    return {"disjoint_from": {path: open_store(path).info.provenance["digest"] for path in paths}} if paths else {}


def _order(recipe: Recipe, objects: Objects, selection: Selection,
           together: Callable[[], Groups]) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """(rows, their splits) in the store's order: by field, then split, then a draw.

    So a shard needs few fields, and inside a field a split lies together. The loader mixes objects over many chunks.
    """
    rows, seed = selection.rows, recipe.split.seed
    split = splits.divide(recipe.split, objects, rows, selection.labels[rows], together)
    field = ranked(objects.field, rows)[1]
    order = np.lexsort((splits.draws(objects.object_id, rows, seed, "order"), split, field))
    return rows[order], split[order]


def require_some(name: str, selection: Selection) -> None:
    """InputError, with the counts by reason, when no object is left."""
    if KEPT not in (found := selection.counts()):
        counts = ", ".join(f"{reason} {count:,}" for reason, count in found.items())
        raise InputError(f"store {name}: no object is left of {len(selection)}. Left out: {counts}. "
                         "Loosen the filters of the recipe, or check its column names and --source")  # fmt: skip


def summary(files: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Number and total size of many files, and one hash over all their names, sizes and hashes."""
    entries = [
        {"file": name, "bytes": facts["bytes"], "sha256": facts["sha256"]} for name, facts in sorted(files.items())
    ]
    return {"files": len(files), "bytes": sum(entry["bytes"] for entry in entries), "digest": config.digest(entries)}
