"""What only images tell, as far as the selection must know it before a store is cut."""

import os
from pathlib import Path

import numpy as np

from hpc_astrossl.cutting.badfile import RecipeFault
from hpc_astrossl.cutting.cutouts import Source, Unit, open_source
from hpc_astrossl.cutting.geometry import over_edge
from hpc_astrossl.cutting.shards import reason_of_unit
from hpc_astrossl.errors import InputError
from hpc_astrossl.objects import Objects, subset
from hpc_astrossl.specs.recipe import Recipe, StoreSpec


class Looks:
    """Which cutouts would reach over the edge of their field, and which of some few could not be used; each field's
    size is read once, each object cut once. ``seen`` are the images that were asked."""

    def __init__(self, recipe: Recipe, source: Path, objects: Objects):
        self._place, self._objects = (recipe, source), objects
        self._known: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._useless: dict[str, dict[int, str]] = {}
        self.seen: set[Path] = set()

    def outside(self, store: StoreSpec, rows: np.ndarray) -> np.ndarray:
        """True for those of ``rows`` whose cutout is over the edge; bool, N of the catalogue."""
        (recipe, source), count = self._place, len(self._objects)
        if recipe.fields is None:
            return np.zeros(count, dtype=bool)
        asked, outside = self._known.setdefault(store.images, (np.zeros(count, bool), np.zeros(count, bool)))
        new = rows[~asked[rows]]
        if len(new):
            cutter = open_source(recipe, source, self._objects, store.images)
            outside |= over_edge(recipe, cutter, self._objects, new)
            self.seen |= {cutter.first(unit)[0] for unit in cutter.units(new)}
            asked[new] = True
        return outside

    def useless(self, store: StoreSpec, rows: np.ndarray) -> np.ndarray:
        """Why the cutouts of ``rows`` cannot be used, "" where they can, in the words of the cutting; of what stops the
        cutting nothing is said here."""
        known = self._useless.setdefault(store.images, {})
        new = np.array([row for row in rows.tolist() if row not in known], dtype=np.int64)
        if len(new):
            known |= dict(zip(new.tolist(), self._cut(store, new).tolist(), strict=True))
        return np.array([known[row] for row in rows.tolist()], dtype=object)

    def _cut(self, store: StoreSpec, rows: np.ndarray) -> np.ndarray:
        recipe, source = self._place
        some, found = subset(self._objects, rows), np.full(len(rows), "", dtype=object)
        cutter = open_source(recipe, source, some, store.images, len(os.sched_getaffinity(0)))
        for unit in cutter.units(np.arange(len(rows))):
            self.seen |= set(cutter.files(unit))
            found[unit.rows] = _reasons(recipe, cutter, unit)
        return found


def _reasons(recipe: Recipe, cutter: Source, unit: Unit) -> np.ndarray | str:
    try:
        return cutter.cut(unit, _Nowhere() if cutter.streams else _room(cutter, unit))
    except RecipeFault:
        return ""
    except InputError as error:
        return reason_of_unit(error, unit) if (recipe.images or recipe.files).unreadable == "reject" else ""


def _room(cutter: Source, unit: Unit) -> np.ndarray:
    return np.zeros((len(unit.rows), *cutter.row_shape(unit.rows)), cutter.dtype)


class _Nowhere:
    """Takes cutouts of which only the reasons are wanted."""

    def put(self, rows: np.ndarray, images: np.ndarray) -> None:
        pass

    def put_planes(self, rows: np.ndarray, channel: int, planes: np.ndarray) -> None:
        pass
