"""Magnitudes against ImageNet and scratch at 100 labels, on a simulated survey: ``python benchmarks/simulated.py``.

Simulates the survey in ``--workdir``, runs ``astrossl submit jobs/simulated.yaml`` there, and writes
benchmarks/results/simulated.json. Started again, it goes on where it was.
"""

import argparse
from pathlib import Path

import accuracies

SURVEY = ("--fields", "8", "--objects", "1600", "--size", "2200")


def table(found: list[dict]) -> str:
    """Accuracy of each scheme at 100 labels."""
    rows = [f"| SG, {found[0]['train_size']} labels | validation | test |", "|---|---|---|"]
    rows += [
        f"| {cell['scheme']} | {accuracies.shown(cell['validation'])} | {accuracies.shown(cell['test'])} |"
        for cell in sorted(found, key=lambda cell: cell["test"]["mean"])
    ]
    return "\n".join(rows)


def main() -> None:
    """Simulate, run, collect, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, default=Path("simulated"), help="default: simulated")
    workdir = parser.parse_args().workdir
    accuracies.lay_out(workdir)
    if not (workdir / "survey/done").exists():
        accuracies.astrossl("simulate", workdir / "survey", *SURVEY, "--seed", "0")
        (workdir / "survey/done").touch()
    accuracies.astrossl("submit", workdir / "jobs/simulated.yaml", "--cluster", "local", "--workdir", workdir)
    runs = accuracies.results(workdir, "simulated")
    (pretext,) = [run for run in runs if run["set"] == "pretext"]
    found = accuracies.cells(runs)
    path = accuracies.write(
        "simulated",
        {
            "survey": " ".join(SURVEY),
            "runs": accuracies.provenances(runs),
            "objects": {"pretext": pretext["objects"], "SG": next(r["objects"] for r in runs if r["set"] == "SG")},
            "pretext_mae_magnitudes": {s: pretext["metrics"][s]["mae_magnitudes"] for s in ("validation", "test")},
            "cells": found,
        },
    )
    print(f"\n{table(found)}\n\nwritten: {path}")


if __name__ == "__main__":
    main()
