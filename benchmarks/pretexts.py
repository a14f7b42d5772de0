"""Every pretext on the same images, measured on labelled sets: ``python benchmarks/pretexts.py --workdir DIR``.

Simulates the survey in ``--workdir``, runs ``astrossl submit jobs/pretexts.yaml`` there, and writes
benchmarks/results/pretexts.json: accuracies, leak meters, minutes an epoch. Started again, it goes on where it was;
``--collect`` runs nothing and records what is done.
"""

import argparse
from pathlib import Path
from typing import Any

import accuracies
from simulated import FIELD, table

RECIPE, EXPERIMENT = "jobs/pretexts.yaml", "pretexts"


def own_tasks(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One record a pretext: its kind and switches, its own measure on test objects, what an epoch cost."""
    return [
        {"name": run["set"], "kind": run["target"], "objects": run["objects"]["train"], "epochs": run["epochs"],
         "minutes_an_epoch": round(run["seconds"] / run["epochs"] / 60, 3), "device": run["device"],
         "test": run["metrics"]["test"], "pretext": run.get("pretext", {})}
        for run in runs
        if run["scheme"] == "pretext"
    ]  # fmt: skip


def main() -> None:
    """Simulate, run, collect, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, default=Path("pretexts"), help="default: pretexts")
    parser.add_argument("--fields", type=int, default=8, help="of the survey (default: 8)")
    parser.add_argument("--collect", action="store_true", help="run nothing: collect the runs that are done")
    options = parser.parse_args()
    workdir, survey = options.workdir, ("--fields", str(options.fields), *FIELD)
    if not options.collect and not (workdir / "survey/done").exists():
        accuracies.astrossl("simulate", workdir / "survey", *survey, "--seed", "0")
        (workdir / "survey/done").touch()
    accuracies.run(RECIPE, workdir, collect=options.collect)
    done = accuracies.results(workdir, EXPERIMENT, partly=options.collect)
    found = accuracies.cells(done.runs)
    record = {"recipe": RECIPE, "survey": " ".join(survey), "runs": accuracies.provenances(done),
              "pretexts": own_tasks(done.runs), "cells": found}  # fmt: skip
    path = accuracies.write(EXPERIMENT, record, command=f"python benchmarks/pretexts.py --fields {options.fields}")
    print(f"\n{table(found)}\n\nwritten: {path}")


if __name__ == "__main__":
    main()
