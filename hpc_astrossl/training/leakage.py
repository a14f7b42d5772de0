"""No object of a pretext run may be in a labelled set: by id, or within one arcsecond on the sky."""

from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from hpc_astrossl.errors import InputError
from hpc_astrossl.store import Store

RADIUS = 1.0  # arcsec


def check_leakage(pretext: Store, labelled: Store, run_id: str) -> dict[str, Any]:
    """InputError when the two stores share an object; ``run_id`` names the run whose weights would carry it over.

    Returns what ``result.json`` tells of the check: the run, objects compared and shared (0), the radius in arcsec.
    """
    ids = np.intersect1d(pretext.table["object_id"], labelled.table["object_id"])
    if len(ids):
        raise InputError(_message(pretext, labelled, run_id, f"{len(ids)} object ids, first {ids[0]}"))
    near = close_pairs(pretext.table, labelled.table)
    if len(near):
        names = " and ".join(
            str(store.table["object_id"][row]) for store, row in zip((pretext, labelled), near[0], strict=True)
        )
        raise InputError(_message(pretext, labelled, run_id, f"{len(near)} places on the sky within 1″, first {names}"))
    return {"run": run_id, "compared": len(pretext), "shared": 0, "radius": RADIUS}


def close_pairs(first: dict[str, np.ndarray], second: dict[str, np.ndarray], radius: float = RADIUS) -> np.ndarray:
    """Rows (M, 2) of two tables whose ``ra`` and ``dec`` (degrees) lie within ``radius`` arcsec of each other.

    Distances are chords between unit vectors, so that neither the wrap at 0 h nor the poles are special. Objects
    without a position are in no pair.
    """
    known = [np.flatnonzero(np.isfinite(t["ra"]) & np.isfinite(t["dec"])) for t in (first, second)]
    if not all(map(len, known)):
        return np.empty((0, 2), dtype=np.int64)
    trees = [cKDTree(_vectors(t["ra"][rows], t["dec"][rows])) for t, rows in zip((first, second), known, strict=True)]
    chord = 2 * np.sin(np.radians(radius / 3600) / 2)
    found = trees[0].query_ball_tree(trees[1], chord)
    pairs = [(known[0][i], known[1][j]) for i, partners in enumerate(found) for j in partners]
    return np.array(pairs, dtype=np.int64).reshape(-1, 2)


def _vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def _message(pretext: Store, labelled: Store, run_id: str, what: str) -> str:
    return (
        f"{labelled.path}: shares objects with {pretext.path}, on which run {run_id} was trained ({what}); "
        "leave them out of the pretext store (its recipe's exclude) and pretrain again"
    )
