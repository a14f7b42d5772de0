"""Files of shards: byte for byte what zarr-python writes, whatever the order in which rows and planes come."""

import hashlib

import numpy as np
import pytest

from hpc_astrossl.errors import InputError
from hpc_astrossl.store import create
from hpc_astrossl.store.packed import pack, unpack
from hpc_astrossl.store.statistics import moments, statistics

SHAPES = [((70, 64, 64, 3), "f4"), ((5000, 16, 16, 3), "u1"), ((9, 5, 7, 12), "f4"), ((3, 5, 7, 2), "i2")]


def drawn(shape, kind):
    return np.random.default_rng(0).normal(100, 20, shape).astype(kind)


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize(("shape", "kind"), SHAPES, ids=str)
def test_zarr_is_the_specification(tmp_path, shape, kind, compression):
    images = drawn(shape, kind)
    ours, theirs = (
        create(tmp_path / name, shape=shape, dtype=images.dtype, bands=0, compression=compression)
        for name in ("ours.zarr", "theirs.zarr")
    )
    for number, (start, stop) in enumerate(ours.shards):
        ours.write_images(start, images[start:stop])
        theirs._arrays["images"][start:stop] = images[start:stop]
        file = ours.record(number).file
        assert (ours.folder / file).read_bytes() == (theirs.folder / file).read_bytes()
        assert ours.sound(ours.record(number))


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_planes_in_any_order_and_rows_that_are_rejected(tmp_path, compression):
    images = drawn((70, 8, 8, 5), "f4")
    one, other = (
        create(tmp_path / name, shape=images.shape, dtype=images.dtype, bands=0, compression=compression)
        for name in ("one.zarr", "other.zarr")
    )
    with one.begin_shard(0) as shard:
        for row in np.random.default_rng(1).permutation(70).tolist():
            planes = np.ascontiguousarray(images[row].transpose(2, 0, 1))
            shard.put_planes(row, 3, planes[3:])
            shard.put_planes(row, 0, planes[:3])
        one.end_shard(0, shard, rejected=((7, "blank image"),))
    images[7] = 0
    other.write_images(0, images)
    assert one.record(0).sha256 == other.record(0).sha256
    assert one.record(0).keys == other.record(0).keys
    assert one.record(0).moments == other.record(0).moments


def test_what_is_not_finished_leaves_nothing(tmp_path):
    writer = create(tmp_path / "s.zarr", shape=(20, 8, 8, 3), dtype=np.dtype("f4"), bands=0)
    writer.begin_shard(0).give_up()
    assert writer.record(0) is None
    assert not [path for path in (writer.folder / "images/c").rglob("*") if path.is_file()]


def test_a_store_that_was_finished_by_another_is_not_begun_again(tmp_path):
    writer = create(tmp_path / "s.zarr", shape=(20, 8, 8, 3), dtype=np.dtype("f4"), bands=0)
    writer.folder.parent.rename(tmp_path / "elsewhere")
    with pytest.raises(InputError, match="another process has finished or removed it meanwhile"):
        writer.begin_shard(0)
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]


def test_equal_rows_have_equal_keys_and_hashes(tmp_path):
    images = drawn((40, 8, 8, 3), "f4")
    images[30] = images[2]
    images[31] = images[2][::-1]  # the same pixels elsewhere: the same moments
    writer = create(tmp_path / "s.zarr", shape=images.shape, dtype=images.dtype, bands=0)
    writer.write_images(0, images)
    keys = np.frombuffer(bytes.fromhex(writer.record(0).keys), "<u8")
    assert len(np.unique(keys)) == 39
    assert keys[30] == keys[2]
    hashes = writer.hashes(np.array([2, 3, 30, 31]))
    assert hashes[0] == hashes[2]
    assert len(set(hashes.tolist())) == 3
    image = np.ascontiguousarray(images[3]).tobytes()
    assert hashes[1] == hashlib.blake2b(image, digest_size=10).digest().rstrip(b"\0")


@pytest.mark.parametrize("kind", ["f4", "u1"])
def test_statistics_are_those_of_all_pixels_at_once(kind):
    images = drawn((300, 16, 16, 3), kind) * np.array([1, 2, 1]).astype(kind)
    rows = np.arange(0, 300, 2)
    told = np.concatenate([moments(images[:100], False), moments(images[100:].transpose(0, 3, 1, 2), True)])
    found = statistics(told, rows, lambda rows: [images[rows[:50]], images[rows[50:]]], 256)
    pixels = images[rows].reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(found["mean"], pixels.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found["std"], pixels.std(axis=0), rtol=1e-6)
    noise = 1.4826 * np.median(np.abs(pixels - np.median(pixels, axis=0)), axis=0)
    np.testing.assert_allclose(found["noise"], noise, rtol=1e-6)


def test_the_scatter_of_faint_pixels_on_a_bright_sky():
    images = (1e4 + np.random.default_rng(0).normal(0, 1, (50, 16, 16, 1))).astype(np.float32)
    found = statistics(moments(images, False), np.arange(50), lambda rows: [images[rows]], 256)
    np.testing.assert_allclose(found["std"], images.astype(np.float64).std(), rtol=1e-6)


def test_packed_numbers_come_back_bit_by_bit():
    values = np.array([[np.nan, -0.0], [1 / 3, np.inf]])
    assert unpack(pack(values)).tobytes() == values.tobytes()
    assert unpack(pack(np.float32([0.1])))[0] == np.float32(0.1)
