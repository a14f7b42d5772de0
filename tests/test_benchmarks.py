"""The benchmark compares like with like: its ways cut the same pixels out of the same field."""

import importlib.util
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parent.parent / "benchmarks" / "preprocess.py"


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_preprocess", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("tiles", ["rows", "100 × 100"])
def test_ours_and_cutout2d_cut_the_same_pixels(bench, tmp_path, tiles):
    paths = bench.write_field(tmp_path, tiles, Namespace(side=250, bands=2))
    positions = np.random.default_rng(0).uniform(32, 250 - 32, (9, 2))
    ours, theirs = (way(paths, positions, tmp_path) for way in (bench.ours, bench.cutout2d))
    np.testing.assert_array_equal(ours[:, ::-1], theirs)  # FITS rows count from the bottom
    assert ours.std() > 0.5


def test_the_authors_way_leaves_a_file_an_object(bench, tmp_path):
    paths = bench.write_field(tmp_path, "rows", Namespace(side=250, bands=2))
    bench.authors(paths, np.full((3, 2), 100.3), tmp_path)
    assert [np.load(tmp_path / f"{n}.npy").shape for n in range(3)] == [(32, 32, 2)] * 3


def test_memory_is_that_of_this_process(bench):
    assert 10 < bench._peak() < 100_000
