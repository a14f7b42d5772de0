"""The ledger, and what status tells from run folders, notes and logs."""

import json
import os
import subprocess

import pytest
from launch_support import SMALL, astrossl, finish_run, list_files, make_workdir

from hpc_astrossl import config
from hpc_astrossl.errors import InputError
from hpc_astrossl.launch.grid import expand
from hpc_astrossl.launch.ledger import Entry, Ledger, lives, process, this_process
from hpc_astrossl.launch.plan import pack
from hpc_astrossl.launch.prepare import find_cluster, unavailable, validate, write_experiment, write_task
from hpc_astrossl.launch.state import done_keys, last_line, pending
from hpc_astrossl.launch.status import rows, summary
from hpc_astrossl.launch.task import note
from hpc_astrossl.specs.jobs import JobsSpec


def jobs(**change) -> JobsSpec:
    import yaml

    return config.parse(config.merge(yaml.safe_load(SMALL), change), JobsSpec, "r.yaml")


@pytest.fixture
def workdir(tmp_path):
    return make_workdir(tmp_path, "stores/pretext.zarr", "stores/SG.zarr")


@pytest.fixture
def gone():
    """The fields of a process that has ended."""
    child = subprocess.Popen(["sleep", "60"])
    who = process(child.pid)
    child.kill()
    child.wait()
    return who


def test_the_ledger_keeps_what_was_added(tmp_path):
    ledger = Ledger(tmp_path, "e")
    assert ledger.entries() == []
    ledger.add([Entry(kind="slurm", stage="scratch", task="t", items=("a", "b"), job="4_1")])
    ledger.add([Entry(kind="slurm", items=("c",), job="5")])
    first, second = ledger.entries()
    assert (first.items, first.job, second.job) == (("a", "b"), "4_1", "5")
    assert first.time


def test_a_torn_line_costs_only_itself(tmp_path):
    ledger = Ledger(tmp_path, "e")
    ledger.add([Entry(kind="slurm", items=("a",), job="1")])
    path = ledger.folder / "jobs.jsonl"
    with path.open("a") as stream:
        stream.write('{"kind": "slurm", "it')
    ledger.add([Entry(kind="slurm", items=("b",), job="2")])
    assert [entry.job for entry in ledger.entries()] == ["1", "2"]


def test_a_cancellation_strikes_what_came_before(tmp_path):
    ledger = Ledger(tmp_path, "e")
    ledger.add([Entry(kind="slurm", items=("a",), job="1"), Entry(kind="cancelled")])
    ledger.add([Entry(kind="slurm", items=("b",), job="2")])
    assert [entry.job for entry in ledger.entries()] == ["2"]


def test_two_submissions_at_once_are_refused(tmp_path):
    with (
        Ledger(tmp_path, "e").locked(),
        pytest.raises(InputError, match="experiment e is being submitted by another process"),
        Ledger(tmp_path, "e").locked(),
    ):
        pass
    with Ledger(tmp_path, "e").locked():
        pass


def test_a_process_is_known_by_id_and_start(gone):
    me = Entry(kind="local", **this_process())
    assert lives(me)
    assert not lives(Entry(kind="local", **gone))
    assert not lives(Entry(kind="local", **{**this_process(), "started": 1}))
    assert lives(Entry(kind="local", **{**gone, "host": "another machine", "machine": "another boot"}))


def test_pending_leaves_out_what_is_done_or_being_made(workdir):
    plan = expand(jobs())
    keys = [run.run_id for run in plan.runs]
    finish_run(workdir, "small", keys[0])
    todo = pending(plan, done_keys(plan, workdir), {keys[1]: Entry(kind="slurm")})
    left = [item.key for items in todo.values() for item in items]
    assert left == [*keys[2:], "report"]


def test_the_report_is_made_again_only_after_something_new(workdir):
    plan = expand(jobs())
    keys = {run.run_id for run in plan.runs}
    assert pending(plan, {*keys, "report"}, {})["report"] == []
    assert len(pending(plan, keys, {})["report"]) == 1
    assert len(pending(plan, {"report"}, {})["report"]) == 1


