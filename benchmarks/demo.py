"""The demo from nothing, timed, with its accuracies: ``python benchmarks/demo.py``.

Runs ``astrossl demo`` in a new folder and writes benchmarks/results/demo.json: command, version, date, machine, wall
time, peak memory of the largest process, and mean ± sample standard deviation over seeds of every cell. The table in
README.md is printed at the end.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import accuracies

from hpc_astrossl import names


def table(found: list[dict]) -> str:
    """The README's table: test accuracy of each scheme, a row a set and size."""
    rows = [
        "| set, labels | majority | " + " | ".join(names.PAPER) + " |",
        "|---" * (2 + len(names.PAPER)) + "|",
    ]
    for key in dict.fromkeys((cell["set"], cell["train_size"]) for cell in found):
        here = {cell["scheme"]: cell for cell in found if (cell["set"], cell["train_size"]) == key}
        shown = [
            accuracies.shown(here[s]["test"]) + (" †" if here[s]["collapsed"] else "") if s in here else "no weights"
            for s in names.PAPER
        ]
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
    began = time.monotonic()
    accuracies.astrossl("demo", "--out", out)
    seconds = time.monotonic() - began
    runs = accuracies.results(out, "demo").runs
    found = accuracies.cells(runs)
    (pretext,) = [run for run in runs if run["set"] == "pretext"]
    record = {
        "gpu": pretext["device"] != "cpu",
        "seconds": round(seconds),
        "peak_memory_of_one_process_mb": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024,
        "pretext": {split: pretext["metrics"][split]["mae_magnitudes"] for split in ("validation", "test")},
        "cells": found,
    }
    path = accuracies.write("demo", record)
    print(f"\n{table(found)}\n\n{seconds / 60:.1f} min; written: {path}")


if __name__ == "__main__":
    main()
