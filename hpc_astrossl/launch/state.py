"""What has become of each item, from the run folders first, then the tasks' own notes, then the processes or Slurm."""

import datetime
import json
import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpc_astrossl.errors import EXIT_CONTINUE, EXIT_DONE, InputError
from hpc_astrossl.launch import answers, queue
from hpc_astrossl.launch.ledger import Entry, Ledger, left_behind, lives, unreachable
from hpc_astrossl.launch.plan import REPORT, Item, Plan
from hpc_astrossl.launch.task import events_file

KEPT = 300  # seconds for which a site's wrapper may keep squeue's answers instead of asking again


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """``state`` is done, running, queued, failed, stopped, new (never submitted) or unknown; ``reason`` says why."""

    state: str
    reason: str | None = None
    job: str | None = None
    starts: int = 0  # how often it was begun


def done_keys(plan: Plan, workdir: Path) -> set[str]:
    """Keys of the items whose product is there. One listing of the experiment's folder spares most look-ups."""
    return present(plan.items, plan.experiment, workdir)


def present(items: Iterable[Item], experiment: str, workdir: Path) -> set[str]:
    """Keys of those of the items whose product is there."""
    folder = workdir / "runs" / experiment
    begun = {entry.name for entry in os.scandir(folder)} if folder.is_dir() else set()
    return {item.key for item in items if (not item.trains or item.key in begun) and (workdir / item.produces).exists()}


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
    """Which entries of a ledger are still queued or running; asks Slurm once, and only when there is a reason to.

    InputError when squeue cannot be asked; not so with ``lenient``, which keeps the reason in ``unasked``: nothing is
    known then of any job. With ``sent`` arrays are on their way that no entry tells of. A job that squeue does not list
    has ended when sacct, or squeue asked for it alone, says so; an empty table does not say it of a job just sent.
    """

    def __init__(self, entries: Iterable[Entry], *, lenient: bool = False, sent: bool = False):
        self.entries, self.unasked = list(entries), None
        self._dead: set[Entry] = set()
        self.slurm: dict[str, answers.Known] = {}
        self.final: dict[str, str] | None = None  # sacct's states of what squeue does not list
        self._here: tuple[str | None, str] | None = None  # this Slurm's name, or why it did not tell
        self._alone: dict[str, dict[str, answers.Known] | None] = {}  # squeue's answers by array
        self._silent: InputError | None = None  # why it gave none
        if sent or any(entry.kind == "slurm" for entry in self.entries):
            try:
                self.slurm = queue.states()
            except InputError as error:
                if not lenient:
                    raise
                self.unasked = str(error)

    def phase(self, entry: Entry) -> str | None:
        """ "queued", "running" or "unknown"; None when the job or process has ended. A local one counts as running."""
        if entry.kind != "slurm":
            return "running" if entry not in self._dead and lives(entry) else None
        if self.unasked is not None:
            return "unknown"
        known = self.known(entry)
        if known is None:
            if self.elsewhere(entry) is not None:
                return "unknown"
            if entry.job in self._forgotten():
                return None
            try:
                told = self._asked_alone(entry.job)
            except InputError:
                return "unknown"
            known = _own(told or {}, entry)
            if known is None:
                return "unknown" if told == {} and _fresh(entry) else None
        if known.state in answers.FINAL:
            return None
        if known.state == answers.NO_STATE:
            return "unknown"
        return "queued" if known.state in answers.WAITING else "running"

    def elsewhere(self, entry: Entry) -> str | None:
        """Where an entry's job is, in words, when this Slurm is another one, or does not say which it is; else None."""
        if entry.cluster is None or self.unasked is not None:
            return None
        if self._here is None:
            try:
                self._here = (queue.cluster_name(), "")
            except InputError as error:
                self._here = (None, str(error))
        here, fault = self._here
        if fault:
            return f"cluster {entry.cluster}; whether that is this one Slurm does not say: {fault}"
        if here is None or queue.same_cluster(here, entry.cluster):
            return None
        return f"cluster {entry.cluster}, which cannot be asked from here"

    def known(self, entry: Entry) -> answers.Known | None:
        """What squeue's list says of an entry's job."""
        return _own(self.slurm, entry)

    def final_state(self, entry: Entry) -> str | None:
        """Slurm's state of a job that has ended, by squeue or sacct; None when neither knows it."""
        known = self.known(entry)
        return known.state if known else self._forgotten().get(entry.job)

    def _forgotten(self) -> dict[str, str]:
        """Of all jobs that the queue does not list: one question for the whole experiment."""
        if self.final is None:
            self.final = queue.final({
                entry.job: answers.moment(entry.time)
                for entry in self.entries if entry.kind == "slurm" and self.known(entry) is None
            })  # fmt: skip
        return self.final

    def _asked_alone(self, job: str) -> dict[str, answers.Known] | None:
        """squeue's answer about that job's array; InputError without one, after which nothing more is asked."""
        array = job.partition("_")[0]
        if array not in self._alone:
            if self._silent is not None:
                raise self._silent
            try:
                self._alone[array] = queue.confirm(array)
            except InputError as error:
                self._silent = error
                raise
        return self._alone[array]

    def __contains__(self, entry: Entry) -> bool:
        return self.phase(entry) is not None

    def ask_elsewhere(self, ledger: Ledger, done: Collection[str]) -> list[Entry]:
        """Find out which local tasks of other machines, of items that are not ``done``, have died with them.

        Those no longer count as running. Returns the others, of which that is not known, see ``ledger.left_behind``.
        """
        while True:
            latest = {entry for key, entry in self.by_item().items() if key not in done and unreachable(entry)}
            dead = left_behind(ledger, latest)
            if not dead:
                return sorted(latest, key=lambda entry: entry.time)
            self._dead.update(dead)

    def by_item(self) -> dict[str, Entry]:
        """The latest living entry of each item."""
        return {key: entry for entry in self.entries if entry in self for key in entry.items}


