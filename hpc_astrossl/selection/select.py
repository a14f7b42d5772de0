"""Which objects each store takes, with which label, and why the others are left out; before any pixel is read."""

import bisect
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.objects import Objects, subset
from hpc_astrossl.selection import crossmatch, matching
from hpc_astrossl.selection.chosen import KEPT, Selection
from hpc_astrossl.selection.repeats import Images, reject_repeats
from hpc_astrossl.selection.workspace import BLOCK, HERE, Workspace
from hpc_astrossl.specs.recipe import LabelSpec, Recipe, StoreSpec, is_path
from hpc_astrossl.store import open_store
from hpc_astrossl.tables.tables import Reading, files, read_tables
from hpc_astrossl.tables.texts import NUMBER

Sky = tuple[Any, crossmatch.Places]  # ids, and where the rows that are meant are
MANY = 20  # values and reasons that a message lists
BOOLEANS = {"true": "true", "t": "true", "false": "false", "f": "false"}  # as tables write them
LEAK = 1.0  # arcsec: nearer than this to an object of a labelled set, the pretext set would know its pixels


def select(recipe: Recipe, objects: Objects, source: Path, images: Images | None = None,
           space: Workspace = HERE) -> dict[str, Selection]:  # fmt: skip
    """The selection of every store of the recipe. Reads the spectroscopic table if a store's labels need it.

    Objects that repeat another compete only among those that pass everything else: a twin at the edge of its field, or
    where that has no pixels, as ``images`` tell, removes nobody.
    """
    chosen, known = _alone(recipe, objects)
    spectra = None
    if any(_spectral(store) for store in recipe.stores.values()):
        spectra = _read_spectra(recipe, source)
        near = crossmatch.near_others(_places(objects, known), spectra.places, recipe.spectra.radius, space)
        far = np.ones(len(objects), dtype=bool)
        far[near] = False
        for name in filter(lambda name: _spectral(recipe.stores[name]), chosen):
            chosen[name].reject(far, _no_spectrum(recipe))
    reject_repeats(recipe, objects, chosen, images, space)
    if spectra is not None:
        _match(recipe, objects, chosen, spectra, space)
    _keep_apart(recipe, objects, chosen, space)
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


def _alone(recipe: Recipe, objects: Objects) -> tuple[dict[str, Selection], crossmatch.Masked]:
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


@dataclass(frozen=True, kw_only=True)
class _Spectra:
    """N spectra: positions in degrees, classes as text, and whether the redshift can be trusted."""

    places: crossmatch.Places
    classes: np.ndarray
    good: np.ndarray


def _read_spectra(recipe: Recipe, source: Path) -> _Spectra:
    spec = recipe.spectra
    wanted = {spec.ra: "number", spec.dec: "number", spec.spectral_class: "label", spec.warning: "number"}
    reading = Reading(format=spec.format, hdu=spec.hdu, null_words=spec.null_words)
    table = read_tables(files(source, spec.file), wanted, reading)
    places = crossmatch.Places(rows=np.arange(len(table[spec.ra])), ra=table[spec.ra], dec=table[spec.dec])
    return _Spectra(places=places, classes=table[spec.spectral_class], good=table[spec.warning] == 0)


def _no_spectrum(recipe: Recipe) -> str:
    return f"no spectrum within {recipe.spectra.radius:g} arcsec"


def _match(recipe: Recipe, objects: Objects, chosen: dict[str, Selection], spectra: _Spectra,
           space: Workspace) -> None:  # fmt: skip
    """Give the objects of stores with spectral classes their classes, or the reason to have none."""
    stores = {name: selection for name, selection in chosen.items() if _spectral(recipe.stores[name])}
    wanted = np.flatnonzero(np.logical_or.reduce([selection.codes == 0 for selection in stores.values()]))
    near = crossmatch.near_pairs(_places(objects, wanted), spectra.places, recipe.spectra.radius, space)
    for name, selection in stores.items():
        own = near[selection.codes[near[:, 0]] == 0]
        rows, at = np.unique(own[:, 0], return_inverse=True)
        own[:, 0] = at
        match = matching.matched(own, len(rows), spectra.classes, spectra.good)
        reasons = np.full(len(rows), _no_spectrum(recipe), dtype=object)
        reasons[match.spectrum >= 0] = KEPT
        reasons[match.warning] = "redshift with a warning"
        reasons[match.ambiguous] = "spectra of different classes"
        reasons[match.nearer] = "the spectrum belongs to a nearer object"
        alone = selection.codes == 0
        alone[rows] = False
        selection.reject(alone, _no_spectrum(recipe))
        for reason in dict.fromkeys(reasons[reasons != KEPT]):
            selection.reject(rows[reasons == reason], reason)
        has = match.spectrum >= 0
        values = spectra.classes[match.spectrum[has]]
        _label(selection, recipe.stores[name].labels, rows[has], _Sparse(rows=rows[has], values=values))
        without = len(objects) - len(values)
        if without:
            counts = Counter(selection.values)
            counts[""] += without
            selection.values = _most_first(counts)


@dataclass(frozen=True, kw_only=True)
class _Sparse:
    """Values of a few rows, ascending."""

    rows: np.ndarray
    values: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return self.values[np.searchsorted(self.rows, rows)]


def _keep_apart(recipe: Recipe, objects: Objects, chosen: dict[str, Selection], space: Workspace) -> None:
    """Leave out of each store what it shares with those it must be disjoint from, by id or nearer than LEAK."""
    members = {name: selection.codes == 0 for name, selection in chosen.items()
               if any(name in store.disjoint_from for store in recipe.stores.values())}  # fmt: skip
    for name, store in recipe.stores.items():
        for other in store.disjoint_from:
            left = chosen[name].rows
            if is_path(other):
                shared = _shared(objects, left, _stored(other), space)
            else:
                same = members[other][left]
                shared = _shared(objects, left[~same], _part(objects, np.flatnonzero(members[other])), space)
                shared = np.concatenate([left[same], shared])
            chosen[name].reject(shared, f"in {other} or within {LEAK:g} arcsec of it")


def _shared(objects: Objects, rows: np.ndarray, others: Sky, space: Workspace) -> np.ndarray:
    """The rows that have the id of one of ``others``, or are nearer than LEAK to one."""
    ids, places = others
    same = crossmatch.shared_ids((objects.object_id, rows), (ids, places.rows), space)
    near = crossmatch.near_others(_places(objects, rows), places, LEAK, space)
    return np.union1d(same, near)


def _places(objects: Objects, rows: crossmatch.Rows) -> crossmatch.Places:
    return crossmatch.Places(rows=rows, ra=objects.ra, dec=objects.dec)


def _part(objects: Objects, rows: np.ndarray) -> Sky:
    return objects.object_id, _places(objects, rows)


def _stored(path: str) -> Sky:
    table = open_store(path).table
    rows = np.arange(len(table["object_id"]))
    return table["object_id"], crossmatch.Places(rows=rows, ra=table["ra"], dec=table["dec"])
