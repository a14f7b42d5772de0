"""Who is near whom on the sky, within a catalogue and between two; and which ids are the same.

Positions become unit vectors in a k-d tree, so right ascension wraps and the poles are ordinary places. The chord of
an angle θ is 2 sin(θ/2). All positions are in degrees, all radii in arcsec; a position with NaN is near nothing.

What is asked of a whole catalogue is asked zone by zone (``zones``), in one zone where the memory allows: pairs, links
and rows that repeat others are held in memory, rows that are alone are not. The answers are the same.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from hpc_astrossl.errors import InputError
from hpc_astrossl.ids import folded
from hpc_astrossl.selection.workspace import HERE, Workspace
from hpc_astrossl.selection.zones import Places, Rows, Zone, by_hash, every, without, zones

CROWD, ASKED = 10_000, 1000  # rows from which on it is looked whether they crowd, and how many of them are asked
MOST_PAIRS = 100_000_000  # of 16 bytes, and as much again while they are sorted


def _vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def _chord(radius: float) -> float:
    return 2 * np.sin(np.radians(radius / 3600) / 2)


def _tree(ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, cKDTree]:
    """(row numbers of the finite positions, tree of those)."""
    rows = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    # Unbalanced trees are built in half the time, and as fast to ask when most points are alone.
    return rows, cKDTree(_vectors(ra[rows], dec[rows]), balanced_tree=False, compact_nodes=False)


def pairs(ra: np.ndarray, dec: np.ndarray, other_ra: np.ndarray, other_dec: np.ndarray, radius: float) -> np.ndarray:
    """All pairs nearer than ``radius``: rows of (index, other index), nearest first; int64, M × 2."""
    if len(ra) > len(other_ra):  # the shorter list asks the tree of the longer one
        found, chords = _pairs((other_ra, other_dec), (ra, dec), radius)
        found = found[:, ::-1]
    else:
        found, chords = _pairs((ra, dec), (other_ra, other_dec), radius)
    return found[np.lexsort((found[:, 1], found[:, 0], chords))]


def near_pairs(one: Places, other: Places, radius: float, space: Workspace = HERE) -> np.ndarray:
    """``pairs`` of rows of two catalogues, in their numbers."""
    found, chords = [np.empty((0, 2), dtype=np.int64)], [np.empty(0)]
    for here, there in zones([one, replace(other, up=True, down=True)], radius, space):
        if len(here.rows) > len(there.rows):
            near, chord = _pairs((there.ra, there.dec), (here.ra, here.dec), radius)
            near = near[:, ::-1]
        else:
            near, chord = _pairs((here.ra, here.dec), (there.ra, there.dec), radius)
        own = here.own[near[:, 0]]
        found.append(np.stack([here.rows[near[own, 0]], there.rows[near[own, 1]]], axis=1))
        chords.append(chord[own])
    found, chords = np.concatenate(found), np.concatenate(chords)
    return found[np.lexsort((found[:, 1], found[:, 0], chords))]


def _pairs(places: tuple[np.ndarray, np.ndarray], others: tuple[np.ndarray, np.ndarray],
           radius: float) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """(pairs in any order, their chords): each place asks for a few neighbours, and for more where all were near."""
    asking = np.flatnonzero(np.isfinite(places[0]) & np.isfinite(places[1]))
    rows, tree = _tree(*others)
    points, bound, count = _vectors(*places), np.nextafter(_chord(radius), 1), 4
    found, chords = [np.empty((0, 2), dtype=np.int64)], [np.empty(0)]
    while len(asking) and len(rows):
        chord, neighbour = tree.query(points[asking], k=count, distance_upper_bound=bound)
        near = np.isfinite(chord)
        done = ~near[:, -1]
        near &= done[:, None]
        found.append(np.stack([asking[np.nonzero(near)[0]], rows[neighbour[near]]], axis=1))
        chords.append(chord[near])
        asking, count = asking[~done], 4 * count
    return np.concatenate(found), np.concatenate(chords)


def near_any(ra: np.ndarray, dec: np.ndarray, others: tuple[np.ndarray, np.ndarray], radius: float) -> np.ndarray:
    """True where any of ``others`` (ra, dec) is nearer than ``radius``; bool, N."""
    mask = np.zeros(len(ra), dtype=bool)
    asking = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    alone = np.ones(len(others[0]), dtype=bool)
    shared, place = _places(np.arange(len(alone)), others)
    alone[_followers(shared, place, np.sort(shared))[0]] = False
    rows, tree = _tree(others[0][alone], others[1][alone])
    if len(rows) and len(asking):
        bound = np.nextafter(_chord(radius), 1)
        mask[asking] = np.isfinite(tree.query(_vectors(ra[asking], dec[asking]), distance_upper_bound=bound)[0])
    return mask


def near_others(one: Places, other: Places, radius: float, space: Workspace = HERE) -> np.ndarray:
    """``near_any`` of two catalogues: the rows of ``one`` that are near a row of ``other``, ascending."""
    found = [np.empty(0, dtype=np.int64)]
    for here, there in zones([one, replace(other, up=True, down=True)], radius, space):
        found.append(here.rows[here.own & near_any(here.ra, here.dec, (there.ra, there.dec), radius)])
    return np.sort(np.concatenate(found))


def _texts(ids: np.ndarray) -> pa.LargeStringArray:
    """Ids for Arrow, which hashes them: sorting millions of texts, as numpy would, takes long."""
    return pa.table({"id": folded(ids)})["id"].cast(pa.large_string()).combine_chunks()


def id_codes(ids: np.ndarray) -> np.ndarray:
    """A number for each id, the same for equal ids; int64."""
    return _texts(ids).dictionary_encode().indices.to_numpy().astype(np.int64)


def same_ids(ids: np.ndarray, others: np.ndarray) -> np.ndarray:
    """True where an id is one of ``others``; bool, N."""
    return pc.is_in(_texts(ids), value_set=_texts(others)).to_numpy(zero_copy_only=False)


def shared_ids(one: tuple[Any, Rows], other: tuple[Any, Rows], space: Workspace = HERE) -> np.ndarray:
    """``same_ids`` of two catalogues, given as (ids, rows): the rows of ``one`` whose id is among ``other``'s,
    ascending."""
    found = [np.empty(0, dtype=np.int64)]
    for (rows, own), (others, theirs) in by_hash([one, other], space):
        rows, others = rows[np.isin(own, theirs)], others[np.isin(theirs, own)]
        found.append(rows[same_ids(one[0][rows], other[0][others])] if len(rows) else rows)
    return np.sort(np.concatenate(found))


def repeated_ids(ids: Any, rows: Rows, space: Workspace = HERE) -> tuple[np.ndarray, np.ndarray]:
    """(rows whose id is that of another one of them, a number for each such id), by row."""
    found, codes, count = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)], 0
    for ((part, numbers),) in by_hash([(ids, rows)], space):
        order = np.argsort(numbers, kind="stable")
        same = numbers[order][1:] == numbers[order][:-1]
        alike = order[np.concatenate([[False], same]) | np.concatenate([same, [False]])[: len(order)]]
        own = part[np.sort(alike)]
        if len(own):
            code = id_codes(ids[own])
            twice = np.bincount(code)[code] > 1
            found.append(own[twice])
            codes.append(code[twice] + count)
            count += len(own)
    found, codes = np.concatenate(found), np.concatenate(codes)
    order = np.argsort(found)
    return found[order], codes[order]


def duplicates(ids: np.ndarray, position: tuple[np.ndarray, np.ndarray], magnitude: np.ndarray,
               radius: float) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Which objects repeat a brighter one: by id, and by position within ``radius``; two bool masks of N.

    Objects are taken from the brightest on (unknown magnitudes last, equal ones in the order of their ids and rows),
    and each that is kept removes its neighbours, so that no two that are kept are within the radius.
    """
    masks = np.zeros((2, len(ids)), dtype=bool)
    found = repeats(ids, position, magnitude, np.arange(len(ids)), radius)
    masks[0, found.same_id], masks[1, found.near] = True, True
    return masks[0], masks[1]


