"""Which objects each store takes, with which label, and why the others are left out; before any pixel is read."""

import bisect
import hashlib
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.objects import Objects
from hpc_astrossl.selection import crossmatch
from hpc_astrossl.specs.recipe import LabelSpec, Recipe, StoreSpec, is_path
from hpc_astrossl.store import open_store
from hpc_astrossl.tables.tables import Reading, files, read_tables
from hpc_astrossl.tables.texts import NUMBER

Sky = tuple[np.ndarray, np.ndarray, np.ndarray]  # ids, ra, dec
KEPT = ""
EDGE = "near the edge"
MANY = 20  # values and reasons that a message lists
BOOLEANS = {"true": "true", "t": "true", "false": "false", "f": "false"}  # as tables write them
LEAK = 1.0  # arcsec: nearer than this to an object of a labelled set, the pretext set would know its pixels


Outside = Callable[[StoreSpec, np.ndarray], np.ndarray]  # of some rows, those whose cutout is over the edge; bool, N


@dataclass(frozen=True, kw_only=True)
class Selection:
    """For N objects: the reason to leave each out of a store ("" while it is in), and its class code (-1 for none).

    ``values`` counts the values that the labels were read from, before any filter; empty without labels.
    """

    reasons: np.ndarray  # text, as Python objects: reasons are of any length
    labels: np.ndarray  # int16
    values: dict[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> np.ndarray:
        """Row numbers of the objects that are in, ascending."""
        return np.flatnonzero(self.reasons == KEPT)

    def reject(self, mask: np.ndarray, reason: str) -> None:
        """Give ``reason`` to the objects of ``mask`` that have none yet: the first reason is the one counted."""
        self.reasons[mask & (self.reasons == KEPT)] = reason


def select(recipe: Recipe, objects: Objects, source: Path, outside: Outside | None = None) -> dict[str, Selection]:
    """The selection of every store of the recipe. Reads the spectroscopic table if a store's labels need it.

    Objects that repeat another compete only among those that pass everything else that is known before pixels are
    read: a twin at the edge of its field (``outside``), say, removes nobody.
    """
    common = _common(recipe, objects)
    spectra = None
    if any(store.labels.source == "spectra" for store in recipe.stores.values() if store.labels):
        spectra = _read_spectra(recipe, source)
        known = np.flatnonzero(common == KEPT)
        near = crossmatch.near_any(objects.ra[known], objects.dec[known], spectra.position, recipe.spectra.radius)
        spectra = replace(spectra, far=~_mask(len(objects), known[near]))
    twins = _Twins(objects, recipe.filters.duplicates)
    chosen = {name: _store(recipe, store, objects, (common, spectra, twins, outside))
              for name, store in recipe.stores.items()}  # fmt: skip
    foreign = {path: _stored(path) for store in recipe.stores.values() for path in filter(is_path, store.disjoint_from)}
    members = {name: selection.rows for name, selection in chosen.items()}
    for name, store in recipe.stores.items():
        for other in store.disjoint_from:
            left = chosen[name].rows
            shared = _shared(_part(objects, left), foreign[other] if is_path(other) else _part(objects, members[other]))
            chosen[name].reject(_mask(len(objects), left[shared]), f"in {other} or within {LEAK:g} arcsec of it")
    return chosen


def require_classes(name: str, labels: LabelSpec | None, selection: Selection) -> None:
    """InputError for a class of a store without one object, with the values that are there, unless that is allowed."""
    if labels is None or labels.allow_empty:
        return
    counts = np.bincount(selection.labels[selection.rows], minlength=len(labels.classes))
    empty = [word for word, count in zip(labels.classes, counts.tolist(), strict=True) if not count]
    if empty:
        there = ", ".join(f"{value or 'no value'} {count:,}" for value, count in list(selection.values.items())[:MANY])
        more = f" and {len(selection.values) - MANY:,} other values" if len(selection.values) > MANY else ""
        where = "the spectra matched" if labels.source == "spectra" else f"column {labels.column!r}"
        out = Counter(selection.reasons[selection.reasons != KEPT].tolist())
        left = ", ".join(f"{reason} {count:,}" for reason, count in out.most_common(MANY)) or "none"
        raise InputError(f"store {name}: no object of class {', '.join(map(repr, empty))} is left; {where} has: "
                         f"{there}{more}. Left out: {left}. Correct classes or the filters, or say allow_empty: true "
                         "under labels")  # fmt: skip


class _Twins:
    """Who repeats whom among some rows: found once for stores that ask about the same rows."""

    def __init__(self, objects: Objects, radius: float):
        self._objects, self._radius, self._known = objects, radius, {}

    def reject(self, selection: Selection) -> None:
        """Reject those that repeat a brighter object that is still in, by id or by place."""
        left, objects = selection.rows, self._objects
        key = hashlib.sha256(left.tobytes()).digest()
        if key not in self._known:
            self._known[key] = crossmatch.duplicates(objects.object_id[left], (objects.ra[left], objects.dec[left]),
                                                     objects.reference[left], self._radius)  # fmt: skip
        same_id, near = self._known[key]
        selection.reasons[left[same_id]] = "repeated id"
        selection.reasons[left[near & ~same_id]] = f"within {self._radius:g} arcsec of a brighter object"


def _common(recipe: Recipe, objects: Objects) -> np.ndarray:
    """Reasons of the filters that hold for every store."""
    selection = Selection(reasons=np.full(len(objects), KEPT, dtype=object), labels=np.empty(0))
    selection.reject(objects.object_id == "", "id unknown")
    if recipe.catalogue.ra is not None:
        selection.reject(~(np.isfinite(objects.ra) & np.isfinite(objects.dec)), "position unknown")
        possible = (objects.ra >= 0) & (objects.ra <= 360) & (np.abs(objects.dec) <= 90)
        selection.reject(~possible, "position out of range: ra 0..360, dec -90..90 degrees")
    if recipe.fields is not None:
        given = recipe.catalogue.x is not None or recipe.catalogue.has_field
        unknown = "pixel position unknown" if given else "in no field of the release"
        selection.reject(~(np.isfinite(objects.x) & np.isfinite(objects.y)), unknown)
    if recipe.filters.flags:
        selection.reject(~np.isin(objects.flag, recipe.filters.flags), "flagged")
    for band, (low, high) in recipe.filters.magnitudes.items():
        magnitude = objects.magnitudes[:, recipe.catalogue.bands.index(band)]
        selection.reject(
            ~((magnitude >= low) & (magnitude <= high)), f"{band} outside {low:g}..{high:g} mag or unknown"
        )
    if recipe.split.column is not None:
        known = np.isin(objects.columns[recipe.split.column], list(recipe.split.codes))
        selection.reject(~known, f"{recipe.split.column} names no split")
    return selection.reasons


def _uncertain(limit: float | dict[str, float], objects: Objects, bands: Sequence[str]) -> tuple[np.ndarray, str]:
    """(where a detected band is too uncertain, the reason)."""
    if isinstance(limit, dict):
        limits, what = np.array([limit.get(band, np.nan) for band in bands]), "the limit of its band"
    else:
        limits, what = np.full(len(bands), limit), f"{limit:g} mag"
    sure = (objects.errors <= limits) | np.isnan(objects.magnitudes) | np.isnan(limits)
    return ~sure.all(axis=1), f"uncertainty above {what} or unknown"


def _store(recipe: Recipe, store: StoreSpec, objects: Objects, known: tuple) -> Selection:
    common, spectra, twins, outside = known
    selection = Selection(reasons=common.copy(), labels=np.full(len(objects), -1, dtype=np.int16))
    if store.detected_in:
        few = np.isfinite(objects.magnitudes).sum(axis=1) < store.detected_in
        selection.reject(few, f"detected in fewer than {store.detected_in} bands")
    if store.max_error is not None:
        selection.reject(*_uncertain(store.max_error, objects, recipe.catalogue.bands))
    from_spectra = store.labels is not None and store.labels.source == "spectra"
    if from_spectra:
        selection.reject(spectra.far, _no_spectrum(recipe))
    elif store.labels is not None:
        _label(selection, store.labels, objects.columns[store.labels.column])
    if outside is not None and len(selection.rows):
        selection.reject(outside(store, selection.rows), EDGE)
    twins.reject(selection)
    if from_spectra:
        values, reasons = _match(recipe, objects, selection.rows, spectra)
        for reason in dict.fromkeys(reasons[reasons != KEPT]):
            selection.reject(reasons == reason, reason)
        _label(selection, store.labels, values)
    return selection


def _label(selection: Selection, labels: LabelSpec, values: np.ndarray) -> None:
    """Give the class codes of the values, and leave out, value by value, what no class lists."""
    selection.labels[:] = codes(labels, values)
    names, at, counts = np.unique(values, return_inverse=True, return_counts=True)
    order = np.argsort(-counts, kind="stable")
    selection.values.update((str(names[i]), int(counts[i])) for i in order.tolist())
    asked = np.flatnonzero((selection.labels < 0) & (selection.reasons == KEPT))
    foreign = np.bincount(at[asked], minlength=len(names))
    for i in np.argsort(-foreign, kind="stable")[:MANY].tolist():
        if foreign[i]:
            word = str(names[i]) or "no value"
            selection.reasons[asked[at[asked] == i]] = f"class not asked for: {word}"
    selection.reject(selection.labels < 0, "class not asked for: other values")


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
    """N spectra: positions in degrees, classes as text, and whether the redshift can be trusted; and of the catalogue's
    objects that pass the common filters, which are ``far`` from all of them."""

    position: tuple[np.ndarray, np.ndarray]
    classes: np.ndarray
    good: np.ndarray
    far: np.ndarray | None = None


def _read_spectra(recipe: Recipe, source: Path) -> _Spectra:
    spec = recipe.spectra
    wanted = {spec.ra: "number", spec.dec: "number", spec.spectral_class: "label", spec.warning: "number"}
    reading = Reading(format=spec.format, hdu=spec.hdu, null_words=spec.null_words)
    table = read_tables(files(source, spec.file), wanted, reading)
    return _Spectra(position=(table[spec.ra], table[spec.dec]), classes=table[spec.spectral_class],
                    good=table[spec.warning] == 0)  # fmt: skip


def _no_spectrum(recipe: Recipe) -> str:
    return f"no spectrum within {recipe.spectra.radius:g} arcsec"


def _match(recipe: Recipe, objects: Objects, left: np.ndarray, spectra: _Spectra) -> tuple[np.ndarray, np.ndarray]:
    """(spectral class, reason to have none) of each object, among those in ``left``."""
    match = crossmatch.match_spectra(
        (objects.ra[left], objects.dec[left]), spectra.position, spectra.classes, spectra.good, recipe.spectra.radius
    )
    values = np.full(len(objects), "", dtype=spectra.classes.dtype)
    reasons = np.full(len(objects), _no_spectrum(recipe), dtype=object)
    has = match.spectrum >= 0
    values[left[has]] = spectra.classes[match.spectrum[has]]
    reasons[left[has]] = KEPT
    reasons[left[match.warning]] = "redshift with a warning"
    reasons[left[match.ambiguous]] = "spectra of different classes"
    reasons[left[match.nearer]] = "the spectrum belongs to a nearer object"
    return values, reasons


def _shared(own: Sky, others: Sky) -> np.ndarray:
    """True for the objects that have the id of one of ``others``, or are nearer than LEAK to one."""
    ids, ra, dec = others
    return crossmatch.same_ids(own[0], ids) | crossmatch.near_any(own[1], own[2], (ra, dec), LEAK)


def _mask(count: int, rows: np.ndarray) -> np.ndarray:
    mask = np.zeros(count, dtype=bool)
    mask[rows] = True
    return mask


def _part(objects: Objects, rows: np.ndarray) -> Sky:
    return objects.object_id[rows], objects.ra[rows], objects.dec[rows]


def _stored(path: str) -> Sky:
    table = open_store(path).table
    return table["object_id"], table["ra"], table["dec"]
