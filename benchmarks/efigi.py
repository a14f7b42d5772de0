"""ImageNet's frozen features on the complete EFIGI set: ``python benchmarks/efigi.py --workdir DIR``.

DIR must hold the EFIGI folder as ``efigi/`` (EFIGI_attributes.txt and the PGC images). Runs ``astrossl submit
jobs/efigi.yaml`` there, which makes what is not made yet, then collects the nine results into
benchmarks/results/efigi.json and prints the table of README.md beside the paper's numbers.
"""

import argparse
from pathlib import Path

import accuracies

from hpc_astrossl.report.published import TABLE_II

SCHEME = "features-imagenet"


def table(found: list[dict]) -> str:
    """Validation and test accuracy a set, beside the paper's (validation) and the majority share."""
    rows = ["| set | majority | the paper (validation) | ours, validation | ours, test |", "|---|---|---|---|---|"]
    for cell in found:
        mean, deviation = TABLE_II[cell["set"]][SCHEME]
        rows.append(
            f"| {cell['set']} | {cell['majority']:.3f} | {mean:.3f} ± {deviation:.3f} | "
            f"{accuracies.shown(cell['validation'])} | {accuracies.shown(cell['test'])} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Run, collect, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True, help="where efigi/ lies and stores and runs are made")
    workdir = parser.parse_args().workdir
    accuracies.lay_out(workdir)
    accuracies.astrossl("submit", workdir / "jobs/efigi.yaml", "--cluster", "local", "--workdir", workdir)
    runs = accuracies.results(workdir, "efigi")
    found = accuracies.cells(runs)
    path = accuracies.write("efigi", {"runs": accuracies.provenances(runs), "cells": found})
    print(f"\n{table(found)}\n\nwritten: {path}")


if __name__ == "__main__":
    main()