@dataclass(frozen=True, kw_only=True)
class Repeats:
    """The rows that repeat another one by id, and by position; ``by_id`` has each row with the id of another, and the
    one that is kept of these; ``pairs`` all rows that repeat, or are repeated by, another, with that; M × 2. ``first``
    are those before which others of their id or place go whatever becomes of themselves."""

    same_id: np.ndarray
    near: np.ndarray
    by_id: np.ndarray
    pairs: np.ndarray
    first: np.ndarray


def repeats(ids: Any, position: tuple[Any, Any], magnitude: Any, rows: Rows, radius: float,
            space: Workspace = HERE) -> Repeats:  # fmt: skip
    """``duplicates`` among some rows of a catalogue."""
    repeated, codes = repeated_ids(ids, rows, space)
    order = np.lexsort((repeated, ids[repeated], magnitude[repeated]))
    first, at = np.unique(codes[order], return_index=True, return_inverse=True)[1:]
    by_id = np.stack([repeated[order], repeated[order][first][at]], axis=1)
    by_id = by_id[by_id[:, 0] != by_id[:, 1]]
    same_id = np.sort(by_id[:, 0])
    if radius == 0:
        return Repeats(same_id=same_id, near=same_id[:0], by_id=by_id, pairs=by_id, first=np.unique(by_id[:, 1]))
    same_place, close = _neighbours(without(rows, same_id), position, radius, space,
                                    lambda rows: _brightest_first(rows, ids, magnitude))  # fmt: skip
    involved = np.unique(close)
    rank = np.empty(len(involved), dtype=np.int64)
    rank[np.searchsorted(involved, _brightest_first(involved, ids, magnitude))] = np.arange(len(involved))
    fallen = involved[_dominated(rank[np.searchsorted(involved, close)])[rank]]
    return Repeats(same_id=same_id, near=np.sort(np.concatenate([same_place[:, 0], fallen])), by_id=by_id,
                   pairs=np.concatenate([by_id, same_place, close]),
                   first=np.unique(np.concatenate([by_id[:, 1], same_place[:, 1]])))  # fmt: skip


