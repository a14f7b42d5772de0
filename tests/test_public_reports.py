"""What others have reported of such programs, with the input built again; the right value, or a refusal.

Resumption that replays the order of the first epoch (Lightning #21938, accelerate #2016) is in test_training_resume.py,
a command that changed while its inputs did not (DVC #3918) in test_launch_current.py, and a file system that answers
flock with ENOSYS (BOINC #1563, beaker #161) in test_no_locks.py.
"""

import gzip
import os
import shutil

import numpy as np
import pytest
from PIL import Image
from training_toys import make_store

from hpc_astrossl import store as stores
from hpc_astrossl.cli import main
from hpc_astrossl.errors import EXIT_DONE, EXIT_INPUT
from hpc_astrossl.specs.cluster import SCRATCH
from hpc_astrossl.store import StoreWriter, create
from hpc_astrossl.store.staging import nearest

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
