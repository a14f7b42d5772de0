"""Which objects each store takes, with which label, and why the others are left out; before any pixel is read."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_astrossl.objects import Objects
from hpc_astrossl.selection import crossmatch
from hpc_astrossl.specs.recipe import LabelSpec, Recipe, StoreSpec, is_path
from hpc_astrossl.store import open_store
from hpc_astrossl.tables.tables import Reading, files, read_tables
from hpc_astrossl.tables.texts import NUMBER

Sky = tuple[np.ndarray, np.ndarray, np.ndarray]  # ids, ra, dec
KEPT = ""
LEAK = 1.0  # arcsec: nearer than this to an object of a labelled set, the pretext set would know its pixels


@dataclass(frozen=True, kw_only=True)
class Selection:
    """For N objects: the reason to leave each out of a store ("" while it is in), and its class code (-1 for none)."""

    reasons: np.ndarray  # text, as Python objects: reasons are of any length
    labels: np.ndarray  # int16

    @property
    def rows(self) -> np.ndarray:
        """Row numbers of the objects that are in, ascending."""
        return np.flatnonzero(self.reasons == KEPT)

    def reject(self, mask: np.ndarray, reason: str) -> None:
        """Give ``reason`` to the objects of ``mask`` that have none yet: the first reason is the one counted."""
        self.reasons[mask & (self.reasons == KEPT)] = reason


def select(recipe: Recipe, objects: Objects, source: Path) -> dict[str, Selection]:
    """The selection of every store of the recipe. Reads the spectroscopic table if a store's labels need it."""
    common = _common(recipe, objects)
    labelled = [store.labels for store in recipe.stores.values() if store.labels]
    spectra = None
    if any(labels.source == "spectra" for labels in labelled):
        spectra = _spectra(recipe, objects, common, source)
    chosen = {
        name: _store(store, objects, recipe.catalogue.bands, common, spectra) for name, store in recipe.stores.items()
    }
    foreign = {path: _stored(path) for store in recipe.stores.values() for path in filter(is_path, store.disjoint_from)}
    members = {name: selection.rows for name, selection in chosen.items()}
    for name, store in recipe.stores.items():
        for other in store.disjoint_from:
            shared = _shared(objects, foreign[other] if is_path(other) else _part(objects, members[other]))
            chosen[name].reject(shared, f"in {other} or within {LEAK:g} arcsec of it")
    return chosen


def _common(recipe: Recipe, objects: Objects) -> np.ndarray:
    """Reasons of the filters that hold for every store."""
    selection = Selection(reasons=np.full(len(objects), KEPT, dtype=object), labels=np.empty(0))
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
    left = np.flatnonzero(selection.reasons == KEPT)
    same_id, near = crossmatch.duplicates(objects.object_id[left], (objects.ra[left], objects.dec[left]),
                                          objects.reference[left], recipe.filters.duplicates)  # fmt: skip
    selection.reasons[left[same_id]] = "repeated id"
    selection.reasons[left[near & ~same_id]] = f"within {recipe.filters.duplicates:g} arcsec of a brighter object"
    return selection.reasons


def _uncertain(limit: float | dict[str, float], objects: Objects, bands: Sequence[str]) -> tuple[np.ndarray, str]:
    """(where a detected band is too uncertain, the reason)."""
    if isinstance(limit, dict):
        limits, what = np.array([limit.get(band, np.nan) for band in bands]), "the limit of its band"
    else:
        limits, what = np.full(len(bands), limit), f"{limit:g} mag"
    sure = (objects.errors <= limits) | np.isnan(objects.magnitudes) | np.isnan(limits)
    return ~sure.all(axis=1), f"uncertainty above {what} or unknown"


def _store(store: StoreSpec, objects: Objects, bands: Sequence[str], common: np.ndarray,
           spectra: tuple[np.ndarray, np.ndarray] | None) -> Selection:  # fmt: skip
    selection = Selection(reasons=common.copy(), labels=np.full(len(objects), -1, dtype=np.int16))
    if store.detected_in:
        few = np.isfinite(objects.magnitudes).sum(axis=1) < store.detected_in
        selection.reject(few, f"detected in fewer than {store.detected_in} bands")
    if store.max_error is not None:
        selection.reject(*_uncertain(store.max_error, objects, bands))
    if store.labels is not None:
        values = objects.columns.get(store.labels.column)
        if store.labels.source == "spectra":
            values, reasons = spectra
            for reason in dict.fromkeys(reasons[reasons != KEPT]):
                selection.reject(reasons == reason, reason)
        selection.labels[:] = codes(store.labels, values)
        selection.reject(selection.labels < 0, "class not asked for")
    return selection


def codes(spec: LabelSpec, values: np.ndarray) -> np.ndarray:
    """Class code of each value of the source (text or numbers), -1 for a value that no class lists; int16."""
    table = spec.codes()
    distinct, inverse = np.unique(values, return_inverse=True)
    return np.array([table.get(value, table.get(_number(value), -1)) for value in distinct.tolist()], np.int16)[inverse]


def _number(value: str | float) -> float | None:
    if isinstance(value, str) and not NUMBER.fullmatch(value):
        return None
    return float(value)


def _spectra(recipe: Recipe, objects: Objects, common: np.ndarray, source: Path) -> tuple[np.ndarray, np.ndarray]:
    """(spectral class, reason to have none) of each object, among those that pass the common filters."""
    spec = recipe.spectra
    wanted = {spec.ra: "number", spec.dec: "number", spec.spectral_class: "label", spec.warning: "number"}
    reading = Reading(format=spec.format, hdu=spec.hdu, null_words=spec.null_words)
    table = read_tables(files(source, spec.file), wanted, reading)
    left = np.flatnonzero(common == KEPT)
    classes = table[spec.spectral_class]
    match = crossmatch.match_spectra(
        (objects.ra[left], objects.dec[left]), (table[spec.ra], table[spec.dec]),
        classes, table[spec.warning] == 0, spec.radius,
    )  # fmt: skip
    values = np.full(len(objects), "", dtype=classes.dtype)
    reasons = np.full(len(objects), f"no spectrum within {spec.radius:g} arcsec", dtype=object)
    has = match.spectrum >= 0
    values[left[has]] = classes[match.spectrum[has]]
    reasons[left[has]] = KEPT
    reasons[left[match.warning]] = "redshift with a warning"
    reasons[left[match.ambiguous]] = "spectra of different classes"
    reasons[left[match.nearer]] = "the spectrum belongs to a nearer object"
    return values, reasons


def _shared(objects: Objects, others: Sky) -> np.ndarray:
    """True for the objects that have the id of one of ``others``, or are nearer than LEAK to one."""
    ids, ra, dec = others
    return crossmatch.same_ids(objects.object_id, ids) | crossmatch.near_any(objects.ra, objects.dec, (ra, dec), LEAK)


def _part(objects: Objects, rows: np.ndarray) -> Sky:
    return objects.object_id[rows], objects.ra[rows], objects.dec[rows]


def _stored(path: str) -> Sky:
    table = open_store(path).table
    return table["object_id"], table["ra"], table["dec"]
