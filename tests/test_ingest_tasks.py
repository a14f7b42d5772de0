"""A store made by tasks, in any order, killed and run again, by several processes: always the same bytes."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from ingest_survey import RECIPES, Survey, write_band

from hpc_astrossl import cli
from hpc_astrossl.cutting.cutouts import FieldSource
from hpc_astrossl.store import check, claim, layout, open_store

# The command in a process of its own and its workers, with small shards and a pause after each.
DRIVER = """
import sys, time
from hpc_astrossl import cli
from hpc_astrossl.store import layout, writer
layout.CHUNK_BYTES, layout.SHARD_ROWS = 12_000, 8
write = writer.StoreWriter.write_images
def slow(*arguments, **options):
    write(*arguments, **options)
    time.sleep(0.5)
writer.StoreWriter.write_images = slow
if __name__ == "__main__":
    sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def small_shards(monkeypatch):
    """Eight objects a shard, four a chunk."""
    monkeypatch.setattr(layout, "CHUNK_BYTES", 12_000)
    monkeypatch.setattr(layout, "SHARD_ROWS", 8)


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A survey of three fields, to look at only."""
    return Survey(tmp_path_factory.mktemp("tasks") / "survey", fields=("SIM-1", "SIM-2", "SIM-3")).write(bands=True)


def command(source, out, *options) -> list[str]:
    return ["preprocess", str(RECIPES / "simulated.yaml"), "--source", str(source), "--out", str(out), *options]


def preprocess(source, out, *options) -> int:
    return cli.main(command(source, out, "--workers", "1", *options))


def fingerprint(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file() and ".tasks" not in str(path))
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


@pytest.fixture(scope="module")
def whole(source, tmp_path_factory):
    """What one process makes of it, undisturbed."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "CHUNK_BYTES", 12_000)
        patch.setattr(layout, "SHARD_ROWS", 8)
        assert preprocess(source, out) == 0
    return fingerprint(out)


def test_the_store_has_several_shards_and_is_sound(source, tmp_path, whole):
    preprocess(source, tmp_path)
    assert fingerprint(tmp_path) == whole
    assert sum(name.startswith("SG.zarr/images/c/") for name in whole) == 9
    for path in tmp_path.glob("*.zarr"):
        assert check(path, deep=True) == []


@pytest.mark.parametrize("order", [[3, 2, 1], [2, 3, 1], list(range(9, 0, -1))])
def test_tasks_in_any_order_give_the_same_bytes(source, tmp_path, whole, capsys, order):
    count = len(order)
    for task in order:
        assert not (tmp_path / "SG.zarr").exists()
        assert preprocess(source, tmp_path, "--task", f"{task}/{count}") == 0
    assert "\nSG: kept 68 · " in capsys.readouterr().out
    assert fingerprint(tmp_path) == whole


def test_a_field_is_read_once_for_all_stores_and_shards(source, tmp_path, whole, monkeypatch):
    read, cut = [], FieldSource.cut
    monkeypatch.setattr(FieldSource, "cut", lambda self, unit, out: read.append(unit.name) or cut(self, unit, out))
    assert preprocess(source, tmp_path) == 0
    assert read == ["SIM-1", "SIM-2", "SIM-3"]
    assert preprocess(source, tmp_path / "part", "--task", "1/3") == 0
    assert read[3:] == ["SIM-1", "SIM-3"]  # SIM-3 has the pretext set's objects, which have no spectrum


def test_a_task_says_how_far_the_store_is(source, tmp_path, capsys):
    preprocess(source, tmp_path, "--store", "SG", "--task", "2/3")
    assert (
        "SG.zarr: 3 of 9 shards are there, task 2/3 is done; the task that writes the last" in capsys.readouterr().out
    )
    with pytest.raises(Exception, match=r"half-written, no such store yet: .*SG\.zarr\.partial is in the making"):
        open_store(tmp_path / "SG.zarr")
    assert cli.main(["check", str(tmp_path / "SG.zarr")]) == 2
    note = json.loads((tmp_path / "SG.tasks/2-of-3.json").read_text())
    assert note["shards"] == [3, 4, 5]
    assert note["plan"]["shape"] == [68, 32, 32, 3]


