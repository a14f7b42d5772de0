"""The verbs status, logs and cancel: an experiment that has been submitted."""

import json
import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from hpc_astrossl.cli import add_verb
from hpc_astrossl.cli.screen import table
from hpc_astrossl.terminal import CLEAR_SCREEN, control

SHOWN = 20  # failures and reasons printed in full
WORKDIR = "the work directory, which paths in recipes are relative to (default: here)"


def add(verbs) -> None:
    """Add this module's verbs."""
    status = add_verb(
        verbs, "status", about="show how far an experiment is", handler=_status, example="astrossl status demo --watch",
    )  # fmt: skip
    status.add_argument(
        "experiment", metavar="EXPERIMENT", nargs="?", help="its name, a folder in runs/; default: list the experiments"
    )
    status.add_argument("--json", action="store_true", help="print JSON")
    status.add_argument(
        "--watch", metavar="SECONDS", type=float, nargs="?", const=10.0,
        help="show it again every so many seconds (default 10), until nothing is queued or running",
    )  # fmt: skip
    logs = add_verb(
        verbs, "logs", about="print what a run or another task has printed", handler=_logs,
        example="astrossl logs SG_scratch_n100_s0-1f2e3d4c",
    )  # fmt: skip
    logs.add_argument(
        "run", metavar="RUN", help="a run id or the beginning of one, a store's path, or EXPERIMENT/report"
    )
    logs.add_argument("--lines", metavar="N", type=int, default=40, help="the last N lines of each log (default: 40)")
    cancel = add_verb(
        verbs, "cancel", about="end the queued and running tasks of an experiment", handler=_cancel,
        example="astrossl cancel demo",
    )  # fmt: skip
    cancel.add_argument("experiment", metavar="EXPERIMENT", help="its name, a folder in runs/")
    for verb in (status, logs, cancel):
        verb.add_argument("--workdir", metavar="DIR", type=Path, default=Path(), help=WORKDIR)


def _status(arguments: Namespace) -> None:
    from hpc_astrossl.launch.status import Picture

    if arguments.experiment is None:
        _list(arguments)
        return
    while True:
        picture = Picture(arguments.experiment, arguments.workdir)
        rows = picture.rows()
        if arguments.watch is not None and sys.stdout.isatty():
            control(sys.stdout, CLEAR_SCREEN)
        _show(arguments, rows, picture.unasked)
        if arguments.watch is None or not any(row.state in ("queued", "running", "unknown") for row in rows):
            return
        time.sleep(arguments.watch)


def _list(arguments: Namespace) -> None:
    """The experiments of the work directory, each with its number of finished and planned runs."""
    found = []
    for folder in sorted(path for path in (arguments.workdir / "runs").glob("*") if path.is_dir()):
        done = sum(1 for _ in folder.glob("*/result.json"))
        try:
            planned = len(json.loads((folder / "experiment.json").read_bytes())["planned"])
        except (OSError, ValueError, KeyError, TypeError):
            planned = None
        found.append({"experiment": folder.name, "done": done, "planned": planned})
    if arguments.json:
        print(json.dumps(found))
    elif found:
        body = [[one["experiment"], str(one["done"]), str(one["planned"] or "-")] for one in found]
        print(table(["experiment", "done", "planned"], body))
    else:
        print(f"no experiment in {arguments.workdir / 'runs'}; astrossl submit begins one")


def _show(arguments: Namespace, rows: Sequence, unasked: str | None) -> None:
    from dataclasses import asdict

    from hpc_astrossl.launch import current, status

    counts = status.summary(rows)
    if arguments.json:
        whole = {"experiment": arguments.experiment, "stages": counts, "items": [asdict(row) for row in rows]}
        print(json.dumps(whole | {"slurm": unasked or "asked"}), flush=True)
        return
    states = [state for state in status.STATES if any(count[state] for count in counts.values())]
    body = [[stage, *(str(count[state] or "-") for state in states)] for stage, count in counts.items()]
    print(table(["stage", *states], body))
    now = time.time()
    for row in [row for row in rows if row.state == "running"][:SHOWN]:
        where = f", {row.reason}" if row.reason else ""
        print(f"running  {row.key}: {_progress(row, now)} (job {row.job}{_nth(row)}{where})")
    for row in [row for row in rows if row.state == "queued" and row.reason][:SHOWN]:
        print(f"queued   {row.key}: {row.reason} (job {row.job}{_nth(row)})")
    for row in [row for row in rows if row.state in ("unknown", "failed", "stopped", status.OUTDATED)][:SHOWN]:
        print(f"{row.state:<8} {row.key}: {row.reason or 'begun, and not going on'}")
    if any(row.state == status.OUTDATED for row in rows):
        print("what is out of date is made again by astrossl submit … --remake")
    for line in current.unmarked_words(row.key for row in rows if row.state == "done" and row.reason):
        print(f"done     {line}")
    tell_reasons([(row.key, row.reason) for row in rows if row.state == "skipped"])
    if unasked:
        print(f"Slurm could not be asked, so it is not known what is queued or running: {unasked}")
    sys.stdout.flush()


def _progress(row, now: float) -> str:
    if row.epoch is None:
        return "begun"
    left = f", this phase at most {duration(row.left)} more" if row.left else ""
    return f"epoch {row.epoch} of at most {row.epochs}{left}, last heard of {duration(now - row.seen)} ago"


def _nth(row) -> str:
    return f", start {row.starts}" if row.starts > 1 else ""


def duration(seconds: float) -> str:
    """Seconds as people say them: 40 s, 12 min, 3.5 h."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _logs(arguments: Namespace) -> None:
    from hpc_astrossl.launch.logs import find, tail

    found = [(path, tail(path, arguments.lines)) for path in find(arguments.run, arguments.workdir)]
    for place, (path, text) in enumerate(found):
        others = [other for index, (_, other) in enumerate(found) if index > place or (index < place and other != text)]
        if text and any(text in other for other in others):
            continue  # a task's log holds what its run has written
        print(f"==> {path} <==")
        print(text)


def _cancel(arguments: Namespace) -> None:
    from hpc_astrossl.launch.cancel import cancel
    from hpc_astrossl.launch.status import read_experiment

    read_experiment(arguments.experiment, arguments.workdir)
    ended = cancel(arguments.experiment, arguments.workdir)
    print(f"cancelled {', '.join(ended)}" if ended else f"{arguments.experiment}: nothing is queued or running")


def tell_reasons(pairs: Sequence[tuple[str, str]]) -> None:
    """One line a reason, with the number of runs it takes out."""
    reasons: Mapping[str, list[str]] = {}
    for key, reason in pairs:
        reasons.setdefault(reason, []).append(key)
    for reason, keys in reasons.items():
        print(f"skipped  {len(keys)} runs ({keys[0]}{', …' if len(keys) > 1 else ''}): {reason}")
