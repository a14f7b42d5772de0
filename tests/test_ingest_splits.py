"""Splits: exact shares in every class and magnitude, and draws that depend on seed and id only."""

import numpy as np
import pytest

from hpc_astrossl.ingest.splits import assign, balance, draw

SHARES = (0.8, 0.1, 0.1)


def sample(count=3000, seed=1):
    random = np.random.default_rng(seed)
    ids = np.array([f"object-{i}" for i in range(count)])
    labels = random.choice([0, 1, 2], count, p=[0.7, 0.25, 0.05]).astype(np.int16)
    return ids, labels, random.normal(19, 1.5, count)


def test_every_class_and_magnitude_has_its_shares():
    ids, labels, magnitudes = sample()
    magnitudes[:100] = np.nan
    split = assign(ids, labels, magnitudes, SHARES, 0)
    for code in range(3):
        counts = np.bincount(split[labels == code], minlength=3)
        np.testing.assert_allclose(counts, np.multiply(SHARES, counts.sum()), atol=1)
        for magnitude in (18, 19, 20):
            stratum = (labels == code) & (np.round(magnitudes) == magnitude)
            counts = np.bincount(split[stratum], minlength=3)
            np.testing.assert_allclose(counts, np.multiply(SHARES, counts.sum()), atol=2)


@pytest.mark.parametrize("count", range(1, 40))
def test_small_classes_are_divided_too(count):
    ids, labels, _ = sample(count)
    counts = np.bincount(assign(ids, labels * 0, np.full(count, np.nan), SHARES, 0), minlength=3)
    assert counts.sum() == count
    np.testing.assert_allclose(counts, np.multiply(SHARES, count), atol=1)


def test_rounding_does_not_favour_a_split():
    labels = np.repeat(np.arange(20), 15)  # 1.5 objects of each class for validation and for test
    ids = np.array([f"object-{i}" for i in range(300)])
    counts = np.bincount(assign(ids, labels, np.full(300, np.nan), SHARES, 0))
    assert counts.tolist() == [240, 30, 30]


def test_shares_of_nothing_get_nothing():
    ids, labels, magnitudes = sample(100)
    assert assign(ids, labels, magnitudes, (1.0, 0.0, 0.0), 0).tolist() == [0] * 100


def test_the_order_of_the_catalogue_does_not_matter_and_the_seed_does():
    ids, labels, magnitudes = sample()
    split = assign(ids, labels, magnitudes, SHARES, 0)
    order = np.random.default_rng(2).permutation(len(ids))
    assert (assign(ids[order], labels[order], magnitudes[order], SHARES, 0) == split[order]).all()
    other = assign(ids, labels, magnitudes, SHARES, 1)
    assert 0.2 < (other != split).mean() < 0.5  # two independent draws differ in 1 - (.64 + .01 + .01) of the objects


def test_draws_are_uniform_differ_by_purpose_and_never_change():
    ids = sample(4000)[0]
    values = draw(ids, 0, "split") / 2.0**64
    assert np.abs(np.histogram(values, bins=10, range=(0, 1))[0] - 400).max() < 80  # four sigmas
    assert abs(np.corrcoef(values, draw(ids, 0, "order") / 2.0**64)[0, 1]) < 0.07
    # The first 8 bytes, little-endian, of the SHA-256 of "0/split/PGC0000212":
    assert draw(np.array(["PGC0000212"]), 0, "split").tolist() == [1346023707172673606]


def test_balancing_cuts_every_class_to_the_smallest():
    ids, labels, _ = sample()
    stay = balance(ids, labels, 0)
    assert np.bincount(labels[stay]).tolist() == [np.bincount(labels).min()] * 3
    assert (balance(ids, labels, 0) == stay).all()
    assert (balance(ids, labels, 1) != stay).any()
