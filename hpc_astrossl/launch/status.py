"""The state of an experiment for ``astrossl status``: every planned item, and how far the running ones are."""

import json
import signal
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

from hpc_astrossl import config
from hpc_astrossl.errors import InputError
from hpc_astrossl.identity import UNKNOWN
from hpc_astrossl.launch import answers
from hpc_astrossl.launch.current import standing, untold
from hpc_astrossl.launch.ledger import Entry, Ledger, unreachable
from hpc_astrossl.launch.notes import Note, Notes, place
from hpc_astrossl.launch.plan import REPORT, product_of
from hpc_astrossl.launch.prepare import recorded_items
from hpc_astrossl.launch.state import Lives, last_line, last_words, outcome
from hpc_astrossl.specs.jobs import kind_of, stage_of
from hpc_astrossl.specs.run import RunSpec

OUTDATED = "out of date"
STATES = ("done", OUTDATED, "running", "queued", "unknown", "new", "stopped", "failed", "skipped")


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
    left: float | None = None  # seconds, at most, until this phase of the run ends, by its last epoch's
    starts: int = 0  # how often it was begun
    seen: float | None = None  # seconds of Unix time


def rows(experiment: str, workdir: Path) -> list[Row]:
    """Every planned, skipped or submitted item of the experiment; InputError when nothing was ever submitted."""
    return Picture(experiment, workdir).rows()


class Picture:
    """An experiment at this moment. ``unasked`` says why Slurm could not be asked, where that is so."""

    def __init__(self, experiment: str, workdir: Path):
        self.experiment, self.workdir = experiment, workdir
        self.folder = workdir / "runs" / experiment
        self.known = read_experiment(experiment, workdir)
        self.ledger = Ledger(workdir, experiment)
        notes = Notes(self.ledger).all()
        self.lives = Lives(self.ledger.entries(), lenient=True, sent=bool(notes))
        self.unasked = self.lives.unasked
        self.sent = {key: note for note in notes for entry in note.entries for key in entry.items}
        self.latest = {key: entry for entry in self.lives.entries for key in entry.items}
        items = recorded_items(self.known.get("items", []))
        now, told = standing(items, experiment, workdir), {item.key for item in items}
        runs = [record["run_id"] for record in self.known["planned"] if record["run_id"] not in told]
        alone = untold(runs, experiment, workdir)
        self.outdated, self.unmarked = now.outdated | alone.outdated, {*now.unmarked, *alone.unmarked}
        self._end = End(self.ledger, self.lives)

    def rows(self) -> list[Row]:
        """The planned runs, then stores and the report, then what was skipped."""
        planned = {record["run_id"]: _stage(record) for record in self.known["planned"]}
        made = [self._with_epochs(self._row(key, stage, f"runs/{self.experiment}/{key}/result.json"))
                for key, stage in planned.items()]  # fmt: skip
        stages = {key: entry.stage for note in self.sent.values() for entry in note.entries for key in entry.items}
        stages |= {key: entry.stage for key, entry in self.latest.items()}
        for key in stages.keys() - planned.keys():
            made.append(self._row(key, stages[key], product_of(key, self.experiment)))
        made = [self._as_of_now(row) for row in made]
        for record in self.known["skipped"]:
            made.append(Row(key=record["run_id"], stage=_stage(record), state="skipped", reason=record["reason"]))
        return made

    def _as_of_now(self, row: Row) -> Row:
        """A row that is done, and is not what would be made from what lies there now."""
        if row.state == "done" and row.key in self.outdated:
            return replace(row, state=OUTDATED, reason=self.outdated[row.key])
        return replace(row, reason=UNKNOWN) if row.state == "done" and row.key in self.unmarked else row

    def _row(self, key: str, stage: str, product: str) -> Row:
        entry, there = self.latest.get(key), (self.workdir / product).exists()
        if key in self.sent and not there:
            return self._on_its_way(key, stage, self.sent[key])
        if entry is None:
            return Row(key=key, stage=stage, state="done" if there else "new")
        phase = None if there and key != REPORT else self.lives.phase(entry)
        became = outcome(entry, key, ledger=self.ledger, phase=phase, produced=there, ended=self._end)
        reason = became.reason
        if became.state == "queued" and (known := self.lives.known(entry)) is not None:
            reason = reason if known.reason in answers.USUAL else f"Slurm: {known.reason}"
        if became.state == "unknown" and (where := self.lives.elsewhere(entry)):
            reason = f"on {where}"
        if became.state in ("running", "queued") and unreachable(entry):
            free = f"astrossl cancel {self.experiment}"
            reason = f"on {entry.host}, which cannot be seen from here; if it is gone, {free} frees it"
        return Row(key=key, stage=stage, state=became.state, reason=reason, job=became.job, starts=became.starts)

    def _on_its_way(self, key: str, stage: str, note: Note) -> Row:
        """Of an array that was handed to sbatch, and whose job is not known yet."""
        job = place(note, self.ledger, self.lives.slurm)
        reason = f"sbatch gave no clear answer: {note.words}; the next submit looks for the job before it sends another"
        return Row(key=key, stage=stage, state="queued" if job else "unknown", job=job, reason=reason)

    def _with_epochs(self, row: Row) -> Row:
        """The row with what the run folder tells of an unfinished run."""
        metrics = self.folder / row.key / "metrics.jsonl"
        if row.state in ("done", "skipped") or not metrics.is_file():
            return row
        try:
            record = json.loads(last_line(metrics) or "{}")
            run = config.load(self.folder / row.key / "config.yaml", RunSpec)
        except (json.JSONDecodeError, InputError):
            return row  # being written at this moment
        state = "stopped" if row.state == "new" else row.state  # begun by hand, not by a task
        epoch, epochs = record.get("epoch"), sum(phase.epochs for phase in run.phases)
        # Of the phase that goes on: a later one is not measured yet, and most phases stop early.
        within = sum(phase.epochs for phase in run.phases[: record.get("phase", 0) + 1])
        left = max(0, within - epoch) * record["seconds"] if epoch and "seconds" in record else None
        return replace(row, state=state, epoch=epoch, epochs=epochs, left=left, seen=metrics.stat().st_mtime)


