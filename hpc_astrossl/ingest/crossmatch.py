"""Who is near whom on the sky: duplicates within a catalogue, and spectra matched to objects one to one.

Positions become unit vectors in a k-d tree, so right ascension wraps and the poles are ordinary places. The chord of
an angle θ is 2 sin(θ/2). All positions are in degrees, all radii in arcsec; a position with NaN is near nothing.
"""

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree


def _vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def _chord(radius: float) -> float:
    return 2 * np.sin(np.radians(radius / 3600) / 2)


def _tree(ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, cKDTree]:
    """(row numbers of the finite positions, tree of those)."""
    rows = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec))
    return rows, cKDTree(_vectors(ra[rows], dec[rows]))


def pairs(ra: np.ndarray, dec: np.ndarray, other_ra: np.ndarray, other_dec: np.ndarray, radius: float) -> np.ndarray:
    """All pairs nearer than ``radius``: rows of (index, other index), nearest first; int64, M × 2."""
    rows, tree = _tree(ra, dec)
    other_rows, other_tree = _tree(other_ra, other_dec)
    near = tree.sparse_distance_matrix(other_tree, _chord(radius), output_type="ndarray")
    near = near[np.lexsort((near["j"], near["i"], near["v"]))]
    return np.stack([rows[near["i"]], other_rows[near["j"]]], axis=1).astype(np.int64)


def near_any(ra: np.ndarray, dec: np.ndarray, others: tuple[np.ndarray, np.ndarray], radius: float) -> np.ndarray:
    """True where any of ``others`` (ra, dec) is nearer than ``radius``; bool, N."""
    mask = np.zeros(len(ra), dtype=bool)
    mask[pairs(ra, dec, *others, radius)[:, 0]] = True
    return mask


def duplicates(ids: np.ndarray, position: tuple[np.ndarray, np.ndarray], magnitude: np.ndarray,
               radius: float) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Which objects repeat a brighter one: by id, and by position within ``radius``; two bool masks of N.

    Objects are taken from the brightest on (unknown magnitudes last, equal ones in the order of their ids and rows),
    and each that is kept removes its neighbours, so that no two that are kept are within the radius.
    """
    order = np.lexsort((np.arange(len(ids)), ids, magnitude))  # NaN sorts last
    _, first = np.unique(ids[order], return_index=True)
    same_id = np.ones(len(ids), dtype=bool)
    same_id[order[first]] = False
    same_place = np.zeros(len(ids), dtype=bool)
    if radius == 0:
        return same_id, same_place
    rows = np.flatnonzero(~same_id)
    found, tree = _tree(position[0][rows], position[1][rows])
    close = rows[found[tree.query_pairs(_chord(radius), output_type="ndarray")]].reshape(-1, 2)
    neighbours: dict[int, list[int]] = {}
    for one, other in close.tolist():
        neighbours.setdefault(one, []).append(other)
        neighbours.setdefault(other, []).append(one)
    for row in order[np.isin(order, close)].tolist():
        if not same_place[row]:
            same_place[neighbours[row]] = True
    return same_id, same_place


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
    spectrum = np.full(count, -1, dtype=np.int64)
    taken = np.zeros(len(spectra[0]), dtype=bool)
    taken[usable[ambiguous[usable[:, 0]], 1]] = True
    for row, other in usable.tolist():
        if spectrum[row] < 0 and not ambiguous[row] and not taken[other]:
            spectrum[row], taken[other] = other, True
    has = np.zeros(count, dtype=bool)
    has[usable[:, 0]] = True
    return Match(spectrum=spectrum, ambiguous=ambiguous, warning=warning, nearer=has & ~ambiguous & (spectrum < 0))
