"""Neighbours on the sky: across RA 0, near a pole, one to one, and what makes a match ambiguous."""

import numpy as np
import pytest
from astropy import units
from astropy.coordinates import SkyCoord, search_around_sky

from hpc_astrossl.errors import InputError
from hpc_astrossl.selection.crossmatch import duplicates, near_any, pairs
from hpc_astrossl.selection.matching import match_spectra

ARCSEC = 1 / 3600


def sky(*positions):
    return tuple(np.array(column, dtype=float) for column in zip(*positions, strict=True))


@pytest.mark.parametrize("centre", [(10, 0), (0, 0), (359.99999, 45), (123, 89.9999), (200, -90)])
def test_pairs_are_those_of_astropy(centre):
    random = np.random.default_rng(0)
    offsets = random.uniform(-4 * ARCSEC, 4 * ARCSEC, (2, 60, 2))
    stretch = 1 / max(np.cos(np.radians(centre[1])), 1e-3)
    here, there = (
        ((centre[0] + part[:, 0] * stretch) % 360, np.clip(centre[1] + part[:, 1], -90, 90)) for part in offsets
    )
    found = pairs(*here, *there, 1.0)
    expected = search_around_sky(*(SkyCoord(*p, unit="deg") for p in (here, there)), 1 * units.arcsec)
    assert len(found) > 20
    assert {tuple(pair) for pair in found.tolist()} == set(zip(*(i.tolist() for i in expected[:2]), strict=True))


def test_unknown_positions_and_empty_catalogues_are_near_nothing():
    here = sky((10, 0), (np.nan, 0), (10, np.nan))
    assert pairs(*here, *here, 1.0).tolist() == [[0, 0]]
    empty = np.empty(0), np.empty(0)
    assert near_any(*here, empty, 1.0).tolist() == [False] * 3
    assert near_any(*empty, here, 1.0).tolist() == []


def test_of_duplicates_the_brightest_stays():
    ids = np.array(["a", "b", "c", "d", "a", "e"])
    place = sky((0.0001, 0), (359.9999, 0), (0.0001, 0.9 * ARCSEC), (5, 5), (7, 7), (5, 5 + 1.1 * ARCSEC))
    magnitude = np.array([18.0, 15.0, 17.0, np.nan, 17.5, 20.0])
    same_id, near = duplicates(ids, place, magnitude, 1.0)
    assert same_id.tolist() == [True, False, False, False, False, False]  # a at 7, 7 is the brighter a
    assert near.tolist() == [False] * 6  # b is 0.72″ from RA 0 the other way: more than 1″ from c
    same_id, near = duplicates(ids[:3], sky(*zip(*(p[:3] for p in place), strict=True)), magnitude[:3], 1.0)
    assert near.tolist() == [True, False, False]
    assert not same_id.any()


def test_a_chain_of_neighbours_keeps_every_second_one():
    place = sky(*((10, 0.7 * i * ARCSEC) for i in range(5)))
    _, near = duplicates(np.array(list("abcde")), place, np.arange(5.0), 1.0)
    assert near.tolist() == [False, True, False, True, False]
    assert not duplicates(np.array(list("abcde")), place, np.arange(5.0), 0)[1].any()


def test_a_spectrum_goes_to_the_nearest_object_and_to_no_other():
    objects = sky((0.0, 0), (0.0, 1.2 * ARCSEC), (20, 0))
    spectra = sky((359.99999, 0.3 * ARCSEC), (20, 0.5 * ARCSEC), (20, 3 * ARCSEC))
    match = match_spectra(objects, spectra, np.array(["STAR", "QSO", "STAR"]), np.ones(3, bool), 1.0)
    assert match.spectrum.tolist() == [0, -1, 1]
    assert match.nearer.tolist() == [False, True, False]
    assert not match.ambiguous.any()
    assert not match.warning.any()


def test_the_second_nearest_spectrum_is_free_for_the_loser():
    objects = sky((0.0, 0), (0.0, 0.8 * ARCSEC))
    spectra = sky((0.0, 0.3 * ARCSEC), (0.0, 1.3 * ARCSEC))
    match = match_spectra(objects, spectra, np.array(["STAR", "STAR"]), np.ones(2, bool), 1.0)
    assert match.spectrum.tolist() == [0, 1]


def test_spectra_that_disagree_make_an_object_ambiguous_and_repeats_do_not():
    objects = sky((1, 1), (2, 2), (3, 3), (4, 4))
    near = 0.2 * ARCSEC
    spectra = sky((1, 1), (1, 1 + near), (2, 2 + near), (2, 2), (3, 3), (4, 4), (4, 4 + near))
    classes = np.array(["STAR", "QSO", "STAR", "STAR", "GALAXY", "STAR", "QSO"])
    good = np.array([True, True, True, True, False, True, False])
    match = match_spectra(objects, spectra, classes, good, 1.0)
    assert match.spectrum.tolist() == [-1, 3, -1, 5]
    assert match.ambiguous.tolist() == [True, False, False, False]
    assert match.warning.tolist() == [False, False, True, False]
    assert not match.nearer.any()


def test_placeholders_that_are_not_quite_equal_are_refused_before_memory_is_asked_for():
    count = 30_000
    ra, dec = 10 + np.arange(count) * 1e-9, np.full(count, 5.0)
    ids = np.arange(count).astype(str)
    with pytest.raises(InputError, match=r"30,000 objects lie within 1 arcsec of ra 10, dec 5, .*leave their"):
        duplicates(ids, (ra, dec), np.zeros(count), 1.0)
