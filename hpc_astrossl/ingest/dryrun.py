"""The selection of a recipe without pixels: what would be kept and left out, and how large the stores would be.

Only tables are read, and nothing is written. What only images tell (cutouts over an edge, files that cannot be read,
positions by the fields' own headers) is left to the making; ``notes`` say so where it matters.
"""

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hpc_astrossl.errors import InputError, unknown
from hpc_astrossl.ingest.planning import require_some
from hpc_astrossl.objects import Objects
from hpc_astrossl.selection import splits
from hpc_astrossl.selection.catalogue import read_objects
from hpc_astrossl.selection.select import KEPT, Selection, select
from hpc_astrossl.specs.recipe import Recipe
from hpc_astrossl.store import SPLITS
from hpc_astrossl.store.layout import chunk_rows


@dataclass(frozen=True, kw_only=True)
class Preview:
    """What a store would hold. ``magnitudes``: objects with one, by band. ``bytes``: of its pixels, not compressed."""

    store: str
    objects: int
    kept: int
    rejected: dict[str, int]
    splits: dict[str, int]
    classes: dict[str, int]
    magnitudes: dict[str, int]
    shape: tuple[int, int, int]
    dtype: str
    shards: int
    bytes: int
    notes: tuple[str, ...] = ()


def preview(recipe: Recipe, source: Path, only: str | None = None,
            say: Callable[[str], None] = lambda _: None) -> list[Preview]:  # fmt: skip
    """Every store of the recipe, or the one called ``only``, before it is made. InputError as ``build``."""
    if only is not None and only not in recipe.stores:
        raise unknown("store", only, recipe.stores)
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; --source is the folder that holds {recipe.catalogue.file}")
    objects = read_objects(recipe, source)
    say(f"read {recipe.catalogue.file}: {len(objects):,} objects")
    notes = list(objects.notes)
    if recipe.fields is not None and recipe.catalogue.x is None:
        objects = _anywhere(objects)
        notes.append("whether objects lie in a field is known when the images are there")
    selections = select(recipe, objects, source)
    return [_preview(recipe, name, objects, selections[name], notes)
            for name in recipe.stores if only in (None, name)]  # fmt: skip


def _anywhere(objects: Objects) -> Objects:
    """The objects as if each lay in a field: only images can tell."""
    zeros = np.zeros(len(objects))
    return replace(objects, x=zeros, y=zeros)


def _preview(recipe: Recipe, name: str, objects: Objects, selection: Selection, notes: list[str]) -> Preview:
    spec = recipe.stores[name]
    require_some(name, selection.reasons)
    if spec.balanced:
        rows = selection.rows
        stay = splits.balance(objects.object_id[rows], selection.labels[rows], recipe.split.seed)
        selection.reasons[rows[~stay]] = "beyond the size of the smallest class"
    rows = selection.rows
    split = splits.divide(recipe.split, objects, rows, selection.labels[rows])
    bands = recipe.catalogue.bands
    as_bands = spec.images == "bands"
    row = (recipe.size, recipe.size, len(bands) if as_bands else 3)
    dtype = np.dtype("float32" if as_bands else "uint8")
    length = chunk_rows((len(rows), *row), dtype)[1]
    known = np.isfinite(objects.magnitudes[rows]) if bands else np.empty((len(rows), 0))
    reasons = Counter(reason for reason in selection.reasons.tolist() if reason != KEPT)
    return Preview(
        store=name,
        objects=len(objects),
        kept=len(rows),
        rejected=dict(reasons.most_common()),
        splits={part: int((split == code).sum()) for code, part in enumerate(SPLITS)},
        classes={one: int((selection.labels[rows] == code).sum())
                 for code, one in enumerate(spec.labels.classes if spec.labels else ())},
        magnitudes={band: int(known[:, column].sum()) for column, band in enumerate(bands)},
        shape=row,
        dtype=str(dtype),
        shards=-(-len(rows) // length),
        bytes=len(rows) * int(np.prod(row)) * dtype.itemsize,
        notes=tuple(notes),
    )  # fmt: skip
