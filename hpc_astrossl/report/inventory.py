"""What was run: stores, machines, versions, configuration, the list of every run, and what is missing."""

import os
import urllib.parse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hpc_astrossl import config
from hpc_astrossl.errors import InputError
from hpc_astrossl.report import cells as c
from hpc_astrossl.report.records import Problem, Run, StoreRecord, Study
from hpc_astrossl.report.tables import DASH, Entry, Table, number, text

_NOT_COMPARED = ("experiment", "set", "scheme", "seed", "data.store", "data.train_size", "data.resident_mb", "threads",
                 "engine", "device")  # fmt: skip


def stores(study: Study) -> Table:
    """The stores read, with the objects kept and rejected by reason."""
    users: dict[tuple, tuple[StoreRecord, set[str]]] = {}
    for run in study.runs:
        key = (run.store.path, run.store.name, str(run.store.counts))
        users.setdefault(key, (run.store, set()))[1].add(run.set)
    rows = []
    for store, sets in users.values():
        kept = store.counts.get("kept")
        rows.append(
            (
                text(store.name),
                text(" ".join((store.survey, store.release)).strip() or DASH),
                text(", ".join(sorted(sets))),
                number(kept, 0) if isinstance(kept, int | float) else text(DASH),
                text(_rejected(store.counts) or DASH),
                text(store.path),
            )
        )
    return Table(
        name="stores",
        title="Stores",
        columns=("store", "survey and release", "sets", "kept", "rejected by reason", "path"),
        rows=tuple(rows),
        numeric=frozenset({3}),
    )


def _rejected(counts: Mapping[str, Any]) -> str:
    """Everything that the counts say besides ``kept``, nested mappings flattened: ``reason: n``."""
    words = []
    for key, value in counts.items():
        if isinstance(value, Mapping):
            words.append(_rejected(value))
        elif key != "kept":
            words.append(f"{key}: {value:,}" if isinstance(value, int | float) else f"{key}: {value}")
    return "; ".join(word for word in words if word)


def machines(study: Study) -> Table:
    """Runs and hours by engine, ranks, device and loader."""
    groups: dict[tuple, list[Run]] = {}
    for run in study.runs:
        key = (run.engine.name, run.engine.ranks, run.device, run.loader, run.engine.reason)
        groups.setdefault(key, []).append(run)
    rows = tuple(
        (
            text(engine, note=reason),
            number(ranks, 0),
            text(device or DASH),
            text(loader or DASH),
            number(len(runs), 0),
            number(sum(run.seconds for run in runs) / 3600, 2),
        )
        for (engine, ranks, device, loader, reason), runs in sorted(groups.items())
    )
    return Table(
        name="machines",
        title="Engines and devices",
        columns=("engine", "ranks", "device", "loader", "runs", "hours"),
        rows=rows,
        caption="Hours of wall clock, summed over runs.",
        numeric=frozenset({1, 4, 5}),
    )


def hours(study: Study) -> Table:
    """What the study cost: hours by set and scheme, and of them on devices that are no CPU."""
    groups: dict[tuple[str, str], list[Run]] = {}
    for run in study.runs:
        groups.setdefault((run.set, run.scheme), []).append(run)
    rows = []
    for (set_, scheme), runs in groups.items():
        device = sum(run.seconds * run.engine.ranks for run in runs if run.device not in ("", "cpu"))
        seconds = sum(run.seconds for run in runs)
        rows.append((text(set_), text(scheme), number(len(runs), 0), number(seconds / 3600, 3),
                     number(device / 3600, 3), number(sum(run.epochs for run in runs), 0)))  # fmt: skip
    return Table(
        name="hours",
        title="Hours used",
        columns=("set", "scheme", "runs", "hours", "GPU hours", "epochs"),
        rows=tuple(rows),
        caption="Wall clock of finished runs; GPU hours: that times the ranks of runs on a GPU.",
        numeric=frozenset({2, 3, 4, 5}),
    )


def troubled(study: Study, out: Path) -> Table | None:
    """Runs that collapsed to one class or whose loss is not finite; None when there are none."""
    rows = tuple(
        (
            text(run.run_id, link=_relative(run.folder, out)),
            text("failed: loss not finite" if run.failed else "collapsed: one class for every object", mark="bad"),
            number(run.metric("validation", "accuracy")),
            number(run.majority_share.get("validation")),
            number(run.best_epoch, 0),
        )
        for run in study.runs
        if run.failed or run.collapsed
    )
    if not rows:
        return None
    return Table(
        name="troubled",
        title="Collapsed and failed",
        columns=("run", "what", "validation accuracy", "majority", "best epoch"),
        rows=rows,
        caption="Collapsed runs count in every mean, failed ones in none.",
        numeric=frozenset({2, 3, 4}),
    )


