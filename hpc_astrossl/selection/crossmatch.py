"""Who is near whom on the sky: duplicates within a catalogue, and spectra matched to objects one to one.

Positions become unit vectors in a k-d tree, so right ascension wraps and the poles are ordinary places. The chord of
an angle θ is 2 sin(θ/2). All positions are in degrees, all radii in arcsec; a position with NaN is near nothing.
"""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree


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


def _texts(ids: np.ndarray) -> pa.LargeStringArray:
    """Ids for Arrow, which hashes them: sorting millions of texts, as numpy would, takes long."""
    return pa.table({"id": ids})["id"].cast(pa.large_string()).combine_chunks()


def id_codes(ids: np.ndarray) -> np.ndarray:
    """A number for each id, the same for equal ids; int64."""
    return _texts(ids).dictionary_encode().indices.to_numpy().astype(np.int64)


def same_ids(ids: np.ndarray, others: np.ndarray) -> np.ndarray:
    """True where an id is one of ``others``; bool, N."""
    return pc.is_in(_texts(ids), value_set=_texts(others)).to_numpy(zero_copy_only=False)


def duplicates(ids: np.ndarray, position: tuple[np.ndarray, np.ndarray], magnitude: np.ndarray,
               radius: float) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Which objects repeat a brighter one: by id, and by position within ``radius``; two bool masks of N.

    Objects are taken from the brightest on (unknown magnitudes last, equal ones in the order of their ids and rows),
    and each that is kept removes its neighbours, so that no two that are kept are within the radius.
    """
    codes = id_codes(ids)
    repeated = np.flatnonzero(np.bincount(codes)[codes] > 1)
    order = _brightest_first(repeated, ids, magnitude)
    same_id, same_place = np.zeros((2, len(ids)), dtype=bool)
    same_id[repeated] = True
    same_id[order[np.unique(codes[order], return_index=True)[1]]] = False
    if radius == 0:
        return same_id, same_place
    shared, place = _places(np.flatnonzero(~same_id), position)
    same_place[_followers(shared, place, _brightest_first(shared, ids, magnitude))[0]] = True
    rows = np.flatnonzero(~same_id & ~same_place)
    close = rows[_close(position[0][rows], position[1][rows], radius)]
    involved = np.unique(close)
    rank = np.empty(len(involved), dtype=np.int64)
    rank[np.searchsorted(involved, _brightest_first(involved, ids, magnitude))] = np.arange(len(involved))
    same_place[involved] = _dominated(rank[np.searchsorted(involved, close)])[rank]
    return same_id, same_place


def _brightest_first(rows: np.ndarray, ids: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    return rows[np.lexsort((rows, ids[rows], magnitude[rows]))]  # NaN sorts last


def _places(rows: np.ndarray, position: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """(rows that share their place exactly with another, a number for each such place).

    Placeholders may be thousands at one place: as pairs they would fill the memory.
    """
    ra, dec = position[0][rows] % 360 + 0.0, position[1][rows] + 0.0  # -0.0 is 0.0, and 360 is 0
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
    return rows[tree.query_pairs(_chord(radius), output_type="ndarray").reshape(-1, 2)]


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
    codes = id_codes(ids)
    first = np.unique(codes, return_index=True)[1][codes]
    links = [np.stack([np.arange(len(ids)), first], axis=1)]
    if radius > 0:
        known = np.isfinite(position[0]) & (np.abs(position[0]) <= 360) & (np.abs(position[1]) <= 90)
        shared, place = _places(np.flatnonzero(known), position)
        followers, heads = _followers(shared, place, np.sort(shared))
        links.append(np.stack([followers, heads], axis=1))
        known[followers] = False
        alone = np.flatnonzero(known)
        links.append(alone[_close(position[0][alone], position[1][alone], radius)])
    one, other = np.concatenate(links).T
    graph = coo_array((np.ones(len(one), dtype=bool), (one, other)), shape=(len(ids), len(ids)))
    members = connected_components(graph, directed=False)[1]
    return np.unique(members, return_index=True)[1][members].astype(np.int64)


def joined(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Which of N objects are joined by a chain of equal numbers in either list; the same number for those; N."""
    count = len(one)
    first = [np.unique(codes, return_index=True, return_inverse=True) for codes in (one, other)]
    links = np.concatenate([np.stack([np.arange(count), at[inverse]]) for _, at, inverse in first], axis=1)
    graph = coo_array((np.ones(links.shape[1], dtype=bool), tuple(links)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


@dataclass(frozen=True, kw_only=True)
class Match:
    """What matching spectra to N objects found.

    ``spectrum`` is the row of the object's spectrum, -1 for none; the masks say why an object has none: its
    ``ambiguous`` spectra disagree about the class, its spectrum went to a ``nearer`` object, or only spectra whose
    redshift carries a ``warning`` are there.
    """

    spectrum: np.ndarray
    ambiguous: np.ndarray
    nearer: np.ndarray
    warning: np.ndarray


def match_spectra(objects: tuple[np.ndarray, np.ndarray], spectra: tuple[np.ndarray, np.ndarray],
                  classes: np.ndarray, good: np.ndarray, radius: float) -> Match:  # fmt: skip
    """The nearest ``good`` spectrum within ``radius`` of each object, one to one.

    Pairs are taken from the nearest on; an object or spectrum that has a partner takes no second one. Repeated spectra
    of one object are common and harmless as long as they agree about the class; where they do not, the object is
    ambiguous and its spectra are used for nothing else.
    """
    count = len(objects[0])
    near = pairs(*objects, *spectra, radius)
    usable = near[good[near[:, 1]]]
    ambiguous, warning = np.zeros((2, count), dtype=bool)
    warning[near[:, 0]] = True
    warning[usable[:, 0]] = False
    any_class = np.full(count, "", dtype=classes.dtype)
    any_class[usable[:, 0]] = classes[usable[:, 1]]
    ambiguous[usable[classes[usable[:, 1]] != any_class[usable[:, 0]], 0]] = True
    taken = np.zeros(len(spectra[0]), dtype=bool)
    taken[usable[ambiguous[usable[:, 0]], 1]] = True
    free = usable[~ambiguous[usable[:, 0]] & ~taken[usable[:, 1]]]
    spectrum = _one_to_one(free, count, len(taken))
    has = np.zeros(count, dtype=bool)
    has[usable[:, 0]] = True
    return Match(spectrum=spectrum, ambiguous=ambiguous, warning=warning, nearer=has & ~ambiguous & (spectrum < 0))


def _one_to_one(near: np.ndarray, count: int, others: int) -> np.ndarray:
    """The partner of each of ``count`` when pairs, nearest first, are taken unless either has a partner; -1 for none.

    In rounds instead of pair by pair: what is the first pair for both of its sides would be taken, whatever the others.
    """
    partner, taken = np.full(count, -1, dtype=np.int64), np.zeros(others, dtype=bool)
    while len(near):
        first = np.zeros((2, len(near)), dtype=bool)
        for side in (0, 1):
            first[side, np.unique(near[:, side], return_index=True)[1]] = True
        chosen = near[first.all(axis=0)]
        partner[chosen[:, 0]], taken[chosen[:, 1]] = chosen[:, 1], True
        near = near[(partner[near[:, 0]] < 0) & ~taken[near[:, 1]]]
    return partner
