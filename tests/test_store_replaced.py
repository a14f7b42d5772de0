"""A store that is replaced or changed while it is read is noticed before the next result, by whoever reads it."""

import json
import os
import shutil
import sys

import numpy as np
import pytest
import zarr
from training_toys import ALL, HEAD, make_run, make_store

from hpc_astrossl import identity, manifest, names
from hpc_astrossl.cli import main
from hpc_astrossl.errors import EXIT_DONE, EXIT_INPUT, InputError, StoreChanged
from hpc_astrossl.explore import thumbnails
from hpc_astrossl.loading import LoaderSpec, open_loader
from hpc_astrossl.store import Store, embedding, open_store, seal
from hpc_astrossl.training import apply, keeper, loop
from hpc_astrossl.training.folder import run_path
from hpc_astrossl.training.pictures import Alone
from hpc_astrossl.training.run import train


@pytest.fixture
def path(tmp_path):
    return make_store(tmp_path / "toy")


def replace(path):
    """Another store under the same name, as ``preprocess --overwrite`` leaves it."""
    path.rename(path.with_name("old"))
    make_store(path, seed=9)


def test_a_column_that_is_read_in_parts_is_hashed_once_and_again_when_its_file_was_touched(path, monkeypatch):
    store, hashed, digest = open_store(path), [], seal.hashlib.file_digest
    monkeypatch.setattr(seal.hashlib, "file_digest", lambda stream, kind: hashed.append(1) or digest(stream, kind))
    for start in range(4):
        store.table.part("label", start, start + 2)
    files = sum(name.startswith("label/") for name in manifest.read_manifest(path))
    assert len(hashed) == files
    os.utime(path / "label" / "zarr.json", (1, 1))
    store.table.part("label", 0, 2)
    assert len(hashed) == files + 1


def in_place(path):
    """Another store's files copied over this one's."""
    other = make_store(path.with_name("other"), seed=9)
    shutil.copytree(other, path, dirs_exist_ok=True)


def one_shard(path):
    """A shard of another store, whole and with right sums, in the place of this one's."""
    other = make_store(path.with_name("other"), seed=9)
    shard = next((path / "images/c").rglob("0"))
    shard = shard if shard.is_file() else next(p for p in (path / "images/c").rglob("*") if p.is_file())
    shutil.copyfile(other / shard.relative_to(path), shard)


def gone(path):
    path.rename(path.with_name("old"))


CHANGES = [replace, in_place, one_shard, gone]


@pytest.mark.parametrize("change", CHANGES)
def test_pixels_of_another_store_are_never_given(path, change):
    store = open_store(path)
    ids = store.table["object_id"]
    change(path)
    with pytest.raises(StoreChanged, match="while it was read"):
        store.images(np.arange(len(ids)))


@pytest.mark.parametrize("change", [replace, gone])
def test_nor_a_column_that_is_read_later(path, change):
    store = open_store(path)
    change(path)
    with pytest.raises(StoreChanged, match="was made anew while it was read"):
        store.table["label"]


@pytest.mark.parametrize("change", CHANGES)
def test_with_its_files_open_it_is_noticed_at_the_next_hold(path, change):
    store = open_store(path)
    store.images(np.arange(len(store)))
    change(path)
    with pytest.raises(StoreChanged, match="while it was read"):
        store.hold()


@pytest.mark.parametrize("name", ["reference", "vectorised"])
@pytest.mark.parametrize("corrupt", ["stop", "skip"])
def test_no_loader_takes_it_for_damage_that_may_be_left_out(path, name, corrupt):
    store = open_store(path)
    rows = store.rows("train")
    spec = LoaderSpec(batch_size=8, scaling="unit", flips=False, turns=False, seed=0, resident_mb=0, corrupt=corrupt)
    loader = open_loader(store, rows, spec, engine=Alone(), device="cpu", name=name)
    replace(path)
    try:
        with pytest.raises(StoreChanged):
            list(loader.epoch(1))
    finally:
        loader.close()


