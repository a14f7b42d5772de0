"""The state of an experiment for ``astrossl status``: every planned item, and how far the running ones are."""

import json
import shutil
import subprocess
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from hpc_astrossl import config
from hpc_astrossl.errors import InputError
from hpc_astrossl.launch.grid import REPORT, report_page
from hpc_astrossl.launch.ledger import Entry, Ledger
from hpc_astrossl.launch.state import Lives, last_line, outcome
from hpc_astrossl.specs.run import RunSpec

STATES = ("done", "running", "queued", "new", "stopped", "failed", "skipped")


@dataclass(frozen=True, kw_only=True)
class Row:
    """One item. ``epoch`` of at most ``epochs`` for a run that has begun, last heard of at ``seen``."""

    key: str
    stage: str
    state: str
    reason: str | None = None
    job: str | None = None
    epoch: int | None = None
    epochs: int | None = None
    seen: float | None = None  # seconds of Unix time


def rows(experiment: str, workdir: Path) -> list[Row]:
    """Every planned, skipped or submitted item of the experiment; InputError when nothing was ever submitted."""
    folder = workdir / "runs" / experiment
    known = read_experiment(experiment, workdir)
    ledger = Ledger(workdir, experiment)
    lives = Lives(ledger.entries())
    latest = {key: entry for entry in lives.entries for key in entry.items}
    alive = set(lives.by_item())
    end = _End(ledger, lives)

    def row(key: str, stage: str, product: Path) -> Row:
        entry, there = latest.get(key), product.exists()
        if entry is None:
            return Row(key=key, stage=stage, state="done" if there else "new")
        became = outcome(entry, key, ledger=ledger, alive=key in alive, produced=there, ended=end)
        return Row(key=key, stage=stage, state=became.state, reason=became.reason, job=became.job)

    planned = {record["run_id"]: record["scheme"] for record in known["planned"]}
    made = [_with_epochs(row(key, stage, folder / key / "result.json"), folder) for key, stage in planned.items()]
    for key in latest.keys() - planned.keys():
        product = workdir / report_page(experiment) if key == REPORT else workdir / key / "zarr.json"
        made.append(row(key, latest[key].stage, product))
    for record in known["skipped"]:
        made.append(Row(key=record["run_id"], stage=record["scheme"], state="skipped", reason=record["reason"]))
    return made


def read_experiment(experiment: str, workdir: Path) -> dict:
    """``experiment.json``; InputError naming the experiments that are there when this one is not."""
    path = workdir / "runs" / experiment / "experiment.json"
    if path.is_file():
        return json.loads(path.read_text(encoding="utf-8"))
    known = sorted(file.parent.name for file in workdir.glob("runs/*/experiment.json"))
    raise InputError(
        f"no experiment {experiment!r} was submitted from the work directory {workdir}; known there: "
        f"{', '.join(known) or 'none'}. Give --workdir, or submit one with astrossl submit JOBS.yaml --cluster C"
    )


def summary(made: Iterable[Row]) -> dict[str, Counter]:
    """How many items of each stage are in which state; preprocess and pretext first, the report last."""
    rank = {"preprocess": 0, "pretext": 1, REPORT: 3}
    table: dict[str, Counter] = {}
    for row in sorted(made, key=lambda row: rank.get(row.stage, 2)):
        table.setdefault(row.stage, Counter())[row.state] += 1
    return table


def _with_epochs(row: Row, folder: Path) -> Row:
    """The row with what the run folder tells of an unfinished run."""
    metrics = folder / row.key / "metrics.jsonl"
    if row.state in ("done", "skipped") or not metrics.is_file():
        return row
    try:
        epoch = json.loads(last_line(metrics) or "{}").get("epoch")
        run = config.load(folder / row.key / "config.yaml", RunSpec)
    except (json.JSONDecodeError, InputError):
        return row  # being written at this moment
    state = "stopped" if row.state == "new" else row.state  # begun by hand, not by a task
    epochs = sum(phase.epochs for phase in run.phases)
    return replace(row, state=state, epoch=epoch, epochs=epochs, seen=metrics.stat().st_mtime)


class _End:
    """Words for the end of a task that noted none: Slurm's state of the job, and the last line of its log."""

    def __init__(self, ledger: Ledger, lives: Lives):
        self._ledger, self._lives = ledger, lives

    def __call__(self, entry: Entry) -> str:
        line = last_line(self._ledger.log_file(entry.job)) if entry.job else None
        words = [f"its log ends with: {line}"] if line else ["it left no log"]
        if entry.kind == "slurm":
            state = self._lives.slurm.get(entry.job) or sacct(entry.job)
            words.insert(0, f"Slurm says {state}" if state else "Slurm no longer knows the job")
        return "; ".join(words)


def sacct(job: str) -> str | None:
    """The final state of a job that the queue forgot, where the site keeps accounts; else None."""
    if shutil.which("sacct") is None:
        return None
    command = ["sacct", "--noheader", "--allocations", "--parsable2", "--format=State", f"--jobs={job}"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=30)
    except subprocess.TimeoutExpired:
        return None
    return (answer.stdout.split() or [None])[0] if answer.returncode == 0 else None
