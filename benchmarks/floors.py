"""A floor under every network: the seven nearest training objects, pixel by pixel, vote."""

from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl import provenance
from hpc_astrossl.report.base.statistics import shares
from hpc_astrossl.specs.run import RunSpec
from hpc_astrossl.training.data import open_data

NEIGHBOURS = 7
SCHEME = "pixel-7nn"


def name(run: RunSpec) -> str:
    """The floor's own id, of the set, size and seed of a run."""
    size = "all" if run.data.train_size is None else run.data.train_size
    return f"{run.experiment}_{run.set}_{SCHEME}_n{size}_s{run.seed}"


def distances(test: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Squared distances (T, N) of images as rows of float32 numbers."""
    return (test**2).sum(axis=1)[:, None] - 2 * test @ train.T + (train**2).sum(axis=1)


def vote(near: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
    """The commonest class (T,) among the ``NEIGHBOURS`` nearest of (T, N); of several that of the nearest member."""
    order = np.argsort(near, axis=1, kind="stable")[:, :NEIGHBOURS]
    votes = np.stack([(labels[order] == one).sum(axis=1) for one in range(classes)], axis=1)
    first = np.stack([(labels[order] == one).argmax(axis=1) for one in range(classes)], axis=1)
    return np.lexsort(np.stack([first, -votes]), axis=1)[:, 0]


def neighbours(run: RunSpec, workdir: Path) -> dict[str, Any]:
    """The floor's row of the record for the objects of a run: its own training subset, the store's test objects."""
    data = open_data(run, workdir)
    train, test = (data.store.images(data.rows[split]).reshape(len(data.rows[split]), -1).astype(np.float32)
                   for split in ("train", "test"))  # fmt: skip
    rows = {name: np.asarray(own) for name, own in data.rows.items()}
    truth, classes = data.truth[rows["test"]], len(data.store.info.class_names)
    said = vote(distances(test, train), data.truth[rows["train"]], classes)
    found = {metric: float(shares(metric, truth, said, classes).mean()) for metric in ("accuracy", "balanced_accuracy")}
    return {"set": run.set, "scheme": SCHEME, "seed": run.seed, "size": run.data.train_size, "target": "classes",
            "control": "", "objects": {split: len(rows) for split, rows in data.rows.items()}, "device": "cpu",
            "commit": provenance.code()["commit"], "date": provenance.now(), "test": found,
            "majority": float(np.bincount(truth).max() / len(truth)),
            "right": np.packbits(said == truth).tobytes().hex()}  # fmt: skip