def test_what_was_touched_or_copied_and_is_the_same_is_no_change(path):
    store = open_store(path)
    rows = np.arange(len(store))
    before = open_store(path).images(rows)
    for file in path.rglob("*"):
        os.utime(file, ns=(1, 1))
    assert np.array_equal(store.images(rows), before)
    store.hold()
    shutil.copytree(path, path.with_name("copy"))
    shutil.rmtree(path)
    path.with_name("copy").rename(path)
    store.hold()
    assert np.array_equal(open_store(path).images(rows), before)


@pytest.mark.parametrize("phase", [HEAD, ALL])
def test_training_ends_at_the_end_of_the_epoch_and_leaves_no_result(path, monkeypatch, phase):
    run = make_run(phase, keep_features=False)
    original = loop.judge

    def judge(*arguments):
        if not path.with_name("old").exists():
            replace(path)
        return original(*arguments)

    monkeypatch.setattr(loop, "judge", judge)
    with pytest.raises(InputError, match="was made anew while it was read"):
        train(run, path.parent)
    folder = run_path(path.parent, run.experiment, names.resolved(run).run_id)
    assert (folder / "metrics.jsonl").read_text() == ""
    assert not list(folder.glob("checkpoint/*"))
    assert not (folder / "result.json").exists()


def test_features_of_a_store_that_went_are_not_kept(path, monkeypatch):
    from hpc_astrossl.training import encoding

    original = encoding.collect

    def collect(*arguments):
        found = original(*arguments)
        replace(path)
        return found

    monkeypatch.setattr(encoding, "collect", collect)
    with pytest.raises(StoreChanged):
        train(make_run(HEAD), path.parent)
    assert not list((path.parent / "features").rglob("*.npz"))


@pytest.mark.parametrize("verb", ["embed", "predict"])
def test_no_part_and_no_table_is_written_of_it(path, monkeypatch, verb):
    run = make_run(HEAD)
    train(run, path.parent)
    folder, out = run_path(path.parent, run.experiment, names.resolved(run).run_id), path.with_name("out.npz")
    original = apply._features if verb == "embed" else apply._answers

    def columns(trained, encoded):
        if not path.with_name("old").exists():
            replace(path)
        return original(trained, encoded)

    monkeypatch.setattr(apply, original.__name__, columns)
    with pytest.raises(StoreChanged):
        getattr(apply, verb)(apply.Job(run=folder, source=path, outs=[out]))
    assert not out.exists()
    assert not list(path.parent.glob("out.npz.parts/part-*"))


def test_check_notices_it_too(path, monkeypatch, capsys):
    module = sys.modules["hpc_astrossl.store.check"]
    original = module._leaks

    def leaks(store):
        replace(path)
        return original(store)

    monkeypatch.setattr(module, "_leaks", leaks)
    assert main(["check", str(path), "--deep"]) == EXIT_INPUT
    assert "was made anew while it was read" in capsys.readouterr().err
    monkeypatch.undo()
    assert main(["check", str(path), "--deep"]) == EXIT_DONE


def test_a_checkpoint_within_an_epoch_is_held_too(path, monkeypatch):
    held = []
    monkeypatch.setattr(keeper.Keeper, "save", lambda self, place: held.append("saved"))
    monkeypatch.setattr("hpc_astrossl.training.shared.Shared.hold", lambda self: held.append("held"))
    train(make_run(ALL, train_size=20), path.parent)
    assert held[:2] == ["held", "saved"]


READS = {
    "explore": ["explore", "e.zarr", "--out", "seen", "--map", "pca"],
    "labels store": ["labels", "store", "labels.csv", "--of", "toy", "--out", "labelled.zarr"],
    "cutout": ["cutout", "toy", "T0001", "T0040", "--out", "cut"],
    "info --image": ["info", "toy", "--image", "sheet.png"],
}


