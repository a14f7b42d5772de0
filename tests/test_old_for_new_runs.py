"""Runs, weights, embeddings and tables that were copied, renamed, restored or exchanged by hand.

What people do with folders: cp, mv, rsync with old times, a backup of last week, two work directories laid over one
another. Nothing passes for what it is not.
"""

import csv
import dataclasses
import os
import shutil

import numpy as np
import pytest
from test_identity import LATER, PRETEXT, PRETEXT_ID, folder, interrupted, trained_again, uses
from training_toys import HEAD, make_run, make_store

from hpc_astrossl import names
from hpc_astrossl.cli import main
from hpc_astrossl.errors import EXIT_DONE, EXIT_INPUT, InputError
from hpc_astrossl.explore import given
from hpc_astrossl.launch import current
from hpc_astrossl.report.base.runs import read_study
from hpc_astrossl.store import embedding, open_store
from hpc_astrossl.training import apply, parts, pictures
from hpc_astrossl.training.run import train

pytestmark = pytest.mark.usefixtures("narrow")

OTHER = dataclasses.replace(LATER, seed=1)
LONGER = dataclasses.replace(LATER, phases=(dataclasses.replace(HEAD, epochs=5),))
ANOTHER = "not what the store was made with|damaged store: .*the manifest says"
CHANCE = make_run(HEAD, weights=LATER.weights, control="shuffled-labels")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A pretext run on the store "pre", and two runs on its convolutions and the store "toy"."""
    workdir = tmp_path_factory.mktemp("study")
    make_store(workdir / "pre", prefix="P", ra=100)
    make_store(workdir / "toy")
    for run in (PRETEXT, LATER, OTHER):
        train(run, workdir)
    return workdir


@pytest.fixture
def workdir(study, tmp_path):
    return shutil.copytree(study, tmp_path / "work")


def run_id(run):
    return names.resolved(run).run_id


def reason(workdir, run):
    """Why the run is out of date, as plan and status tell it; None where it is not."""
    return current.untold([run_id(run)], "toys", workdir).outdated.get(run_id(run))


def backup(path, place):
    """A copy with all times, as rsync -a makes it."""
    return shutil.copytree(path, place) if path.is_dir() else shutil.copy2(path, place)


def restore(copy, path):
    """Put it back, with its old times."""
    if copy.is_dir():
        shutil.rmtree(path)
        shutil.copytree(copy, path)
    else:
        shutil.copy2(copy, path)


# ---- checkpoints


@pytest.mark.parametrize("run", [OTHER, LONGER, CHANCE], ids=["another seed", "more epochs", "shuffled labels"])
def test_a_checkpoint_is_not_gone_on_with_by_another_run(workdir, monkeypatch, run):
    """To save the first epochs somebody copies a checkpoint: the seed, the schedule or the labels were others."""
    begun = dataclasses.replace(LATER, seed=7)
    interrupted(workdir, begun, monkeypatch)
    wanted = dataclasses.replace(run, seed=8)
    place = folder(workdir, wanted)
    place.mkdir(parents=True)
    shutil.copytree(folder(workdir, begun) / "checkpoint", place / "checkpoint")
    with pytest.raises(InputError, match=rf"checkpoint: is of run {run_id(begun)}, and this is {run_id(wanted)}; move"):
        train(wanted, workdir)
    assert not (place / "result.json").exists()


def test_nor_where_its_whole_folder_was_renamed(workdir, monkeypatch):
    begun, wanted = dataclasses.replace(LATER, seed=7), dataclasses.replace(LATER, seed=8)
    interrupted(workdir, begun, monkeypatch)
    folder(workdir, begun).rename(folder(workdir, wanted))
    with pytest.raises(InputError, match=f"is of run {run_id(begun)}"):
        train(wanted, workdir)
    folder(workdir, wanted).rename(folder(workdir, begun))
    assert train(begun, workdir)["epochs"] == 3  # in its own folder it goes on


# ---- stores


def test_two_stores_that_exchange_their_names(workdir):
    """pre has the bands and the channels of toy, and the same objects' number: only contents tell them apart."""
    (workdir / "pre").rename(workdir / "then")
    (workdir / "toy").rename(workdir / "pre")
    (workdir / "then").rename(workdir / "toy")
    for run, store in ((PRETEXT, "pre"), (LATER, "toy")):
        assert f"was trained on another store than lies at {store}" in reason(workdir, run)
        with pytest.raises(InputError, match="another store"):
            train(run, workdir)


