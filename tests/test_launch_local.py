"""The local executor with real submitit processes that run real commands."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from launch_support import CHECKOUT, SMALL, astrossl, finish_run, make_workdir

from hpc_astrossl import config
from hpc_astrossl.launch.grid import expand
from hpc_astrossl.launch.ledger import Ledger
from hpc_astrossl.launch.local import Foreground, Machine
from hpc_astrossl.launch.plan import Item, Plan, Stage, Work
from hpc_astrossl.specs.cluster import ClusterSpec
from hpc_astrossl.specs.jobs import JobsSpec, Resources

VERSION = ("--version",)


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    return make_workdir(tmp_path / "work dir", "stores/pretext.zarr", "stores/SG.zarr")


def item(key, command, stage, *needs):
    """An item whose product is what its task notes, which appears when the command has begun."""
    name = Work(stage=stage, items=(Item(key=key, command=command, produces=""),)).name
    return Item(key=key, command=command, produces=f"runs/e/.tasks/{name}.jsonl", needs=needs)


def stage(name, *items, **more):
    return Stage(name=name, items=items, resources=Resources(**more))


def foreground(workdir, *stages, parallel=None, busy=()):
    """Run the stages; the tally, and the largest number of tasks that ran at once."""
    plan = Plan(experiment="e", stages=stages)
    cluster = ClusterSpec(kind="local", parallel=parallel, gpus_per_node=0)
    work = Foreground(plan, cluster=cluster, ledger=Ledger(workdir, "e"), workdir=workdir)
    work.claim({one.name: list(one.items) for one in stages})
    most = []
    tally = work.run(set(busy), lambda state, news: most.append(len(state.running)))
    return tally, max(most)


def test_a_task_of_this_machine_is_no_rank_of_the_shell_that_starts_it(workdir, monkeypatch):
    """astrossl submit in an interactive step of Slurm's: rank 0 alone notes what happens, and the others wait."""
    for name in ("SLURM_PROCID", "SLURM_STEP_ID", "RANK"):
        monkeypatch.setenv(name, "1")
    for name in ("SLURM_STEP_NUM_TASKS", "WORLD_SIZE"):
        monkeypatch.setenv(name, "4")
    tally, _ = foreground(workdir, stage("scratch", item("a", VERSION, "scratch")))
    assert tally.ended == {"a": None}
    assert os.environ["RANK"] == "1"


def test_what_depends_on_a_failure_is_not_started(workdir):
    bad = Item(key="bad", command=("plan", "missing.yaml"), produces="nowhere")
    tally, _ = foreground(
        workdir,
        stage("pretext", item("good", VERSION, "pretext"), bad),
        stage("scratch", item("a", ("--version", "a"), "scratch", "good"), item("b", ("--help",), "scratch", "bad")),
        parallel=1,
    )
    assert tally.ended["good"] is None
    assert tally.ended["a"] is None
    assert tally.failed == {
        "bad": "astrossl plan: missing.yaml: no such file",
        "b": "not started: it needs bad, which failed",
    }


def test_no_more_tasks_at_once_than_allowed(workdir):
    items = [item(str(i), ("--version", str(i)), "scratch") for i in range(3)]
    tally, most = foreground(workdir, stage("scratch", *items), parallel=1)
    assert not tally.failed
    assert len(tally.ended) == 3
    assert most == 1


def test_a_task_larger_than_the_machine_still_runs_alone(workdir):
    tally, most = foreground(
        workdir,
        stage("scratch", item("x", VERSION, "scratch"), item("y", ("--help",), "scratch"), cpus=4096, memory_gb=1e6),
    )
    assert tally.ended == {"x": None, "y": None}
    assert most == 1


def test_what_another_submission_makes_is_not_waited_for(workdir):
    tally, _ = foreground(workdir, stage("scratch", item("x", VERSION, "scratch", "pre")), busy={"pre"})
    assert tally.failed == {"x": "not started: it needs pre, which another submission makes"}


