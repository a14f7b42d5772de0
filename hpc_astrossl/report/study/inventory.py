"""What was run: stores, hours, machines, versions, configuration and where runs of one cell differ in it."""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from hpc_astrossl import config
from hpc_astrossl.errors import InputError
from hpc_astrossl.report.base.records import Problem, Run, StoreRecord, Study
from hpc_astrossl.report.base.tables import DASH, Table, number, text

_NOT_COMPARED = ("experiment", "set", "scheme", "seed", "data.store", "data.train_size", "data.resident_mb", "threads",
                 "engine", "device")  # fmt: skip
_PLACE = re.compile(r"\s*(seed|threads|engine|device|resident_mb|keep_features|checkpoint_minutes):")


def class_weights(run: Run) -> bool:
    """Whether the run weighed its classes (``data.class_weights``), by its config.yaml."""
    try:
        data = config.read_yaml(run.folder / "config.yaml").get("data")
    except InputError:
        return False
    return isinstance(data, Mapping) and data.get("class_weights") not in (None, "none", False)


def stores(study: Study) -> Table:
    """The stores read: objects kept, how they are split and labelled, and what was left out, by reason."""
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
                *(text(_counted(store.counts.get(key)) or DASH) for key in ("splits", "classes", "rejected")),
                text(store.path),
            )
        )
    return Table(
        name="stores",
        title="Stores",
        columns=("store", "survey and release", "sets", "kept", "splits", "classes", "left out, by reason", "path"),
        rows=tuple(rows),
        numeric=frozenset({3}),
    )


def _counted(counts: Any) -> str:
    """``reason: n; reason: n``, of those above zero; empty for anything that is not counts by name."""
    if not isinstance(counts, Mapping):
        return ""
    return "; ".join(f"{key}: {value:,}" for key, value in counts.items() if isinstance(value, int) and value)


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


def differences(study: Study) -> Table | None:
    """Lines of config.yaml in which a run differs from the first seed of its cell; None when only seeds differ.

    Lines are compared as text (the files are written by one program, in one order), which a thousand runs can afford.
    """
    first: dict[tuple, tuple[str, list[str]]] = {}
    rows = []
    for run in sorted(study.runs, key=lambda run: run.seed):
        try:
            lines = (run.folder / "config.yaml").read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            continue  # named where the configuration is read
        name, expected = first.setdefault(run.slot[:3], (run.run_id, lines))
        own, others = ([line.strip() for line in one if line not in two and not _PLACE.match(line)]
                       for one, two in ((lines, expected), (expected, lines)))  # fmt: skip
        if own or others:
            rows.append((text(run.run_id), text("; ".join(own) or DASH), text("; ".join(others) or DASH), text(name)))
    if not rows:
        return None
    return Table(
        name="differences",
        title="Runs configured otherwise than the first seed of their cell",
        columns=("run", "its lines", "the first seed's lines", "first seed"),
        rows=tuple(rows),
        caption="Seeds, engines, devices and memory aside.",
    )


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
