"""What a finished run leaves behind: weights, predictions, features, cutouts, and last of all ``result.json``."""

import hashlib
import json
from functools import reduce
from operator import or_
from typing import Any

import numpy as np
from safetensors.torch import save
from torch import Tensor

from hpc_astrossl import provenance
from hpc_astrossl.identity import OBJECTS
from hpc_astrossl.specs.run import RunSpec
from hpc_astrossl.store import sweep
from hpc_astrossl.store.display import displayed
from hpc_astrossl.training.data import Data, Source
from hpc_astrossl.training.folder import FORMAT, VERSION, WEIGHTS, RunFolder
from hpc_astrossl.training.leakage import columns

Digests = dict[str, str]  # SHA-256 of files that were written, by name
FEATURES, CUTOUTS, MISTAKES = 2000, 64, 32  # validation objects; of the cutouts, those most confidently wrong


def write_weights(folder: RunFolder, weights: dict[str, Tensor], run: RunSpec) -> Digests:
    """``weights.safetensors``: convolutions and head by parameter name. The format itself has no checksum."""
    about = {"run_id": run.run_id, "scaling": run.data.scaling, "store": run.data.store}
    # In one entry: safetensors puts several in any order, and equal weights should be equal files.
    kept = {name: tensor for name, tensor in weights.items() if name.startswith(("features.", "head."))}
    data = save(kept, metadata={FORMAT: json.dumps(about)})
    folder.write(WEIGHTS, data)
    return {WEIGHTS: hashlib.sha256(data).hexdigest()}


def write_predictions(folder: RunFolder, data: Data, answers: dict[str, np.ndarray]) -> Digests:
    """``predictions.npz``: truth and answer of each validation and test object, rows ascending within a split."""
    rows = np.concatenate([np.asarray(data.rows[split]) for split in answers])
    return folder.write_arrays(
        "predictions.npz",
        object_id=_ids(data, rows),
        split=np.concatenate([np.full(len(answer), split) for split, answer in answers.items()]),
        truth=data.truth[rows],
        output=np.concatenate(list(answers.values())),
        **data.target.uncertainty(data.store.table, rows),
    )


def write_objects(folder: RunFolder, data: Data) -> Digests:
    """``objects.npz``: ids and positions of all objects that the run has read, in row order."""
    return folder.write_columns(OBJECTS, columns(data.store, reduce(or_, data.rows.values())))


def write_samples(folder: RunFolder, data: Data, features: np.ndarray, answer: np.ndarray) -> Digests:
    """``features.npz`` and ``cutouts.npz`` of validation objects; ``features`` (N, 512) and ``answer`` of them all."""
    rows, table = np.asarray(data.rows["validation"]), data.store.table
    some = _spread(len(rows), FEATURES)
    digests = folder.write_arrays(
        "features.npz",
        object_id=_ids(data, rows[some]),
        label=sweep.taken(table, "label", rows[some]),
        features=features[some],
    )
    wrong = _mistakes(data.truth[rows], answer)[:MISTAKES]
    others = np.setdiff1d(np.arange(len(rows)), wrong)
    few = rows[np.concatenate([wrong, others[_spread(len(others), CUTOUTS - len(wrong))]])]
    if folder.writes:
        images = displayed(data.store.images(few), data.store.info.channels)
        digests |= folder.write_arrays("cutouts.npz", object_id=_ids(data, few), images=images)
    return digests


def summary(
    run: RunSpec, data: Data, source: Source, *, metrics: dict[str, Any], answers: dict[str, np.ndarray]
) -> dict[str, Any]:
    """``result.json`` without what only the training itself knows (epochs, engine, seconds)."""
    info = data.store.info
    truths = {split: data.truth[np.asarray(data.rows[split])] for split in answers}
    return {
        "format": FORMAT, "version": VERSION,
        "run_id": run.run_id, "experiment": run.experiment, "set": run.set, "scheme": run.scheme, "seed": run.seed,
        "train_size": run.data.train_size, "target": run.data.target,
        "control": "" if run.data.control == "none" else run.data.control,
        "objects": {split: len(rows) for split, rows in data.rows.items()},
        "metrics": metrics,
        **data.target.shares(answers, truths),
        "class_names": list(info.class_names), "bands": list(getattr(data.target, "bands", info.bands)),
        "store": {"path": run.data.store, "name": info.name, "survey": info.survey, "release": info.release,
                  "sha256": data.store.identity, "images": _making(data), "channels": list(info.channels),
                  "counts": info.counts, "statistics": info.statistics},
        "weights": {"name": source.name, "sha256": source.sha256}, "leakage": list(source.leakage),
        "lineage": list(source.lineage),
        "provenance": {"code": provenance.code(), "libraries": provenance.libraries(), "date": provenance.now()},
    }  # fmt: skip


def _ids(data: Data, rows: np.ndarray) -> np.ndarray:
    """The ids of these rows, as wide as the longest of the store."""
    return sweep.taken(data.store.table, "object_id", rows).astype(data.store.table.id_type)


def _making(data: Data) -> dict[str, Any]:
    """How the images were made, for whoever applies the network to others."""
    made = data.store.info.making()
    return made.record() if made else {}


def _mistakes(truth: np.ndarray, answer: np.ndarray) -> np.ndarray:
    """Places of the objects with a wrong class, the most confident first; none for magnitudes."""
    if truth.ndim != 1:
        return np.empty(0, dtype=np.int64)
    wrong = np.flatnonzero(answer.argmax(axis=1) != truth)
    return wrong[np.argsort(-answer[wrong].max(axis=1), kind="stable")]


def _spread(total: int, most: int) -> np.ndarray:
    """Up to ``most`` places spread evenly over ``total``."""
    return np.unique(np.linspace(0, total - 1, min(total, most)).round().astype(np.int64))
