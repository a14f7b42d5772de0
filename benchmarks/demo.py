"""The demo from nothing, timed, with its accuracies: ``python benchmarks/demo.py``.

Runs ``astrossl demo`` in a new folder and writes benchmarks/results/demo.json: command, version, date, machine, wall
time, peak memory of the largest process, and mean ± sample standard deviation over seeds of every cell. The table in
README.md is printed at the end.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hpc_astrossl import names, provenance

RESULTS = Path(__file__).parent / "results"


def cells(runs: list[dict]) -> list[dict]:
    """One record a set, scheme and training size: mean and deviation over seeds of the accuracies."""
    groups: dict[tuple, list[dict]] = {}
    for run in runs:
        if run["target"] == "classes":
            groups.setdefault((run["set"], run["scheme"], run["train_size"]), []).append(run)
    return [
        {"set": name, "scheme": scheme, "train_size": size, "seeds": len(group),
         "collapsed": sum(run["collapsed"] for run in group), "majority": group[0]["majority_share"]["test"],
         **{split: spread([run["metrics"][split]["accuracy"] for run in group]) for split in ("validation", "test")}}
        for (name, scheme, size), group in sorted(groups.items())
    ]  # fmt: skip


def spread(values: list[float]) -> dict[str, float]:
    """Mean and sample standard deviation."""
    return {"mean": statistics.mean(values), "std": statistics.stdev(values) if len(values) > 1 else 0.0}


def table(found: list[dict]) -> str:
    """The README's table: test accuracy of each scheme, a row a set and size."""
    rows = [
        "| set, labels | majority | " + " | ".join(names.DOWNSTREAM) + " |",
        "|---" * (2 + len(names.DOWNSTREAM)) + "|",
    ]
    for key in dict.fromkeys((cell["set"], cell["train_size"]) for cell in found):
        here = {cell["scheme"]: cell for cell in found if (cell["set"], cell["train_size"]) == key}
        shown = [
            f"{here[s]['test']['mean']:.3f} ± {here[s]['test']['std']:.3f}{' †' if here[s]['collapsed'] else ''}"
            if s in here else "no weights"
            for s in names.DOWNSTREAM
        ]  # fmt: skip
        majority = next(iter(here.values()))["majority"]
        rows.append(f"| {key[0]}, {key[1]} | {majority:.3f} | " + " | ".join(shown) + " |")
    return "\n".join(rows)


def main() -> None:
    """Run, collect, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, help="folder of the demo (default: a temporary one)")
    out = parser.parse_args().out or Path(tempfile.mkdtemp(prefix="astrossl-demo-")) / "demo"
    if out.exists():
        sys.exit(f"{out} exists; the demo is timed from nothing: name a new folder")
    command = [sys.executable, "-m", "hpc_astrossl", "demo", "--out", str(out)]
    began = time.monotonic()
    subprocess.run(command, check=True)
    seconds = time.monotonic() - began
    planned = {run["run_id"] for run in json.loads((out / "runs/demo/experiment.json").read_text())["planned"]}
    runs = [json.loads((out / f"runs/demo/{run_id}/result.json").read_text()) for run_id in sorted(planned)]
    found = cells(runs)
    (pretext,) = [run for run in runs if run["set"] == "pretext"]
    record = {
        "command": "python benchmarks/demo.py",
        **provenance.code(),
        "date": provenance.now(),
        "machine": {"cores": len(os.sched_getaffinity(0)), "gpu": pretext["device"] != "cpu"},
        "seconds": round(seconds),
        "peak_memory_of_one_process_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
        "pretext": {split: pretext["metrics"][split]["mae_magnitudes"] for split in ("validation", "test")},
        "cells": found,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "demo.json").write_text(json.dumps(record, indent=1) + "\n")
    print(f"\n{table(found)}\n\n{seconds / 60:.1f} min; written: {RESULTS / 'demo.json'}")


if __name__ == "__main__":
    main()
