"""Objects that repeat one another, by id or by place: of those that could all be stored, the brightest is kept.

They compete only among those that pass everything else, pixels included: of twins in overlapping fields, or with files
of their own, the brightest is cut once beforehand, and one whose cutout cannot be used removes nobody. Who would be
removed by a good one is not looked at. Rows of one field at one place have the same pixels, and are not looked at
either.
"""

import hashlib
from typing import Protocol

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.objects import Objects
from hpc_astrossl.selection import crossmatch
from hpc_astrossl.selection.chosen import EDGE, Selection
from hpc_astrossl.selection.workspace import Workspace
from hpc_astrossl.specs.recipe import Recipe, StoreSpec

APART = 60.0  # arcsec: rows of one id that lie further apart are not one object


class Images(Protocol):
    """What only images tell of some rows (ascending) before a store is cut."""

    def outside(self, store: StoreSpec, rows: np.ndarray) -> np.ndarray:
        """Those whose cutout is over the edge of its field; bool, N."""

    def useless(self, store: StoreSpec, rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Why the cutout of each cannot be used, "" where it can; (len(rows),) of objects. Of ``others``, which may be
        asked for later, those may be looked at that cost nothing more."""


def reject_repeats(recipe: Recipe, objects: Objects, chosen: dict[str, Selection], images: Images | None,
                   space: Workspace) -> None:  # fmt: skip
    """Reject what is over the edge of its field, and then those that repeat a brighter object that is still in; who
    repeats whom among some rows is found once for stores that ask about the same."""
    known, radius = {}, recipe.filters.duplicates

    def found(selection: Selection) -> crossmatch.Repeats:
        left = selection.kept
        key = hashlib.sha256(left.mask).digest()
        if key not in known:
            known[key] = crossmatch.repeats(objects.object_id, (objects.ra, objects.dec), objects.reference, left,
                                            radius, space)  # fmt: skip
        return known[key]

    for name, selection in chosen.items():
        if images is not None and len(left := selection.rows):
            selection.reject(images.outside(recipe.stores[name], left), EDGE)
        repeats = found(selection)
        if recipe.filters.repeated_ids == "stop":
            _hold_ids(name, recipe, objects, selection, repeats)
        twins = tried = np.empty(0, dtype=np.int64)
        while images is not None:
            twins = np.union1d(twins, _elsewhere(recipe, objects, repeats))
            twins = twins[selection.codes[twins] == 0]
            if not len(new := np.setdiff1d(_removing(twins, repeats), tried)):
                break
            reasons, tried = images.useless(recipe.stores[name], new, twins), np.union1d(tried, new)
            for reason in dict.fromkeys(reasons[reasons != ""].tolist()):
                selection.reject(new[reasons == reason], reason)
            repeats = found(selection)
        selection.reject(repeats.same_id, "repeated id")
        selection.reject(repeats.near, f"within {radius:g} arcsec of a brighter object")


def _elsewhere(recipe: Recipe, objects: Objects, repeats: crossmatch.Repeats) -> np.ndarray:
    """The rows that repeat others whose pixels are not theirs."""
    pairs = repeats.pairs
    if recipe.fields is not None and len(pairs):
        pairs = pairs[objects.field[pairs[:, 0]] != objects.field[pairs[:, 1]]]
    return np.unique(pairs)


def _removing(twins: np.ndarray, repeats: crossmatch.Repeats) -> np.ndarray:
    """Those of the twins on whose pixels it depends whether others go."""
    lost = np.isin(twins, repeats.same_id) | np.isin(twins, repeats.near)
    return twins[~lost | np.isin(twins, repeats.first)]


def _hold_ids(name: str, recipe: Recipe, objects: Objects, selection: Selection, repeats: crossmatch.Repeats) -> None:
    """InputError for rows of one id that are not one object: far apart, of other files, or of other classes."""
    rows, first = repeats.by_id.T
    if not len(rows):
        return
    far = crossmatch.separation((objects.ra[rows], objects.dec[rows]), (objects.ra[first], objects.dec[first])) > APART
    labels = selection.labels[rows], selection.labels[first]
    other = (labels[0] != labels[1]) & (labels[0] >= 0) & (labels[1] >= 0)
    place = recipe.files or recipe.cutouts
    for column in place.columns if place is not None and recipe.catalogue.field is None else ():
        if column != "id":
            values = objects.columns[column]
            other |= values[rows] != values[first]
    wrong = np.flatnonzero(far | other)
    if len(wrong):
        row, one = rows[wrong[0]], first[wrong[0]]
        how = f"more than {APART:g} arcsec apart" if far[wrong[0]] else "of another file or class"
        same = str(objects.object_id[row])
        encoded = "" if same == objects.object_id[one] else ", the same letters encoded in two ways"
        raise InputError(f"store {name}: {len(wrong):,} rows have the id of another object: {same!r} in rows "
                         f"{one + 1:,} and {row + 1:,} of the table{encoded}, {how}. Name a column that tells objects "
                         "apart as catalogue.id (numbers that begin anew in every field do not, rounded ones neither), "
                         "or say filters.repeated_ids: reject, which keeps the brightest of each id")  # fmt: skip
