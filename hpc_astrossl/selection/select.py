"""Which objects each store takes, with which label, and why the others are left out; before any pixel is read."""

import bisect
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.objects import Objects, subset
from hpc_astrossl.selection import apart, spectra
from hpc_astrossl.selection.chosen import KEPT, Selection
from hpc_astrossl.selection.repeats import Images, reject_repeats
from hpc_astrossl.selection.workspace import BLOCK, HERE, Workspace
from hpc_astrossl.selection.zones import Masked
from hpc_astrossl.specs.recipe import LabelSpec, Recipe, StoreSpec
from hpc_astrossl.tables.texts import NUMBER

MANY = 20  # values and reasons that a message lists
BOOLEANS = {"true": "true", "t": "true", "false": "false", "f": "false"}  # as tables write them


def select(recipe: Recipe, objects: Objects, source: Path, images: Images | None = None,
           space: Workspace = HERE) -> dict[str, Selection]:  # fmt: skip
    """The selection of every store of the recipe. Reads the spectroscopic table if a store's labels need it.

    Objects that repeat another compete only among those that pass everything else: a twin at the edge of its field, or
    where that has no pixels, as ``images`` tell, removes nobody.
    """
    chosen, known = _alone(recipe, objects)
    spectral = {name: found for name, found in chosen.items() if _spectral(recipe.stores[name])}
    if spectral:
        known_spectra = spectra.read_spectra(recipe, source, space)
        far = spectra.without(recipe, objects, known, known_spectra, space)
        for found in spectral.values():
            found.reject(far, spectra.no_spectrum(recipe))
    reject_repeats(recipe, objects, chosen, images, space)
    for name, classes in spectra.matched(recipe, objects, spectral, known_spectra, space) if spectral else ():
        _label(chosen[name], recipe.stores[name].labels, classes.rows, classes)
        if without := len(objects) - len(classes.rows):
            chosen[name].values = _most_first(Counter(chosen[name].values) + Counter({"": without}))
    apart.keep_apart(recipe, objects, chosen, space)
    return chosen


def require_classes(name: str, labels: LabelSpec | None, selection: Selection) -> None:
    """InputError for a class of a store without one object, with the values that are there, unless that is allowed."""
    if labels is None or labels.allow_empty:
        return
    counts = np.bincount(selection.labels[selection.codes == 0], minlength=len(labels.classes))
    empty = [word for word, count in zip(labels.classes, counts.tolist(), strict=True) if not count]
    if empty:
        there = ", ".join(f"{value or 'no value'} {count:,}" for value, count in list(selection.values.items())[:MANY])
        more = f" and {len(selection.values) - MANY:,} other values" if len(selection.values) > MANY else ""
        where = "the spectra matched" if labels.source == "spectra" else f"column {labels.column!r}"
        out = Counter({reason: count for reason, count in selection.counts().items() if reason != KEPT})
        left = ", ".join(f"{reason} {count:,}" for reason, count in out.most_common(MANY)) or "none"
        raise InputError(f"store {name}: no object of class {', '.join(map(repr, empty))} is left; {where} has: "
                         f"{there}{more}. Left out: {left}. Correct classes or the filters, or say allow_empty: true "
                         "under labels")  # fmt: skip


def _spectral(store: StoreSpec) -> bool:
    return store.labels is not None and store.labels.source == "spectra"


def _alone(recipe: Recipe, objects: Objects) -> tuple[dict[str, Selection], Masked]:
    """What is known of each object by itself, for every store; and the rows that pass the filters of all stores."""
    common = Selection(len(objects))
    for start, block in _blocks(objects):
        _common(recipe, block, common, start)
    chosen = {name: Selection(len(objects), len(store.labels.classes) if store.labels else 0, common)
              for name, store in recipe.stores.items()}  # fmt: skip
    known = common.kept
    del common
    for name, store in recipe.stores.items():
        selection = chosen[name]
        for start, block in _blocks(objects) if store.detected_in or store.max_error is not None else ():
            if store.detected_in:
                few = np.isfinite(block.magnitudes).sum(axis=1) < store.detected_in
                selection.reject(few, f"detected in fewer than {store.detected_in} bands", start)
            if store.max_error is not None:
                selection.reject(*_uncertain(store.max_error, block, recipe.catalogue.measured), start)
        if store.labels is not None and not _spectral(store):
            column = objects.columns[store.labels.column]
            _label(selection, store.labels, np.arange(len(objects)), column)
    return chosen, known


def _blocks(objects: Objects) -> Iterator[tuple[int, Objects]]:
    """The objects, so many at a time, with the row of the first."""
    for start in range(0, len(objects), BLOCK):
        yield start, subset(objects, slice(start, start + BLOCK))