def test_experiment_json_unites_the_recipes_of_an_experiment(tmp_path):
    folder = tmp_path / "runs/small"
    first, second = expand(jobs()), expand(jobs(sizes=[64]), unavailable={"none": "no reason"})
    write_experiment(first, "first", tmp_path)
    alone = json.loads((folder / "experiment.json").read_text())
    assert [record["run_id"] for record in alone["planned"]] == [run.run_id for run in first.runs]
    assert alone["skipped"] == []
    assert set(alone["planned"][0]) == {"run_id", "set", "scheme", "seed", "train_size"}
    write_experiment(second, "second", tmp_path)
    both = json.loads((folder / "experiment.json").read_text())
    assert {r["run_id"] for r in both["planned"]} == {r.run_id for r in [*first.runs, *second.runs]}
    assert [(r["scheme"], r["train_size"], r["reason"]) for r in both["skipped"]] == [("scratch", 64, "no reason")] * 2
    write_experiment(expand(jobs(seeds=[0])), "first", tmp_path)
    edited = json.loads((folder / "experiment.json").read_text())
    assert not any(r["seed"] == 1 and r["train_size"] is None for r in edited["planned"])


@pytest.fixture
def submitted(workdir):
    """An experiment whose tasks are in the ledger of this very process: alive, and none has begun."""
    plan = expand(jobs())
    ledger = Ledger(workdir, "small")
    write_experiment(plan, "small", workdir)
    works = {}
    for stage in plan.stages:
        for work in pack(stage, stage.items):
            write_task(work, ledger, workdir)
            works[tuple(item.key for item in work.items)] = work
    return workdir, ledger, works


def enter(ledger, works, **who):
    ledger.add(
        [Entry(kind="local", stage=w.stage, task=w.name, items=keys, job="9", **who) for keys, w in works.items()]
    )


def states(workdir):
    return {row.key: row for row in rows("small", workdir)}


def test_status_tells_queued_running_done_and_failed_apart(submitted):
    workdir, ledger, works = submitted
    assert {row.state for row in states(workdir).values()} == {"new"}
    enter(ledger, works, **this_process())
    pretext, scratch, other, features, _ = works
    finish_run(workdir, "small", pretext[0])
    note(ledger.task_file(works[scratch].name), 0, "start")
    metrics = workdir / "runs/small" / scratch[0] / "metrics.jsonl"
    metrics.write_text('{"epoch": 6}\n{"epoch": 7}\n')
    note(ledger.task_file(works[features].name), 0, "start")
    note(ledger.task_file(works[features].name), 0, "end", status=2, reason="no such store")
    note(ledger.task_file(works[features].name), 1, "start")
    told = states(workdir)
    assert told[pretext[0]].state == "done"
    running = told[scratch[0]]
    assert (running.state, running.epoch, running.epochs, running.job) == ("running", 7, 200, "9")
    assert told[other[0]].state == "queued"
    assert (told[features[0]].state, told[features[0]].reason) == ("failed", "no such store")
    assert told[features[1]].state == "running"
    counts = summary(told.values())
    assert list(counts) == ["pretext", "scratch", "features-magnitudes", "report"]
    assert counts["scratch"] == {"running": 1, "queued": 1}


def test_a_run_that_is_planned_no_more_is_done_all_the_same(submitted):
    workdir, ledger, works = submitted
    enter(ledger, works, **this_process())
    key = next(iter(works))[0]
    finish_run(workdir, "small", key)
    (workdir / "runs/small/experiment.json").write_text('{"planned": [], "skipped": []}')
    assert states(workdir)[key].state == "done"


def test_status_words_the_end_of_a_task_that_said_nothing(submitted, gone):
    workdir, ledger, works = submitted
    enter(ledger, works, **gone)
    _, scratch, other, *_ = works
    note(ledger.task_file(works[scratch].name), 0, "start")
    ledger.logs.mkdir()
    ledger.log_file("9").write_text("epoch 3\nRuntimeError: out of memory\n\n")
    told = states(workdir)
    assert told[scratch[0]].reason == "ended without a word: its log ends with: RuntimeError: out of memory"
    assert told[other[0]].state == "failed"
    assert told[other[0]].reason.startswith("never started")


def test_an_interrupted_run_is_stopped_not_failed(submitted, gone):
    workdir, ledger, works = submitted
    enter(ledger, works, **gone)
    _, scratch, *_ = works
    note(ledger.task_file(works[scratch].name), 0, "start")
    note(ledger.task_file(works[scratch].name), 0, "end", status=75, reason="stopped by SIGTERM in epoch 4")
    row = states(workdir)[scratch[0]]
    assert (row.state, row.reason) == ("stopped", "stopped by SIGTERM in epoch 4")


def test_status_of_nothing_names_what_is_there(submitted):
    workdir, *_ = submitted
    done = astrossl("status", "smal", cwd=workdir)
    assert done.returncode == 2
    assert "no experiment 'smal' was submitted from the work directory" in done.stderr
    assert "known there: small" in done.stderr


