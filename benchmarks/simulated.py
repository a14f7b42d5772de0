"""Magnitudes against ImageNet and scratch on a simulated survey: ``python benchmarks/simulated.py [--study NAME]``.

Simulates the survey in ``--workdir``, runs ``astrossl submit jobs/NAME.yaml`` there, and writes
benchmarks/results/NAME.json. ``simulated`` has three schemes at 100 labels, ``lowdata_simulated`` the whole low-data
curve with the same pretext run. Started again, it goes on where it was; ``--collect`` runs nothing.
"""

import argparse
from pathlib import Path

import accuracies

FIELD = ("--objects", "1600", "--size", "2200")


def table(found: list[dict]) -> str:
    """Test accuracy: a row a set and number of labels, a column a scheme."""
    schemes = list(dict.fromkeys(cell["scheme"] for cell in found))
    places = sorted({(cell["set"], cell["train_size"]) for cell in found})
    by_place = {(cell["set"], cell["train_size"], cell["scheme"]): cell for cell in found}
    rows = ["| test accuracy | " + " | ".join(schemes) + " |", "|---" * (1 + len(schemes)) + "|"]
    for set_, size in places:
        cells = (by_place.get((set_, size, scheme)) for scheme in schemes)
        shown = (f"{accuracies.shown(cell['test'])} ({cell['seeds']})" if cell else "–" for cell in cells)
        rows.append(f"| {set_}, {size} labels | " + " | ".join(shown) + " |")
    return "\n".join(rows)


def main() -> None:
    """Simulate, run, collect, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, default=Path("simulated"), help="default: simulated")
    parser.add_argument("--study", choices=("simulated", "lowdata_simulated"), default="simulated")
    parser.add_argument("--fields", type=int, default=32, help="of the survey (default: 32)")
    parser.add_argument("--collect", action="store_true", help="run nothing: collect the runs that are done")
    options = parser.parse_args()
    workdir, recipe = options.workdir, f"jobs/{options.study}.yaml"
    survey = ("--fields", str(options.fields), *FIELD)
    if not options.collect and not (workdir / "survey/done").exists():
        accuracies.astrossl("simulate", workdir / "survey", *survey, "--seed", "0")
        (workdir / "survey/done").touch()
    accuracies.run(recipe, workdir, collect=options.collect)
    done = accuracies.results(workdir, "simulated", partly=options.collect)
    found = accuracies.cells(done.runs)
    record = {"recipe": recipe, "survey": " ".join(survey), "runs": accuracies.provenances(done),
              **accuracies.pretext(done), "cells": found}  # fmt: skip
    command = f"python benchmarks/simulated.py --study {options.study} --fields {options.fields}"
    path = accuracies.write(options.study, record, command=command)
    print(f"\n{table(found)}\n\nwritten: {path}")


if __name__ == "__main__":
    main()
