"""The copy of a store on the node's own disk: made once, whole or not at all, and named by what is in it."""

import os
import shutil
import stat
import subprocess
import sys

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


@pytest.mark.parametrize("file", ["images/c", "split/c"])
def test_a_copy_that_is_damaged_is_to_be_removed_not_the_store(store, scratch, file):
    copy = nearest(store, print)
    victim = next(path for path in (copy / file).rglob("*") if path.is_file())
    data = bytearray(victim.read_bytes())
    data[0] ^= 1
    victim.chmod(0o600)
    victim.write_bytes(data)
    opened = open_store(copy)
    with pytest.raises(InputError, match="remove this copy: the next run makes it anew"):
        [opened.chunk(0), opened.table["split"]]


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


class TestPlanted:
    """A copy is used only if it is ours, nobody else may write to it, and it holds what its name says."""

    def check(self, store, scratch, first):
        said = []
        other = nearest(store, said.append)
        assert other != first
        assert other.parent == scratch
        assert "not used, it is not a copy that this user has made" in said[0]
        assert (open_store(other).chunk(0) == open_store(store).chunk(0)).all()
        assert nearest(store, said.append) == other  # the second name is used from now on

    @pytest.mark.parametrize("mode", [0o020, 0o002])
    def test_one_that_others_may_write_to(self, store, scratch, mode):
        first = nearest(store, print)
        first.chmod(stat.S_IMODE(first.stat().st_mode) | mode)
        self.check(store, scratch, first)

    def test_one_of_another_store_under_the_name(self, store, scratch, tmp_path):
        first = nearest(store, print)
        shutil.rmtree(first)
        shutil.copytree(make_store(tmp_path / "evil.zarr", rows=21, shape=(8, 8, 3), dtype="uint8").path, first)
        first.chmod(0o700)
        self.check(store, scratch, first)

    def test_one_whose_metadata_were_altered(self, store, scratch):
        first = nearest(store, print)
        text = (first / "zarr.json").read_text()
        (first / "zarr.json").write_text(text.replace("astrossl-store", "astrossl-stole"))
        self.check(store, scratch, first)

    def test_a_link(self, store, scratch, tmp_path):
        first = nearest(store, print)
        first.rename(tmp_path / "elsewhere")
        first.symlink_to(tmp_path / "elsewhere")
        self.check(store, scratch, first)

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
    def test_one_of_another_user(self, store, scratch):
        first = nearest(store, print)
        os.chown(first, 12345, -1)
        self.check(store, scratch, first)


STAGE = """
import os, sys, tempfile
from pathlib import Path
from hpc_astrossl.store import nearest, open_store
with tempfile.TemporaryDirectory() as other:  # whatever is imported for it may lie where only root may look
    scratch, os.environ["ASTROSSL_SCRATCH"] = os.environ["ASTROSSL_SCRATCH"], other
    open_store(nearest(Path(sys.argv[1]), lambda words: None)).chunk(0)
    os.environ["ASTROSSL_SCRATCH"] = scratch
os.setgid(65534); os.setuid(65534)
said = []
copy = nearest(Path(sys.argv[1]), said.append)
again = nearest(Path(sys.argv[1]), said.append)
open_store(copy).chunk(0)
print(copy == again, copy.parent, *said)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
def test_a_store_that_may_only_be_read_is_staged_for_any_user_and_nothing_else_stays(store, tmp_path_factory):
    place = tmp_path_factory.mktemp("shared")
    for folder in (place, *place.parents):  # up to the first into which anybody may go, as /tmp
        if folder.stat().st_mode & 0o001:
            break
        folder.chmod(0o755)
    shared, scratch = shutil.copytree(store, place / "SG.zarr"), place / "scratch"
    for path in [shared, *shared.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    scratch.mkdir()
    scratch.chmod(0o777)
    done = subprocess.run([sys.executable, "-c", STAGE, str(shared)], capture_output=True, text=True,
                          env=os.environ | {SCRATCH: str(scratch)})  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"True {scratch} {shared}: copied to")
    assert len(list(scratch.iterdir())) == 1


@pytest.mark.parametrize("folder", ["$ASTROSSL_NOT_SET/scratch", "scratch"])
def test_a_folder_of_a_variable_that_is_not_set_is_not_made(store, tmp_path, monkeypatch, folder):
    monkeypatch.setenv(SCRATCH, folder)
    monkeypatch.chdir(tmp_path)
    said = []
    assert nearest(store, said.append) == store
    assert "is no absolute path, or names a variable that is not set here" in said[0]
    assert not (tmp_path / folder.partition("/")[0]).exists()
