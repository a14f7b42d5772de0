"""Splits: exact shares in every class and magnitude, and draws that depend on seed and id only."""

import numpy as np
import pytest

from hpc_astrossl.objects import Objects
from hpc_astrossl.selection.splits import assign, balance, cells, divide, draw
from hpc_astrossl.specs.recipe import SplitSpec

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


def catalogue(ids, ra, dec, **columns):
    count = len(ids)
    nothing = np.full(count, np.nan)
    return Objects(object_id=ids, field=np.full(count, ""), ra=ra, dec=dec, x=nothing, y=nothing, flag=None,
                   magnitudes=np.empty((count, 0)), errors=np.empty((count, 0)), reference=np.full(count, 18.0),
                   columns=columns)  # fmt: skip


def scattered(count, seed=2):
    random = np.random.default_rng(seed)
    ids = np.array([f"object-{i}" for i in range(count)])
    return ids, random.uniform(0, 360, count), np.degrees(np.arcsin(random.uniform(-1, 1, count)))


@pytest.mark.parametrize("spec", [SplitSpec(by="object"), SplitSpec(by="sky", cell=2.0)], ids=lambda spec: spec.by)
def test_an_object_keeps_its_split_when_the_release_grows(spec):
    ids, ra, dec = scattered(3000)
    whole = divide(spec, catalogue(ids, ra, dec), np.arange(3000), np.zeros(3000, np.int16))
    early = np.sort(np.random.default_rng(3).permutation(3000)[:500])
    part = divide(spec, catalogue(ids[early], ra[early], dec[early]), np.arange(500), np.zeros(500, np.int16))
    assert np.array_equal(part, whole[early])
    assert np.abs(np.bincount(whole, minlength=3) / 3000 - SHARES).max() < 0.03
    other = divide(SplitSpec(by=spec.by, cell=spec.cell, seed=1), catalogue(ids, ra, dec), np.arange(3000), whole * 0)
    assert not np.array_equal(other, whole)


@pytest.mark.parametrize("by", ["stratified", "object", "sky"])
def test_what_lies_together_never_straddles_splits(by):
    ids, ra, dec = scattered(600)
    apart = 0.8 / 3600  # the same galaxy, measured in the overlap of two fields
    ids, ra = np.concatenate([ids, [f"again-{i}" for i in range(600)]]), np.tile(ra, 2)
    dec = np.concatenate([dec, dec + np.where(dec > 0, -apart, apart)])
    spec = SplitSpec(by=by, cell=0.01 if by == "sky" else None)  # cells so small that many borders part a pair
    split = divide(spec, catalogue(ids, ra, dec), np.arange(1200), np.zeros(1200, np.int16))
    assert np.array_equal(split[:600], split[600:])
    alone = SplitSpec(by=by, cell=spec.cell, together=0)
    split = divide(alone, catalogue(ids, ra, dec), np.arange(1200), np.zeros(1200, np.int16))
    assert not np.array_equal(split[:600], split[600:])


def test_cells_have_about_the_same_area_and_none_spans_right_ascension_0():
    _, ra, dec = scattered(40000)
    _, counts = np.unique(cells(ra, dec, 10.0), return_counts=True)
    assert 390 < len(counts) < 440  # 41,253 square degrees
    assert counts.min() > 40
    edge = cells(np.array([359.999, 0.001, 0.0, 360.0]), np.zeros(4), 10.0)
    assert edge[0] != edge[1] == edge[2] == edge[3]
    assert len(set(cells(np.arange(0, 360, 20.0), np.full(18, 89.9999), 10.0).tolist())) <= 3


def test_the_catalogue_may_say_the_splits():
    ids, ra, dec = scattered(4)
    objects = catalogue(ids, ra, dec, part=np.array(["val", "test", "train", "training"]))
    spec = SplitSpec(by="column", column="part")
    assert divide(spec, objects, np.array([0, 2, 3]), np.zeros(3, np.int16)).tolist() == [1, 0, 0]
