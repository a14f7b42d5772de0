"""Lists of runs and folders: every run, those that collapsed or failed, what is missing, what could not be used."""

import os
import urllib.parse
from collections.abc import Iterable
from pathlib import Path

from hpc_astrossl.cache import bundled
from hpc_astrossl.report.base import cells as c
from hpc_astrossl.report.base.records import Problem, Run, Study
from hpc_astrossl.report.base.tables import Entry, Table, number, text


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
                text(_weights(run)),
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
        caption="Validation and test: accuracy, or of a pretext task the mean absolute error of its outputs, 0 to 1.",
        numeric=frozenset({3, 4, 6, 7, 8, 9}),
    )


def _weights(run: Run) -> str:
    half = " (half precision)" if bundled(run.weights.sha256) else ""
    return f"{run.weights.name}{half}" if run.weights.name else "from scratch"


def _headline(run: Run, split: str) -> float | None:
    usual = "accuracy" if run.target == "classes" else "mae"
    return run.metric(split, run.pretext.get("headline", usual))


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
