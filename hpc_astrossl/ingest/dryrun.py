"""The selection of a recipe without pixels: what would be kept and left out, and how large the stores would be.

Only tables are read, the headers of some pictures and that of an array, and a few FITS cutouts; nothing stays
written: columns that are larger than the memory allows lie in TMPDIR meanwhile. What only images tell (cutouts over an
edge, files that cannot be read, positions by the fields' own headers) is left to the making; ``notes`` say so where it
matters.
"""

import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hpc_astrossl.cutting.cutouts import open_source
from hpc_astrossl.cutting.source import Unit
from hpc_astrossl.errors import InputError, unknown
from hpc_astrossl.ingest.planning import require_some
from hpc_astrossl.objects import Objects
from hpc_astrossl.selection import splits
from hpc_astrossl.selection.catalogue import read_objects
from hpc_astrossl.selection.chosen import KEPT, Selection
from hpc_astrossl.selection.select import require_classes, select
from hpc_astrossl.selection.workspace import BLOCK, GB, Workspace
from hpc_astrossl.specs import patterns
from hpc_astrossl.specs.recipe import Recipe
from hpc_astrossl.store import SPLITS
from hpc_astrossl.store.layout import chunk_rows

LOOKED_FOR = 1000  # objects whose files are looked for
TRIED = 5  # objects with FITS cutouts of their own that are cut, to see whether the recipe fits them


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


def preview(recipe: Recipe, source: Path, only: str | None = None, say: Callable[[str], None] = lambda _: None,
            memory_gb: float = 2) -> list[Preview]:  # fmt: skip
    """Every store of the recipe, or the one called ``only``, before it is made. InputError as ``build``."""
    if only is not None and only not in recipe.stores:
        raise unknown("store", only, recipe.stores)
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; --source is the folder that holds {recipe.catalogue.file}")
    with tempfile.TemporaryDirectory(prefix="astrossl-") as folder:
        space = Workspace(memory=int(memory_gb * GB), folder=Path(folder), say=say)
        return _previews(recipe, source, (only, say), space)


def _previews(recipe: Recipe, source: Path, how: tuple, space: Workspace) -> list[Preview]:
    only, say = how
    objects = read_objects(recipe, source, space)
    say(f"read {recipe.catalogue.file}: {len(objects):,} objects")
    notes = list(objects.notes)
    if recipe.fields is not None and recipe.catalogue.x is None:
        objects = _anywhere(objects)
        notes.append("whether objects lie in a field is known when the images are there")
    selections = select(recipe, objects, source, space=space)
    if recipe.cutouts is not None and recipe.cutouts.array is not None:
        notes += _array_fits(recipe, source, objects, selections)
    elif recipe.fields is None:
        notes += _files_there(recipe, source, objects, selections)
        if recipe.cutouts is not None:
            notes += _tried(recipe, source, objects, selections)
    together = splits.belonging(recipe.split, objects, space)
    return [_preview(recipe, name, (source, objects, together), selections[name], notes)
            for name in recipe.stores if only in (None, name)]  # fmt: skip


def _array_fits(recipe: Recipe, source: Path, objects: Objects, selections: dict[str, Selection]) -> list[str]:
    """Notes. InputError when an array of cutouts that is there does not fit the table or the recipe."""
    if not patterns.place(source, recipe.cutouts.array, {}).exists():
        return [f"whether {recipe.cutouts.array} fits is known when it is there"]
    for name, selection in selections.items():
        cutter = open_source(recipe, source, objects, recipe.stores[name].images)
        cutter.without_row()
        cutter.units(selection.rows)
    return []


def _files_there(recipe: Recipe, source: Path, objects: Objects, selections: dict[str, Selection]) -> list[str]:
    """A note when files of the first objects that would be kept are not there."""
    rows = next(iter(selections.values())).rows[:LOOKED_FOR]
    cutter = open_source(recipe, source, objects, next(iter(recipe.stores.values())).images)
    lost = [path for row in rows if (path := cutter.missing(np.array([row])))]
    return [f"{len(lost):,} of the first {len(rows):,} objects have no file; {lost[0]} is not there"] if lost else []


def _tried(recipe: Recipe, source: Path, objects: Objects, selections: dict[str, Selection]) -> list[str]:
    """A note when some of the cutouts that are there would be left out; InputError as the making has it."""
    notes = []
    for name, selection in selections.items():
        cutter = open_source(recipe, source, objects, recipe.stores[name].images)
        some = selection.rows[:: max(1, len(selection.rows) // TRIED)][: 2 * TRIED]
        rows = np.array([row for row in some if not cutter.missing(np.array([row]))][:TRIED], dtype=np.int64)
        if not len(rows):
            continue
        reasons = cutter.cut(Unit(name="", rows=rows), np.zeros((len(rows), *cutter.row_shape(rows)), cutter.dtype))
        left = Counter(reason for reason in reasons if reason)
        if left:
            told = ", ".join(f"{reason} {count}" for reason, count in left.most_common())
            notes.append(f"{name}: of {len(rows)} cutouts that were tried {left.total()} would be left out: {told}")
    return notes


def _anywhere(objects: Objects) -> Objects:
    """The objects as if each lay in a field: only images can tell."""
    zeros = np.broadcast_to(0.0, len(objects))
    return replace(objects, x=zeros, y=zeros)


def _preview(recipe: Recipe, name: str, known: tuple, selection: Selection,
             notes: list[str]) -> Preview:  # fmt: skip
    source, objects, together = known
    spec = recipe.stores[name]
    require_some(name, selection)
    require_classes(name, spec.labels, selection)
    if spec.balanced:
        rows = selection.rows
        stay = splits.balance(objects.object_id, selection.labels[rows], recipe.split.seed, rows)
        selection.reject(rows[~stay], "beyond the size of the smallest class")
    rows = selection.rows
    split = splits.divide(recipe.split, objects, rows, selection.labels[rows], together)
    classes = list(spec.labels.classes) if spec.labels else []
    notes = notes + splits.thin(recipe.split, split, selection.labels[rows], classes)
    bands, measured = recipe.catalogue.bands, recipe.catalogue.measured
    as_bands = spec.images == "bands"
    row = (recipe.size, recipe.size, len(bands) if as_bands else 3)
    dtype = np.dtype("float32" if as_bands else "uint8")
    length = chunk_rows((len(rows), *row), dtype)[1]
    known = sum((np.isfinite(objects.magnitudes[rows[start : start + BLOCK]]).sum(axis=0)
                 for start in range(0, len(rows), BLOCK)), np.zeros(len(measured), dtype=int))  # fmt: skip
    if recipe.files is not None:
        notes = notes + open_source(recipe, source, objects, spec.images).remarks(rows)
    reasons = Counter({reason: count for reason, count in selection.counts().items() if reason != KEPT})
    return Preview(
        store=name,
        objects=len(objects),
        kept=len(rows),
        rejected=dict(reasons.most_common()),
        splits={part: int((split == code).sum()) for code, part in enumerate(SPLITS)},
        classes={one: int((selection.labels[rows] == code).sum()) for code, one in enumerate(classes)},
        magnitudes={band: int(known[column]) for column, band in enumerate(measured)},
        shape=row,
        dtype=str(dtype),
        shards=-(-len(rows) // length),
        bytes=len(rows) * int(np.prod(row)) * dtype.itemsize,
        notes=tuple(notes),
    )  # fmt: skip
