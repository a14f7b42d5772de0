"""The store: what is written is read back, and what is damaged, foreign or unfinished is named."""

import errno
import fcntl
import json
import re

import numpy as np
import pytest
import zarr

from hpc_astrossl import manifest
from hpc_astrossl.errors import InputError
from hpc_astrossl.store import REJECTED, Arrays, StoreInfo, abandon, check, claim, create, join, open_store
from hpc_astrossl.store.layout import SHARD_BYTES, TABLE_CHUNK, chunk_rows

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


class Slices:
    """A column of which only slices of so many rows may be asked for."""

    def __init__(self, values, most):
        self.values, self.most, self.shape = values, most, values.shape

    def __len__(self):
        return len(self.values)

    def __getitem__(self, part):
        assert part.stop - part.start <= self.most
        return self.values[part]


def test_a_table_is_written_a_chunk_at_a_time(tmp_path, monkeypatch):
    for module in ("writer", "arrays"):
        monkeypatch.setattr(f"hpc_astrossl.store.{module}.TABLE_CHUNK", 90)
    whole = columns(700) | {"object_id": np.array([f"{'é' * (i % 7)}{i}" for i in range(700)])}
    path = build(tmp_path / "s.zarr", columns={name: Slices(values, 90) for name, values in whole.items()})
    store = open_store(path)
    for name, values in whole.items():
        np.testing.assert_array_equal(store.table[name], values)
    ids = [bytes(row).rstrip(b"\0").decode() for row in zarr.open_group(path, mode="r")["object_id_utf8"][:]]
    assert ids == whole["object_id"].tolist()
    assert check(path, deep=True) == []


def test_parts_of_columns_are_read_and_not_kept(tmp_path, monkeypatch):
    monkeypatch.setattr("hpc_astrossl.store.reader.STRETCH", 64)
    split = np.random.default_rng(0).choice([0, 1, 2, REJECTED], 700).astype(np.uint8)
    store = open_store(build(tmp_path / "s.zarr", columns={"split": split}))
    found = store.members()
    assert store.table.part("object_id", 5, 8).tolist() == [f"object {i} ☆" for i in (5, 6, 7)]
    assert store.table.part("ra", 699, 700).tolist() == columns(700)["ra"][699:].tolist()
    with pytest.raises(KeyError):
        store.table.part("colour", 0, 1)
    assert store.table._read == {}
    np.testing.assert_array_equal(np.asarray(found), store.usable)
    assert np.array_equal(store.table.part("split", 3, 9), split[3:9])


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


@pytest.mark.parametrize(
    ("dtype", "compression", "codecs"),
    [("u1", None, ["bytes"]), ("f4", None, ["transpose", "bytes"]), ("u1", "none", ["bytes"]),
     ("u1", "zstd", ["bytes", "zstd"]), ("f4", "zstd", ["transpose", "bytes", "zstd"])],
)  # fmt: skip
def test_pixels_are_as_they_are_unless_told_otherwise_and_bands_lie_one_by_one(tmp_path, dtype, compression, codecs):
    pixels = np.random.default_rng(0).normal(100, 20, (20, 16, 16, 3)).astype(dtype)
    writer = create(tmp_path / "s.zarr", shape=pixels.shape, dtype=pixels.dtype, bands=3, compression=compression)
    writer.write_images(0, pixels)
    writer.write_table(columns(20))
    path = writer.finish(info(20))
    (sharding,) = json.loads((path / "images/zarr.json").read_text())["codecs"]
    assert [step["name"] for step in sharding["configuration"]["codecs"]] == [*codecs, "crc32c"]
    assert np.array_equal(open_store(path).images(np.arange(20)), pixels)
    assert check(path, deep=True) == []


def test_a_store_that_was_finished_or_removed_meanwhile_is_named(tmp_path, monkeypatch):
    writer = create(tmp_path / "s.zarr", shape=(5, 16, 16, 3), dtype=np.uint8, bands=3)
    monkeypatch.setattr(manifest, "write_record", lambda *_: writer.folder.with_name("gone").stat())
    with pytest.raises(InputError, match=r"s\.zarr\.partial: another process has finished or removed it meanwhile"):
        writer.write_images(0, images(5))


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
    with pytest.raises(InputError, match=r"s\.zarr: half-written, no such store yet: .*s\.zarr\.partial"):
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
    with pytest.raises(InputError, match=r"s\.zarr: array images, chunk 0, rows 0\.\.511 \(.*\): damaged"):
        open_store(path).images([3])
    altered, damaged = check(path, deep=True)
    assert altered == "images/c/0/0/0/0 (rows 0..699): altered, its SHA-256 is not the manifest's"
    assert damaged.startswith("array images, chunk 0, rows 0..511 (objects object 0 ☆ to object 511 ☆): damaged")
    assert check(path) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"object_id": np.array(["same"] * 20)}, "19 object ids are repeated"),
        ({"label": np.full(20, 7)}, "label outside -1..1"),
        ({"split": np.full(20, 4, np.uint8)}, "split holds 4, allowed are 0 to 3"),
        ({"ra": np.full(20, 400.0)}, "20 positions outside"),
    ],
)
def test_check_names_what_is_wrong(tmp_path, change, words):
    (fault,) = check(build(tmp_path / "s.zarr", n=20, columns=change))
    assert words in fault


