"""What has become of each item, from the run folders first, then the tasks' own notes, then the processes or Slurm."""

import json
import os
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpc_astrossl.errors import EXIT_CONTINUE, EXIT_DONE, InputError
from hpc_astrossl.launch.grid import REPORT, Item, Plan
from hpc_astrossl.launch.ledger import Entry, Ledger, lives
from hpc_astrossl.launch.task import events_file

FINAL = {
    "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "PREEMPTED",
    "REVOKED",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """``state`` is done, running, queued, failed, stopped or new (never submitted); ``reason`` says why it failed."""

    state: str
    reason: str | None = None
    job: str | None = None


def done_keys(plan: Plan, workdir: Path) -> set[str]:
    """Keys of the items whose product is there. One listing of the experiment's folder spares most look-ups."""
    folder = workdir / "runs" / plan.experiment
    begun = {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()
    items = [item for stage in plan.stages for item in stage.items]
    return {
        item.key for item in items if (item.run is None or item.key in begun) and (workdir / item.produces).exists()
    }


def pending(plan: Plan, done: set[str], alive: Mapping[str, Entry]) -> dict[str, list[Item]]:
    """The items to submit, by stage: neither made nor being made. The report follows whenever anything is."""
    todo = {
        stage.name: [item for item in stage.items if item.key not in done and item.key not in alive]
        for stage in plan.stages
    }
    new = any(items for name, items in todo.items() if name != REPORT)
    for stage in plan.stages:
        if stage.regardless and new:
            todo[stage.name] = list(stage.items)
    return todo


class Lives:
    """Which entries of a ledger are still queued or running; asks Slurm once, and only when there is a reason to."""

    def __init__(self, entries: Iterable[Entry]):
        self.entries = list(entries)
        slurm = [entry.job for entry in self.entries if entry.kind == "slurm"]
        self.slurm: dict[str, str] = squeue() if slurm else {}

    def __contains__(self, entry: Entry) -> bool:
        if entry.kind == "slurm":
            return self.slurm.get(entry.job, "CANCELLED") not in FINAL
        return lives(entry)

    def by_item(self) -> dict[str, Entry]:
        """The latest living entry of each item."""
        return {key: entry for entry in self.entries if entry in self for key in entry.items}


def squeue() -> dict[str, str]:
    """State of each job of this user that Slurm still knows, array elements apart. InputError without an answer."""
    command = ["squeue", "--noheader", "--array", "--me", "--states=all", "--format=%i|%T"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        raise InputError(
            "squeue is not on this machine, so the jobs of this experiment cannot be asked for; run this on the "
            "cluster's login node"
        ) from None
    except subprocess.TimeoutExpired:
        raise InputError("squeue gave no answer within 60 s; try again when Slurm's controller does") from None
    if answer.returncode:
        raise InputError(f"squeue failed: {' '.join(answer.stderr.split())}")
    return dict(line.split("|", 1) for line in answer.stdout.split() if "|" in line)


def outcome(
    entry: Entry, key: str, *, ledger: Ledger, alive: bool, produced: bool, ended: Callable[[Entry], str]
) -> Outcome:
    """What became of one item of a submitted task. ``ended(entry)`` words the end of a task that noted none itself.

    A product that is there decides, except for the report, which is made again and again.
    """
    last = _last_event(ledger.task_file(entry.task), entry.items.index(key))
    if produced and (key != REPORT or (last or {}).get("status") == EXIT_DONE):
        return Outcome(state="done", job=entry.job)
    if last is None or last.get("status") == EXIT_CONTINUE:
        if alive:
            return Outcome(state="queued", job=entry.job)
        state = "stopped" if last else "failed"
        return Outcome(state=state, job=entry.job, reason=last["reason"] if last else f"never started: {ended(entry)}")
    if last["event"] == "start":
        if alive:
            return Outcome(state="running", job=entry.job)
        return Outcome(state="failed", job=entry.job, reason=f"ended without a word: {ended(entry)}")
    if last["status"] == EXIT_DONE:
        return Outcome(state="failed", job=entry.job, reason="exit 0, yet what it should make is not there")
    return Outcome(state="failed", job=entry.job, reason=last["reason"] or f"exit {last['status']}")


def last_line(path: Path) -> str | None:
    """The last line of a log that is not blank, of its last 8 kB."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - 8192))
            lines = stream.read().decode(errors="replace").replace("\r", "\n").split("\n")
    except FileNotFoundError:
        return None
    return next((line.strip() for line in reversed(lines) if line.strip()), None)


def _last_event(task: Path, command: int) -> dict[str, Any] | None:
    path, last = events_file(task), None
    if not path.exists():
        return None
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            event = json.loads(line)
        except json.JSONDecodeError:
            continue  # torn by the end of its writer
        if event["command"] == command:
            last = event
    return last
