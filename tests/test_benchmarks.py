"""The benchmarks run, and compare like with like: the ways to cut give the same pixels of the same field."""

import importlib.util
from argparse import Namespace
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parent.parent / "benchmarks"


def imported(name: str):
    """A module of the folder of benchmarks, which is no package."""
    spec = importlib.util.spec_from_file_location(f"bench_{name}", FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def bench():
    return imported("preprocess")


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


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_every_codec_is_measured_by_what_the_loaders_read(tmp_path, dtype):
    codec = imported("codec")
    images = np.random.default_rng(0).normal(100, 9, (1024, 16, 16, 4)).astype(dtype)  # whole chunks of either kind
    found = {
        name: codec.measure(images, packing, tmp_path, 1) for name, packing in codec.codecs(images.itemsize).items()
    }
    assert found["none"]["ratio"] == pytest.approx(1, abs=0.01)
    assert found["zstd 1"]["ratio"] > 1.05


@pytest.mark.parametrize("kind", ["rgb", "bands", "jpeg"])
def test_our_loaders_and_the_limit_give_batches_of_what_was_written(tmp_path, kind):
    data, peers = imported("loading_data"), imported("loading_peers")
    height, width, channels = shape = peers.SHAPES[kind]
    data.write_all(tmp_path, kind, shape, 512, peers=True)
    ours = {name: open_batches for name, (open_batches, kinds) in peers.LOADERS.items()
            if kind in kinds and name.startswith(("ours", "limit"))}  # fmt: skip
    assert len(ours) >= 2
    for name, open_batches in ours.items():
        batch = next(open_batches(tmp_path, kind))
        assert name.endswith("no more") or batch.shape == (128, channels, height, width), name
