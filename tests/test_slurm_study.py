"""Whole studies on a real Slurm: arrays with dependencies, several ranks and nodes, status and the report."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
import slurm_support
from launch_support import CHECKOUT, astrossl
from slurm_support import Slurm, site
from training_toys import BRIEF, make_store

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]
GRID = f"""\
experiment: toys
pretext: {{store: stores/pretext.zarr}}
sets:
  toy: {{store: stores/toy.zarr}}
schemes: [features-magnitudes, scratch]
seeds: [0, 1, 2]
sizes: [16]
{BRIEF}resources:
  features: {{pack: 2}}
"""
RANKS = """\
experiment: ranks
sets:
  toy: {store: stores/toy.zarr}
schemes: [scratch]
seeds: [0, 1]
overrides:
  all:
    data: {batch_size: 8}
    model: {hidden: 16}
    training: {patience: null}
    phases:
      - {trains: %s, optimizer: adam, learning_rate: 1e-4, epochs: %d}
report: false
"""


def results(workdir: Path, experiment: str) -> dict[str, dict]:
    """What each run of the experiment measured, by run id."""
    files = workdir.glob(f"runs/{experiment}/*/result.json")
    return {path.parent.name: json.loads(path.read_text()) for path in files}


@pytest.fixture
def workdir(tmp_path) -> Path:
    make_store(tmp_path / "stores/pretext.zarr", prefix="P", ra=100.0)
    make_store(tmp_path / "stores/toy.zarr")
    return tmp_path


def test_one_command_leads_through_the_grid(slurm, workdir, tmp_path_factory):
    (workdir / "toys.yaml").write_text(GRID)
    name = site(workdir, max_array=2)
    first, second = (  # two shells at once
        subprocess.Popen(
            ["python", "-m", "hpc_astrossl", "submit", "toys.yaml", "--cluster", name],
            cwd=workdir, env={**os.environ, **slurm.environment, "PYTHONPATH": str(CHECKOUT)} | python_first(),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for _ in range(2)
    )  # fmt: skip
    said = [process.communicate(timeout=60) for process in (first, second)]
    sent = "\n".join(out for out, _ in said)
    assert sum("7 to submit" in out or "8 to submit" in out for out, _ in said) == 1
    assert all("0 to submit" in out or "is being submitted by another process" in err or "8 to submit" in out
               for out, err in said), said  # fmt: skip
    lines = {line.split(":")[0].strip(): line for line in sent.splitlines() if ": job " in line}
    assert [line.split(":")[0].strip() for line in sent.splitlines() if ": job " in line] == [
        "pretext", "features-magnitudes", "scratch", "scratch", "report",
    ]  # fmt: skip
    pretext = lines["pretext"].partition(": job ")[2].split(",")[0]
    assert f"afterok:{pretext}" in lines["features-magnitudes"]
    assert "afterany:" in lines["report"]
    during = json.loads(slurm.astrossl("status", "toys", "--json", cwd=workdir).stdout)
    assert {item["state"] for item in during["items"]} <= {"queued", "running", "done"}
    assert len(during["items"]) == 8

    slurm.settle(240)
    after = slurm.astrossl("status", "toys", "--json", cwd=workdir)
    wanted = {"pretext": 1, "features-magnitudes": 3, "scratch": 3, "report": 1}
    assert json.loads(after.stdout)["stages"] == {stage: {"done": count} for stage, count in wanted.items()}
    assert (workdir / "reports/toys/report.html").exists()
    again = slurm.astrossl("submit", "toys.yaml", "--cluster", name, cwd=workdir)
    assert "8 done, 0 queued or running, 0 to submit" in again.stdout

    with slurm_support.running(tmp_path_factory.mktemp("forgetful")) as other:  # a Slurm that knows none of the jobs
        assert other.astrossl("status", "toys", "--json", cwd=workdir).stdout == after.stdout

    local = tmp_path_factory.mktemp("local")  # the same study without a scheduler gives the same numbers
    (local / "stores").symlink_to(workdir / "stores")
    (local / "toys.yaml").write_text(GRID)
    assert astrossl("submit", "toys.yaml", "--cluster", "local", cwd=local).returncode == 0
    here, there = results(local, "toys"), results(workdir, "toys")
    assert here.keys() == there.keys()
    assert {key: one["metrics"] for key, one in here.items()} == {key: one["metrics"] for key, one in there.items()}


def python_first() -> dict[str, str]:
    """So that ``python`` is the interpreter of these tests."""
    import sys

    return {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/sbin"}


@pytest.mark.horovod
@pytest.mark.parametrize("shape", [{"ranks": 2}, {"nodes": 2}])
def test_ranks_meet_over_gloo_on_one_node_and_on_two(slurm, workdir, shape):
    """Two runs in one task: the second meets anew on the same ranks."""
    (workdir / "ranks.yaml").write_text(RANKS % ("all", 1))
    name = site(workdir, resources={"all": {"pack": 2, **shape}})
    assert slurm.astrossl("submit", "ranks.yaml", "--cluster", name, cwd=workdir).returncode == 0
    slurm.settle(180)
    made = results(workdir, "ranks")
    assert len(made) == 2, slurm.astrossl("status", "ranks", cwd=workdir).stdout
    for one in made.values():
        assert one["engine"]["name"] == "horovod"
        assert one["engine"]["ranks"] == 2
    logs = "".join(path.read_text() for path in workdir.glob("runs/ranks/.tasks/logs/*_log.out"))
    assert "2 ranks" in logs


def trains(slurm: Slurm, workdir: Path) -> list[int]:
    """Wait until the two-rank run has saved; the ids of its processes."""
    slurm.wait(lambda: any(workdir.glob("runs/ranks/*/checkpoint/*")), 90, "the run trains")
    return slurm.processes(str(workdir))


@pytest.mark.parametrize(
    "event", ["a rank is killed", pytest.param("the time limit is announced", marks=pytest.mark.long)]
)
def test_two_ranks_disturbed_end_as_if_nothing_had_been(slurm, workdir, event):
    text = RANKS.replace("[0, 1]", "[0]") % ("head", 400)
    (workdir / "ranks.yaml").write_text(text)
    name = site(workdir, resources={"all": {"ranks": 2}})
    done = slurm.astrossl("submit", "ranks.yaml", "--cluster", name, cwd=workdir)
    job = done.stdout.partition(": job ")[2].split(",")[0]
    processes = trains(slurm, workdir)
    assert len(processes) == 2
    if event == "a rank is killed":
        os.kill(processes[1], signal.SIGKILL)
    else:
        slurm.ask("scancel", "--signal=USR2", job)
    slurm.wait(lambda: slurm.jobs()[job] == "PENDING", 60, "the job is queued again")
    slurm.settle(180)
    disturbed = results(workdir, "ranks")
    (workdir / "runs").rename(workdir / "runs.disturbed")
    assert slurm.astrossl("submit", "ranks.yaml", "--cluster", name, cwd=workdir).returncode == 0
    slurm.settle(180)
    undisturbed = results(workdir, "ranks")
    assert undisturbed.keys() == disturbed.keys() != set()
    for key, one in undisturbed.items():
        assert one["metrics"] == disturbed[key]["metrics"]
        assert one["epochs"] == disturbed[key]["epochs"] == 400