def test_status_prints_a_table_and_reasons(submitted, gone):
    workdir, ledger, works = submitted
    enter(ledger, works, **gone)
    told = astrossl("status", "small", cwd=workdir)
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines()[0].split() == ["stage", "failed"]
    assert "features-magnitudes  2" in told.stdout
    assert f"failed   {next(iter(works))[0]}: never started" in told.stdout


def test_cancel_ends_a_process_and_frees_its_runs(submitted):
    workdir, ledger, works = submitted
    child = subprocess.Popen(["sleep", "60"])
    enter(ledger, works, **process(child.pid))
    done = astrossl("cancel", "small", cwd=workdir)
    assert done.stdout == f"cancelled process {child.pid}\n"
    assert child.wait(timeout=10) < 0
    assert ledger.entries() == []
    assert astrossl("cancel", "small", cwd=workdir).stdout == "small: nothing is queued or running\n"


def test_a_missing_store_is_found_before_anything_is_written(workdir):
    spec = jobs(sets={"MG": {"store": "stores/MG.zarr"}})
    with pytest.raises(InputError, match=r"store .*stores/MG.zarr of set MG does not exist; make it with astrossl pre"):
        validate(expand(spec), spec, workdir)


def test_a_store_without_classes_cannot_be_a_labelled_set(workdir):
    path = workdir / "stores/SG.zarr/zarr.json"
    path.write_text(path.read_text().replace('["star", "galaxy"]', "[]"))
    list_files(path.parent)
    with pytest.raises(InputError, match="has no classes, so it cannot be learnt with target classes"):
        validate(expand(jobs()), jobs(), workdir)


def test_more_training_objects_than_the_store_has_are_refused(workdir):
    spec = jobs(sizes=["all", 64, 50001, 100])
    with pytest.raises(InputError, match=r"has 50000 training objects, and set SG is to be trained on 50001"):
        validate(expand(spec), spec, workdir)


def test_a_store_that_has_lost_a_file_is_refused(workdir):
    shard = workdir / "stores/SG.zarr/images/c"
    shard.write_bytes(b"pixels")
    list_files(workdir / "stores/SG.zarr")
    validate(expand(jobs()), jobs(), workdir)
    shard.write_bytes(b"")
    with pytest.raises(InputError, match=r"SG.zarr of set SG is damaged: images/c: 0 bytes, the manifest says 6"):
        validate(expand(jobs()), jobs(), workdir)


def test_a_folder_that_is_no_store_is_refused(workdir):
    (workdir / "stores/SG.zarr/zarr.json").write_text("{}")
    with pytest.raises(InputError, match=r"is no astrossl store \(attribute format is None\)"):
        validate(expand(jobs()), jobs(), workdir)


def test_what_a_store_is_made_of_must_be_there(workdir):
    spec = jobs(preprocess=[{"recipe": "p.yaml", "source": "raw", "out": "stores/new.zarr"}])
    with pytest.raises(InputError, match=r"preprocess stores/new.zarr: recipe .*p.yaml does not exist"):
        validate(expand(spec), spec, workdir)
    (workdir / "p.yaml").touch()
    with pytest.raises(InputError, match=r"preprocess stores/new.zarr: source .*raw does not exist"):
        validate(expand(spec), spec, workdir)


def test_an_unknown_cluster_names_the_known_ones():
    with pytest.raises(
        InputError,
        match="unknown cluster 'slurm_gpus'; allowed: leonardo, lichtenberg, local, perlmutter, slurm_cpu, slurm",
    ):
        find_cluster("slurm_gpus")


def test_the_cluster_says_where_the_weights_are(tmp_path, monkeypatch, no_bundled_weights):
    monkeypatch.setenv("ASTROSSL_CACHE", str(tmp_path / "here"))
    site = find_cluster("local")
    assert "astrossl weights fetch imagenet-vgg16" in unavailable(site)["imagenet"]
    weights = tmp_path / "there/weights/imagenet-vgg16.safetensors"
    weights.parent.mkdir(parents=True)
    weights.touch()
    there = type(site)(kind="local", environment={"ASTROSSL_CACHE": str(tmp_path / "there")})
    assert unavailable(there) == {}
    assert os.environ["ASTROSSL_CACHE"] == str(tmp_path / "here")


def test_the_last_line_of_a_log(tmp_path):
    log = tmp_path / "log"
    assert last_line(log) is None
    log.write_text("x" * 20000 + "\nfirst\rthe last \n\n")
    assert last_line(log) == "the last"