def test_gpus_are_given_to_one_task_each():
    machine = Machine(cpus=8, memory_gb=64, gpus=[0, 2], places=9)
    one = stage("scratch", cpus=1, gpus=1)
    assert (machine.take(one), machine.take(one)) == ([0], [2])
    assert not machine.fits(one)
    machine.give_back(one, [0])
    assert machine.fits(one)
    assert machine.gpus == [0]


@pytest.fixture
def recipe(workdir):
    (workdir / "small.yaml").write_text(SMALL)
    return workdir


def run_ids(recipe: Path) -> dict[str, str]:
    """Run id by set, scheme and seed."""
    plan = expand(config.load(recipe / "small.yaml", JobsSpec))
    return {f"{run.set} {run.scheme} {run.seed}": run.run_id for run in plan.runs}


def test_submit_names_each_failure_and_exits_1(recipe):
    # Its stores are such by their attributes, but hold no array: real runs fail when they open them.
    (recipe / "small.yaml").write_text(SMALL.replace("[0, 1]", "[0]") + "report: false\n")
    done = astrossl("submit", "small.yaml", "--cluster", "local", cwd=recipe)
    ids = run_ids(recipe)
    assert done.returncode == 1
    assert f"{ids['SG features-magnitudes 0']}: not started: it needs {ids['pretext pretext 0']}" in done.stdout
    assert f"FAILED  {ids['SG scratch 0']}" in done.stdout
    for run_id in ids.values():
        assert (recipe / "runs/small" / run_id / "config.yaml").exists()
    told = json.loads(astrossl("status", "small", "--json", cwd=recipe).stdout)
    states = {row["key"]: (row["state"], row["reason"]) for row in told["items"]}
    assert {states[run_id][0] for run_id in ids.values()} == {"failed"}
    assert states[ids["SG features-magnitudes 0"]][1].startswith("not started")
    assert states[ids["SG scratch 0"]][1]


def test_what_is_done_is_not_submitted_again(recipe):
    for run_id in run_ids(recipe).values():
        finish_run(recipe, "small", run_id)
    report = recipe / "reports/small/report.html"
    report.parent.mkdir(parents=True)
    report.write_text("<html>")
    done = astrossl("submit", "small.yaml", "--cluster", "local", cwd=recipe)
    assert (done.returncode, done.stderr) == (0, "")
    assert "6 done, 0 queued or running, 0 to submit" in done.stdout
    assert not (recipe / "runs/small/.tasks/jobs.jsonl").exists()


def test_cancel_reaches_the_tasks_of_a_background_job_of_a_script(recipe):
    """A shell without a terminal starts its background jobs with interrupts ignored."""
    command = f"{sys.executable} -m hpc_astrossl submit small.yaml --cluster local & wait"
    shell = subprocess.Popen(["sh", "-c", command], cwd=recipe, start_new_session=True)
    ledger = Ledger(recipe, "small")
    limit = time.monotonic() + 60
    while not (started := [entry for entry in ledger.entries() if entry.job]):
        assert time.monotonic() < limit
        time.sleep(0.02)
    assert "process" in astrossl("cancel", "small", cwd=recipe).stdout
    shell.wait(timeout=60)
    for entry in started:
        assert not Path(f"/proc/{entry.pid}").exists()


def test_an_interrupt_ends_the_children_and_exits_75(recipe):
    arguments = [sys.executable, "-m", "hpc_astrossl", "submit", "small.yaml", "--cluster", "local"]
    process = subprocess.Popen(
        arguments, cwd=recipe, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    ledger = Ledger(recipe, "small")
    limit = time.monotonic() + 60
    while not (started := [entry for entry in ledger.entries() if entry.job]):
        assert time.monotonic() < limit
        time.sleep(0.02)
    again = astrossl("submit", "small.yaml", "--cluster", "local", cwd=recipe)
    assert "6 queued or running, 0 to submit" in again.stdout
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 75, (out, err)
    assert err == "astrossl submit: stopped, and what ran was told to save; run the same command again to go on\n"
    for entry in started:
        assert not Path(f"/proc/{entry.pid}").exists()
