"""Pixel positions of objects: by the WCS of their fields where the catalogue has none, else held against it."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from hpc_astrossl.cutting.badfile import BadFile
from hpc_astrossl.cutting.footprints import Index, deepest, only_field
from hpc_astrossl.errors import InputError
from hpc_astrossl.objects import Objects
from hpc_astrossl.specs.recipe import Recipe

DECIMALS = 3  # of pixels: a position on a whole pixel stays on it, whatever the last digits of the sky say
FIELDS, EACH = 8, 64  # looked at when positions are compared
FEWEST = 3  # objects that tell an offset
ALLOWED = 0.25  # pixels that the median may be off
SCATTER = 3.0  # pixels: positions that scatter more belong to other fields, or to another grid


def locate(recipe: Recipe, folder: Path, objects: Objects, say: Callable[[str], None]) -> Objects:
    """The objects with their ``x``, ``y`` and, without a column for it, ``field``.

    Given positions are kept, and a sample is compared with the headers. InputError when these contradict them.
    """
    spec = recipe.fields
    if spec is not None and recipe.catalogue.x is not None and not recipe.catalogue.has_field:
        objects = replace(objects, field=np.full(len(objects), only_field(recipe, folder)))
    if spec is None or spec.bands is None or recipe.catalogue.ra is None:
        return objects
    index = Index(recipe, folder)
    try:
        if recipe.catalogue.x is not None:
            _compare(recipe, index, objects, say)
            return objects
        if recipe.catalogue.has_field:
            return replace(objects, **_in_fields(index, objects))
        field, x, y = _deepest(index, objects, stop=spec.unreadable == "stop", say=say)
        say(f"{(field != '').sum():,} of {len(field):,} objects lie in {len(np.unique(field[field != ''])):,} fields")
        return replace(objects, field=field, x=np.round(x, DECIMALS), y=np.round(y, DECIMALS))
    finally:
        index.save()


def _deepest(index: Index, objects: Objects, *, stop: bool, say: Callable[[str], None]):
    """(field, x, y) of objects. BadFile for a field whose image cannot be read; with ``stop`` false that is told."""
    faults = []

    def unreadable(error: BadFile) -> None:
        if stop:
            raise error
        faults.append(error)

    found = deepest(index, objects.ra, objects.dec, unreadable)
    if faults:
        say(f"{len(faults):,} fields cannot be read, so no object is found in them: {faults[0]}")
    return found


def _in_fields(index: Index, objects: Objects) -> dict[str, np.ndarray]:
    """x and y by the WCS of the field that the catalogue names; NaN where the field cannot be read."""
    x, y = np.full((2, len(objects)), np.nan)
    names, which = np.unique(objects.field, return_inverse=True)
    for i, name in enumerate(names):
        rows = np.flatnonzero(which == i)
        try:
            x[rows], y[rows] = index.one(str(name)).sky.pixel(objects.ra[rows], objects.dec[rows])
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


def _offsets(index: Index, objects: Objects) -> tuple[np.ndarray, np.ndarray, int]:
    """Catalogue minus header, in x and y, of a sample that is spread over fields and objects."""
    known = np.isfinite(objects.x) & np.isfinite(objects.y) & np.isfinite(objects.ra) & np.isfinite(objects.dec)
    known &= (objects.ra >= 0) & (objects.ra <= 360) & (np.abs(objects.dec) <= 90)
    names = np.unique(objects.field[known])
    found, fields = [], 0
    for name in names[np.unique(np.linspace(0, max(len(names) - 1, 0), FIELDS).astype(int))] if len(names) else ():
        rows = np.flatnonzero(known & (objects.field == name))
        rows = rows[np.unique(np.linspace(0, len(rows) - 1, EACH).astype(int))]
        try:
            sky = index.one(str(name)).sky
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
