"""What is asked of all rows of a store is the same in stretches, and takes no more memory for more rows."""

import importlib
import tracemalloc

import numpy as np
import pytest
from training_toys import ALL, make_run

from hpc_astrossl.errors import InputError
from hpc_astrossl.identity import OBJECTS, Made
from hpc_astrossl.store import StoreInfo, arrays, create, open_store, reader, rowset, sweep, writer
from hpc_astrossl.training import subset, truth
from hpc_astrossl.training.data import open_data
from hpc_astrossl.training.folder import RunFolder
from hpc_astrossl.training.leakage import Seen, check_leakage, close_pairs, seen_by, shared_ids
from hpc_astrossl.training.outcome import write_objects

checking = importlib.import_module("hpc_astrossl.store.check")  # the package names its function so, too
INFO = StoreInfo(name="s", survey="s", release="r", bands=("r",), channels=("i",), class_names=("a", "b"),
                 pixel_scale=None, counts={}, recipe={})  # fmt: skip


def made(path, rows, *, prefix="o", faults=False, north=0.0):
    """A store of tiny images; with faults: ids and pictures that come again, pairs in two splits, lost positions."""
    random = np.random.default_rng(rows)
    ids = np.array([f"{prefix}{i}" for i in range(rows)])
    ra, dec = random.uniform(0, 360, rows), random.uniform(-90, 90 - north, rows) + north
    split, images = (
        random.integers(0, 4, rows).astype(np.uint8),
        random.integers(0, 256, (rows, 8, 8, 1), dtype=np.uint8),
    )
    if faults:
        ids[rows // 2 :: 7] = ids[: len(ids[rows // 2 :: 7])]
        ra[5::9], dec[5::9] = ra[4::9][: len(ra[5::9])], dec[4::9][: len(ra[5::9])] + 0.5 / 3600
        images[6::11], ra[3::50] = images[5::11][: len(images[6::11])], 400
    images[split == 3] = 0
    making = create(path, shape=images.shape, dtype=images.dtype, bands=1)
    unknown = np.full((rows, 1), np.nan, dtype=np.float32)
    label = random.integers(-1, 2, rows).astype(np.int16)
    making.write_table({"object_id": ids, "ra": ra, "dec": dec, "split": split, "label": label,
                        "magnitudes": unknown, "magnitude_errors": unknown})  # fmt: skip
    for start, stop in making.shards:
        making.write_images(start, images[start:stop])
    counts = {"kept": int((split != 3).sum()), "rejected_rows": int((split == 3).sum())}
    making.finish(StoreInfo(**vars(INFO) | {"counts": counts}))
    return path


def in_little(monkeypatch, rows, held):
    monkeypatch.setattr(sweep, "ROWS", rows)
    monkeypatch.setattr(sweep, "HELD", held)


@pytest.mark.parametrize(("rows", "held"), [(64, 100), (512, 33), (16, 3000)])
def test_a_check_in_stretches_finds_what_a_check_of_all_rows_finds(tmp_path, monkeypatch, rows, held):
    path = made(tmp_path / "a.zarr", 1500, faults=True)
    wanted = checking.check(path, deep=True)
    assert len(wanted) == 4
    assert [words for words in ("ids are repeated", "positions outside", "lie in different splits", "pixel for pixel")
            if not any(words in fault for fault in wanted)] == []  # fmt: skip
    in_little(monkeypatch, rows, held)
    assert checking.check(path, deep=True) == wanted


def test_zones_count_a_pair_once_where_it_lies_across_a_border(tmp_path, monkeypatch):
    """Chains of pairs along a meridian, 0.4 arcsec from one another, with a border of zones at every step."""
    monkeypatch.setattr(sweep, "BANDS", 180 * 3600 * 5)
    in_little(monkeypatch, 8, 3)
    table = {"ra": np.full(60, 7.0), "dec": np.arange(60) * 0.4 / 3600, "split": np.arange(60) % 2}
    table = {name: np.asarray(values) for name, values in table.items()}
    found = [checking._near(zone) for zone in sweep.zones(table, ["split"], 60, 1.000001 / 3600)]
    assert len(found) > 15
    assert sorted(map(tuple, np.concatenate(found).tolist())) == [(i, i + 1) for i in range(59)]


@pytest.mark.parametrize("turned", [False, True])
def test_leakage_in_stretches_is_that_of_whole_tables(tmp_path, monkeypatch, turned):
    random = np.random.default_rng(0)
    tables = [{"object_id": random.permutation(900)[:count].astype(str), "ra": random.uniform(10, 10.002, count),
               "dec": random.uniform(-0.001, 0.001, count)} for count in (300, 40)]  # fmt: skip
    one, other = tables[::-1] if turned else tables
    other["ra"][3] = np.nan
    pairs = [(i, j) for i in range(len(one["ra"])) for j in range(len(other["ra"]))
             if np.hypot(one["ra"][i] - other["ra"][j], one["dec"][i] - other["dec"][j]) * 3600 < 1]  # fmt: skip
    assert len(pairs) > 20
    in_little(monkeypatch, 32, 7)
    assert list(map(tuple, close_pairs(one, other).tolist())) == pairs
    wanted = np.intersect1d(one["object_id"], other["object_id"])
    assert len(wanted) > 5
    assert shared_ids(one, other).tolist() == wanted.tolist()
    with pytest.raises(InputError, match=f"{len(wanted)} object ids, first {wanted[0]}"):
        check_leakage(Seen(run="r", store="s", objects=one), _Labelled(tmp_path, other))


class _Labelled:
    """As much of a store as the check asks for."""

    def __init__(self, path, table):
        self.path, self.table = path, table


@pytest.mark.parametrize("rows", [[], [7], [40, 3, 39, 3], list(range(100))[::-1]])
def test_rows_are_taken_from_a_table_in_stretches(tmp_path, monkeypatch, rows):
    in_little(monkeypatch, 16, 7)
    rows, store = np.array(rows, dtype=np.int64), open_store(made(tmp_path / "a.zarr", 100))
    found = {name: sweep.taken(store.table, name, rows) for name in ("object_id", "ra", "magnitudes")}
    assert not store.table._read
    whole = {name: store.table[name] for name in found}
    for name, values in found.items():
        np.testing.assert_array_equal(values, whole[name][rows])
        np.testing.assert_array_equal(sweep.taken(whole, name, rows), values)


def learnt(store):
    """What a training run opens, with a subset of the training objects; and what it leaves of them all."""
    run = make_run(ALL, store=store.path.name, train_size=100)
    data = open_data(run, store.path.parent)
    data.target.first_output(data.learnt())
    folder = RunFolder(store.path.with_suffix(".run"))
    folder.path.mkdir(exist_ok=True)
    files = write_objects(folder, data)
    return seen_by(folder.path, Made.of({}), files[OBJECTS], folder.path)


def test_memory_does_not_grow_with_the_rows(tmp_path, monkeypatch):
    """From 20,000 rows to 100,000: less than a byte a row more, for each of what is asked of a whole store; of training
    less than 5, where the truth alone has 2, row numbers 8 and ids 28."""
    monkeypatch.setattr(reader, "IDS", 1 << 12)
    monkeypatch.setattr(rowset, "BLOCK", 1 << 12)
    monkeypatch.setattr(truth, "IN_MEMORY", 0)
    monkeypatch.setattr(subset, "PERMUTED", 0)
    in_little(monkeypatch, 1 << 12, 1 << 13)
    monkeypatch.setattr(reader, "STRETCH", 1 << 12)
    for module in (writer, arrays):
        monkeypatch.setattr(module, "TABLE_CHUNK", 1 << 12)
    small, large = (made(tmp_path / f"{rows}.zarr", rows) for rows in (20_000, 100_000))
    labelled = open_store(made(tmp_path / "b.zarr", 500, prefix="other", north=89.0))
    seen = {"members": lambda store: [len(store.members(split)) for split in (None, "train", "test")],
            "check": checking._table, "neighbours": checking._leaks,
            "leakage": lambda store: check_leakage(Seen(run="r", store="", objects=store.table), labelled),
            "training": lambda store: check_leakage(learnt(store), labelled)}  # fmt: skip
    for name, work in seen.items():
        peaks = []
        for path in (large, small, large):  # the first to have all libraries, and what they keep
            store = open_store(path)
            tracemalloc.start()
            work(store)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        most = 5 if name == "training" else 1  # bits of four sets, and 0.6 kB for each of five times as many files
        assert (peaks[2] - peaks[1]) / 80_000 < most, (name, peaks)
