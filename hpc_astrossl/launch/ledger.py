"""What has been submitted: one JSON line a task in ``.tasks/jobs.jsonl`` of the experiment, and who still lives.

A process of this machine is known by its id and its start time, so that a reused id is not mistaken for it.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from hpc_astrossl import config, locks, machine, provenance
from hpc_astrossl.errors import InputError

OURS = 0o755  # folders whose contents jobs run: whatever the umask, only their user writes there


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One submitted task: the keys of its items, and the job (Slurm) or process (local) that makes them.

    A local ``job`` is None while the task waits in the process that submitted it.
    """

    kind: str  # "local", "slurm", or "cancelled": what came before no longer counts
    stage: str = ""
    task: str = ""  # file name of the YAML in .tasks, without .yaml
    items: tuple[str, ...] = ()
    commands: tuple[int, ...] = ()  # which of the task's commands makes each item; empty: one each, in order
    job: str | None = None
    script: str | None = None  # file name of the batch script that this job alone has; programs before 0.2 kept none
    cluster: str | None = None  # the Slurm that has the job, by its ClusterName, where it told one
    host: str | None = None
    machine: str | None = None  # see ``machine.name``; programs before 0.2 told the host alone
    pid: int | None = None
    started: int | None = None  # clock ticks after boot
    time: str = ""

    def command_of(self, key: str) -> int:
        """Index of the command that makes that item."""
        place = self.items.index(key)
        return self.commands[place] if self.commands else place


class Ledger:
    """The files in ``runs/<experiment>/.tasks`` below the work directory."""

    def __init__(self, workdir: Path, experiment: str):
        self.experiment = experiment
        self.folder = Path(workdir).absolute() / "runs" / experiment / ".tasks"
        self.logs = self.folder / "logs"
        self._file = self.folder / "jobs.jsonl"

    def task_file(self, name: str) -> Path:
        """The YAML of a task."""
        return self.folder / f"{name}.yaml"

    def beat_of(self, entry: Entry) -> Path:
        """The heartbeat of the process that makes a local entry's items: its task's, or the submitter's while it
        waits there."""
        if entry.job is None:
            return self.folder / f"submitter-{entry.pid}-{entry.started}.beat"
        return self.folder / f"{entry.task}.beat"

    def log_file(self, job: str) -> Path:
        """Where submitit puts what a job's first rank prints, standard error included."""
        return self.logs / f"{job}_0_log.out"

    def ends(self, job: str) -> list[str]:
        """How each start of a Slurm job ended, as its batch script noted: "STATUS NODES", where it came so far."""
        path = self.logs / f"{job}.ends"
        lines = path.read_text(errors="replace").split("\n") if path.exists() else []
        return [line for raw in lines if (line := raw.strip(" \t\r\0"))]

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Nobody else submits this experiment meanwhile; InputError when somebody does."""
        self.folder.mkdir(OURS, parents=True, exist_ok=True)
        lock = self.folder / "lock"
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locks.locked(lock, patience=0))
            except locks.Held as other:
                raise InputError(
                    f"experiment {self.experiment} is being submitted by another process ({other} holds {lock}); "
                    "wait for it, then run this again"
                ) from None
            yield

    def entries(self, *, cancelled: bool = False) -> list[Entry]:
        """Everything submitted since the last cancellation, oldest first; with ``cancelled``, all of it.

        A torn last line is left out.
        """
        if not self._file.exists():
            return []
        entries: list[Entry] = []
        for number, line in enumerate(self._file.read_bytes().splitlines(), start=1):
            try:
                data = json.loads(line)
            except (ValueError, RecursionError):
                continue  # blank, or the machine went down in the midst of it
            try:
                entry = config.parse(data, Entry, f"line {number}")
            except InputError as error:
                raise InputError(f"{self._file}: not of this program, or damaged: {error}; remove that line") from None
            if entry.kind == "cancelled":
                entries = entries if cancelled else []
            else:
                entries.append(entry)
        return entries

    def add(self, entries: Sequence[Entry]) -> None:
        """Append entries, with the time, and sync."""
        self.folder.mkdir(OURS, parents=True, exist_ok=True)
        now = provenance.now()
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write("\n" if _torn(self._file) else "")
            for entry in entries:
                stream.write(json.dumps({**asdict(entry), "time": now}) + "\n")
            stream.flush()
            os.fsync(stream.fileno())


def _torn(file: Path) -> bool:
    """Whether the last line has no end."""
    data = file.read_bytes()
    return bool(data) and not data.endswith(b"\n")


def this_process() -> dict[str, object]:
    """The fields of an entry that tell this process from every other."""
    return machine.this_process()


def process(pid: int) -> dict[str, object]:
    """The fields of an entry that tell a process of this machine from every other."""
    return machine.process(pid)


def lives(entry: Entry) -> bool:
    """Whether a local entry's process runs. One of another machine cannot be asked, and counts as running."""
    about = asdict(entry)
    return not machine.here(about) or machine.runs(about)


def unreachable(entry: Entry) -> bool:
    """Whether a local entry's process is of another machine: it cannot be asked, only its heartbeat can be watched."""
    return entry.kind == "local" and not machine.here(asdict(entry))


def left_behind(ledger: Ledger, entries: Iterable[Entry]) -> list[Entry]:
    """Of unreachable entries those whose process is dead: its heartbeat and its submitter's are silent, or gone.

    They are watched for as long as it takes, half a minute as a rule. Of what programs before 0.2 entered, which left
    no heartbeat, that is never known.
    """
    watch, dead = locks.Watch(), []
    waiting = {entry: _beats(ledger, entry) for entry in entries}
    while waiting:
        for entry, beats in list(waiting.items()):
            states = {watch.state(file) for file in beats}
            if "lives" in states or (entry.machine is None and not beats):
                del waiting[entry]
            elif "unsure" not in states:
                del waiting[entry]
                dead.append(entry)
        time.sleep(locks.POLL if waiting else 0)
    for file in {file for entry in dead for file in _beats(ledger, entry)}:
        file.unlink(missing_ok=True)
    return dead


def _beats(ledger: Ledger, entry: Entry) -> list[Path]:
    """Heartbeats that may speak for an entry: its task's and those of submitters, heard while a task is starting."""
    return [file for file in (ledger.beat_of(entry), *ledger.folder.glob("submitter-*.beat")) if file.exists()]