def outcome(
    entry: Entry, key: str, *, ledger: Ledger, phase: str | None, produced: bool, ended: Callable[[Entry, bool], str]
) -> Outcome:
    """What became of one item of a submitted task.

    ``ended(entry, begun)`` words the end of a task that noted none itself, whether it was begun or not.

    ``phase`` is the task's: "queued", "running", "unknown", or None when it has ended. A product that is there decides,
    except for the report, which is made again and again.
    """
    events = _events(ledger.task_file(entry.task), entry.command_of(key))
    last = events[-1] if events else None
    begun = sum(event["event"] == "start" for event in events)
    if produced and (key != REPORT or (last or {}).get("status") == EXIT_DONE):
        return Outcome(state="done", job=entry.job, starts=begun)
    became = _unfinished(last, phase, lambda: ended(entry, last is not None))
    return replace(became, job=entry.job, starts=begun)


def _unfinished(last: dict[str, Any] | None, phase: str | None, ended: Callable[[], str]) -> Outcome:
    """By the last note of the task: none, a stop to be continued, a start, or an end."""
    if phase == "unknown" and (last is None or last.get("status") in (None, EXIT_CONTINUE)):
        noted = "begun" if last else "not begun"
        return Outcome(state="unknown", reason=f"Slurm does not say whether it lives; by its own notes {noted}")
    if last is None:
        return Outcome(state="queued") if phase else Outcome(state="failed", reason=f"never started: {ended()}")
    if last.get("status") == EXIT_CONTINUE:
        return Outcome(state="queued" if phase else "stopped", reason=last["reason"])
    if last["event"] == "start":
        if phase:
            return Outcome(
                state=phase, reason="killed from outside, to be started again" if phase == "queued" else None
            )
        return Outcome(state="failed", reason=f"ended without a word: {ended()}")
    if last["status"] == EXIT_DONE:
        return Outcome(state="failed", reason="exit 0, yet what it should make is not there")
    return Outcome(state="failed", reason=last["reason"] or f"exit {last['status']}")


def _own(listing: Mapping[str, answers.Known], entry: Entry) -> answers.Known | None:
    """What a listing says of the entry's job; None when it has none, or a job of that number that is not ours."""
    known = answers.look_up(listing, entry.job or "")
    script = known.script if known else None
    if script is None:  # a site's wrapper may hand sbatch a script of its own
        ours = known is None or not known.name or known.name.endswith(f".{entry.stage}")
    else:
        ours = entry.script in (None, script.name)
    return known if ours else None


def _fresh(entry: Entry) -> bool:
    """Whether an entry was made so lately that a table which a site keeps for a while may be older than its job."""
    try:
        made = datetime.datetime.fromisoformat(entry.time)
        return abs((datetime.datetime.now(datetime.UTC) - made).total_seconds()) < KEPT
    except (ValueError, TypeError):
        return False


# How srun and slurmstepd tell that a step has ended: never why.
EPILOGUE = re.compile(
    r"^(\[[^]]*\] )?(srun|slurmstepd[^:]*|slurmd[^:]*): (launch/slurm: |error: |\[[^]]*\] )*("
    r"Terminating|Force Terminated|forcing job termination|job abort|Job step aborted|First task exited|"
    r".*[Ee]xited with|.*task.*: (Killed|Terminated|Aborted|Exited|Segmentation|Bus error)|.*\*\*\* (STEP|JOB) |"
    r"got SIGCONT|_step_signal|_task_finish|Failed to send MESSAGE_TASK_EXIT)"
)
# How shells, Python and Slurm tell why a command could not be run.
FAULT = re.compile(
    r"^\w*(Error|Exception)\b|error: |fatal: |command not found|No such file|No module named|ermission denied|"
    r"cannot (open|execute|access)|not executable",
    re.IGNORECASE,
)


def last_words(path: Path, *, begun: bool = True) -> str | None:
    """The last line of a log that may hold a reason: not the lines by which Slurm tells that a step has ended.

    Of a task that was not ``begun`` the last one that tells of a fault, if there is one: what follows it may be a
    site's summary of the job.
    """
    lines = _last_lines(path)
    reasons = [line for line in lines if not EPILOGUE.search(line)]
    faults = [line for line in reasons if FAULT.search(line)] if not begun else []
    return next(iter([*faults, *reasons, *lines]), None)


def last_line(path: Path) -> str | None:
    """The last line of a log that is not blank, of its last 8 kB."""
    return next(iter(_last_lines(path)), None)


def _last_lines(path: Path) -> list[str]:
    """The lines of the last 8 kB of a file that are not blank, the last one first."""
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - 8192))
            lines = stream.read().decode(errors="replace").replace("\r", "\n").split("\n")
    except FileNotFoundError:
        return []
    return [line.strip() for line in reversed(lines) if line.strip()]


def _events(task: Path, command: int) -> list[dict[str, Any]]:
    """What a task noted of one of its commands."""
    path, found = events_file(task), []
    if not path.exists():
        return []
    for line in path.read_bytes().splitlines():
        try:
            event = json.loads(line)
            if event["command"] == command and event["event"] in ("start", "end"):
                found.append({"status": None, "reason": None} | event)
        except (ValueError, TypeError, KeyError, RecursionError):
            continue  # torn by the end of its writer
    return found
