"""Labels picked by ``next.csv`` against labels picked at random: ``python benchmarks/labelling.py EMBEDDING.zarr …``.

A simulation: each embedding holds its true labels, which answer what is asked. Half of the objects, drawn anew for each
repeat, are never asked, and the scores are theirs. From ``--begin`` random labels (two a class or more) each round adds
``--step`` more, by the rule of ``classify`` or at random, until ``--labels``; both begin with the same objects, and all
is repeated ``--repeats`` times. The classifier is logistic regression, which ``classify`` measures too. Writes
benchmarks/results/labelling.json.
"""

import argparse
import json
from pathlib import Path

import accuracies
import numpy as np

from hpc_astrossl.classify import models, upnext
from hpc_astrossl.classify.space import COMPONENTS
from hpc_astrossl.store import embedding


def begin(truth: np.ndarray, count: int, source: np.random.Generator) -> np.ndarray:
    """So many random objects, among them two of each class."""
    order = source.permutation(len(truth))
    two = np.concatenate([order[truth[order] == one][:2] for one in np.unique(truth)])
    return np.concatenate([two, order[~np.isin(order, two)]])[: max(count, len(two))]


def scores(said: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """(accuracy, balanced accuracy)."""
    recalls = [(said[truth == one] == one).mean() for one in np.unique(truth)]
    return float((said == truth).mean()), float(np.mean(recalls))


def course(values: np.ndarray, places: np.ndarray, truth: np.ndarray, pool: np.ndarray, wanted, rule: str) -> list:
    """(labels, accuracy, balanced accuracy) of each round; ``rule`` is next or random.

    ``pool`` (N,) says who may be asked; the scores are of all others, the same objects in every round. Whoever was
    measured on what is left of the pool would see ``next`` take the hard objects away, and call that learning.
    """
    source = np.random.default_rng(int(pool.nonzero()[0].sum()))
    members = np.flatnonzero(pool)
    asked, told = members[begin(truth[members], wanted.begin, source)], []
    classes = int(truth.max()) + 1
    while True:
        model = models.fit_logistic(values[asked], truth[asked], classes, 0)
        chances = models.softmax(model.logits(values))
        free = pool.copy()
        free[asked] = False
        told.append((len(asked), *scores(chances.argmax(axis=1)[~pool], truth[~pool])))
        if len(asked) + wanted.step > wanted.labels:
            return told
        if rule == "random":
            more = source.permutation(np.flatnonzero(free))[: wanted.step]
        else:
            margin = upnext.margins(chances)
            rows = upnext.candidates(margin, free, wanted.step)
            more = rows[upnext.choose(places[rows], margin[rows], wanted.step)]
        asked = np.concatenate([asked, more])


def study(path: Path, wanted) -> dict:
    """Mean and standard deviation over the repeats, by number of labels and rule."""
    found = embedding.read(path)
    known = np.flatnonzero(found.label >= 0)
    values, truth = found.features[known].astype(np.float64), found.label[known].astype(int)
    spread = values.std(axis=0)
    values = ((values - values.mean(axis=0)) / np.where(spread > 0, spread, 1)).astype(np.float32)
    _, _, axes = np.linalg.svd(values[:5000], full_matrices=False)
    places = values @ axes[:COMPONENTS].T
    courses = {"next": [], "random": []}
    for repeat in range(wanted.repeats):
        pool = np.random.default_rng(repeat).permutation(len(truth)) < len(truth) // 2
        for rule, made in courses.items():
            made.append(course(values, places, truth, pool, wanted, rule))
    table = {}
    for rule, made in courses.items():
        steps = np.array(made)
        table[rule] = [
            {"labels": int(steps[0, i, 0]), "accuracy": accuracies.spread(steps[:, i, 1].tolist()),
             "balanced_accuracy": accuracies.spread(steps[:, i, 2].tolist())} for i in range(steps.shape[1])
        ]  # fmt: skip
    counts = np.bincount(truth)
    return {"objects": len(truth), "run": found.about.get("run"), "classes": list(found.class_names),
            "majority": float(counts.max() / len(truth)), "courses": table}  # fmt: skip


def main() -> None:
    """Simulate, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("embeddings", metavar="EMBEDDING", nargs="+", type=Path)
    for name, value in (("begin", 20), ("step", 20), ("labels", 200), ("repeats", 10)):
        parser.add_argument(f"--{name}", type=int, default=value)
    wanted = parser.parse_args()
    record = {path.stem: study(path, wanted) for path in wanted.embeddings}
    print(json.dumps(record, indent=1))
    print(accuracies.write("labelling", record))


if __name__ == "__main__":
    main()
