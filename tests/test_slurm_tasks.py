"""Tasks on a real Slurm that are stopped, killed, preempted or broken, and what becomes of them: launch/gaps.py."""

import json
import os
import signal
import subprocess
import sys
from math import ceil
from pathlib import Path

import pytest
from slurm_support import site, variable
from slurm_toys import ENDLESS, LONG, RECIPE, SHORT, result, row, same, starts, starts_of_each, submit, trains
from training_toys import make_store

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]


def spoil(file):
    """As many bytes as before, so that submission, which looks at sizes, lets it pass."""
    file.write_bytes(b" " * file.stat().st_size)


def test_killed_it_starts_again_by_itself_and_ends_as_if_nothing_had_been(slurm, workdir, undisturbed):
    job = submit(slurm, workdir, LONG)
    os.kill(trains(slurm, workdir), signal.SIGKILL)
    slurm.wait(lambda: slurm.jobs()[job] == "PENDING", 30, "the killed job is queued again")
    told = row(slurm, workdir)
    assert (told["state"], told["reason"][:19]) == ("queued", "killed from outside")
    slurm.settle()
    assert same(result(workdir), undisturbed)
    assert starts(workdir) == 2
    assert row(slurm, workdir)["state"] == "done"


def test_the_last_of_an_array_starts_again_and_its_neighbour_is_left_alone(slurm, workdir):
    """Slurm gives the last element the number of the whole array."""
    (workdir / "toys.yaml").write_text((RECIPE % ENDLESS).replace("seeds: [0]", "seeds: [0, 1]"))
    sent = slurm.astrossl("submit", "toys.yaml", "--cluster", site(workdir), cwd=workdir)
    assert sent.returncode == 0, sent.stderr
    slurm.wait(lambda: starts_of_each(workdir) == [1, 1], 60, "both have started")
    numbers = {one: [variable(one, f"SLURM_{part}JOB_ID") for part in ("", "ARRAY_")]
               for one in slurm.processes(str(workdir))}  # fmt: skip
    (last,) = (one for one, (own, array) in numbers.items() if own == array)
    os.kill(last, signal.SIGKILL)
    slurm.wait(lambda: sorted(starts_of_each(workdir)) == [1, 2], 180, "the last one has started again")
    assert slurm.astrossl("cancel", "toys", cwd=workdir).returncode == 0
    slurm.settle()
    assert sorted(starts_of_each(workdir)) == [1, 2]


def test_told_to_save_before_it_can_listen_it_starts_again(slurm, workdir):
    job = submit(slurm, workdir, SHORT)
    slurm.wait(lambda: len(slurm.processes(str(workdir))) > 0, 60, "the interpreter has started")
    os.kill(slurm.processes(str(workdir))[0], signal.SIGUSR2)
    slurm.wait(lambda: slurm.jobs()[job] == "PENDING", 60, "the job is queued again")
    slurm.settle()
    assert result(workdir)["epochs"] == SHORT


def test_killed_too_often_it_stays_so_and_is_taken_up_by_the_next_submission(slurm, workdir, undisturbed):
    submit(slurm, workdir, LONG, retries=0)
    os.kill(trains(slurm, workdir), signal.SIGKILL)
    slurm.settle()
    told = row(slurm, workdir)
    assert told["state"] == "failed"
    assert "Slurm says FAILED; killed by SIGKILL (out of memory, or somebody's kill) on n" in told["reason"]
    submit(slurm, workdir, LONG, retries=0)
    slurm.settle()
    assert same(result(workdir), undisturbed)


def test_a_fault_of_ours_is_not_tried_again(slurm, workdir):
    spoil(workdir / "stores/toy.zarr/images/zarr.json")
    submit(slurm, workdir, SHORT)
    slurm.settle()
    told = row(slurm, workdir)
    assert (told["state"], told["starts"]) == ("failed", 1)
    assert "stores/toy.zarr: damaged store" in told["reason"]


