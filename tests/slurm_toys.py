"""One toy run on a Slurm: sent, looked at, and what it gives where nothing disturbs it."""

import json
import time
from pathlib import Path
from statistics import median

from launch_support import astrossl
from slurm_support import Slurm, site
from training_toys import make_store

RECIPE = """\
experiment: toys
sets:
  toy: {store: stores/toy.zarr}
schemes: [scratch]
seeds: [0]
overrides:
  all:
    data: {batch_size: 8}
    model: {hidden: 16}
    training: {patience: null}
    phases:
      - {trains: head, optimizer: adam, learning_rate: 1e-3, epochs: %d}
report: false
"""
SHORT, LONG, ENDLESS = 2, 900, 100000  # epochs


def undisturbed(folder: Path) -> dict:
    """The result of the long run on this machine, in that folder, without Slurm and without a disturbance.

    Beside it, of this machine as it is now: ``seconds_an_epoch``, and ``seconds_besides`` of what is no epoch.
    """
    make_store(folder / "stores/toy.zarr")
    (folder / "toys.yaml").write_text(RECIPE % LONG)
    began = time.monotonic()
    done = astrossl("submit", "toys.yaml", "--cluster", "local", cwd=folder)
    took = time.monotonic() - began
    assert done.returncode == 0, done.stdout + done.stderr
    (metrics,) = folder.glob("runs/toys/*/metrics.jsonl")
    seconds = [json.loads(line)["seconds"] for line in metrics.read_text().splitlines()]
    return result(folder) | {"seconds_an_epoch": median(seconds), "seconds_besides": took - sum(seconds)}


def submit(slurm: Slurm, workdir: Path, epochs: int, **changes) -> str:
    """Submit the recipe; the job id of its one run."""
    (workdir / "toys.yaml").write_text(RECIPE % epochs)
    done = slurm.astrossl("submit", "toys.yaml", "--cluster", site(workdir, **changes), cwd=workdir)
    assert done.returncode == 0, done.stderr
    assert "scratch: job " in done.stdout
    return done.stdout.partition("scratch: job ")[2].split(",")[0]


def row(slurm: Slurm, workdir: Path) -> dict:
    """What status tells of the one run."""
    told = slurm.astrossl("status", "toys", "--json", cwd=workdir)
    assert told.returncode == 0, told.stderr
    (item,) = json.loads(told.stdout)["items"]
    return item


def result(workdir: Path) -> dict:
    (path,) = workdir.glob("runs/toys/*/result.json")
    return json.loads(path.read_text())


def epochs_done(workdir: Path) -> int:
    metrics = [path.read_text().count("\n") for path in workdir.glob("runs/toys/*/metrics.jsonl")]
    return metrics[0] if metrics else 0


def trains(slurm: Slurm, workdir: Path, epochs: int = 3) -> int:
    """Wait until the run has trained and saved; the id of its process."""
    slurm.wait(
        lambda: epochs_done(workdir) >= epochs and any(workdir.glob("runs/toys/*/checkpoint/*")), 90, "the run trains"
    )
    (process, *_) = slurm.processes(str(workdir))
    return process


def same(found: dict, wanted: dict) -> bool:
    return found["metrics"] == wanted["metrics"] and found["epochs"] == wanted["epochs"]


def starts_of_each(workdir: Path) -> list[int]:
    """How often each task was begun."""
    logs = [path.read_text().splitlines() for path in workdir.glob("runs/toys/.tasks/scratch-*.jsonl")]
    return [sum(json.loads(line)["event"] == "start" for line in lines) for lines in logs]


def starts(workdir: Path) -> int:
    """How often the one run was begun."""
    return sum(starts_of_each(workdir))