def damaged(path, change):
    """A sound store to which ``change`` (of its folder) was done."""
    build(path, n=20)
    change(path)
    return path


SHARD = "images/c/0/0/0/0"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda path: (path / SHARD).unlink(), rf"{SHARD} \(rows 0\.\.19\): missing"),
        (lambda path: (path / SHARD).write_bytes(b""), rf"{SHARD} \(rows 0\.\.19\): 0 bytes, the manifest says 393"),
        (lambda path: (path / SHARD).write_bytes((path / SHARD).read_bytes()[:99]), rf"{SHARD} .*: 99 bytes, the"),
        (lambda path: (path / "ra/c/0").unlink(), "ra/c/0: missing"),
        (lambda path: (path / "notes.txt").write_text("mine"), "notes.txt: foreign file, not in the manifest"),
    ],
)
def test_lost_and_foreign_files_are_named_without_reading_any(tmp_path, change, words):
    path = damaged(tmp_path / "s.zarr", change)
    (fault,) = check(path)
    assert re.match(words, fault)
    with pytest.raises(InputError, match=rf"s\.zarr: damaged store: {words}"):
        open_store(path)  # Zarr alone would hand out zeros for a lost shard


def test_a_store_without_its_manifest_is_refused(tmp_path):
    path = damaged(tmp_path / "s.zarr", lambda path: (path / manifest.MANIFEST).unlink())
    with pytest.raises(InputError, match=r"s\.zarr: has no images/manifest\.json"):
        check(path)
    (path / manifest.MANIFEST).write_text("{")
    with pytest.raises(InputError, match=r"manifest\.json: damaged"):
        check(path)


def test_an_altered_table_is_found(tmp_path):
    path = build(tmp_path / "s.zarr", n=20)
    data = bytearray((path / "label/c/0").read_bytes())
    data[9] ^= 1
    (path / "label/c/0").write_bytes(data)
    assert check(path, deep=True) == ["label/c/0: altered, its SHA-256 is not the manifest's"]


def test_one_that_was_begun_beside_a_store_is_named(tmp_path):
    path = build(tmp_path / "s.zarr", n=20)
    create(path, shape=(20, 16, 16, 3), dtype=np.uint8, bands=3)
    (fault,) = check(path)
    assert fault.startswith("s.zarr.partial lies beside it")


def test_objects_in_two_splits_are_found(tmp_path):
    ra, dec = np.linspace(0, 350, 20), np.zeros(20)
    ra[7], dec[8], ra[8] = ra[6] + 0.9 / 3600, 0.9 / 3600, ra[6] + 0.9 / 3600  # 6-7, 7-8 near; 6-8 not
    path = build(tmp_path / "s.zarr", n=20, columns={"ra": ra, "dec": dec})
    assert check(path) == []
    (fault,) = check(path, deep=True)
    assert fault == "2 pairs of objects within 1 arcsec lie in different splits, first object 6 ☆ and object 7 ☆"


def test_a_rejected_row_is_in_no_split(tmp_path):
    split = (np.arange(700) % 3).astype(np.uint8)
    split[5] = REJECTED
    counts = {"kept": 699, "rejected_rows": 1, "rejected": {"blank image": 1}}
    path = build(tmp_path / "s.zarr", columns={"split": split}, counts=counts)
    store = open_store(path)
    assert 5 not in np.concatenate([store.rows(name) for name in ("train", "validation", "test")])
    assert len(store.usable) == 699
    assert check(path) == []
    assert check(path, deep=True) == ["row 5 is rejected, but has pixels"]