def separation(one: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Arcsec between places and others, one by one; NaN where a position is unknown."""
    chord = np.linalg.norm(_vectors(*one) - _vectors(*other), axis=-1)
    return np.degrees(2 * np.arcsin(np.minimum(chord / 2, 1))) * 3600


def _neighbours(rows: Rows, position: tuple[Any, Any], radius: float, space: Workspace, order,
                strict: bool = False) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """(links from a row to the first one, in ``order``, of those at exactly its place; pairs nearer than ``radius`` of
    rows that are linked to none); M × 2 both."""
    none = np.empty((0, 2), dtype=np.int64)
    links, close = [none], [none]
    places = Places(rows=rows, ra=position[0], dec=position[1], up=True, strict=strict)
    for (zone,) in zones([places], radius, space):
        own = _followed(zone, order)
        stays = zone.own & ~np.isin(zone.rows, own[:, 0]) | ~zone.own & ~np.isin(zone.rows, links[-1][:, 0])
        links.append(own)
        stays = np.flatnonzero(stays)
        found = stays[_close(zone.ra[stays], zone.dec[stays], radius)]
        close.append(zone.rows[found[zone.own[found].any(axis=1)]])
    return np.concatenate(links), np.concatenate(close)


def _followed(zone: Zone, order) -> np.ndarray:
    """Links from the zone's own rows to the first of each place."""
    own = np.flatnonzero(zone.own)
    shared, place = _places(own, (zone.ra, zone.dec))
    ordered = np.searchsorted(zone.rows, order(np.sort(zone.rows[shared])))
    return zone.rows[np.stack(_followers(shared, place, ordered), axis=1)]


def _brightest_first(rows: np.ndarray, ids: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    return rows[np.lexsort((rows, ids[rows], magnitude[rows]))]  # NaN sorts last


def _places(rows: np.ndarray, position: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(rows that share their place exactly with another, a number for each such place).

    Placeholders may be thousands at one place: as pairs they would fill the memory.
    """
    ra, dec = position[0][rows] % 360 + 0.0, position[1][rows] + 0.0  # -0.0 is 0.0, and 360 is 0
    ra[np.abs(dec) == 90] = 0.0  # a pole is one place
    order = np.lexsort((dec, ra))
    same = (ra[order][1:] == ra[order][:-1]) & (dec[order][1:] == dec[order][:-1])
    shared = np.concatenate([[False], same]) | np.concatenate([same, [False]])
    number = np.cumsum(np.concatenate([[True], ~same]))
    return rows[order][shared[: len(rows)]], number[: len(rows)][shared[: len(rows)]]


def _followers(shared: np.ndarray, place: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows that share a place with one earlier in ``order``, the first of that place)."""
    place = place[np.argsort(shared, kind="stable")][np.searchsorted(np.sort(shared), order)]
    first, inverse = np.unique(place, return_index=True, return_inverse=True)[1:]
    later = np.ones(len(order), dtype=bool)
    later[first] = False
    return order[later], order[first[inverse]][later]


def _close(ra: np.ndarray, dec: np.ndarray, radius: float) -> np.ndarray:
    """Pairs of one catalogue nearer than ``radius``: rows (index, larger index); int64, M × 2."""
    rows, tree = _tree(ra, dec)
    _refuse_crowds(ra[rows], dec[rows], tree, radius)
    return rows[tree.query_pairs(_chord(radius), output_type="ndarray").reshape(-1, 2)]


def _refuse_crowds(ra: np.ndarray, dec: np.ndarray, tree: cKDTree, radius: float) -> None:
    """InputError where pairs would be too many to hold: no sky has so many objects in one place. Equal positions are
    not among these; a few rows, in steps over all, tell what the others have."""
    if len(ra) < CROWD:
        return
    asked = np.linspace(0, len(ra) - 1, ASKED).astype(np.int64)
    near = tree.query_ball_point(_vectors(ra[asked], dec[asked]), _chord(radius), return_length=True)
    if near.mean() * len(ra) / 2 > MOST_PAIRS:
        most = asked[near.argmax()]
        raise InputError(f"{near.max():,} objects lie within {radius:g} arcsec of ra {ra[most]:g}, dec {dec[most]:g}, "
                         "as placeholders do that are not all equal: leave their positions empty in the table, or set "
                         "filters.duplicates and split.together, the radii that are asked, smaller")  # fmt: skip


def _dominated(pairs: np.ndarray) -> np.ndarray:
    """Which of the numbers in ``pairs`` (0 is taken first) a smaller, kept number is paired with; bool.

    In rounds instead of number by number: what has no smaller partner left is kept, and its partners fall.
    """
    fallen = np.zeros(pairs.max(initial=-1) + 1, dtype=bool)
    while len(pairs):
        pairs = np.sort(pairs, axis=1)
        waiting = np.zeros(len(fallen), dtype=bool)
        waiting[pairs[:, 1]] = True
        fallen[pairs[~waiting[pairs[:, 0]], 1]] = True
        pairs = pairs[~fallen[pairs].any(axis=1)]
    return fallen


def groups(ids: np.ndarray, position: tuple[np.ndarray, np.ndarray], radius: float) -> np.ndarray:
    """Which objects belong together, by id or by a chain of neighbours within ``radius``; int64, N.

    The value is the row of the group's first member, so a group that grows at the end of the catalogue keeps it.
    """
    return linked(ids, position, radius).heads(np.arange(len(ids)))


@dataclass(frozen=True, kw_only=True)
class Groups:
    """Rows that belong together with others, ascending, and the first row of each one's group."""

    rows: np.ndarray
    first: np.ndarray

    def heads(self, rows: np.ndarray) -> np.ndarray:
        """The first row of the group of each of ``rows``: a row alone is its own."""
        heads = rows.astype(np.int64)
        if len(self.rows):
            at = np.minimum(np.searchsorted(self.rows, rows), len(self.rows) - 1)
            there = self.rows[at] == rows
            heads[there] = self.first[at[there]]
        return heads


def linked(ids: Any, position: tuple[Any, Any], radius: float, space: Workspace = HERE) -> Groups:
    """``groups`` of a whole catalogue."""
    rows = every(len(ids))
    repeated, codes = repeated_ids(ids, rows, space)
    _, first, at = np.unique(codes, return_index=True, return_inverse=True)
    links = [np.stack([repeated, repeated[first][at]], axis=1)]
    if radius > 0:
        links += _neighbours(rows, position, radius, space, np.sort, strict=True)
    links = np.concatenate(links)
    rows, number = np.unique(links, return_inverse=True)
    one, other = number.reshape(-1, 2).T
    graph = coo_array((np.ones(len(one), dtype=bool), (one, other)), shape=(len(rows), len(rows)))
    members = connected_components(graph, directed=False)[1]
    return Groups(rows=rows, first=rows[np.unique(members, return_index=True)[1]][members])


def joined(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Which of N objects are joined by a chain of equal numbers in either list; the same number for those; N."""
    count = len(one)
    first = [np.unique(codes, return_index=True, return_inverse=True) for codes in (one, other)]
    links = np.concatenate([np.stack([np.arange(count), at[inverse]]) for _, at, inverse in first], axis=1)
    graph = coo_array((np.ones(links.shape[1], dtype=bool), tuple(links)), shape=(count, count))
    return connected_components(graph, directed=False)[1]
