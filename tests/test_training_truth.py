"""What a run keeps of every row of a store: the same in memory, in a file and in stretches, and so are its files."""

import dataclasses
import json
import resource
import tempfile
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from pretext_toys import pretext_run
from training_toys import ALL, HEAD, make_run, make_store

from hpc_astrossl import identity, names, npz, provenance
from hpc_astrossl.errors import InputError
from hpc_astrossl.store import RowSet, open_store, reader, sweep
from hpc_astrossl.training import leakage, truth
from hpc_astrossl.training.changing import Changing
from hpc_astrossl.training.folder import RunFolder, run_path
from hpc_astrossl.training.run import train

pytestmark = pytest.mark.usefixtures("narrow")


@pytest.fixture
def in_a_file(monkeypatch, tmp_path):
    """All of it in a file below the returned folder, and columns in stretches of 16 rows."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setattr(truth, "IN_MEMORY", 0)
    monkeypatch.setattr(sweep, "ROWS", 16)
    monkeypatch.setattr(reader, "IDS", 16)
    return folder


@pytest.mark.parametrize("shape", [(), (3,)])
def test_what_is_laid_in_a_file_is_what_is_laid_in_memory_and_may_be_changed(in_a_file, monkeypatch, shape):
    values = np.random.default_rng(0).normal(size=(50, *shape)).astype(np.float32)
    parts = [values[:20], values[20:23], values[23:]]
    found = truth.laid(iter(parts), 50)
    monkeypatch.setattr(truth, "IN_MEMORY", 1 << 20)
    held = truth.laid(iter(parts), 50)
    assert (found.dtype, held.dtype) == (values.dtype, values.dtype)
    monkeypatch.setattr(sweep, "HELD", 7)
    for out in (found, held):
        np.testing.assert_array_equal(out, values)
        torch.from_numpy(out)[4] = 1
        rows = RowSet.of(np.arange(0, 50, 2), 50)
        some = list(truth.stretches(out, rows))
        assert [len(part) for part in some] == [7, 7, 7, 4]
        assert (some[0][2] == 1).all()
        np.testing.assert_array_equal(np.concatenate(some)[3:], values[6::2])
    assert not list(in_a_file.iterdir())  # it has no name


def test_rows_that_lie_far_apart_in_a_file_come_in_short_stretches(in_a_file, monkeypatch):
    monkeypatch.setattr(truth, "RESIDENT", 80)
    found = truth.laid(iter([np.arange(50)]), 50)
    some = [part.tolist() for part in truth.stretches(found, RowSet.of([3, 8, 9, 10, 49], 50))]
    assert some == [[3, 8, 9], [10], [49]]
    assert [part.tolist() for part in truth.stretches(np.arange(50), np.array([3, 49]))] == [[3, 49]]
    assert [len(part) for part in truth.stretches(found, np.empty(0, dtype=np.int64))] == [0]


def test_a_temporary_folder_without_room_is_named(in_a_file):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(InputError, match=r"temporary: cannot hold the truth of all objects .*; set TMPDIR"):
            truth.laid(iter([np.zeros(1000)]), 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


RUNS = {
    "head": make_run(HEAD, train_size=10, class_weights="inverse"),
    "all": make_run(ALL, target="magnitudes", train_size=12),
    "shuffled": make_run(HEAD, control="shuffled-labels"),
    "patches": pretext_run("patches"),
    "clusters": dataclasses.replace(pretext_run("clusters"), pretext={"k": 3, "components": 4}),
}


def left(run, workdir):
    """What a run leaves: its files, and what its result tells."""
    train(run, workdir)
    folder = run_path(workdir, run.experiment, names.resolved(run).run_id)
    result = json.loads((folder / "result.json").read_text())
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix in (".npz", ".safetensors")}
    assert all(provenance.sha256(folder / name) == result["files"][name] for name in files)
    return files, [result[key] for key in ("metrics", "objects", "epochs")]


@pytest.mark.parametrize("kind", RUNS)
def test_a_run_leaves_the_same_bytes_when_its_truth_is_in_a_file(tmp_path, request, kind):
    make_store(tmp_path / "one" / "toy")
    make_store(tmp_path / "other" / "toy")
    wanted = left(RUNS[kind], tmp_path / "one")
    request.getfixturevalue("in_a_file")
    assert left(RUNS[kind], tmp_path / "other") == wanted


def test_a_checkpoint_holds_the_truth_of_a_pretext_only_once_it_is_changed():
    def changing(numbers):
        found = SimpleNamespace(truth=torch.tensor(numbers)[:, None])
        pretext = SimpleNamespace(told={}, state=dict, restore=lambda _: None)
        return Changing(pretext=pretext, training=found, net=None, optimizer=None, steps=1, epochs=1)

    assert changing([0, 0, 0]).state()["truth"] is None
    saved, again = changing([0, 2, 0]).state(), changing([0, 0, 0])
    again.restore(saved)
    assert again.training.truth[:, 0].tolist() == [0, 2, 0]
    again.restore(changing([0, 0, 0]).state())


# ---- objects.npz


@pytest.fixture
def store(tmp_path):
    return open_store(make_store(tmp_path / "toy", prefix="N", objects=100))


def test_columns_written_as_they_come_are_the_bytes_that_numpy_writes(tmp_path):
    source = np.random.default_rng(0)
    ids = np.array([str(number) for number in source.integers(0, 10**6, 70_000)])
    arrays = {"object_id": ids, "ra": source.uniform(0, 360, 70_000), "dec": np.zeros(70_000)}
    np.savez_compressed(tmp_path / "a.npz", **arrays)
    columns = {}
    for name, values in arrays.items():
        parts = [values[start : start + 999] for start in range(0, 70_000, 999)]
        if name == "object_id":
            parts = [np.array(part.tolist()) for part in parts]  # as wide as the longest of the part
        columns[name] = npz.Column(kind=values.dtype, rows=len(values), parts=parts)
    npz.write(tmp_path / "b.npz", columns)
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()


def test_the_objects_of_a_run_are_written_in_stretches_and_read_in_stretches(tmp_path, monkeypatch, store):
    rows = np.flatnonzero(np.arange(100) % 7 > 1)
    whole = {name: store.table[name][rows] for name in leakage.COLUMNS}
    store = open_store(store.path)
    monkeypatch.setattr(sweep, "ROWS", 16)
    monkeypatch.setattr(reader, "IDS", 16)
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    files = folder.write_columns(identity.OBJECTS, leakage.columns(store, RowSet.of(rows, 100)))
    np.savez_compressed(tmp_path / "whole.npz", **whole)
    assert (folder.path / identity.OBJECTS).read_bytes() == (tmp_path / "whole.npz").read_bytes()
    assert files == {identity.OBJECTS: provenance.sha256(tmp_path / "whole.npz")}
    assert not store.table._read  # no column is kept
    made = identity.Made.of({"run_id": "r"})
    monkeypatch.setattr(npz, "PASSED", 64)
    objects = leakage.seen_by(folder.path, made, files[identity.OBJECTS], tmp_path).objects
    for name, values in whole.items():
        for start, stop in ((3, 9), (9, 30), (0, 2), (50, len(rows) + 5), (60, 60)):
            np.testing.assert_array_equal(objects.part(name, start, stop), values[start:stop])
        np.testing.assert_array_equal(objects[name], values)
        assert objects.rows(name) == len(rows)


def kept(tmp_path, count=20_000):
    """Objects that a run has kept, in a folder; their columns."""
    source = np.random.default_rng(1)
    arrays = {"object_id": np.array([f"S{i}" for i in range(count)]), "ra": source.uniform(0, 360, count),
              "dec": source.uniform(-90, 0, count)}  # fmt: skip
    np.savez_compressed(tmp_path / identity.OBJECTS, **arrays)
    return arrays


@pytest.mark.parametrize("shared", ["id", "place", None])
def test_what_is_in_the_file_of_an_earlier_run_is_found_in_stretches(tmp_path, monkeypatch, store, shared):
    arrays = kept(tmp_path)
    if shared == "id":
        arrays["object_id"][15_000] = "N0005"
    elif shared == "place":
        arrays["ra"][15_000], arrays["dec"][15_000] = 12.0, -30.0
    np.savez_compressed(tmp_path / identity.OBJECTS, **arrays)
    monkeypatch.setattr(sweep, "ROWS", 1000)
    digest = provenance.sha256(tmp_path / identity.OBJECTS)
    seen = leakage.seen_by(tmp_path, identity.Made.of({"run_id": "r"}), digest, tmp_path)
    if shared is None:
        assert leakage.check_leakage(seen, store)["compared"] == 20_000
        return
    words = {"id": "1 object ids, first N0005", "place": "1 places on the sky within 1″, first S15000 and N0002"}
    with pytest.raises(InputError, match=words[shared]):
        leakage.check_leakage(seen, store)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("damage", ["flip", "cut", "short", "other", "pickled"])
def test_damage_is_told_of_in_the_same_words_whenever_it_is_met(tmp_path, store, damage, when):
    """Also of a file whose digest is of the damage: then the archive itself says so, at the beginning or on the way."""
    arrays, path = kept(tmp_path), tmp_path / identity.OBJECTS
    digest = provenance.sha256(path)
    data = bytearray(path.read_bytes())
    data[1000] ^= 1
    if damage == "flip":
        path.write_bytes(data)
    elif damage == "cut":
        path.write_bytes(data[:-500])
    elif damage == "short":
        np.savez_compressed(path, **arrays | {"dec": arrays["dec"][1:]})
    elif damage == "other":
        np.savez_compressed(path, ra=arrays["ra"])
    else:
        np.savez_compressed(path, **arrays | {"object_id": arrays["object_id"].astype(object)})
    digest = provenance.sha256(path) if when == "after" else digest
    with pytest.raises(InputError, match=r"objects\.npz: damaged or not there .* has seen; train that run again"):
        leakage.check_leakage(
            leakage.seen_by(tmp_path, identity.Made.of({"run_id": "r"}), digest, tmp_path), store
        )  # fmt: skip
