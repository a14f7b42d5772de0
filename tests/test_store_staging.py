"""The copy of a store on the node's own disk: made once, whole or not at all, and named by what is in it."""

import shutil

import pytest
from contracts.stores import make_store

from hpc_astrossl.errors import InputError
from hpc_astrossl.specs.cluster import SCRATCH, ClusterSpec
from hpc_astrossl.store import nearest, open_store


@pytest.fixture
def store(tmp_path):
    return make_store(tmp_path / "SG.zarr", rows=20, shape=(8, 8, 3), dtype="uint8").path


@pytest.fixture
def scratch(tmp_path, monkeypatch):
    monkeypatch.setenv("JOB", "7")
    monkeypatch.setenv(SCRATCH, f"{tmp_path}/local/$JOB")
    return tmp_path / "local/7"


def shards(path):
    return [file for file in sorted((path / "images/c").rglob("*")) if file.is_file()]


def test_without_a_scratch_folder_the_store_is_read_where_it_lies(store, monkeypatch):
    monkeypatch.delenv(SCRATCH, raising=False)
    assert nearest(store, pytest.fail) == store


def test_it_is_copied_once_and_holds_the_same(store, scratch):
    said = []
    copy = nearest(store, said.append)
    assert copy.parent == scratch
    assert said == [f"{store}: copied to {copy}"]
    assert nearest(store, pytest.fail) == copy
    assert (open_store(copy).chunk(0) == open_store(store).chunk(0)).all()


def test_a_store_made_anew_is_copied_anew(store, scratch, tmp_path):
    first = nearest(store, print)
    shutil.rmtree(store)
    make_store(tmp_path / "SG.zarr", rows=21, shape=(8, 8, 3), dtype="uint8")
    assert nearest(store, print) != first
    assert len(open_store(nearest(store, print))) == 21


def test_what_a_killed_copier_left_is_removed(store, scratch):
    copy = nearest(store, print)
    left = scratch / f".{copy.name}-abc"
    copy.rename(left)
    assert nearest(store, print) == copy
    assert not left.exists()


def test_what_arrives_altered_is_not_used(store, scratch):
    shard = shards(store)[0]
    shard.write_bytes(bytes([shard.read_bytes()[0] ^ 1]) + shard.read_bytes()[1:])
    said = []
    assert nearest(store, said.append) == store
    assert "read where it lies, it could not be copied" in said[0]
    assert "altered" in said[0]
    assert not [path for path in scratch.iterdir() if path.is_dir()]


def test_a_folder_that_cannot_be_made_is_said_and_done_without(store, scratch):
    scratch.parent.write_text("a file where a folder should be")
    said = []
    assert nearest(store, said.append) == store
    assert "could not be copied" in said[0]


def test_a_cluster_names_it_for_every_task():
    assert ClusterSpec(kind="slurm", scratch="/local/$SLURM_JOB_ID").variables == {SCRATCH: "/local/$SLURM_JOB_ID"}
    assert ClusterSpec(kind="local").variables == {}
    with pytest.raises(InputError, match="scratch must be a whole path"):
        ClusterSpec(kind="local", scratch="here")
