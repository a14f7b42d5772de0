"""No object that a pretext run has seen may be in a labelled set: by id, or within one arcsecond on the sky.

A run keeps the objects that it has read in ``objects.npz`` of its folder: the store that lies there later may be
another.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl import cache, identity, npz, provenance
from hpc_astrossl.errors import InputError
from hpc_astrossl.identity import OBJECTS
from hpc_astrossl.ids import folded
from hpc_astrossl.nets import seen as carrying
from hpc_astrossl.nets.seen import Carried
from hpc_astrossl.specs.run import RunSpec
from hpc_astrossl.store import RowSet, Store, open_store, sweep

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


def columns(store: Store, rows: RowSet) -> dict[str, npz.Column]:
    """What ``objects.npz`` holds of these rows of a store."""
    kinds = {name: store.table.part(name, 0, 0).dtype for name in COLUMNS} | {"object_id": store.table.id_type}
    return {name: npz.Column(kind=kind, rows=len(rows), parts=_parts(store, name, rows))
            for name, kind in kinds.items()}  # fmt: skip


def _parts(store: Store, name: str, rows: RowSet) -> Iterator[np.ndarray]:
    for part in sweep.parts(store.table, len(store)):
        own = rows.between(part.start, part.stop)
        if len(own):
            yield part[name][own - part.start]


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

    def damage(error: Exception) -> InputError:
        return InputError(f"{path}: damaged or not there ({error}), so it cannot be told which objects run {made.run} "
                          "has seen; train that run again")  # fmt: skip

    try:
        if provenance.sha256(path) != digest:
            raise ValueError("it is not the file that its run wrote")
        objects = npz.Stretches(path, COLUMNS, damage)
    except npz.FAULTS as error:
        raise damage(error) from None
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
    sides = seen.objects, labelled.table
    ids = shared_ids(*sides)
    if len(ids):
        raise InputError(_message(seen, labelled, f"{len(ids)} object ids, first {ids[0]}"))
    near = close_pairs(*sides)
    if len(near):
        first, second = (_id(objects, row) for objects, row in zip(sides, near[0].tolist(), strict=True))
        words = f"{len(near)} places on the sky within 1″, first {first} and {second}"
        raise InputError(_message(seen, labelled, words))
    told = {"store": seen.store, "run": seen.run, "compared": _count(seen.objects), "shared": 0, "radius": RADIUS}
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


def _count(objects: Objects) -> int:
    return objects.rows("ra") if hasattr(objects, "rows") else len(objects["ra"])


def _id(objects: Objects, row: int) -> str:
    return str(sweep.taken(objects, "object_id", np.array([row]))[0])


def shared_ids(first: Objects, second: Objects) -> np.ndarray:
    """The ids that are in both of two tables, in order. The longer one is gone through in stretches."""
    few, many = sorted((first, second), key=_count)
    known = folded(_whole(few, ["object_id"])["object_id"])
    numbers, found = np.sort(sweep.hashes(known)), [known[:0]]
    for _, part in sweep.stretches(many, ["object_id"], _count(many)) if len(known) else ():
        ids = folded(part["object_id"])
        drawn = sweep.hashes(ids)
        at = np.minimum(np.searchsorted(numbers, drawn), len(numbers) - 1)
        maybe = np.unique(ids[numbers[at] == drawn])  # equal hashes need not be equal ids
        if len(maybe):
            found.append(np.intersect1d(maybe, known))
    return np.unique(np.concatenate(found))


def close_pairs(first: Objects, second: Objects, radius: float = RADIUS) -> np.ndarray:
    """Rows (M, 2) of two tables whose ``ra`` and ``dec`` (degrees) lie within ``radius`` arcsec of each other, in
    order. The longer one is gone through in stretches.

    Distances are chords between unit vectors, so that neither the wrap at 0 h nor the poles are special. Objects
    without a position are in no pair.
    """
    from scipy.spatial import cKDTree  # runs that begin from no pretext do without

    few, many = sorted((first, second), key=_count)
    known, places = _placed(_whole(few, ["ra", "dec"]))
    pairs = [np.empty((0, 2), dtype=np.int64)]
    if len(known):
        tree, chord = cKDTree(places), 2 * np.sin(np.radians(radius / 3600) / 2)
        for start, part in sweep.stretches(many, ["ra", "dec"], _count(many)):
            rows, points = _placed(part)
            near = np.flatnonzero(np.isfinite(tree.query(points, distance_upper_bound=np.nextafter(chord, 1))[0]))
            partners = tree.query_ball_point(points[near], chord)
            pairs += [np.array([(start + row, known[one]) for one in some], dtype=np.int64).reshape(-1, 2)
                      for row, some in zip(rows[near].tolist(), partners, strict=True)]  # fmt: skip
    found = np.concatenate(pairs)
    if few is first:
        found = found[:, ::-1]
    return found[np.lexsort((found[:, 1], found[:, 0]))]


def _whole(objects: Objects, names: list[str]) -> dict[str, np.ndarray]:
    """Columns of a table, of which no more is kept than these."""
    parts = [part for _, part in sweep.stretches(objects, names, _count(objects))]
    return {name: np.concatenate([part[name] for part in parts]) if parts else np.empty(0) for name in names}


def _placed(part: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(rows that have a position, their unit vectors)."""
    rows = np.flatnonzero(np.isfinite(part["ra"]) & np.isfinite(part["dec"]))
    return rows, _vectors(part["ra"][rows], part["dec"][rows])


def _vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=1)


def _message(seen: Seen, labelled: Store, what: str) -> str:
    return (
        f"{labelled.path}: shares objects with {seen.store}, on which run {seen.run} was or would be trained ({what}); "
        f"leave them out there: in the recipe of {seen.store} set disjoint_from to [{labelled.path}], make that store "
        "again and train that run again (astrossl submit --remake does both)"
    )
