"""Chunks decoded straight into memory are those that zarr-python reads, and damage to them is an error."""

from pathlib import Path

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec, TransposeCodec, ZstdCodec

from hpc_astrossl.store import checksum
from hpc_astrossl.store.blocks import Blocks

PACKINGS = {
    "none": [Crc32cCodec()],
    "zstd": [ZstdCodec(level=1), Crc32cCodec()],
    "zstd with a sum of its own": [ZstdCodec(level=3, checksum=True), Crc32cCodec()],
    "lz4": [BloscCodec(cname="lz4", shuffle="bitshuffle", typesize=4), Crc32cCodec()],
}
FOREIGN = {
    "no checksum": {"compressors": [ZstdCodec()]},
    "no shards": {"shards": None},
    "chunks of parts of images": {"chunks": (8, 4, 6, 3)},
    "another compression": {"compressors": [zarr.codecs.GzipCodec(), Crc32cCodec()]},
    "another byte order": {"serializer": zarr.codecs.BytesCodec(endian="big")},
    "another order of axes": {"filters": [TransposeCodec(order=(0, 2, 1, 3))]},
    "other file names": {"chunk_key_encoding": {"name": "v2", "separator": "."}},
}
ORDERS = {"pixel by pixel": None, "planes first": [TransposeCodec(order=(0, 3, 1, 2))]}
ROWS = 45  # three shards of two chunks of eight, the last chunk with five rows


def make(path, dtype="f4", **changes) -> tuple[zarr.Array, np.ndarray]:
    """An array and what it holds."""
    values = np.random.default_rng(0).normal(100, 20, (ROWS, 8, 6, 3)).astype(dtype)
    options = {"shards": (16, 8, 6, 3), "chunks": (8, 8, 6, 3), "compressors": PACKINGS["none"]} | changes
    array = zarr.create_array(path, shape=values.shape, dtype=dtype, **options)
    array[...] = values
    return array, values


def read(blocks: Blocks, values: np.ndarray) -> np.ndarray:
    """All rows by chunks, begun together, into memory that held something else."""
    memory = np.full((6, 8, *values.shape[1:]), 7, values.dtype)
    return np.concatenate([blocks.read(index, memory[index]) for index in range(6)])


@pytest.mark.parametrize("dtype", ["u1", "i2", "f4", "f8"])
@pytest.mark.parametrize("packing", PACKINGS)
def test_what_is_read_is_what_zarr_reads(tmp_path, packing, dtype):
    array, values = make(tmp_path / "a", dtype, compressors=PACKINGS[packing])
    blocks = Blocks(tmp_path / "a", array)
    assert blocks.direct
    assert np.array_equal(read(blocks, values), values)
    assert np.array_equal(array[...], values)


@pytest.mark.parametrize("layout", FOREIGN)
def test_another_layout_is_left_to_zarr(tmp_path, layout):
    array, values = make(tmp_path / "a", **FOREIGN[layout])
    blocks = Blocks(tmp_path / "a", array)
    assert not blocks.direct
    assert np.array_equal(read(blocks, values), values)


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("order", ORDERS)
def test_memory_of_any_layout_is_filled_and_its_own_is_the_file_s(tmp_path, order, packing):
    array, values = make(tmp_path / "a", filters=ORDERS[order], compressors=PACKINGS[packing])
    blocks = Blocks(tmp_path / "a", array)
    assert blocks.planes_first == (order == "planes first")
    own = blocks.room(8)
    assert own.shape == (8, 8, 6, 3)
    assert own.transpose(0, 3, 1, 2).flags.c_contiguous == blocks.planes_first
    for out in (own, np.empty((8, 8, 6, 3), "f4"), np.empty((3, 6, 8, 8), "f4").T):
        assert blocks.read(0, out) is not None
        assert np.array_equal(out, values[:8])
        assert np.array_equal(blocks.read(5, out), values[40:])
    (file,) = [place for place in (tmp_path / "a/c/0").rglob("0") if place.is_file()]
    if packing == "none":
        lain = values[:8].transpose(0, 3, 1, 2) if blocks.planes_first else values[:8]
        assert file.read_bytes().startswith(lain.tobytes())


