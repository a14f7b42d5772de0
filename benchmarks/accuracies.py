"""Accuracies of finished runs as the benchmarks of whole studies record and print them."""

import json
import os
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpc_astrossl import provenance

BENCHMARKS = Path(__file__).parent
RESULTS = BENCHMARKS / "results"


def astrossl(*arguments: str | Path) -> None:
    """Run one command of ours; CalledProcessError when it fails."""
    subprocess.run([sys.executable, "-m", "hpc_astrossl", *map(str, arguments)], check=True)


def lay_out(workdir: Path) -> None:
    """Copy the recipes into a work directory, so that a study's paths are found below it."""
    for name in ("preprocess", "jobs"):
        shutil.copytree(BENCHMARKS.parent / name, workdir / name, dirs_exist_ok=True)


def run(recipe: str, workdir: Path, *, collect: bool = False) -> None:
    """``astrossl submit`` of a recipe on this machine, below a work directory; nothing with ``collect``."""
    if not collect:
        lay_out(workdir)
        astrossl("submit", workdir / recipe, "--cluster", "local", "--workdir", workdir)


@dataclass(frozen=True)
class Done:
    """What ``result.json`` of the finished runs holds, and how many were planned."""

    runs: list[dict[str, Any]]
    planned: int


def results(workdir: Path, experiment: str, *, partly: bool = False) -> Done:
    """The results of the planned runs, ``partly``: of those that are done; FileNotFoundError when one is missing."""
    folder = workdir / "runs" / experiment
    planned = sorted({run["run_id"] for run in json.loads((folder / "experiment.json").read_text())["planned"]})
    paths = [folder / run_id / "result.json" for run_id in planned]
    return Done([json.loads(path.read_text()) for path in paths if path.exists() or not partly], len(planned))


def pretext(done: Done) -> dict[str, Any]:
    """Objects and test errors of the pretext run, as an entry of a record; none without one."""
    found = [one for one in done.runs if one["target"] != "classes"]
    return {"pretext": {"objects": found[0]["objects"], "test": found[0]["metrics"]["test"]}} if found else {}


def cells(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One record a set, scheme and training size: mean and deviation over seeds of the accuracies."""
    groups: dict[tuple, list[dict]] = {}
    for run in runs:
        if run["target"] == "classes":
            groups.setdefault((run["set"], run["scheme"], run["train_size"]), []).append(run)
    return [
        {"set": name, "scheme": scheme, "train_size": size, "seeds": len(group),
         "collapsed": sum(run["collapsed"] for run in group), "majority": group[0]["majority_share"]["test"],
         **{split: spread([run["metrics"][split]["accuracy"] for run in group]) for split in ("validation", "test")}}
        for (name, scheme, size), group in sorted(groups.items(), key=lambda item: str(item[0]))
    ]  # fmt: skip


def spread(values: list[float]) -> dict[str, float]:
    """Mean and sample standard deviation."""
    return {"mean": statistics.mean(values), "std": statistics.stdev(values) if len(values) > 1 else 0.0}


def shown(value: dict[str, float]) -> str:
    """``0.843 ± 0.012``."""
    return f"{value['mean']:.3f} ± {value['std']:.3f}"


def provenances(done: Done) -> dict[str, Any]:
    """What made the runs: the commits and dates they carry, which may be older than the collecting."""
    runs = done.runs
    codes = {(run["provenance"]["code"]["version"], run["provenance"]["code"]["commit"]) for run in runs}
    dates = sorted(run["provenance"]["date"] for run in runs)
    return {
        "done": len(runs),
        "planned": done.planned,
        "code": [{"version": version, "commit": commit} for version, commit in sorted(codes, key=str)],
        "dates": [dates[0], dates[-1]],
        "devices": sorted({run["device"] for run in runs}),
        "seconds": round(sum(run["seconds"] for run in runs)),
    }


def write(name: str, record: dict[str, Any], *, command: str | None = None) -> Path:
    """``results/<name>.json``: the record after what every result file begins with."""
    path = RESULTS / f"{name}.json"
    RESULTS.mkdir(exist_ok=True)
    head = {
        "command": command or f"python benchmarks/{name}.py",
        **provenance.code(),
        "date": provenance.now(),
        "cores": len(os.sched_getaffinity(0)),
    }
    path.write_text(json.dumps(head | record, indent=1) + "\n")
    return path