@pytest.mark.parametrize("verb", READS)
def test_whoever_shows_or_copies_its_pictures_notices_it(path, monkeypatch, capsys, verb):
    """The store is exchanged when its last pictures are read: nothing is left that would pass for a result."""
    monkeypatch.chdir(path.parent)
    rows = [f"T{row:04d},{('red', 'blue')[row % 2]}" for row in range(48)]
    path.with_name("labels.csv").write_text("\n".join(["object_id,class", *rows]) + "\n")
    columns = {"object_id": np.array([f"T{row:04d}" for row in range(48)]), "label": np.zeros(48, "int16"),
               "features": np.random.default_rng(0).normal(size=(48, 512)).astype("float32")}  # fmt: skip
    about = {"store": str(path), "store_sha256": identity.of_store(path), "class_names": ["red", "blue"]}
    embedding.write(path.with_name("e.zarr"), [columns], rows=48, about=about)
    original = Store.images

    def images(self, rows):
        found = original(self, rows)
        if not path.with_name("old").exists():
            replace(path)
        return found

    monkeypatch.setattr(Store, "images", images)
    assert main(READS[verb]) == EXIT_INPUT
    assert "made anew while it was read" in capsys.readouterr().err
    results = (
        "seen/explore.json",
        "seen/explore.html",
        "seen/outliers.png",
        "labelled.zarr",
        "labelled.zarr.partial",
        "cut/T0001.fits",
        "sheet.png",
    )
    assert not [name for name in results if (path.parent / name).exists()]
    assert not [*path.parent.glob("seen/*thumbnails*")]


def test_thumbnails_of_two_stores_are_not_kept(path, tmp_path, monkeypatch):
    """They would pass for those of the first one later, whose name they bear."""
    store, original = open_store(path), Store.images

    def images(self, rows):
        found = original(self, rows)
        replace(path)
        return found

    monkeypatch.setattr(Store, "images", images)
    with pytest.raises(StoreChanged):
        thumbnails.write(store, np.arange(48), tmp_path / "thumbnails-1", tmp_path / "aside")
    assert not [*tmp_path.glob("*thumbnails*")]


PLACES = {"pixels": "images/c", "ids": "object_id", "labels": "label/c", "class names": "zarr.json"}


@pytest.mark.parametrize("what", PLACES)
def test_a_file_that_was_exchanged_before_is_noticed_when_it_is_read(path, tmp_path, what):
    """As by a copy of another store over this one that was broken off: files of equal size, each sound in itself."""
    other = make_store(tmp_path / "other.zarr", prefix="U", seed=9)
    place, source = path / PLACES[what], other / PLACES[what]
    if what == "class names":
        place.write_text(place.read_text().replace('"red",\n      "blue"', '"blue",\n      "red"'))
    elif what == "labels":  # toys are all labelled alike
        column = place / "0"
        changed = zarr.open_group(other, mode="r+")[place.parent.name]
        changed[:] = changed[:][::-1]
        shutil.copyfile(source / "0", column)
    else:
        shutil.rmtree(place)
        shutil.copytree(source, place)
    with pytest.raises(InputError, match="not what the store was made with"):
        whole(path)
    assert main(["check", str(path), "--deep"]) == EXIT_INPUT


def whole(path):
    """Everything that is in a store."""
    store = open_store(path)
    return [store.info, *store.table.values(), store.chunk(0)]


@pytest.mark.parametrize("name", ["reference", "vectorised", "dali"])
@pytest.mark.parametrize("resident_mb", [0, 4096])
def test_no_loader_gives_pixels_of_a_shard_that_was_exchanged_before(path, tmp_path, name, resident_mb):
    other = make_store(tmp_path / "other.zarr", prefix="U", seed=9)
    shutil.rmtree(path / "images/c")
    shutil.copytree(other / "images/c", path / "images/c")
    store = open_store(path)
    spec = LoaderSpec(batch_size=8, scaling="unit", flips=False, turns=False, seed=0, resident_mb=resident_mb)
    with pytest.raises(InputError, match="its file was exchanged"):
        loaded(store, spec, name)


def loaded(store, spec, name):
    loader = open_loader(store, np.arange(len(store)), spec, engine=Alone(), device="cpu", name=name)
    try:
        return list(loader.evaluate())
    finally:
        loader.close()


def test_a_store_of_before_has_no_sums_and_is_read(path):
    listed = json.loads((path / manifest.MANIFEST).read_text())
    (path / manifest.SUMS).unlink()
    del listed["files"][manifest.SUMS]
    (path / manifest.MANIFEST).write_text(json.dumps(listed))
    assert len(whole(path))
