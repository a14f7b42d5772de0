"""What others have reported of such programs, with the input built again; the right value, or a refusal.

Resumption that replays the order of the first epoch (Lightning #21938, accelerate #2016) is in test_training_resume.py,
a command that changed while its inputs did not (DVC #3918) in test_launch_current.py, and a file system that answers
flock with ENOSYS (BOINC #1563, beaker #161) in test_no_locks.py.
"""

import errno
import fcntl
import gzip
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from training_toys import make_store

from hpc_astrossl import locks
from hpc_astrossl import store as stores
from hpc_astrossl.cli import main
from hpc_astrossl.errors import EXIT_DONE, EXIT_INPUT
from hpc_astrossl.specs.cluster import SCRATCH
from hpc_astrossl.store import StoreWriter, create
from hpc_astrossl.store.staging import nearest
from hpc_astrossl.training.checkpoint import Checkpoints

RECIPE = """
survey: s
release: "1"
size: 8
catalogue: {file: FILE, id: ID}
files: {image: "PICTURE.png"}
split: {train: 0.5, validation: 0.25, test: 0.25}
stores:
  S: {labels: {source: column, column: class, classes: {a: [a], b: [b]}}}
"""
JOBS = """
experiment: e
preprocess: [{recipe: recipe.yaml, source: src, out: stores/S.zarr}]
sets: {S: {store: stores/S.zarr}}
schemes: [scratch]
"""


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A release of eight pictures in the current folder, and what makes a store of it."""
    (tmp_path / "src").mkdir()
    random = np.random.default_rng(0)
    for n in range(8):
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / f"src/p{n}.png")
    (tmp_path / "jobs.yaml").write_text(JOBS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def preprocess() -> int:
    return main(["preprocess", "recipe.yaml", "--source", "src", "--out", "stores"])


def table(path, kinds: str) -> None:
    """A packed catalogue, of the same size whatever the classes are."""
    text = "ID,class\n" + "".join(f"p{n},{kind}\n" for n, kind in enumerate(kinds))
    path.write_bytes(gzip.compress(text.encode(), compresslevel=0, mtime=0))


def test_a_packed_table_that_changed_under_its_name_is_not_the_cached_one(work, capsys):
    """Hugging Face datasets #2956: a modified .gz is read as it was; here its size and times are the old ones, too."""
    path = work / "src/cat.csv.gz"
    table(path, "aaaabbbb")
    (work / "recipe.yaml").write_text(RECIPE.replace("FILE", "cat.csv.gz").replace("PICTURE", "{id}"))
    assert preprocess() == EXIT_DONE
    then = path.stat()
    table(path, "abababab")
    os.utime(path, ns=(then.st_atime_ns, then.st_mtime_ns))
    assert path.stat().st_size == then.st_size
    assert preprocess() == EXIT_INPUT
    assert "already there, made by another recipe or from other inputs" in capsys.readouterr().err


def test_a_file_in_a_folder_that_is_an_input_makes_its_store_out_of_date(work, capsys):
    """DVC #11099: a file that changed inside a folder, of which only the folder is named, is treated as unchanged."""
    (work / "src/cat.csv").write_text("ID,class\n" + "".join(f"p{n},{'ab'[n % 2]}\n" for n in range(8)))
    (work / "recipe.yaml").write_text(RECIPE.replace("FILE", "cat.csv").replace("PICTURE", "deep/{id}"))
    (work / "src/deep").mkdir()
    for path in (work / "src").glob("*.png"):
        path.rename(path.parent / "deep" / path.name)
    assert preprocess() == EXIT_DONE
    shutil.copy(work / "src/deep/p1.png", work / "src/deep/p0.png")
    assert main(["plan", "jobs.yaml"]) == EXIT_DONE
    assert "out of date  stores/S.zarr: " in capsys.readouterr().out


def test_scratch_in_the_folder_of_the_stores_takes_nothing_away(tmp_path, monkeypatch):
    """MosaicML streaming #988: a cache that is made room in removes the only copy of what lies there already."""
    store = make_store(tmp_path / "toy.zarr")
    before = {path: path.read_bytes() for path in store.rglob("*") if path.is_file()}
    monkeypatch.setenv(SCRATCH, str(tmp_path))
    copy = nearest(store, lambda text: None)
    assert copy != store
    assert copy.parent == store.parent
    assert {path: path.read_bytes() for path in store.rglob("*") if path.is_file()} == before


def test_a_store_that_is_begun_anew_stays_what_it_is_until_the_new_one_is_whole(tmp_path):
    """zarr-python #1427, xarray #11159: opening for writing empties what is there."""
    path = make_store(tmp_path / "toy.zarr")
    before = stores.open_store(path).identity
    writer = create(path, shape=(48, 32, 32, 3), dtype=np.dtype(np.uint8), bands=3)
    StoreWriter(path).write_images(*writer.shards[0][:1], np.zeros((48, 32, 32, 3), np.uint8))
    again = stores.open_store(path)
    assert again.identity == before
    assert again.chunk(0)[0].any()
    writer.discard()
    assert stores.open_store(path).identity == before


