"""What ``class_weights: inverse`` does to rare classes: ``python benchmarks/class_weights.py --workdir DIR``.

DIR must hold the complete EFIGI folder as ``efigi/``. Runs jobs/class_weights.yaml there, then counts, on the test
objects of all seeds together, how often each class is found (completeness) and right (purity). ``--collect`` runs
nothing.
"""

import argparse
import json
import statistics
from pathlib import Path

import accuracies
import numpy as np

RECIPE, EXPERIMENT = "jobs/class_weights.yaml", "class-weights"


def counts(run: Path, classes: int) -> np.ndarray:
    """Test objects by true class and by the class that is named, (classes, classes)."""
    with np.load(run / "predictions.npz") as found:
        named = found["output"].argmax(axis=1)
        test = found["split"] == "test"
        truth = found["truth"].astype(int)
    return np.histogram2d(truth[test], named[test], bins=(np.arange(classes + 1),) * 2)[0]


def record(workdir: Path) -> list[dict]:
    """A row a set and weighting."""
    groups: dict[str, list[tuple[dict, np.ndarray]]] = {}
    for path in sorted((workdir / "runs" / EXPERIMENT).glob("*/result.json")):
        result = json.loads(path.read_text())
        groups.setdefault(result["set"], []).append((result, counts(path.parent, len(result["class_names"]))))
    return [_row(name, runs) for name, runs in sorted(groups.items())]


def _row(name: str, runs: list[tuple[dict, np.ndarray]]) -> dict:
    together = sum(table for _, table in runs)
    found, named, right = together.sum(axis=1), together.sum(axis=0), np.diag(together)
    balanced = [float((np.diag(table) / table.sum(axis=1)).mean()) for _, table in runs]
    names = runs[0][0]["class_names"]
    return {
        "set": name.removesuffix("-inverse"), "class_weights": "inverse" if name.endswith("-inverse") else "none",
        "seeds": len(runs), "accuracy": accuracies.spread([float(np.trace(t) / t.sum()) for _, t in runs]),
        "balanced_accuracy": {"mean": statistics.mean(balanced), "std": statistics.stdev(balanced)},
        "classes": {one: {"objects": int(found[k] / len(runs)), "completeness": right[k] / found[k],
                          "purity": right[k] / named[k] if named[k] else None} for k, one in enumerate(names)},
    }  # fmt: skip


def _class(name: str, one: dict) -> str:
    purity = "–" if one["purity"] is None else f"{one['purity']:.2f}"
    return f"{name} {one['completeness']:.2f} / {purity} ({one['objects']})"


def table(rows: list[dict]) -> str:
    """For docs/report.md."""
    lines = ["| set | class_weights | accuracy | balanced accuracy | completeness / purity by class (test objects) |",
             "|---|---|---|---|---|"]  # fmt: skip
    for row in rows:
        classes = ", ".join(_class(name, one) for name, one in row["classes"].items())
        lines.append(f"| {row['set']} | {row['class_weights']} | {accuracies.shown(row['accuracy'])} | "
                     f"{accuracies.shown(row['balanced_accuracy'])} | {classes} |")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Run, collect, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, required=True, help="where efigi/ lies and stores and runs are made")
    parser.add_argument("--collect", action="store_true", help="run nothing: collect the runs that are done")
    options = parser.parse_args()
    accuracies.run(RECIPE, options.workdir, collect=options.collect)
    done = accuracies.results(options.workdir, EXPERIMENT)
    rows = record(options.workdir)
    path = accuracies.write("class_weights", {"recipe": RECIPE, "runs": accuracies.provenances(done), "rows": rows},
                            command="python benchmarks/class_weights.py --workdir DIR")  # fmt: skip
    print(f"\n{table(rows)}\n\nwritten: {path}")


if __name__ == "__main__":
    main()
