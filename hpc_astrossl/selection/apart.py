"""No store shares an object with those that it must be disjoint from, of the same recipe or made before."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hpc_astrossl.objects import Objects
from hpc_astrossl.selection import crossmatch
from hpc_astrossl.selection.chosen import Selection
from hpc_astrossl.selection.workspace import Workspace
from hpc_astrossl.selection.zones import Masked, Places, Rows, every
from hpc_astrossl.specs.recipe import Recipe, is_path
from hpc_astrossl.store import Store, open_store, sweep

Sky = tuple[Any, Places]  # ids, and where the rows that are meant are
LEAK = 1.0  # arcsec: nearer than this to an object of a labelled set, the pretext set would know its pixels


def keep_apart(recipe: Recipe, objects: Objects, chosen: Mapping[str, Selection], space: Workspace) -> None:
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
                shared = _shared(objects, left[~same], _part(objects, members[other]), space)
                shared = np.concatenate([left[same], shared])
            chosen[name].reject(shared, f"in {other} or within {LEAK:g} arcsec of it")


def _shared(objects: Objects, rows: np.ndarray, others: Sky, space: Workspace) -> np.ndarray:
    """The rows that have the id of one of ``others``, or are nearer than LEAK to one."""
    ids, places = others
    same = crossmatch.shared_ids((objects.object_id, rows), (ids, places.rows), space)
    near = crossmatch.near_others(_places(objects, rows), places, LEAK, space)
    return np.union1d(same, near)


def _places(objects: Objects, rows: Rows) -> Places:
    return Places(rows=rows, ra=objects.ra, dec=objects.dec)


def _part(objects: Objects, mask: np.ndarray) -> Sky:
    return objects.object_id, _places(objects, Masked(mask))


def _stored(path: str) -> Sky:
    store = open_store(path)
    ids, ra, dec = (Stored(store, name) for name in ("object_id", "ra", "dec"))
    return ids, Places(rows=every(len(store)), ra=ra, dec=dec)


class Stored:
    """A column of a store; indexed by rows it gives an array, and no more of the column is held than a stretch."""

    def __init__(self, store: Store, name: str):
        self._table, self._name, self._count = store.table, name, len(store)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        order = np.argsort(rows, kind="stable")
        ascending, parts = rows[order], []
        for part in sweep.parts(self._table, self._count):
            begin, end = np.searchsorted(ascending, [part.start, part.stop])
            if begin < end:
                low, high = int(ascending[begin]), int(ascending[end - 1]) + 1
                parts.append(self._table.part(self._name, low, high)[ascending[begin:end] - low])
        found = np.concatenate(parts or [self._table.part(self._name, 0, 0)])
        out = np.empty_like(found)
        out[order] = found
        return out