def test_many_objects_make_few_files():
    for size, channels, dtype in ((32, 12, "f4"), (32, 3, "u1"), (255, 3, "u1")):
        _, shard = chunk_rows((200_000, size, size, channels), np.dtype(dtype))
        table = 7 * -(-200_000 // TABLE_CHUNK)
        assert -(-200_000 // shard) + table + 9 < 500
        assert shard * size * size * channels * np.dtype(dtype).itemsize <= SHARD_BYTES


ARRAYS = Arrays(shape=(20, 16, 16, 3), dtype=np.uint8, bands=3)


class TestJoin:
    """Several writers of one store."""

    def test_who_comes_second_takes_part(self, tmp_path):
        first, second = (join(tmp_path / "s.zarr", ARRAYS, plan={"digest": "a"}) for _ in range(2))
        first.write_images(0, images(20))
        record = second.record(0)
        assert (record.rows, record.file) == ((0, 20), SHARD)
        assert second.sound(record)
        second.write_table(columns(20))
        assert len(open_store(second.finish(info(20)))) == 20
        assert [path.name for path in tmp_path.iterdir()] == ["s.zarr"]

    @pytest.mark.parametrize("plan", [{"digest": "a"}, {"digest": "b"}])
    def test_who_died_while_removing_leaves_nothing_that_is_taken_for_a_making(self, tmp_path, monkeypatch, plan):
        join(tmp_path / "s.zarr", ARRAYS, plan={"digest": "a"})
        with monkeypatch.context() as dying:
            dying.setattr(claim.shutil, "rmtree", lambda *_, **__: None)
            abandon(tmp_path / "s.zarr")
        writer = join(tmp_path / "s.zarr", ARRAYS, plan=plan)
        assert writer.record(0) is None
        writer.discard()
        assert list(tmp_path.iterdir()) == []

    def test_what_is_left_of_a_finished_making_is_not_joined(self, tmp_path):
        (tmp_path / "s.zarr.partial/manifest").mkdir(parents=True)
        join(tmp_path / "s.zarr", ARRAYS, plan={"digest": "a"}).discard()
        assert list(tmp_path.iterdir()) == []

    def test_a_folder_of_somebody_else_is_refused_and_left_alone(self, tmp_path):
        theirs = tmp_path / "s.zarr.partial/images/c/0"
        theirs.mkdir(parents=True)
        with pytest.raises(InputError, match=r"s\.zarr\.partial: was not begun by this program; move it away"):
            join(tmp_path / "s.zarr", ARRAYS, plan={"digest": "a"})
        assert theirs.is_dir()

    def test_another_plan_is_refused(self, tmp_path):
        join(tmp_path / "s.zarr", ARRAYS, plan={"digest": "a", "rows": 20})
        with pytest.raises(InputError, match=r"s\.zarr\.partial: .* digest \('a' there, 'b' here\)\. Go on with"):
            join(tmp_path / "s.zarr", ARRAYS, plan={"digest": "b", "rows": 20})

    def test_a_damaged_shard_is_not_sound_and_is_healed(self, tmp_path):
        writer = join(tmp_path / "s.zarr", ARRAYS, plan={})
        writer.write_images(0, images(20))
        shard = writer.folder / SHARD
        whole = shard.read_bytes()
        shard.write_bytes(whole[:-1] + b"?")
        (shard.parent / "0.0123.partial").write_text("of a dead writer")
        assert not writer.sound(writer.record(0))
        writer.write_images(0, images(20))
        assert shard.read_bytes() == whole
        assert writer.sound(writer.record(0))
        assert [path.name for path in shard.parent.iterdir()] == ["0"]

    def test_two_writers_of_one_shard(self, tmp_path, monkeypatch):
        monkeypatch.setattr(claim, "PATIENCE", 0.0)
        writer = join(tmp_path / "s.zarr", ARRAYS, plan={})
        held = pytest.raises(InputError, match=r"images-00000 is being written by process \d+ on")
        with writer.lock(0), held, writer.lock(0):
            pass
        with writer.lock(0):
            pass

    def test_a_file_system_without_locks_will_do(self, tmp_path, monkeypatch):
        def refuse(stream, operation):
            raise OSError(errno.ENOSYS, "Function not implemented")

        begun = join(tmp_path / "s.zarr", ARRAYS, plan={"store": "s"})
        monkeypatch.setattr(fcntl, "flock", refuse)
        with begun.lock(0):
            begun.write_images(0, images(20))
        assert begun.record(0).rows == (0, 20)

    def test_an_unfinished_one_cannot_be_finished(self, tmp_path):
        writer = join(tmp_path / "s.zarr", ARRAYS, plan={})
        with pytest.raises(ValueError, match="1 shards are not written"):
            writer.finish(info(20))


def test_check_finds_counts_and_channels_that_do_not_fit(tmp_path):
    path = build(tmp_path / "s.zarr", n=20, counts={"kept": 21, "rejected": {}}, channels=("R",))
    assert [fault.split()[0] for fault in check(path)] == ["counts", "images"]
