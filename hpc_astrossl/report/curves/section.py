"""Learning curves: a panel a scheme on the page, and those of any run on demand."""

import hashlib
import json
import math

from hpc_astrossl.errors import InputError
from hpc_astrossl.report.base import cells as c
from hpc_astrossl.report.base.desk import Desk, Section
from hpc_astrossl.report.base.records import Run
from hpc_astrossl.report.curves import figures

_MOST_CURVES = 60  # runs drawn in a figure, a set
_MOST_POINTS = 100  # epochs kept of a run that the page draws on demand
Lines = list[dict[str, float]]


def curves(desk: Desk) -> Section | None:
    """Loss against epoch of every run that is done."""
    read = {run.run_id: found for run in desk.study.runs if (found := desk.attempt(run, metrics))}
    if not read:
        return None
    section = Section(
        anchor="curves",
        title="Learning curves",
        lead="Loss against epoch at the largest training size, one line a seed: validation solid, training dotted.",
    )
    parts = (desk.classes, desk.controls, desk.pretext)
    for set_, table in ((name, part) for part in parts for name in c.sets_of(part)):
        size = c.main_size(table, set_)
        schemes = [
            scheme for scheme in dict.fromkeys([*c.schemes_of(table), "pretext"]) if (set_, scheme, size) in table
        ]
        drawn = {}
        for scheme in schemes:
            runs = c.get(table, set_, scheme, size).runs[: _MOST_CURVES // len(schemes)]
            lines = [read[run.run_id] for run in runs if run.run_id in read]
            if lines:
                drawn[scheme] = lines
        if drawn:
            section.drawings.append(desk.draw(f"learning_{set_}", figures.learning_curves, drawn, title=set_))
    section.curves = [{"run": name, **_columns(lines)} for name, lines in read.items()]
    return section


def metrics(run: Run) -> Lines:
    """The lines of ``metrics.jsonl``; InputError when it is missing, damaged, or another run's."""
    try:
        data = (run.folder / "metrics.jsonl").read_bytes()
        if (digest := run.files.get("metrics.jsonl")) and hashlib.sha256(data).hexdigest() != digest:
            raise ValueError("it is not the file that its run wrote")
        lines = [json.loads(line) for line in data.decode().splitlines()]
        return [{key: float(line[key]) for key in ("epoch", "train_loss", "validation_loss")} for line in lines]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"metrics.jsonl cannot be read: {error!r}") from None


def _columns(lines: Lines) -> dict[str, list[float | None]]:
    """Epochs and losses to four digits, the last epoch always among them; what is not finite becomes null."""
    step = -(-len(lines) // _MOST_POINTS)
    kept = lines[::-1][::step][::-1]

    def column(key: str) -> list[float | None]:
        return [float(f"{line[key]:.4g}") if math.isfinite(line[key]) else None for line in kept]

    return {"epoch": column("epoch"), "train": column("train_loss"), "validation": column("validation_loss")}
