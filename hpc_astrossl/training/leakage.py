"""No object that a pretext run has seen may be in a labelled set: by id, or within one arcsecond on the sky.

A run keeps the objects that it has read in ``objects.npz`` of its folder: the store that lies there later may be
another.
"""

import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import cKDTree

from hpc_astrossl import cache, identity, npz, provenance
from hpc_astrossl.errors import InputError
from hpc_astrossl.identity import OBJECTS
from hpc_astrossl.nets import seen as carrying
from hpc_astrossl.nets.seen import Carried
from hpc_astrossl.specs.run import RunSpec
from hpc_astrossl.store import Store, open_store

RADIUS = 1.0  # arcsec
COLUMNS = ("object_id", "ra", "dec")
Objects = Mapping[str, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Seen:
    """Objects that run ``run`` has read, or would: ``object_id``, ``ra``, ``dec`` of each, (N,); of ``store``, a path.

    Not ``certain`` when that store need not be the one that the run was trained on.
    """

    run: str
    store: str
    objects: Objects
    certain: bool = True


def columns(store: Store, rows: np.ndarray) -> dict[str, np.ndarray]:
    """What ``objects.npz`` holds of these rows of a store."""
    return {name: store.table[name][rows] for name in COLUMNS}


def seen_by(folder: Path, made: identity.Made, digest: str | None, workdir: Path) -> Seen:
    """The objects that a finished run has seen; ``digest`` is the SHA-256 of ``objects.npz`` as its result tells it.

    Of a run that kept none, all objects of its store, which is the one it was trained on if ``made`` says so.
    InputError when the file is damaged, or neither is there.
    """
    if digest is None:
        store = open_store(workdir / made.store)
        certain = made.store_sha256 is not None and made.store_sha256 == store.identity
        return Seen(run=made.run, store=made.store, objects=store.table, certain=certain)
    path = folder / OBJECTS
    try:
        if provenance.sha256(path) != digest:
            raise ValueError("it is not the file that its run wrote")
        with npz.opened(path) as arrays:
            objects = {name: arrays[name] for name in COLUMNS}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: damaged or not there ({error}), so it cannot be told which objects run {made.run} "
                         "has seen; train that run again") from None  # fmt: skip
    return Seen(run=made.run, store=made.store, objects=objects)


def seen_behind(carried: Carried) -> list[Seen]:
    """The objects of each of the runs."""
    return [
        Seen(run=one["run"], store=one["store"], objects=carried.by(number), certain=bool(one.get("certain")))
        for number, one in enumerate(carried.runs)
    ]


def check_leakage(seen: Seen, labelled: Store) -> dict[str, Any]:
    """InputError when a run whose weights would carry it over has seen an object of the labelled store.

    Returns what ``result.json`` tells of the check: the run and its store, objects compared and shared (0; None where
    it is not certain what the run has seen), the radius in arcsec.
    """
    ids = np.intersect1d(seen.objects["object_id"], labelled.table["object_id"])
    if len(ids):
        raise InputError(_message(seen, labelled, f"{len(ids)} object ids, first {ids[0]}"))
    near = close_pairs(seen.objects, labelled.table)
    if len(near):
        first, second = seen.objects["object_id"][near[0][0]], labelled.table["object_id"][near[0][1]]
        words = f"{len(near)} places on the sky within 1″, first {first} and {second}"
        raise InputError(_message(seen, labelled, words))
    told = {"store": seen.store, "run": seen.run, "compared": len(seen.objects["object_id"]), "shared": 0,
            "radius": RADIUS}  # fmt: skip
    return told if seen.certain else told | {"shared": None, "why": identity.UNKNOWN}


def check_plan(earlier: RunSpec | str, run: RunSpec, workdir: Path) -> None:
    """The same before anything is trained: of a run that is to begin from the weights of another, done or not, or from
    weights of that name that were exported.

    InputError when they share an object. What cannot be read is told of by who is to train on it.
    """
    try:
        labelled = open_store(workdir / run.data.store)
        known = _carried(earlier) if isinstance(earlier, str) else [_seen_or_to_see(earlier, workdir)]
    except InputError:
        return
    for seen in known:
        check_leakage(seen, labelled)


def _carried(name: str) -> list[Seen]:
    path = cache.found_weights(name)
    carried = path and carrying.read(path)
    return seen_behind(carried) if carried else []


def _seen_or_to_see(run: RunSpec, workdir: Path) -> Seen:
    """What a run has seen, or where it is not done, all objects of its store."""
    folder = workdir / "runs" / run.experiment / run.run_id
    made, digest = identity.read(folder), identity.file_digest(folder, OBJECTS)
    if made is not None and digest is not None:
        return seen_by(folder, made, digest, workdir)
    return Seen(run=run.run_id, store=run.data.store, objects=open_store(workdir / run.data.store).table)


def close_pairs(
    first: Mapping[str, np.ndarray], second: Mapping[str, np.ndarray], radius: float = RADIUS
) -> np.ndarray:
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


def _message(seen: Seen, labelled: Store, what: str) -> str:
    return (
        f"{labelled.path}: shares objects with {seen.store}, on which run {seen.run} was or would be trained ({what}); "
        f"leave them out there: in the recipe of {seen.store} set disjoint_from to [{labelled.path}], make that store "
        "again and train that run again (astrossl submit --remake does both)"
    )