def test_a_picture_that_is_replaced_by_an_older_one(work, capsys):
    """minify #259: a cache that asks whether a file is younger goes on with what it has when an older one comes."""
    (work / "src/cat.csv").write_text("ID,class\n" + "".join(f"p{n},{'ab'[n % 2]}\n" for n in range(8)))
    (work / "recipe.yaml").write_text(RECIPE.replace("FILE", "cat.csv").replace("PICTURE", "{id}"))
    assert preprocess() == EXIT_DONE
    shutil.copy(work / "src/p1.png", work / "src/p0.png")
    os.utime(work / "src/p0.png", (10**9, 10**9))
    assert main(["plan", "jobs.yaml"]) == EXIT_DONE
    assert "was made from another p0.png" in capsys.readouterr().out
    assert preprocess() == EXIT_INPUT


def test_the_newest_checkpoint_is_that_of_the_highest_epoch(tmp_path):
    """RVC-WebUI #2417, DeepSpeech #446: by its name as text, its time, or a copy beside it, an older one is taken."""
    told = []
    kept = Checkpoints(tmp_path / "checkpoint", told.append)
    for epoch in (9, 30, 100, 140):
        kept.save((epoch, 0), {"epoch": epoch})
    for name in ("epoch-000200-step-000000 (1).pt", "epoch-30.pt"):  # what file managers make
        shutil.copy(kept.folder / "epoch-000100-step-000000.pt", kept.folder / name)
        shutil.copy(kept.folder / "epoch-000100-step-000000.pt.sha256", kept.folder / f"{name}.sha256")
    os.utime(kept.folder / "epoch-000140-step-000000.pt", (10**9, 10**9))
    assert kept.newest() == (140, 0)
    assert kept.load(kept.newest())["epoch"] == 140
    assert not told


def test_a_test_set_that_is_a_copy_of_training_pictures(work):
    """RIAWELC #2, PlantSeg #11: all test images are those of the training set, under other names."""
    for part, numbers in (("train", range(8)), ("val", ()), ("test", (1, 3))):
        for n in numbers:
            place = work / "split" / part / "ab"[n % 2]
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(work / f"src/p{n}.png", place / f"{part}_{n}.png")
    for kind in "ab":
        (work / "split/val" / kind).mkdir(parents=True)
        pixels = np.full((8, 8, 3), ord(kind), np.uint8)
        pixels[0] = 0
        Image.fromarray(pixels).save(work / "split/val" / kind / "v.png")
    recipe = RECIPE.replace("file: FILE, id: ID", 'format: folders, file: "{part}/{class}/{id}.png", id: file')
    recipe = recipe.replace("PICTURE.png", "{file}")
    shares = "split: {train: 0.5, validation: 0.25, test: 0.25}"
    (work / "recipe.yaml").write_text(recipe.replace(shares, "split: {by: column, column: part}"))
    assert main(["preprocess", "recipe.yaml", "--source", "split", "--out", "stores"]) == EXIT_DONE
    store = stores.open_store(work / "stores/S.zarr")
    images, split = store.images(np.arange(len(store))).reshape(len(store), -1), store.table["split"]
    assert store.info.counts["equal_pixels"]["objects"] == 4
    for one in np.unique(images, axis=0):
        assert len(set(split[(images == one).all(axis=1)].tolist())) == 1
    assert store.info.counts["splits"] == {"train": 6, "validation": 2, "test": 4}
    assert main(["check", "stores/S.zarr", "--deep"]) == EXIT_DONE


def test_classes_that_are_numbers_keep_their_names(work):
    """pytorch #22566, keras #6075: folders 0, 1, 2, 10 come in the order of their texts, and 2 is taken for 10."""
    for name in ("0", "1", "2", "10"):
        (work / "numbers" / name).mkdir(parents=True)
        for n in range(6):
            pixels = np.full((8, 8, 3), 20 * int(name), np.uint8)
            pixels[0, n] = 255
            Image.fromarray(pixels).save(work / "numbers" / name / f"{name}_{n}.png")
    assert main(["new", "recipe", "folders", "--source", "numbers", "--out", "mine.yaml"]) == EXIT_DONE
    command = ["preprocess", "mine.yaml", "--source", "numbers", "--out", "stores", "--set", "size=8"]
    assert main(command) == EXIT_DONE
    store = stores.open_store(work / "stores/images.zarr")
    names = [store.info.class_names[label] for label in store.table["label"]]
    assert names == [one.split("/")[0] for one in store.table["object_id"].tolist()]
    assert [20 * int(name) for name in names] == store.images(np.arange(24))[:, 4, 4, 0].tolist()


def test_a_lock_file_that_another_node_has_removed(tmp_path, monkeypatch):
    """jj #6747, filelock #669, simpleflock #9: NFS says ESTALE, not ENOENT, of what was open here and removed there."""
    asked = []

    def stale(opened, how):
        asked.append(opened)
        if len(asked) == 1:
            (tmp_path / "lock").unlink()
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return flock(opened, how)

    flock = fcntl.flock
    monkeypatch.setattr(fcntl, "flock", stale)
    with locks.locked(tmp_path / "lock", patience=0):
        assert len(asked) == 2
        monkeypatch.setattr(os, "ftruncate", lambda *_: (_ for _ in ()).throw(OSError(errno.ESTALE, "stale")))
    path = locks.lease_file(tmp_path / "lock", 1)
    path.write_text("{}")
    monkeypatch.setattr(type(path), "read_text", lambda *_, **__: (_ for _ in ()).throw(OSError(errno.ESTALE, "")))
    assert locks.Watch().state(path) == "gone"
