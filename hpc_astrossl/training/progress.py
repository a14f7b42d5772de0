"""The lines a run prints, one an epoch, readable on a terminal and in a log alike."""

from pathlib import Path
from typing import Any

from hpc_astrossl.nets.vgg import emulated
from hpc_astrossl.specs.run import RunSpec

EMULATED = "This processor has no instructions for bfloat16: model.precision=float32 is many times faster here"


def greeting(run: RunSpec, data, engine, saved: dict[str, Any] | None) -> str:
    """The first line: what is trained on what, and where a checkpoint lets it go on."""
    objects = ", ".join(f"{len(rows)} {split}" for split, rows in data.rows.items())
    again = f"; going on after epoch {saved['epoch']}" if saved else ""
    if saved and saved["within"]:
        again += f" and {saved['within']['step']} steps"
    slow = f". {EMULATED}" if emulated(run.model.precision, engine.device) else ""
    return (
        f"{run.run_id}: {objects} objects; weights {run.weights or 'none'}; engine {engine.name} ({engine.reason}), "
        f"{engine.size} rank{'s' if engine.size > 1 else ''} on {engine.device}{again}{slow}"
    )


def line(run: RunSpec, records: list[dict[str, Any]], first: int, headline: str) -> str:
    """An epoch: losses, the target's headline metric, speed, and the most time that the phase can still take."""
    record = records[-1]
    last = first + run.phases[record["phase"]].epochs - 1
    here = records[first - 1 :]
    left = (last - record["epoch"]) * sum(r["seconds"] for r in here) / len(here)
    return (
        f"phase {record['phase'] + 1}/{len(run.phases)}  epoch {record['epoch']}/{last}  "
        f"loss {record['train_loss']:.4f}  validation {record['validation_loss']:.4f}  "
        f"{headline} {record['validation_' + headline]:.4f}  rate {record['learning_rate']:.1e}  "
        f"{record['samples_per_second']:.0f} samples/s  waiting {record['data_wait']:.0%}  at most {span(left)} left"
    )


def farewell(result: dict[str, Any], path: Path, headline: str) -> str:
    """The last line: the headline metric of both splits and where everything lies."""
    metrics = result["metrics"]
    note = ", collapsed: one class for every object" if result.get("collapsed") else ""
    return (
        f"done after {result['epochs']} epochs ({result['stopped']}), best {result['best_epoch']}: {headline} "
        f"validation {metrics['validation'][headline]:.4f}, test {metrics['test'][headline]:.4f}{note}; {path}"
    )


def span(seconds: float) -> str:
    """A time in the unit that fits it."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"