@pytest.mark.parametrize("where", ["scontrol in the image", "no scontrol in the image"])
def test_a_signal_that_comes_twice_requeues_once(slurm, workdir, where, undisturbed):
    python = sys.executable if where.startswith("scontrol") else f"env PATH=/nowhere {sys.executable}"
    job = submit(slurm, workdir, LONG, python=python)
    process = trains(slurm, workdir)
    for _ in range(2):
        os.kill(process, signal.SIGUSR2)
    slurm.wait(lambda: slurm.jobs()[job] == "PENDING", 30, "the job is queued again")
    assert row(slurm, workdir)["state"] == "queued"
    slurm.settle()
    assert same(result(workdir), undisturbed)
    assert starts(workdir) == 2


def test_a_failed_node_costs_only_time(slurm, workdir, undisturbed):
    job = submit(slurm, workdir, LONG)
    trains(slurm, workdir)
    node = slurm.ask("squeue", "--noheader", f"--jobs={job}", "--format=%N").strip()
    slurm.cut(node)
    slurm.settle()
    slurm.mend(node)
    assert same(result(workdir), undisturbed)
    assert starts(workdir) == 2


def test_preempted_without_a_word_it_goes_on_afterwards(slurm, workdir, undisturbed):
    job = submit(slurm, workdir, LONG)
    trains(slurm, workdir)
    slurm.ask("sbatch", "--partition=urgent", "--nodes=2", "--exclusive", "--mem=100", "--output=/dev/null",
              "--wrap=sleep 3")  # fmt: skip
    slurm.wait(lambda: slurm.jobs()[job] == "PENDING", 30, "the job is preempted")
    slurm.settle()
    assert same(result(workdir), undisturbed)


@pytest.mark.long
@pytest.mark.slow
def test_a_run_requeued_at_its_time_limit_ends_like_one_without(slurm, workdir, tmp_path_factory, undisturbed):
    """The shortest limit is a minute, and the signal comes 30 to 60 s early: so a run of about 45 s on this machine."""
    epochs = round(45 / undisturbed["seconds_an_epoch"])
    job = submit(slurm, workdir, epochs, resources={"all": {"minutes": 1}}, attempts=50)
    slurm.settle(600)
    assert starts(workdir) >= 2, "it was not stopped by its time limit"
    assert f"Restarts={starts(workdir) - 1}" in slurm.ask("scontrol", "show", "job", job)
    assert row(slurm, workdir)["state"] == "done"
    free = tmp_path_factory.mktemp("free")
    make_store(free / "stores/toy.zarr")
    submit(slurm, free, epochs)
    slurm.settle(600)
    assert same(result(workdir), result(free))
    assert starts(free) == 1


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_attempts_bound_the_time_limits_that_a_task_may_meet(slurm, workdir, undisturbed):
    """In the limit a run of this machine, as slow as it is now, begins and saves, however early Slurm announces it.

    Four minutes are the most of which half, the time between announcement and limit, is never taken for a preemption.
    """
    minutes = min(4, ceil(6 * undisturbed["seconds_besides"] / 60))
    submit(slurm, workdir, ENDLESS, resources={"all": {"minutes": minutes}}, signal_delay=120, attempts=1)
    slurm.settle(240 + 60 * minutes)
    assert starts(workdir) == 2
    told = row(slurm, workdir)
    assert told["state"] == "stopped"
    assert "stopped by SIGUSR2" in told["reason"]


def test_cancel_ends_it_for_good_and_the_next_submission_goes_on(slurm, workdir, undisturbed):
    job = submit(slurm, workdir, LONG)
    trains(slurm, workdir)
    done = slurm.astrossl("cancel", "toys", cwd=workdir)
    assert done.stdout == f"cancelled {job}\n"
    slurm.settle()
    assert slurm.jobs()[job] == "CANCELLED"
    assert row(slurm, workdir)["state"] == "stopped"
    submit(slurm, workdir, LONG)
    slurm.settle()
    assert same(result(workdir), undisturbed)


def test_a_foreign_scancel_is_not_mistaken_for_a_kill(slurm, workdir):
    job = submit(slurm, workdir, ENDLESS)
    trains(slurm, workdir)
    assert row(slurm, workdir)["state"] == "running"
    again = slurm.astrossl("submit", "toys.yaml", "--cluster", "site.yaml", cwd=workdir)
    assert "0 done, 1 queued or running, 0 to submit" in again.stdout
    slurm.ask("scancel", job)
    slurm.settle()
    assert slurm.jobs()[job] == "CANCELLED"
    assert row(slurm, workdir)["state"] in ("stopped", "failed")