def versions(study: Study) -> Table:
    """Every version that any run names, with how many runs name it: one line a library where all agree."""
    counts: dict[tuple[str, str], int] = {}
    for run in study.runs:
        code, libraries = run.provenance.get("code"), run.provenance.get("libraries")
        named = [(f"hpc_astrossl {key}", value) for key, value in (code.items() if isinstance(code, dict) else ())]
        named += libraries.items() if isinstance(libraries, dict) else ()
        for name, version in named:
            counts[name, str(version)] = counts.get((name, str(version)), 0) + 1
    rows = tuple((text(name), text(version), number(n, 0)) for (name, version), n in counts.items())
    return Table(
        name="versions", title="Versions", columns=("what", "version", "runs"), rows=rows, numeric=frozenset({2})
    )


def configuration(study: Study) -> tuple[Table, list[Problem]]:
    """The resolved configuration of one run a scheme, the newest of the largest size; and configs not readable."""
    newest: dict[str, Run] = {}
    for run in sorted(study.runs, key=lambda run: (run.train_size is None, run.train_size or 0, run.date, run.run_id)):
        newest[run.scheme] = run
    columns, problems = {}, []
    for scheme in sorted(newest, key=lambda name: (name != "pretext", name != "scratch", name)):
        run = newest[scheme]
        try:
            columns[scheme] = dict(_flat(config.read_yaml(run.folder / "config.yaml")))
        except InputError as error:
            reason = f"{str(error).replace(f'{run.folder}/', '')}; not in the table of configurations"
            problems.append(Problem(name=run.run_id, reason=reason))
    keys = dict.fromkeys(key for flat in columns.values() for key in flat if key not in _NOT_COMPARED)
    rows = tuple((text(key), *(text(flat.get(key, DASH)) for flat in columns.values())) for key in keys)
    table = Table(
        name="configuration",
        title="Configuration by scheme",
        columns=("key", *columns),
        rows=rows,
        caption="Of each scheme's newest run at the largest training size; each run folder holds its own config.yaml.",
    )
    return table, problems


def _flat(data: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for key, value in data.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif key == "phases" and isinstance(value, list):
            yield f"{prefix}{key}", "; then ".join(_phase(item) for item in value) or DASH
        else:
            yield f"{prefix}{key}", _word(value)


def _word(value: Any) -> str:
    return (
        {None: "none", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)
    )


def _phase(item: Any) -> str:
    if not isinstance(item, Mapping):
        return str(item)
    return (
        f"{item.get('trains')} by {item.get('optimizer')} at {item.get('learning_rate')}, ≤ {item.get('epochs')} epochs"
    )


def every_run(study: Study, out: Path) -> Table:
    """All runs that are done, with links to their folders, relative to ``out``."""
    rows = []
    for run in study.runs:
        validation, test = (_headline(run, split) for split in ("validation", "test"))
        status = "failed" if run.failed else "collapsed" if run.collapsed else "done"
        mark = "" if status == "done" else "bad"
        rows.append(
            (
                text(run.run_id, link=_relative(run.folder, out)),
                text(run.set),
                text(run.scheme),
                text(c.size_name(run.train_size), value=run.train_size),
                number(run.seed, 0),
                text(status, mark=mark),
                number(validation),
                number(test),
                text(f"{run.epochs}", value=run.epochs, note=run.stopped),
                number(run.seconds / 60, 1),
                text(run.weights.name or "from scratch"),
                text(run.date),
            )
        )
    columns = ("run", "set", "scheme", "labels", "seed", "status", "validation", "test", "epochs", "minutes",
               "weights", "done at")  # fmt: skip
    return Table(
        name="runs",
        title="Every run",
        columns=columns,
        rows=tuple(rows),
        caption="Validation and test: accuracy, or for the pretext task the mean absolute error of magnitudes/30.",
        numeric=frozenset({3, 4, 6, 7, 8, 9}),
    )


def _headline(run: Run, split: str) -> float | None:
    return run.metric(split, "mae" if run.target == "magnitudes" else "accuracy")


def _relative(folder: Path, out: Path) -> str:
    return urllib.parse.quote(os.path.relpath(folder.resolve(), out.resolve()).replace(os.sep, "/")) + "/"


def missing(study: Study) -> Table | None:
    """Runs that are not done: begun, not started, skipped, each with its reason; None when all are done."""
    if not study.pending:
        return None
    rows = tuple(
        (
            text(one.run_id),
            text(one.set),
            text(one.scheme),
            text(c.size_name(one.train_size), value=one.train_size),
            number(one.seed, 0),
            text(one.state),
            text(one.log),
        )
        for one in sorted(study.pending, key=lambda one: (one.skipped, one.state, one.run_id))
    )
    return Table(
        name="missing",
        title="Not done",
        columns=("run", "set", "scheme", "labels", "seed", "state", "last line of its log"),
        rows=rows,
        numeric=frozenset({3, 4}),
    )


def problems(found: Iterable[Problem]) -> Table | None:
    """Folders and files that could not be used; None when there are none."""
    rows: tuple[tuple[Entry, ...], ...] = tuple((text(one.name), text(one.reason)) for one in found)
    if not rows:
        return None
    return Table(name="problems", title="Folders and files not used", columns=("name", "why"), rows=rows)
