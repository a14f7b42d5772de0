"""Read an experiment's run folders into frozen records; what cannot be used is named, not fatal.

docs/run-folder.md is the contract. Only ``result.json``, ``experiment.json`` and, for folders that are not done,
``config.yaml``, ``metrics.jsonl`` and ``log`` are opened here, so that a thousand runs take seconds.
"""

import dataclasses
import json
import re
import typing
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from hpc_astrossl import config, identity
from hpc_astrossl.errors import InputError
from hpc_astrossl.report.base.current import without_outdated
from hpc_astrossl.report.base.records import NOT_STARTED, Pending, Problem, Run, Study
from hpc_astrossl.specs.run import RunSpec

FORMAT, VERSION = "astrossl-run", 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_LOG_TAIL = 4096  # bytes of a log read for its last line


def find_experiment(experiment: str, workdir: Path) -> Path:
    """The folder of an experiment: ``<workdir>/runs/<name>``, or the path of such a folder."""
    named = workdir / "runs" / experiment
    for folder in (named, Path(experiment)):
        if folder.is_dir():
            return folder
    known = sorted(entry.name for entry in (workdir / "runs").glob("*") if entry.is_dir())
    there = f"; experiments there: {', '.join(known)}" if known else ""
    raise InputError(
        f"no experiment {experiment!r}: neither {named} nor {experiment} is a folder{there}. "
        "Give a name below <workdir>/runs (--workdir) or the path of an experiment's folder"
    )


def read_study(folder: Path) -> Study:
    """Read all run folders below ``folder``. InputError when not one run is done or begun."""
    problems: list[Problem] = []
    plan = _read_plan(folder / "experiment.json", problems)
    done: list[Run] = []
    begun: list[Pending] = []
    for entry in sorted(folder.iterdir()):
        if not entry.is_dir() or entry.name.startswith("."):
            continue
        try:
            if (entry / "result.json").exists():
                done.append(_read_run(entry))
            else:
                begun.append(_read_begun(entry))
        except InputError as error:
            problems.append(Problem(name=entry.name, reason=str(error).replace(f"{entry}/", "")))
    planned, skipped = plan.get("planned", []), plan.get("skipped", [])
    names = Counter(run.experiment for run in done)
    experiment = plan.get("experiment") or (names.most_common(1)[0][0] if names else folder.resolve().name)
    kept = _without_foreign(done, experiment, problems)
    slots = {_slot(one): one.run_id for one in planned}
    kept = without_outdated(_one_a_slot(kept, _ids(planned), slots, problems), folder, problems)
    begun = _without_abandoned(begun, _ids(planned), slots, problems)
    if not kept and all(one.state == NOT_STARTED for one in begun):
        raise InputError(_nothing(folder, len(planned), problems))
    return Study(
        experiment=experiment,
        folder=folder,
        runs=tuple(sorted(kept, key=lambda run: run.run_id)),
        pending=tuple(_pending(planned, begun, kept) + [one for one in skipped if one.run_id not in _ids(kept)]),
        problems=tuple(problems),
        planned=len(_ids(planned)) if plan else None,
        unplanned=len(_ids(kept) - _ids(planned)) if plan else 0,
    )