def test_what_waits_for_a_failure_is_cancelled_not_left_waiting(slurm, workdir):
    text = RECIPE.replace("schemes: [scratch]", "schemes: [features-magnitudes]\npretext: {store: stores/empty.zarr}")
    make_store(workdir / "stores/empty.zarr", prefix="P", ra=100.0)
    spoil(workdir / "stores/empty.zarr/images/zarr.json")
    (workdir / "toys.yaml").write_text(text % SHORT)
    assert slurm.astrossl("submit", "toys.yaml", "--cluster", site(workdir), cwd=workdir).returncode == 0
    slurm.settle()
    items = json.loads(slurm.astrossl("status", "toys", "--json", cwd=workdir).stdout)["items"]
    told = {item["stage"]: item for item in items}
    assert told["pretext"]["state"] == told["features-magnitudes"]["state"] == "failed"
    assert "it was cancelled, or what it depends on failed" in told["features-magnitudes"]["reason"]
    human = slurm.astrossl("status", "toys", cwd=workdir).stdout
    assert "features-magnitudes" in human


def test_each_rank_has_its_cpus(slurm, workdir):
    job = submit(slurm, workdir, ENDLESS, resources={"all": {"cpus": 2}})
    trains(slurm, workdir)
    assert "CPUs=2" in slurm.ask("scontrol", "show", "step", f"{job}.0")
    slurm.ask("scancel", job)
    slurm.settle()


def test_names_and_paths_stay_literal_and_no_secret_is_left(slurm, tmp_path, monkeypatch):
    """Blanks, quotes, a command substitution: in the folder, the account, a comment and a variable; and what the
    submitting shell has in its environment reaches no file."""
    secret = "a-secret-of-this-shell-77b1"
    monkeypatch.setenv("API_TOKEN", secret)
    evil = 'it\'s $(touch /tmp/astrossl-was-here) "disk"'
    workdir = tmp_path / evil
    make_store(workdir / "stores/toy.zarr")
    job = submit(slurm, workdir, SHORT, account="a $(id) b", sbatch={"comment": evil}, environment={"GREETING": evil})
    shown = slurm.ask("squeue", "--noheader", "--states=all", f"--jobs={job}", "--format=%a|%k").strip()
    assert shown == f"a $(id) b|{evil}"
    slurm.settle()
    assert result(workdir)["epochs"] == SHORT
    assert not Path("/tmp/astrossl-was-here").exists()
    written = [path for path in workdir.rglob("*") if path.is_file()]
    assert {".pkl", ".sh", ".out"} <= {path.suffix for path in written}
    assert [path for path in written if secret.encode() in path.read_bytes()] == []


def test_the_array_limit_is_the_sites(slurm, monkeypatch):
    from hpc_astrossl.launch import queue
    from hpc_astrossl.specs.cluster import ClusterSpec

    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    limit = queue.array_limit(ClusterSpec(kind="slurm"))
    assert limit == 7
    assert queue.array_limit(ClusterSpec(kind="slurm", max_array=3)) == 3
    command = ["sbatch", "--output=/dev/null", "--hold", "--wrap=true"]
    assert subprocess.run([*command, f"--array=0-{limit - 1}"], capture_output=True).returncode == 0
    refused = subprocess.run([*command, f"--array=0-{limit}"], capture_output=True, text=True)
    assert "Invalid job array specification" in refused.stderr
    slurm.ask("scancel", "--me")


def test_what_the_partition_would_never_start_is_refused(slurm, workdir):
    (workdir / "toys.yaml").write_text(RECIPE % SHORT)
    for change, words in (
        ({"resources": {"all": {"minutes": 121}}}, "stage scratch asks for minutes 121, and partition debug allows"),
        ({"resources": {"all": {"cpus": 5}}}, "cpus × ranks 5, and partition debug allows at most 4"),
        ({"partition": "dbug"}, "unknown partition 'dbug'; allowed: debug, urgent; did you mean 'debug'"),
    ):
        done = slurm.astrossl("submit", "toys.yaml", "--cluster", site(workdir, **change), cwd=workdir)
        assert done.returncode == 2
        assert words in done.stderr
    assert not (workdir / "runs/toys/.tasks/jobs.jsonl").exists()