@pytest.mark.parametrize("order", ORDERS)
def test_fresh_memory_may_have_only_the_rows_there_are(tmp_path, order):
    array, values = make(tmp_path / "a", filters=ORDERS[order])
    blocks = Blocks(tmp_path / "a", array)
    for out in (blocks.room(5), np.empty((5, 8, 6, 3), "f4")):
        assert np.array_equal(blocks.read(5, out), values[40:])


@pytest.mark.parametrize("packing", PACKINGS)
def test_any_flipped_bit_is_an_error(tmp_path, packing):
    array, _ = make(tmp_path / "a", compressors=PACKINGS[packing])
    path = tmp_path / "a/c/1/0/0/0"
    whole, caught = path.read_bytes(), 0
    for place in np.random.default_rng(1).integers(0, len(whole), 60).tolist():
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        blocks = Blocks(tmp_path / "a", array)
        for index in (2, 3):
            try:
                blocks.read(index, np.empty((8, 8, 6, 3), "f4"))
            except (ValueError, RuntimeError, OSError):
                caught += 1
    assert caught >= 60  # in the index it is the fault of both chunks


@pytest.mark.parametrize("left", [0, 3, 40, -1])
def test_a_file_that_was_cut_off_is_an_error(tmp_path, left):
    array, _ = make(tmp_path / "a")
    path = tmp_path / "a/c/0/0/0/0"
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(ValueError, match=r"too short|checksum"):
        Blocks(tmp_path / "a", array).read(0, np.empty((8, 8, 6, 3), "f4"))


def test_a_missing_shard_and_a_missing_chunk_are_errors_and_no_zeros(tmp_path):
    array, _ = make(tmp_path / "a")
    array[16:24] = 0  # the fill value: zarr leaves the chunk out
    blocks, out = Blocks(tmp_path / "a", array), np.empty((8, 8, 6, 3), "f4")
    with pytest.raises(ValueError, match="holds no such chunk"):
        blocks.read(2, out)
    (tmp_path / "a/c/0/0/0/0").unlink()
    with pytest.raises(FileNotFoundError):
        blocks.read(0, out)


@pytest.mark.parametrize("packing", PACKINGS)
def test_a_whole_chunk_of_fewer_pixels_is_an_error(tmp_path, packing):
    """Nothing here writes one; it would leave what the memory held before."""
    make(tmp_path / "a", compressors=PACKINGS[packing], shards=(8, 8, 6, 3), chunks=(4, 8, 6, 3))
    large, _ = make(tmp_path / "b", compressors=PACKINGS[packing])
    source, target = tmp_path / "a/c/0/0/0/0", tmp_path / "b/c/0/0/0/0"
    target.write_bytes(source.read_bytes())
    with pytest.raises(ValueError, match=r"it holds \d+ bytes of pixels, expected 4608"):
        Blocks(tmp_path / "b", large).read(0, np.empty((8, 8, 6, 3), "f4"))


def test_few_files_stay_open(tmp_path, monkeypatch):
    monkeypatch.setattr("hpc_astrossl.store.blocks.OPEN", 1)
    array, values = make(tmp_path / "a")
    blocks = Blocks(tmp_path / "a", array)
    for _ in range(2):
        assert np.array_equal(read(blocks, values), values)
    held = [path for path in (tmp_path / "a").rglob("0") if path.is_file()]
    opened = [link.resolve() for link in Path("/proc/self/fd").iterdir() if link.exists()]
    assert sum(path in opened for path in held) == 1


@pytest.mark.parametrize("direct", [True, False])
def test_the_sum_is_crc32c(direct, monkeypatch):
    if not direct:  # as where google-crc32c is built without its C library
        monkeypatch.setattr(checksum, "_extend", None)
    assert direct == (checksum._extend is not None)
    assert checksum.crc32c(np.frombuffer(b"123456789", np.uint8)) == 0xE3069283
    assert checksum.crc32c(np.zeros(32, np.uint8)) == 0x8A9136AA  # RFC 3720, B.4
    assert checksum.crc32c(np.empty(0, np.uint8)) == 0