def test_several_processes_give_the_same_bytes(source, tmp_path, whole):
    assert cli.main(command(source, tmp_path, "--workers", "2")) == 0
    assert fingerprint(tmp_path) == whole


def records(out: Path) -> list[Path]:
    return sorted(out.glob("*.partial/manifest/*.json"))


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_task_that_is_killed_goes_on_where_it_was(source, tmp_path, whole, workers):
    for task in ("3/3", "1/3"):
        assert preprocess(source, tmp_path, "--task", task) == 0
    before = len(records(tmp_path))
    driver = tmp_path.parent / f"slow_{workers}.py"
    driver.write_text(DRIVER)
    arguments = command(source, tmp_path, "--task", "2/3", "--workers", workers)
    here = os.environ | {"PYTHONPATH": str(RECIPES.parent)}
    with subprocess.Popen([sys.executable, str(driver), *arguments], env=here, stderr=subprocess.DEVNULL) as process:
        until(lambda: len(records(tmp_path)) >= before + 2 or process.poll() is not None)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert not (tmp_path / "SG.zarr").exists()
    kept = {path: path.stat().st_mtime_ns for path in records(tmp_path)}
    assert preprocess(source, tmp_path, "--store", "SG", "--task", "1/3") == 0  # a task that has nothing to do
    assert {path: path.stat().st_mtime_ns for path in records(tmp_path)} == kept
    assert preprocess(source, tmp_path, "--task", "2/3") == 0
    assert fingerprint(tmp_path) == whole


def test_what_a_task_left_that_was_killed_at_the_very_end_goes_with_the_next(source, tmp_path, whole):
    preprocess(source, tmp_path)
    there = {path.name for path in tmp_path.iterdir()}
    (tmp_path / "SG.zarr.partial/manifest").mkdir(parents=True)
    (tmp_path / "SG.zarr.partial/manifest/images-00001.json").write_text("{}")
    (tmp_path / ".SGQ.zarr-removed-1f/locks").mkdir(parents=True)
    assert preprocess(source, tmp_path, "--task", "2/3") == 0
    assert {path.name for path in tmp_path.iterdir()} == there | {"SG.tasks", "SGQ.tasks", "pretext.tasks"}
    assert fingerprint(tmp_path) == whole
    assert check(tmp_path / "SG.zarr") == []


def test_a_making_that_is_to_replace_the_store_is_left_alone(source, tmp_path):
    preprocess(source, tmp_path, "--store", "SG")
    making = claim.partial(tmp_path / "SG.zarr")
    claim.begin(tmp_path / "SG.zarr", {}, lambda folder: folder.mkdir())
    assert preprocess(source, tmp_path, "--store", "SG") == 0
    assert (making / claim.STORE).is_dir()