def read_experiment(experiment: str, workdir: Path) -> dict:
    """``experiment.json``; InputError naming the experiments that are there when this one is not."""
    path = workdir / "runs" / experiment / "experiment.json"
    if path.is_file():
        return _read_plan(path)
    known = sorted(file.parent.name for file in workdir.glob("runs/*/experiment.json"))
    raise InputError(
        f"no experiment {experiment!r} was submitted from the work directory {workdir}; known there: "
        f"{', '.join(known) or 'none'}. Give --workdir, or submit one with astrossl submit JOBS.yaml --cluster C"
    )


def _stage(record: dict) -> str:
    """The stage that trains a planned run."""
    named = record["scheme"] == "pretext" and record.get("set", "pretext") != "pretext"
    return stage_of(record["set"]) if named else record["scheme"]


def _read_plan(path: Path) -> dict:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        planned = all(record["run_id"] and record["scheme"] for record in found["planned"])
        if planned and all(record["run_id"] and record["reason"] for record in found["skipped"]):
            return found
        fault = "a run without its id, scheme or reason"
    except (OSError, ValueError, RecursionError, KeyError, TypeError) as error:
        fault = f"{type(error).__name__}: {error}"
    raise InputError(f"{path}: damaged ({fault}); submit the experiment again: what is done stays done")


def summary(made: Iterable[Row]) -> dict[str, Counter]:
    """How many items of each stage are in which state; preprocess and pretext first, the report last."""
    rank = {"preprocess": 0, "preprocess-check": 0, "pretext": 1, REPORT: 3}
    table: dict[str, Counter] = {}
    for row in sorted(made, key=lambda row: rank.get(row.stage, rank.get(kind_of(row.stage), 2))):
        table.setdefault(row.stage, Counter())[row.state] += 1
    return table


class End:
    """Words for the end of a task that noted none: Slurm's state of the job, its batch script's note, its log."""

    def __init__(self, ledger: Ledger, lives: Lives):
        self._ledger, self._lives = ledger, lives

    def __call__(self, entry: Entry, begun: bool = True) -> str:
        line = last_words(self._ledger.log_file(entry.job), begun=begun) if entry.job else None
        words = [f"its log {'ends with' if begun else 'says'}: {line}"] if line else ["it left no log"]
        if entry.kind == "slurm":
            words = [*self._slurm(entry), *words]
        return "; ".join(words)

    def _slurm(self, entry: Entry) -> list[str]:
        state = self._lives.final_state(entry)
        words = [f"Slurm says {state}" if state else "Slurm no longer knows the job"]
        if state in answers.WORDS:
            words.append(answers.WORDS[state])
        if (self._ledger.logs / f"{entry.job}.lost").exists():
            words.append("its node could not have it requeued (scontrol failed there): submit again")
        if ends := self._ledger.ends(entry.job):
            status, _, nodes = ends[-1].partition(" ")
            how = _status(int(status)) if status.isdecimal() else "ended"
            words.append(f"{how} on {nodes}" + (f", start {len(ends)}" if len(ends) > 1 else ""))
        return words


def _status(number: int) -> str:
    """An exit status of srun in words."""
    if number <= 128:
        return f"exit {number}"
    name = signal.Signals(number - 128).name if number - 128 in set(signal.Signals) else str(number - 128)
    return f"killed by {name}" + (" (out of memory, or somebody's kill)" if name == "SIGKILL" else "")