def test_a_link_to_a_store_that_points_to_another_one_now(workdir):
    (workdir / "toy").rename(workdir / "v1")
    (workdir / "toy").symlink_to("v1")
    assert reason(workdir, LATER) is None
    make_store(workdir / "v2", seed=5)
    (workdir / "toy").unlink()
    (workdir / "toy").symlink_to("v2")
    assert "another store than lies at toy" in reason(workdir, LATER)


def test_an_older_store_from_a_backup_and_the_right_one_again(workdir, tmp_path):
    right = backup(workdir / "toy", tmp_path / "right")
    older = make_store(tmp_path / "older", seed=9)
    restore(older, workdir / "toy")
    assert "another store than lies at toy" in reason(workdir, LATER)
    restore(right, workdir / "toy")
    assert reason(workdir, LATER) is None
    assert train(LATER, workdir)["run_id"] == run_id(LATER)


def test_half_a_store_copied_over_another(workdir, tmp_path):
    """rsync that was broken off: the columns are the new ones, the pixels the old ones."""
    newer = make_store(tmp_path / "newer", prefix="N")
    for name in ("label", "object_id", "split"):
        shutil.rmtree(workdir / "toy" / name)
        shutil.copytree(newer / name, workdir / "toy" / name)
    with pytest.raises(InputError, match=ANOTHER):
        train(dataclasses.replace(LATER, seed=5), workdir)


# ---- weights and results


def test_weights_of_another_run_with_old_times(workdir):
    """Of one size, finite, and older than the result beside them: as rsync -a brings them from elsewhere."""
    weights = folder(workdir, LATER) / "weights.safetensors"
    then = weights.stat()
    data = weights.read_bytes()
    weights.write_bytes(data[:-8] + data[-4:] + data[-8:-4])
    os.utime(weights, ns=(then.st_atime_ns, then.st_mtime_ns))
    assert weights.stat().st_size == then.st_size
    assert "weights.safetensors that is not the file which the run wrote" in reason(workdir, LATER)
    with pytest.raises(InputError, match="not the file"):
        train(LATER, workdir)
    for use in ("predict", "embed", "export"):
        assert uses(workdir)[use]() == EXIT_INPUT


def test_copies_with_their_times_are_the_same(workdir, tmp_path):
    """All files of a run come anew with a backup: their contents are looked at, and are the same."""
    copy = backup(folder(workdir, LATER), tmp_path / "run")
    restore(copy, folder(workdir, LATER))
    assert reason(workdir, LATER) is None
    assert uses(workdir)["predict"]() == EXIT_DONE


def test_a_result_from_a_backup_beside_newer_weights(workdir, tmp_path):
    copy = backup(folder(workdir, PRETEXT) / "result.json", tmp_path / "result.json")
    trained_again(folder(workdir, PRETEXT))
    restore(copy, folder(workdir, PRETEXT) / "result.json")
    with pytest.raises(InputError, match="not the file that its run wrote"):
        train(dataclasses.replace(LATER, seed=4), workdir)
    assert reason(workdir, PRETEXT)