def until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_a_damaged_shard_is_written_anew(source, tmp_path, whole):
    preprocess(source, tmp_path, "--task", "2/3")
    shards = sorted((tmp_path / "SG.zarr.partial/store/images/c").rglob("0"))
    cut, zeroed, lost = (path for path in shards if path.is_file())
    cut.write_bytes(cut.read_bytes()[:-5])
    zeroed.write_bytes(b"")
    lost.unlink()
    (cut.parent / "0.5e1f.partial").write_text("of a writer that died")
    for task in ("2/3", "3/3", "1/3"):
        assert preprocess(source, tmp_path, "--task", task) == 0
    assert fingerprint(tmp_path) == whole


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--set", "split.seed=1"], r"SG.zarr.partial: a store in the making, begun from another recipe, input or"),
        (["--task", "3/2"], r"task 3/2: expected I/N with 1 ≤ I ≤ N"),
        (["--task", "0/2"], r"task 0/2: expected I/N with 1 ≤ I ≤ N"),
        (["--task", "two"], r"--task 'two': expected I/N, two whole numbers"),
        (["--task", "1/2", "--overwrite"], r"--overwrite is for one process"),
        (["--workers", "0"], r"workers must be at least 1, found 0"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_lost(source, tmp_path, capsys, options, words):
    preprocess(source, tmp_path, "--store", "SG", "--task", "1/2")
    before = fingerprint(tmp_path)
    assert cli.main(command(source, tmp_path, "--store", "SG", *options)) == 2
    assert words in capsys.readouterr().err
    assert fingerprint(tmp_path) == before


def test_two_writers_of_one_task(source, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(claim, "PATIENCE", 0.0)
    preprocess(source, tmp_path, "--store", "SG", "--task", "3/3")
    with claim.locked(tmp_path / "SG.zarr", "images-00001"):
        assert preprocess(source, tmp_path, "--store", "SG", "--task", "1/3") == 2
    assert "images-00001 is being written by process" in capsys.readouterr().err


def cut_short(path: Path) -> bytes:
    """Truncate a file to two thirds, and return what it was."""
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    return whole


class TestUnreadableField:
    options = ("--store", "SG", "--set", "stores.SG.images=bands")

    def make(self, folder) -> Path:
        return Survey(folder / "survey", fields=("SIM-1", "SIM-2", "SIM-3")).write(bands=True)

    def test_it_stops_its_own_shards_only_and_goes_on_when_mended(self, tmp_path, capsys):
        source = self.make(tmp_path)
        assert preprocess(source, tmp_path / "whole", *self.options) == 0
        field = source / "SIM-2_R_swp.fits.fz"
        good = cut_short(field)
        assert preprocess(source, tmp_path / "out", *self.options) == 2
        said = capsys.readouterr().err
        assert "SIM-2_R_swp.fits.fz" in said
        assert "Shards that need none of this are written and stay" in said
        assert len(records(tmp_path / "out")) == 4  # 34 rows of SIM-1 fill them, in the fifth SIM-2 begins
        shard = next((tmp_path / "out").glob("*.partial/store/images/c/0/0/0/0"))
        kept = shard.stat().st_ino
        field.write_bytes(good)
        assert preprocess(source, tmp_path / "out", *self.options) == 0
        assert fingerprint(tmp_path / "out") == fingerprint(tmp_path / "whole")
        assert (tmp_path / "out/SG.zarr/images/c/0/0/0/0").stat().st_ino == kept  # not made a second time

    def test_its_objects_are_rejected_if_the_recipe_says_so(self, tmp_path, capsys):
        source = self.make(tmp_path)
        cut_short(source / "SIM-2_R_swp.fits.fz")
        options = (*self.options, "--set", "fields.unreadable=reject")
        assert preprocess(source, tmp_path / "out", *options) == 0
        captured = capsys.readouterr()
        assert "rejected: " in captured.err
        assert "SIM-2_R_swp.fits.fz" in captured.err
        store = open_store(tmp_path / "out" / "SG.zarr")
        counts = store.info.counts
        assert counts["rejected"]["truncated file: SIM-2"] == counts["rejected_rows"] > 0
        assert counts["kept"] + counts["rejected_rows"] == len(store)
        assert sum(counts["splits"].values()) == sum(counts["classes"].values()) == counts["kept"]
        useless = np.flatnonzero(store.table["split"] == layout.REJECTED)
        assert not store.images(useless).any()
        assert all("SIM-2" in name for name in store.table["object_id"][useless])
        listed = (tmp_path / "out" / "SG.rejected.csv").read_text()
        assert listed.count("truncated file: SIM-2") == len(useless)
        assert check(store.path, deep=True) == []

    def test_a_field_that_changes_between_tasks_is_found(self, tmp_path, capsys):
        source = self.make(tmp_path)
        assert preprocess(source, tmp_path / "out", *self.options, "--task", "1/2") == 0
        write_band(source / "SIM-1_R_swp.fits.fz", np.random.default_rng(0).random((180, 260), dtype=np.float32))
        assert preprocess(source, tmp_path / "out", *self.options, "--task", "2/2") == 2
        assert "SIM-1_R_swp.fits.fz: was replaced while the store was made" in capsys.readouterr().err
        for task in ("1/2", "2/2"):
            assert preprocess(source, tmp_path / "out", *self.options, "--task", task) == 0
        assert json.loads((tmp_path / "out/SG.zarr/zarr.json").read_text())["attributes"]["counts"]["kept"]
