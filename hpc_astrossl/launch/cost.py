"""What a plan will cost: hours of its tasks' time limits, hours by measured rates, and disk. The latter are estimates.

A rate is images a second and device, of training everything ("all") or a head on kept features ("head"): from the
cluster file, or from the finished runs of the work directory. No run is taken to stop early, so the estimate is high.
"""

import contextlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from hpc_astrossl.launch.plan import Plan, Stage, pack
from hpc_astrossl.specs.jobs import ALL
from hpc_astrossl.specs.run import RunSpec

CONVOLUTIONS = 14_714_688  # parameters of VGG16's convolutions
CHANNELS = 512  # that they end in
FORWARD = 3.0  # images go so much faster through the convolutions alone than through a step of training
KEPT = 5e6  # bytes of predictions, features and cutouts of a run, about
MEASURED = 200  # finished runs that are looked at, at most


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Of one stage. Hours are of a GPU, or of a core where a task gets no GPU."""

    tasks: int
    device: str  # "GPU" or "core"
    limit_hours: float  # if every task went up to its time limit
    hours: float | None  # by measured rates; None without a rate, or when a store is not there yet
    disk_gb: float


def cost(stage: Stage, done: set[str], workdir: Path, rates: Mapping[str, float]) -> Cost:
    """What is left of the stage."""
    items = [item for item in stage.items if item.key not in done]
    works, need = pack(stage, items), stage.resources
    devices = need.nodes * need.gpus or need.world * need.cpus
    runs = [item.run for item in items if item.run is not None]
    hours = [_hours(run, workdir, rates) for run in runs]
    return Cost(
        tasks=len(works),
        device="GPU" if need.gpus else "core",
        limit_hours=len(works) * need.minutes / 60 * devices,
        hours=None if not runs or None in hours else sum(hours) * (1 if need.gpus else need.cpus),
        disk_gb=sum(_bytes(run) for run in runs) / 1e9,
    )


def measured(plan: Plan, workdir: Path) -> dict[str, float]:
    """Rates of the finished runs of the plan's experiment in the work directory; empty when there are none."""
    found: dict[str, list[float]] = {}
    phases = {run.run_id: run.phases for run in plan.runs}
    finished = (workdir / "runs" / plan.experiment).glob("*/result.json")
    for path in [path for path in finished if path.parent.name in phases][:MEASURED]:
        for record in _records(path.with_name("metrics.jsonl")):
            with contextlib.suppress(TypeError, KeyError, IndexError):  # damaged: nothing is measured by it
                kind = phases[path.parent.name][record["phase"]].trains
                found.setdefault(kind, []).append(float(record["samples_per_second"]))
    return {kind: median(values) for kind, values in found.items()}


def _records(path: Path) -> Iterable[dict]:
    if path.is_file():
        for line in path.read_bytes().splitlines():
            with contextlib.suppress(ValueError, RecursionError):
                yield json.loads(line)


def _hours(run: RunSpec, workdir: Path, rates: Mapping[str, float]) -> float | None:
    """Of one device, when every phase lasts to its last epoch; features are made once for each head phase."""
    objects = run.data.train_size or _training_objects(workdir / run.data.store)
    if objects is None or "all" not in rates:
        return None
    seconds = 0.0
    for phase in run.phases:
        if phase.trains == ALL:
            seconds += phase.epochs * objects / rates["all"]
        elif "head" in rates:
            seconds += phase.epochs * objects / rates["head"] + objects / (FORWARD * rates["all"])
        else:
            return None
    return seconds / 3600


def _training_objects(store: Path) -> int | None:
    try:
        attributes = json.loads((store / "zarr.json").read_bytes())["attributes"]
        return int(attributes["counts"]["splits"]["train"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError):  # not there yet; or submit will name the damage
        return None


def _bytes(run: RunSpec) -> float:
    return 4 * (CONVOLUTIONS + CHANNELS * run.model.hidden) + KEPT
