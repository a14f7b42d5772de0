"""Studies on the complete EFIGI set: ``python benchmarks/efigi.py --workdir DIR [--study NAME]``.

``efigi``: ImageNet's frozen features (jobs/efigi.yaml). ``efigi_finetune``: the same weights fine-tuned. ``measured``:
features learnt from unlabelled images by measured properties, beside ImageNet's and random ones. DIR must hold the
EFIGI folder as ``efigi/`` (EFIGI_attributes.txt and the PGC images), for ``measured`` unlabelled images as
``unlabelled/`` (preprocess/unlabelled_images.yaml). Runs ``astrossl submit`` there, which makes what is not made yet,
then collects the results into benchmarks/results/NAME.json and prints a table beside the paper's numbers.
``--collect`` runs nothing.
"""

import argparse
from pathlib import Path

import accuracies

from hpc_astrossl.report.base.published import TABLE_II

EXPERIMENTS = {"efigi": "efigi", "efigi_finetune": "efigi-finetune", "measured": "measured"}  # by recipe


def table(found: list[dict], study: str) -> str:
    """Validation and test accuracy a set and scheme, beside the paper's (validation) and the majority share."""
    rows = ["| set, scheme, labels | majority | the paper (validation) | ours, validation | ours, test | seeds |",
            "|---|---|---|---|---|---|"]  # fmt: skip
    for cell in found:
        size, scheme = cell["train_size"], cell["scheme"]
        same = size is None and not (study == "measured" and scheme.endswith("magnitudes"))
        paper = TABLE_II[cell["set"]].get(scheme) if same else None
        rows.append(
            f"| {cell['set']}, {scheme}, {size or 'all'} | {cell['majority']:.3f} | "
            f"{f'{paper[0]:.3f} ± {paper[1]:.3f}' if paper else '–'} | "
            f"{accuracies.shown(cell['validation'])} | {accuracies.shown(cell['test'])} | {cell['seeds']} |"
        )
    return "\n".join(rows)


def main() -> None:
    """Run, collect, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True, help="where efigi/ lies and stores and runs are made")
    parser.add_argument("--study", choices=EXPERIMENTS, default="efigi", help="which recipe (default: efigi)")
    parser.add_argument("--collect", action="store_true", help="run nothing: collect the runs that are done")
    options = parser.parse_args()
    recipe = f"jobs/{options.study}.yaml"
    accuracies.run(recipe, options.workdir, collect=options.collect)
    done = accuracies.results(options.workdir, EXPERIMENTS[options.study], partly=options.collect)
    found = accuracies.cells(done.runs)
    record = {"recipe": recipe, "runs": accuracies.provenances(done), **accuracies.pretext(done), "cells": found}
    path = accuracies.write(options.study, record, command=f"python benchmarks/efigi.py --study {options.study}")
    print(f"\n{table(found, options.study)}\n\nwritten: {path}")


if __name__ == "__main__":
    main()
