"""Spectra matched to objects one to one, the nearest first."""

from dataclasses import dataclass

import numpy as np

from hpc_astrossl.selection.crossmatch import pairs


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
    return matched(pairs(*objects, *spectra, radius), len(objects[0]), classes, good)


def matched(near: np.ndarray, count: int, classes: np.ndarray, good: np.ndarray) -> Match:
    """``match_spectra`` of ``count`` objects, from their pairs with spectra."""
    usable = near[good[near[:, 1]]]
    ambiguous, warning = np.zeros((2, count), dtype=bool)
    warning[near[:, 0]] = True
    warning[usable[:, 0]] = False
    any_class = np.full(count, "", dtype=classes.dtype)
    any_class[usable[:, 0]] = classes[usable[:, 1]]
    ambiguous[usable[classes[usable[:, 1]] != any_class[usable[:, 0]], 0]] = True
    taken = np.zeros(len(good), dtype=bool)
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