def _nothing(folder: Path, planned: int, problems: list[Problem]) -> str:
    more = f" ({planned} are planned)" if planned else ""
    found = "".join(f"\n  {problem.name}: {problem.reason}" for problem in problems[:3])
    return (
        f"{folder}: no run there is done or begun{more}; a report reads run folders with a result.json. "
        f"Run the experiment first, or look at astrossl status {folder.name}{found}"
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:  # ValueError: not UTF-8, or not JSON
        raise InputError(f"{path.name} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(data, dict):
        raise InputError(f"{path.name} holds {type(data).__name__}, expected an object of keys and values")
    return data


def _known(data: Any, cls: type) -> Any:
    """``data`` without the keys that ``cls`` does not have: later programs may write more than this one reads."""
    if not isinstance(data, dict):
        return data
    hints = typing.get_type_hints(cls)
    kept = {key: value for key, value in data.items() if key in hints}
    return {key: _inside(value, hints[key]) for key, value in kept.items()}


def _inside(value: Any, hint: Any) -> Any:
    """``_known`` of a record, or of each of a tuple of records."""
    inner = typing.get_args(hint)[0] if typing.get_origin(hint) is tuple else hint
    if not dataclasses.is_dataclass(inner):
        return value
    return (
        [_known(one, inner) for one in value] if inner is not hint and isinstance(value, list) else _known(value, inner)
    )


def _read_run(folder: Path) -> Run:
    data = _read_json(folder / "result.json")
    if data.get("format") != FORMAT:
        raise InputError(f"result.json is not of a run (format {data.get('format')!r}, expected {FORMAT!r})")
    if data.get("version") != VERSION:
        raise InputError(f"result.json has version {data.get('version')!r}, this program reads version {VERSION}")
    run = config.parse(_known(data, Run) | {"folder": folder}, Run, "result.json")
    if run.files.get(identity.RESULT) not in (None, identity.seal(data)):
        raise InputError(
            "result.json was edited after the run; left out; put it back as it was, or train the run again"
        )
    for key in ("set", "scheme"):
        if not _NAME.fullmatch(getattr(run, key)):
            raise InputError(f"result.json: {key} {getattr(run, key)!r} is not a name (letters, digits, '_', '-', '.')")
    if run.run_id != folder.name:
        raise InputError(f"a copy or a renamed folder: its result.json is of run {run.run_id}; left out")
    return run


def _read_begun(folder: Path) -> Pending:
    if not (folder / "config.yaml").exists():
        raise InputError("not a run folder: neither result.json nor config.yaml is there")
    spec = config.load(folder / "config.yaml", RunSpec)
    try:
        epochs = (folder / "metrics.jsonl").read_bytes().count(b"\n")
    except OSError:
        epochs = 0
    begun = epochs > 0 or (folder / "log").exists()  # submitting a run writes its config.yaml alone
    return Pending(
        run_id=folder.name,
        set=spec.set,
        scheme=spec.scheme,
        seed=spec.seed,
        train_size=spec.data.train_size,
        control="" if spec.data.control == "none" else spec.data.control,
        state=f"not finished, {epochs} epoch{'' if epochs == 1 else 's'} so far" if begun else NOT_STARTED,
        log=_last_line(folder / "log"),
    )


def _last_line(path: Path) -> str:
    try:
        with path.open("rb") as stream:
            stream.seek(max(0, path.stat().st_size - _LOG_TAIL))
            lines = stream.read().decode("utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    filled = [line.strip() for line in lines if line.strip()]
    return filled[-1][:300] if filled else ""


def _read_plan(path: Path, problems: list[Problem]) -> dict[str, Any]:
    """The plan with ``planned`` and ``skipped`` as lists of Pending; empty when there is none to be read."""
    if not path.exists():
        return {}
    try:
        data = _read_json(path)
        lists = {key: data.get(key, []) for key in ("planned", "skipped")}
        for key, items in lists.items():
            if not isinstance(items, list):
                raise InputError(f"{path.name}: {key} holds {type(items).__name__}, expected a list")
        planned = [config.parse(_known(item, Pending), Pending, path.name) for item in lists["planned"]]
        skipped = [_read_skipped(item, path.name) for item in lists["skipped"]]
    except InputError as error:
        problems.append(Problem(name=path.name, reason=f"{error}; what was planned is not known"))
        return {}
    return {"experiment": data.get("experiment"), "planned": planned, "skipped": skipped}


def _read_skipped(item: Any, where: str) -> Pending:
    reason = item.get("reason", "no reason given") if isinstance(item, dict) else ""
    one = config.parse(_known(item, Pending), Pending, where)
    return dataclasses.replace(one, state=f"skipped: {reason}", skipped=True)


def _ids(records: Iterable[Run | Pending]) -> set[str]:
    return {record.run_id for record in records}


def _slot(one: Run | Pending) -> tuple[str, str, int | None, int]:
    return one.set, one.scheme, one.train_size, one.seed


def _pending(planned: list[Pending], begun: list[Pending], done: list[Run]) -> list[Pending]:
    """What is not done: begun runs as they stand, then planned runs without a folder."""
    finished = _ids(done)
    begun = [one for one in begun if one.run_id not in finished]
    return begun + [one for one in planned if one.run_id not in finished | _ids(begun)]


def _without_abandoned(begun: list[Pending], planned: set[str], slots: dict, problems: list[Problem]) -> list[Pending]:
    """Without the runs that were begun before the recipe changed and are planned with another configuration now."""
    kept = []
    for one in begun:
        if one.run_id in planned or _slot(one) not in slots:
            kept.append(one)
        else:
            reason = f"begun with another configuration; experiment.json plans {slots[_slot(one)]} instead; left out"
            problems.append(Problem(name=one.run_id, reason=reason))
    return kept


def _without_foreign(runs: list[Run], experiment: str, problems: list[Problem]) -> list[Run]:
    kept = []
    for run in runs:
        if run.experiment == experiment:
            kept.append(run)
        else:
            reason = f"foreign: a run of experiment {run.experiment!r}, not {experiment!r}; left out"
            problems.append(Problem(name=run.folder.name, reason=reason))
    return kept


def _one_a_slot(runs: list[Run], planned: set[str], plan: dict, problems: list[Problem]) -> list[Run]:
    """One run a set, scheme, size and seed: the planned one, or without a plan the newest; others are named."""
    slots: dict[tuple, list[Run]] = {}
    for run in runs:
        slots.setdefault(run.slot, []).append(run)
    kept = []
    for slot, candidates in slots.items():
        chosen = [run for run in candidates if run.run_id in planned]
        if not chosen and slot not in plan:
            chosen = candidates
        chosen = sorted(chosen, key=lambda run: (run.date, run.run_id))[-1:]
        instead = chosen[0].run_id if chosen else plan[slot]
        why = "experiment.json plans" if slot in plan else "newer is"
        for run in candidates:
            if run not in chosen:
                reason = f"duplicate: same set, scheme, size and seed, other configuration; {why} {instead}; left out"
                problems.append(Problem(name=run.folder.name, reason=reason))
        kept += chosen
    return kept
