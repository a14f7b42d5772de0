"""The store: what is written is read back, and what is damaged, foreign or unfinished is named."""

import json

import numpy as np
import pytest
import zarr

from hpc_astrossl.errors import InputError
from hpc_astrossl.store import StoreInfo, check, create, open_store
from hpc_astrossl.store.layout import chunk_rows

BANDS = ("g", "r", "i")


def columns(n):
    return {
        "object_id": np.array([f"object {i} ☆" for i in range(n)]),
        "ra": np.linspace(0, 359.9, n),
        "dec": np.linspace(-90, 90, n),
        "split": (np.arange(n) % 3).astype(np.uint8),
        "label": np.arange(n) % 2,
        "magnitudes": np.full((n, 3), np.nan, np.float32),
        "magnitude_errors": np.zeros((n, 3), np.float32),
    }


def info(n, **changes):
    values = {
        "name": "SG", "survey": "test", "release": "1", "bands": BANDS, "channels": ("R", "G", "B"),
        "class_names": ("star", "galaxy"), "pixel_scale": 0.55,
        "counts": {"kept": n, "rejected": {}}, "recipe": {"a": 1},
    }  # fmt: skip
    return StoreInfo(**values | changes)


def images(n, size=16):
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3), dtype=np.uint8)


def build(path, n=700, **changes):
    writer = create(path, shape=(n, 16, 16, 3), dtype=np.uint8, bands=3)
    for start, stop in writer.shards:
        writer.write_images(start, images(n)[start:stop])
    writer.write_table(columns(n) | changes.pop("columns", {}))
    writer.finish(info(n, **changes))
    return path


def test_what_is_written_is_read_back(tmp_path):
    store = open_store(build(tmp_path / "s.zarr"))
    rows = np.array([699, 0, 512, 511, 0])
    assert np.array_equal(store.images(rows), images(700)[rows])
    assert store.table["object_id"][5] == "object 5 ☆"
    assert store.info == info(700)
    assert np.array_equal(store.rows("validation"), np.arange(1, 700, 3))
    assert np.isnan(store.table["magnitudes"]).all()
    assert check(store.path, deep=True) == []


def test_every_chunk_has_a_checksum_and_zero_images_are_written(tmp_path):
    n = 10
    writer = create(tmp_path / "z.zarr", shape=(n, 8, 8, 3), dtype=np.uint8, bands=0)
    writer.write_images(0, np.zeros((n, 8, 8, 3), np.uint8))
    writer.write_table({name: values for name, values in columns(n).items() if not name.startswith("mag")})
    path = writer.finish(info(n, bands=()))
    for name in ("images", "ra", "object_id"):
        assert "crc32c" in json.dumps(json.loads((path / name / "zarr.json").read_text())["codecs"])
    assert (path / "images/c/0/0/0/0").stat().st_size > 0
    assert "magnitudes" not in open_store(path).table


def test_one_writer_owns_a_whole_shard(tmp_path):
    writer = create(tmp_path / "s.zarr", shape=(9000, 2, 2, 3), dtype=np.uint8, bands=0)
    assert writer.shards == [(0, 4096), (4096, 8192), (8192, 9000)]
    with pytest.raises(ValueError, match="not a whole shard"):
        writer.write_images(0, np.zeros((100, 2, 2, 3), np.uint8))


@pytest.mark.parametrize("n", [1, 3, 4, 5, 511, 512, 513, 4095, 4096, 4097, 10_000])
@pytest.mark.parametrize(("size", "dtype"), [(8, "u1"), (32, "u1"), (32, "f4"), (255, "u1")])
def test_chunks_divide_shards(n, size, dtype):
    chunk, shard = chunk_rows((n, size, size, 12), np.dtype(dtype))
    assert shard % chunk == 0
    assert 4 <= chunk <= 512
    assert shard <= 4096 or shard == chunk


def test_an_unfinished_store_is_not_there(tmp_path):
    path = tmp_path / "s.zarr"
    writer = create(path, shape=(5, 16, 16, 3), dtype=np.uint8, bands=3)
    writer.write_images(0, images(5))
    with pytest.raises(InputError, match=r"s\.zarr: no such store; make it with astrossl preprocess"):
        open_store(path)
    assert len(open_store(build(path, n=6))) == 6  # and the next attempt removes what the first one left
    assert [p.name for p in tmp_path.iterdir()] == ["s.zarr"]


def test_an_empty_result_is_refused(tmp_path):
    with pytest.raises(InputError, match="no object is left to store"):
        create(tmp_path / "s.zarr", shape=(0, 16, 16, 3), dtype=np.uint8, bands=3)
    assert list(tmp_path.iterdir()) == []


def set_attribute(path, **values):
    group = zarr.open_group(path, mode="a")
    group.attrs.update(values)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"version": 2}, "store format version 2, this program reads version 1; make the store again"),
        ({"format": "other"}, "a Zarr group, but not an astrossl store"),
    ],
)
def test_foreign_stores_are_refused(tmp_path, attributes, words):
    path = build(tmp_path / "s.zarr", n=5)
    set_attribute(path, **attributes)
    with pytest.raises(InputError, match=words):
        open_store(path)


def test_what_is_no_store_is_refused(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(InputError, match="folder: not a Zarr v3 group"):
        open_store(tmp_path / "folder")
    path = build(tmp_path / "s.zarr", n=5)
    (path / "label/zarr.json").unlink()
    with pytest.raises(InputError, match="damaged store, missing arrays label"):
        open_store(path)


def test_a_flipped_byte_is_found_and_named(tmp_path):
    path = build(tmp_path / "s.zarr")
    shard = path / "images/c/0/0/0/0"
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    with pytest.raises(InputError, match=r"s\.zarr: array images, rows 0\.\.511: damaged"):
        open_store(path).images([3])
    assert len(check(path, deep=True)) == 1
    assert check(path) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"object_id": np.array(["same"] * 20)}, "19 object ids are repeated"),
        ({"label": np.full(20, 7)}, "label outside -1..1"),
        ({"split": np.full(20, 3, np.uint8)}, "split holds 3"),
        ({"ra": np.full(20, 400.0)}, "20 positions outside"),
    ],
)
def test_check_names_what_is_wrong(tmp_path, change, words):
    (fault,) = check(build(tmp_path / "s.zarr", n=20, columns=change))
    assert words in fault


def test_check_finds_counts_and_channels_that_do_not_fit(tmp_path):
    path = build(tmp_path / "s.zarr", n=20, counts={"kept": 21, "rejected": {}}, channels=("R",))
    assert [fault.split()[0] for fault in check(path)] == ["counts", "images"]