def test_a_pretext_run_of_another_work_directory_laid_over_this_one(workdir, tmp_path):
    """The same configuration, hence the same folder, on another store of that name: whole and sound in itself."""
    other = tmp_path / "other"
    make_store(other / "pre", prefix="Q", ra=200, seed=3)
    train(PRETEXT, other)
    shutil.copytree(folder(other, PRETEXT), folder(workdir, PRETEXT), dirs_exist_ok=True)
    assert "another store than lies at pre" in reason(workdir, PRETEXT)
    assert f"other weights than run {PRETEXT_ID} has now" in reason(workdir, LATER)
    with pytest.raises(InputError, match="another store"):
        train(dataclasses.replace(LATER, seed=4), workdir)
    shutil.rmtree(workdir / "pre")
    shutil.copytree(other / "pre", workdir / "pre")  # its store comes along: it is sound, what began before it is not
    assert reason(workdir, PRETEXT) is None
    assert f"other weights than run {PRETEXT_ID} has now" in reason(workdir, LATER)


def test_runs_in_a_work_directory_with_another_store_of_that_name(workdir, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(workdir / "runs", elsewhere / "runs")
    make_store(elsewhere / "toy", seed=9)
    assert "another store than lies at toy" in reason(elsewhere, LATER)
    study = read_study(elsewhere / "runs/toys")
    assert not [run for run in study.runs if run.set == "toy"]
    assert {problem.name for problem in study.problems} >= {run_id(LATER), run_id(OTHER)}


def test_predictions_of_another_seed_are_not_averaged(workdir):
    for name in ("predictions.npz",):
        shutil.copy2(folder(workdir, OTHER) / name, folder(workdir, LATER) / name)
    out = workdir / "report"
    assert main(["report", "toys", "--workdir", str(workdir), "--out", str(out)]) == EXIT_DONE
    with (out / "tables/problems.csv").open(newline="") as stream:
        told = "\n".join(",".join(line) for line in csv.reader(stream))
    assert run_id(LATER) in told
    assert "predictions.npz" in told


def test_what_a_pretext_run_has_seen_is_that_of_another_run(workdir, tmp_path):
    """Without it nothing tells of a leak; with another's the check would pass."""
    seen = folder(workdir, PRETEXT) / "objects.npz"
    shutil.copy2(folder(workdir, LATER) / "objects.npz", seen)
    with pytest.raises(InputError, match="not the file that its run wrote"):
        train(dataclasses.replace(LATER, seed=4), workdir)
    seen.unlink()
    with pytest.raises(InputError, match="damaged or not there"):
        train(dataclasses.replace(LATER, seed=4), workdir)


def test_weights_of_the_cache_that_are_others_for_the_next_seed(workdir, tmp_path, monkeypatch):
    """Another ASTROSSL_CACHE, or weights added again under the name: one cell, two first weights."""
    runs = [make_run(HEAD, scheme="features-imagenet", weights="mine-vgg16", seed=seed) for seed in (0, 1)]
    assert main(["weights", "export", str(folder(workdir, PRETEXT)), str(tmp_path / "w.safetensors")]) == EXIT_DONE
    for number, run in enumerate(runs):
        monkeypatch.setenv("ASTROSSL_CACHE", str(tmp_path / f"cache{number}"))
        if number:
            trained_again(folder(workdir, PRETEXT))
            assert main(["weights", "export", str(folder(workdir, PRETEXT)), str(tmp_path / "v.safetensors")]) == 0
        file = tmp_path / ("v.safetensors" if number else "w.safetensors")
        assert main(["weights", "add", str(file), "--name", "mine-vgg16"]) == EXIT_DONE
        train(run, workdir)
    assert "other weights than weights mine-vgg16 have now" in reason(workdir, runs[0])
    assert reason(workdir, runs[1]) is None
    kept = [run.seed for run in read_study(workdir / "runs/toys").runs if run.scheme == "features-imagenet"]
    assert kept == [1]


def test_what_exported_weights_have_seen_is_that_of_others(workdir, tmp_path, monkeypatch):
    monkeypatch.setenv("ASTROSSL_CACHE", str(tmp_path / "cache"))
    for run, name in ((PRETEXT, "a"), (LATER, "b")):
        assert main(["weights", "export", str(folder(workdir, run)), str(tmp_path / f"{name}.safetensors")]) == 0
    trained_again(folder(workdir, PRETEXT))
    assert main(["weights", "export", str(folder(workdir, PRETEXT)), str(tmp_path / "c.safetensors")]) == EXIT_DONE
    (other,) = tmp_path.glob("c.*seen*")
    (own,) = tmp_path.glob("a.*seen*")
    shutil.copy2(other, own)
    assert main(["weights", "add", str(tmp_path / "a.safetensors"), "--name", "mine-vgg16"]) == EXIT_INPUT


# ---- parts of embed and predict


def half(workdir, run, out, task, source="toy"):
    job = apply.Job(run=folder(workdir, run), source=workdir / source, outs=[workdir / out], task=task, part_rows=24)
    return apply.embed(job).objects


def test_parts_of_two_runs_laid_over_one_another(workdir):
    """Two nodes with disks of their own embed halves, by runs that are not the same, and rsync joins them."""
    assert half(workdir, LATER, "a.npz", (0, 2)) is None
    assert half(workdir, OTHER, "b.npz", (1, 2)) is None
    for part in (workdir / "b.npz.parts").glob("part-*.npz"):
        shutil.copy2(part, workdir / "a.npz.parts" / part.name)
    with pytest.raises(InputError, match=r"part-000001\.npz: is of other work than about\.json beside it; remove it"):
        half(workdir, LATER, "a.npz", (1, 2))
    (workdir / "a.npz.parts/part-000001.npz").unlink()
    assert half(workdir, LATER, "a.npz", (1, 2)) == 48
    whole = apply.Job(run=folder(workdir, LATER), source=workdir / "toy", outs=[workdir / "c.npz"])
    apply.embed(whole)
    assert np.array_equal(np.load(workdir / "a.npz")["features"], np.load(workdir / "c.npz")["features"])


def test_a_folder_of_parts_renamed_for_another_table(workdir):
    assert half(workdir, OTHER, "b.npz", (0, 2)) is None
    (workdir / "b.npz.parts").rename(workdir / "a.npz.parts")
    with pytest.raises(InputError, match="holds parts of other work"):
        half(workdir, LATER, "a.npz", (1, 2))


def test_parts_of_a_part_less_program_are_not_believed(workdir):
    assert half(workdir, LATER, "a.npz", (0, 2)) is None
    part = workdir / "a.npz.parts/part-000000.npz"
    kept = dict(np.load(part))
    kept.pop(parts.OF)
    np.savez(part, **kept)
    with pytest.raises(InputError, match=r"part-000000\.npz: damaged"):
        half(workdir, LATER, "a.npz", (1, 2))


def test_a_picture_exchanged_between_tasks_for_one_of_its_size_and_time(tmp_path):
    """Pictures unpacked from two archives have one time, and uncompressed ones one size."""
    for number in range(6):
        (tmp_path / f"p{number}.bmp").write_bytes(bytes([number]) * 200)
        os.utime(tmp_path / f"p{number}.bmp", ns=(10**18, 10**18))
    before = pictures.listed(tmp_path)
    (tmp_path / "p3.bmp").write_bytes(b"x" * 200)
    os.utime(tmp_path / "p3.bmp", ns=(10**18, 10**18))
    after = pictures.listed(tmp_path)
    assert [a == b for a, b in zip(before.marks, after.marks, strict=True)] == [True] * 3 + [False] + [True] * 2
    was, now = ({share.key for share in pictures.shares(one, 1)} for one in (before, after))
    assert len(was - now) == 1  # its part, and no other, is made again


# ---- embeddings, lists, cutouts


def test_an_embedding_half_copied_over_another(workdir):
    make_store(workdir / "other", seed=5)
    for store, name in (("toy", "a.zarr"), ("other", "b.zarr")):
        apply.embed(apply.Job(run=folder(workdir, LATER), source=workdir / store, outs=[workdir / name]))
    one, other = (embedding.read(workdir / name).features for name in ("a.zarr", "b.zarr"))
    assert one.shape == other.shape
    assert not np.array_equal(one, other)
    shutil.rmtree(workdir / "a.zarr/features")
    shutil.copytree(workdir / "b.zarr/features", workdir / "a.zarr/features")
    with pytest.raises(InputError):
        embedding.read(workdir / "a.zarr")


def classified(place, seed):
    """An embedding of 40 objects, the same ids each time, and classify's list of what to label next."""
    from test_classify import write

    place.mkdir()
    source = np.random.default_rng(seed)
    label = np.arange(40) % 2
    features = (source.normal(size=(40, 6)) + 3 * label[:, None]).astype(np.float32)
    write(place / "e.zarr", features, np.array([f"T{n}" for n in range(40)]), names=())
    (place / "labels.csv").write_text("object_id,class\n" + "".join(f"T{n},{'ab'[n % 2]}\n" for n in range(24)))
    command = ["classify", str(place / "e.zarr"), "--labels", str(place / "labels.csv"), "--out"]
    assert main([*command, str(place / "classes.csv")]) == EXIT_DONE
    return place


def test_a_list_of_another_embedding_under_the_name_of_this_one(tmp_path, monkeypatch, capsys):
    from hpc_astrossl.classify import models

    monkeypatch.setattr(models, "HIDDEN", 16)
    one, other = classified(tmp_path / "one", 1), classified(tmp_path / "other", 2)
    ids = embedding.read(one / "e.zarr").object_id
    assert len(given.load(given.Extra(upnext=str(one / "next.csv")), ids, one / "e.zarr").upnext) == 16
    shutil.copy2(other / "next.csv", one / "next.csv")
    extra = given.Extra(upnext=str(one / "next.csv"))
    with pytest.raises(InputError, match=r"next\.csv: is not as classify has written it.*--anyway"):
        given.load(extra, ids, one / "e.zarr")
    taken = given.load(extra, ids, one / "e.zarr", anyway=True).upnext  # as it says
    with (other / "next.csv").open(newline="") as stream:
        assert [f"T{row}" for row in taken] == [line["object_id"] for line in csv.DictReader(stream)]
    shutil.copy2(other / "classes.csv", one / "classes.csv")
    with pytest.raises(InputError, match=r"classes\.csv: is not as classify has written it"):
        given.load(given.Extra(tables=(str(one / "classes.csv"),)), ids, one / "e.zarr")


def test_a_cutout_of_the_store_of_last_week_is_not_taken_for_todays(tmp_path):
    make_store(tmp_path / "toy", prefix="T")
    command = ["cutout", str(tmp_path / "toy"), "T0003", "--out", str(tmp_path / "out")]
    assert main(command) == EXIT_DONE
    there = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert main(command) == EXIT_DONE  # the same again
    shutil.rmtree(tmp_path / "toy")
    make_store(tmp_path / "toy", seed=5)
    assert main(command) == EXIT_INPUT
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == there


def test_columns_of_one_store_in_another_of_equal_size(tmp_path):
    """check finds a column that is sound, of the right length, and another store's."""
    one, other = make_store(tmp_path / "one"), make_store(tmp_path / "other", seed=5, prefix="T")
    assert main(["check", str(one)]) == EXIT_DONE
    shutil.rmtree(one / "magnitudes")
    shutil.copytree(other / "magnitudes", one / "magnitudes")
    assert main(["check", str(one)]) == EXIT_INPUT
    with pytest.raises(InputError, match=ANOTHER):
        open_store(one).table["magnitudes"]


def test_an_experiment_copied_under_another_name_tells_its_own_numbers(workdir):
    shutil.copytree(workdir / "runs/toys", workdir / "runs/mine")
    was, now = (read_study(workdir / "runs" / name) for name in ("toys", "mine"))
    assert [(run.run_id, run.metrics) for run in was.runs] == [(run.run_id, run.metrics) for run in now.runs]
    (workdir / "toy").rename(workdir / "gone")
    make_store(workdir / "toy", seed=5)
    assert not [run for run in read_study(workdir / "runs/mine").runs if run.set == "toy"]