def _common(recipe: Recipe, objects: Objects, selection: Selection, start: int) -> None:
    """The filters that hold for every store, for objects from ``start`` on."""

    def reject(mask: np.ndarray, reason: str) -> None:
        selection.reject(mask, reason, start)

    reject(objects.object_id == "", "id unknown")
    if recipe.catalogue.ra is not None:
        reject(~(np.isfinite(objects.ra) & np.isfinite(objects.dec)), "position unknown")
        possible = (objects.ra >= 0) & (objects.ra <= 360) & (np.abs(objects.dec) <= 90)
        reject(~possible, "position out of range: ra 0..360, dec -90..90 degrees")
    if recipe.fields is not None:
        given = recipe.catalogue.x is not None or recipe.catalogue.has_field
        unknown = "pixel position unknown" if given else "in no field of the release"
        reject(~(np.isfinite(objects.x) & np.isfinite(objects.y)), unknown)
    if recipe.filters.flags:
        reject(~np.isin(objects.flag, recipe.filters.flags), "flagged")
    for band, (low, high) in recipe.filters.magnitudes.items():
        magnitude = objects.magnitudes[:, recipe.catalogue.measured.index(band)]
        reject(~((magnitude >= low) & (magnitude <= high)), f"{band} outside {low:g}..{high:g} mag or unknown")
    if recipe.split.column is not None:
        known = np.isin(objects.columns[recipe.split.column], list(recipe.split.codes))
        reject(~known, f"{recipe.split.column} names no split")


def _uncertain(limit: float | dict[str, float], objects: Objects, bands: Sequence[str]) -> tuple[np.ndarray, str]:
    """(where a detected band is too uncertain, the reason)."""
    if isinstance(limit, dict):
        limits, what = np.array([limit.get(band, np.nan) for band in bands]), "the limit of its band"
    else:
        limits, what = np.full(len(bands), limit), f"{limit:g} mag"
    sure = (objects.errors <= limits) | np.isnan(objects.magnitudes) | np.isnan(limits)
    return ~sure.all(axis=1), f"uncertainty above {what} or unknown"


def _label(selection: Selection, labels: LabelSpec, rows: np.ndarray, values: Any) -> None:
    """Give the class codes of the values that some rows have, and leave out, value by value, what no class lists.

    ``values`` are those of all rows, an array or a column that lies in a file.
    """
    counts, foreign = Counter(), Counter()
    for part, names, at in _labelled(rows, values):
        found = codes(labels, names)[at]
        selection.labels[part] = found
        asked = (found < 0) & (selection.codes[part] == 0)
        counts.update(dict(zip(names.tolist(), np.bincount(at, minlength=len(names)).tolist(), strict=True)))
        foreign.update(dict(zip(names.tolist(), np.bincount(at[asked], minlength=len(names)).tolist(), strict=True)))
    selection.values.update(_most_first(counts))
    first = {name: f"class not asked for: {str(name) or 'no value'}" for name in list(_most_first(+foreign))[:MANY]}
    for part, names, at in _labelled(rows, values) if first else ():
        asked = (selection.labels[part] < 0) & (selection.codes[part] == 0)
        for i, name in enumerate(names.tolist()):
            if name in first:
                selection.reject(part[asked & (at == i)], first[name])
        selection.reject(part[asked], "class not asked for: other values")


def _labelled(rows: np.ndarray, values: Any) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Blocks of (rows, the distinct values among theirs, the number of each row's)."""
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        yield part, *np.unique(values[part], return_inverse=True)


def _most_first(counts: Counter) -> dict[str, int]:
    return dict(sorted(sorted(counts.items()), key=lambda pair: -pair[1]))


def codes(spec: LabelSpec, values: np.ndarray) -> np.ndarray:
    """Class code of each value of the source (text or numbers), -1 for a value that no class lists; int16."""
    table, ranges = spec.codes(), spec.ranges()
    distinct, inverse = np.unique(values, return_inverse=True)
    return np.array([_code(value, table, ranges) for value in distinct.tolist()], np.int16)[inverse]


def _code(value: str | float, table: dict[str | float, int], ranges: list[tuple[float, float, bool, int]]) -> int:
    number = _number(value)
    found = table.get(value, table.get(number))
    if found is None and isinstance(value, str):
        found = table.get(BOOLEANS.get(value.lower()))
    if found is None and number is not None and ranges:
        low, high, closed, code = ranges[max(bisect.bisect_right(ranges, number, key=lambda bounds: bounds[0]) - 1, 0)]
        found = code if low <= number < high or (closed and number == high) else None
    return -1 if found is None else found


def _number(value: str | float) -> float | None:
    if isinstance(value, str) and not NUMBER.fullmatch(value):
        return None
    return float(value)
