"""Pixel positions of objects: by the WCS of their fields where the catalogue has none, else held against it."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from hpc_astrossl.cutting.badfile import BadFile
from hpc_astrossl.cutting.footprints import Index, deepest, first_band, only_field
from hpc_astrossl.errors import InputError
from hpc_astrossl.objects import Objects, distinct
from hpc_astrossl.specs import patterns
from hpc_astrossl.specs.recipe import Recipe

DECIMALS = 3  # of pixels: a position on a whole pixel stays on it, whatever the last digits of the sky say
BLOCK = 1 << 20  # objects at once
FIELDS, EACH = 8, 64  # looked at when positions are compared
FEWEST = 3  # objects that tell an offset
ALLOWED = 0.25  # pixels that the median may be off
SCATTER = 3.0  # pixels: positions that scatter more belong to other fields, or to another grid


def locate(recipe: Recipe, folder: Path, objects: Objects,
           say: Callable[[str], None]) -> Iterator[dict[str, np.ndarray]]:  # fmt: skip
    """Block by block, in their order, the objects' ``x``, ``y`` and, without a column for it, ``field``.

    Given positions are kept, and a sample is compared with the headers. InputError when these contradict them.
    """
    spec = recipe.fields
    if spec is not None and recipe.catalogue.x is not None and not recipe.catalogue.has_field:
        objects = replace(objects, field=np.broadcast_to(only_field(recipe, folder), len(objects)))
        for start in range(0, len(objects), BLOCK):
            yield {"field": objects.field[start : start + BLOCK]}
    if spec is None or spec.bands is None or recipe.catalogue.ra is None:
        return
    index = Index(recipe, folder)
    try:
        if recipe.catalogue.x is not None:
            _compare(recipe, index, objects, say)
        elif recipe.catalogue.has_field:
            for start in range(0, len(objects), BLOCK):
                yield _in_fields(index, objects, slice(start, start + BLOCK))
        else:
            yield from _deepest(index, objects, stop=spec.unreadable == "stop", say=say)
    finally:
        index.save()


def asked(recipe: Recipe, folder: Path, objects: Objects) -> set[Path]:
    """The images by whose headers ``x`` and ``y`` of located objects were found in fields that the catalogue names."""
    spec, known = recipe.fields, recipe.catalogue
    if spec is None or spec.bands is None or known.ra is None or known.x is not None or not known.has_field:
        return set()
    words = {"band": first_band(recipe)}
    fields = filter(None, distinct(objects.field).tolist())
    return {patterns.place(folder, spec.bands, words | {"field": field}) for field in fields}


def _deepest(index: Index, objects: Objects, *, stop: bool,
             say: Callable[[str], None]) -> Iterator[dict[str, np.ndarray]]:  # fmt: skip
    """Field, x and y of objects. BadFile for a field whose image cannot be read; with ``stop`` false that is told."""
    faults, fields, found = {}, set(), 0

    def unreadable(error: BadFile) -> None:
        if stop:
            raise error
        faults[str(error)] = error

    for start in range(0, len(objects), BLOCK):
        part = slice(start, start + BLOCK)
        field, x, y = deepest(index, objects.ra[part], objects.dec[part], unreadable)
        inside = field[field != ""]
        fields.update(np.unique(inside).tolist())
        found += len(inside)
        yield {"field": field, "x": np.round(x, DECIMALS), "y": np.round(y, DECIMALS)}
    if faults:
        say(f"{len(faults):,} fields cannot be read, so no object is found in them: {next(iter(faults))}")
    say(f"{found:,} of {len(objects):,} objects lie in {len(fields):,} fields")


def _in_fields(index: Index, objects: Objects, part: slice) -> dict[str, np.ndarray]:
    """x and y by the WCS of the field that the catalogue names; NaN where the field cannot be read."""
    ra, dec, field = objects.ra[part], objects.dec[part], objects.field[part]
    x, y = np.full((2, len(ra)), np.nan)
    names, which = np.unique(field, return_inverse=True)
    for i, name in enumerate(names):
        rows = np.flatnonzero(which == i)
        try:
            x[rows], y[rows] = index.one(str(name)).sky.pixel(ra[rows], dec[rows])
        except BadFile:  # missing or damaged: its objects are dealt with as the recipe says, when it is opened
            x[rows], y[rows] = 0.0, 0.0
    return {"x": np.round(x, DECIMALS), "y": np.round(y, DECIMALS)}


def _compare(recipe: Recipe, index: Index, objects: Objects, say: Callable[[str], None]) -> None:
    """Tell the median offset between the catalogue's pixels and the headers'; InputError when it is none of chance."""
    dx, dy, fields = _offsets(index, objects)
    if len(dx) < FEWEST:
        return
    middle = np.median(dx), np.median(dy)
    scatter = max(1.4826 * np.median(np.abs(d - m)) for d, m in zip((dx, dy), middle, strict=True))
    found = f"median offset {middle[0]:+.2f}, {middle[1]:+.2f} pixels ({len(dx):,} objects of {fields} fields)"
    say(f"x, y of the catalogue against the headers: {found}")
    allowed = ALLOWED + 3 * scatter / np.sqrt(len(dx))
    if scatter <= SCATTER and max(np.abs(middle)) <= allowed:
        return
    raise InputError(f"{recipe.catalogue.file}: its x, y are not where the headers' WCS puts ra, dec: {found}, scatter "
                     f"{scatter:.2f}. {_cure(recipe, middle, scatter)}")  # fmt: skip


def _cure(recipe: Recipe, middle: tuple[float, float], scatter: float) -> str:
    origin = recipe.catalogue.origin
    if scatter <= SCATTER and all(abs(m - (1 if origin else -1) * -1) <= ALLOWED for m in middle):
        return f"The catalogue counts pixels from {1 - origin}: set catalogue.origin: {1 - origin}"
    if scatter <= SCATTER and all(abs(abs(m) - 0.5) <= ALLOWED / 2 for m in middle):
        return "Half a pixel: it gives the pixels' edges, not their centres; leave x and y out, to use ra, dec"
    return "They belong to another image, field or grid; leave x and y out of catalogue, to use ra, dec"


def _placed(objects: Objects) -> Iterator[np.ndarray]:
    """Rows of objects that have both positions, block by block."""
    for start in range(0, len(objects), BLOCK):
        part = slice(start, start + BLOCK)
        x, y, ra, dec = (column[part] for column in (objects.x, objects.y, objects.ra, objects.dec))
        known = np.isfinite(x) & np.isfinite(y) & np.isfinite(ra) & np.isfinite(dec)
        known &= (ra >= 0) & (ra <= 360) & (np.abs(dec) <= 90)
        yield start + np.flatnonzero(known)


def _offsets(index: Index, objects: Objects) -> tuple[np.ndarray, np.ndarray, int]:
    """Catalogue minus header, in x and y, of a sample that is spread over fields and objects."""
    there = set().union(*(distinct(objects.field[rows]).tolist() for rows in _placed(objects)))
    names = np.array(sorted(there), dtype=str)
    found, fields = [], 0
    chosen = names[np.unique(np.linspace(0, max(len(names) - 1, 0), FIELDS).astype(int))] if len(names) else names
    inside = {name: [] for name in chosen.tolist()}
    for rows in _placed(objects) if inside else ():
        fields_ = objects.field[rows]
        for name, parts in inside.items():
            parts.append(rows[fields_ == name])
    for name, parts in inside.items():
        rows = np.concatenate(parts)
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, EACH).astype(int))]
        try:
            sky = index.one(name).sky
        except InputError:  # without a WCS there is nothing to compare with
            continue
        x, y = sky.pixel(objects.ra[rows], objects.dec[rows])
        found.append(np.stack([objects.x[rows] - x, objects.y[rows] - y]))
        fields += 1
    both = np.concatenate(found, axis=1) if found else np.empty((2, 0))
    both = both[:, np.isfinite(both).all(axis=0)]
    lost = sum(part.shape[1] for part in found) - both.shape[1]
    if lost > both.shape[1]:  # most are not even on the image's side of the sky
        both = np.full((2, lost), 1e6) * np.linspace(-1, 1, lost)
    return both[0], both[1], fields
