"""Writes run folders as docs/run-folder.md describes them, for tests that read them."""

import json
from pathlib import Path

import numpy as np

from hpc_astrossl import config
from hpc_astrossl.names import PAPER, SCHEMES, resolved
from hpc_astrossl.specs.run import DataSpec, RunSpec

BANDS = ("u", "f378", "f395", "f410", "f430", "g", "f515", "r", "f660", "i", "f861", "z")
CLASSES = {"SG": ("star", "galaxy"), "EF-4": ("elliptical", "spiral", "lenticular", "irregular")}
SURVEYS = {"SG": "simulated", "EF-4": "EFIGI", "pretext": "simulated"}
WEIGHTS = {"none": None, "imagenet": "imagenet-vgg16", "pretext": "run:pretext_pretext_nall_s0-00000000"}


def spec(set_="SG", scheme="scratch", seed=0, size=None, experiment="study", **data) -> RunSpec:
    """A resolved run; keywords go to its DataSpec."""
    source = SCHEMES[scheme].weights if scheme in SCHEMES else "none"
    target = data.pop("target", "magnitudes" if scheme == "pretext" else "classes")
    return resolved(
        RunSpec(
            experiment=experiment,
            set=set_,
            scheme=scheme,
            seed=seed,
            weights=WEIGHTS[source],
            data=DataSpec(store=f"stores/{set_}.zarr", target=target, train_size=size, **data),
        )
    )


def result(run: RunSpec, *, accuracy=0.9, test=None, **change) -> dict:
    """What result.json of that run holds; ``change`` replaces top-level keys."""
    common = {
        "format": "astrossl-run",
        "version": 1,
        "run_id": run.run_id,
        "experiment": run.experiment,
        "set": run.set,
        "scheme": run.scheme,
        "seed": run.seed,
        "train_size": run.data.train_size,
        "target": run.data.target,
        "objects": {"train": run.data.train_size or 800, "validation": 100, "test": 100},
        "epochs": 12,
        "best_epoch": 9,
        "stopped": "patience",
        "engine": {"name": "single", "reason": "one process", "ranks": 1},
        "device": "cpu",
        "loader": "reference",
        "seconds": 90.0,
        "store": {
            "path": run.data.store,
            "name": run.set,
            "survey": SURVEYS.get(run.set, "simulated"),
            "release": "1",
            "counts": {"kept": 1000, "rejected": {"magnitude error above 0.1": 40}},
        },
        "weights": {"name": run.weights, "sha256": None},
        "provenance": {
            "code": {"version": "0.1.0", "commit": "abc"},
            "libraries": {"python": "3.11.2", "torch": "2.14.1"},
            "date": "2026-01-01T00:00:00+00:00",
        },
    }
    regressions = {"magnitudes": _magnitudes, "measured": _measured}
    own = regressions[run.data.target]() if run.data.target in regressions else _classes(run, accuracy, test)
    return {**common, **own, **change}


def _classes(run: RunSpec, accuracy: float, test: float | None) -> dict:
    names = CLASSES.get(run.set, ("a", "b"))
    metrics = {
        split: {"loss": 0.3, "accuracy": value, "balanced_accuracy": value - 0.02, "macro_f1": value - 0.03}
        for split, value in (("validation", accuracy), ("test", accuracy - 0.01 if test is None else test))
    }
    return {
        "metrics": metrics,
        "majority_share": {"validation": 0.56, "test": 0.55},
        "collapsed": False,
        "class_names": list(names),
        "bands": list(BANDS),
    }


def _magnitudes() -> dict:
    by_band = {band: 0.1 + 0.01 * index for index, band in enumerate(BANDS)}
    one = {"loss": 0.005, "mae": 0.005, "mae_magnitudes": 0.15, "mae_by_band": by_band}
    return {"metrics": {"validation": one, "test": one}, "class_names": [], "bands": list(BANDS)}


def _measured() -> dict:
    one = {"loss": 0.05, "mae": 0.05, "mae_by_band": {"log_flux": 0.4, "size": 0.05}}
    return {"metrics": {"validation": one, "test": one}, "class_names": [], "bands": ["log_flux", "size"]}


def write_run(folder: Path, run: RunSpec, *, arrays: bool = False, epochs: int = 12, **change) -> Path:
    """Write a run that is done below the experiment's folder; return its folder."""
    path = begin_run(folder, run, epochs=epochs)
    content = result(run, **change)
    if arrays:
        write_arrays(path, content)
    (path / "result.json").write_text(json.dumps(content))
    return path


def begin_run(folder: Path, run: RunSpec, *, epochs: int = 3, log: str = "epoch 3\n") -> Path:
    """Write a run that has begun and is not done."""
    path = folder / run.run_id
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(config.dump(run))
    lines = [
        {
            "phase": 0,
            "epoch": epoch,
            "train_loss": 0.7 / epoch**0.7,
            "validation_loss": 0.7 / epoch**0.5 + 0.001 * run.seed,
            "learning_rate": 1e-3,
            "seconds": 7.5,
            "samples_per_second": 900.0,
            "data_wait": 0.02,
        }
        for epoch in range(1, epochs + 1)
    ]
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (path / "log").write_text(log)
    return path


def write_plan(folder: Path, planned, skipped=(), reason="no ImageNet weights: run astrossl weights fetch") -> None:
    """Write experiment.json."""

    def row(run: RunSpec) -> dict:
        size = run.data.train_size
        return {"run_id": run.run_id, "set": run.set, "scheme": run.scheme, "seed": run.seed, "train_size": size}

    content = {
        "experiment": "study",
        "planned": [row(run) for run in planned],
        "skipped": [{**row(run), "reason": reason} for run in skipped],
    }
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "experiment.json").write_text(json.dumps(content))


def write_arrays(path: Path, content: dict, *, objects: int = 60) -> None:
    """predictions.npz, features.npz and cutouts.npz: seeded, the same objects for every run of a set."""
    generator = np.random.default_rng([content["seed"], len(content["scheme"]), len(content["set"])])
    ids = np.array([f"{content['set']}-{row:04d}" for row in range(2 * objects)])
    split = np.repeat(["validation", "test"], objects)
    if content["target"] == "measured":
        truth = np.random.default_rng(1).uniform((2, 0), (6, 1), (2 * objects, 2)).astype("float32")
        output = truth + generator.normal(0, 0.05, truth.shape).astype("float32")
        np.savez(path / "predictions.npz", object_id=ids, split=split, truth=truth, output=output)
        return
    if content["target"] == "magnitudes":
        truth = np.random.default_rng(1).uniform(14, 21, (2 * objects, len(BANDS))).astype("float32")
        output = (truth + generator.normal(0, 0.15, truth.shape)).astype("float32")
        truth[3, 0] = np.nan
        error = (0.02 + 0.01 * (truth - 14)).astype("float32")
        np.savez(path / "predictions.npz", object_id=ids, split=split, truth=truth, output=output, uncertainty=error)
        return
    count = len(content["class_names"])
    truth = (np.random.default_rng(2).random(2 * objects) ** 1.5 * count).astype("int16")
    right = generator.random(2 * objects) < content["metrics"]["test"]["accuracy"]
    chosen = np.where(right, truth, (truth + 1) % count)
    output = generator.dirichlet(np.ones(count), 2 * objects) * 0.45
    output[np.arange(2 * objects), chosen] += 0.55
    np.savez(path / "predictions.npz", object_id=ids, split=split, truth=truth, output=output.astype("float32"))
    spread = 1.0 if "magnitudes" in content["scheme"] else 2.5
    centres = np.random.default_rng(3).normal(0, 1, (count, 16))
    features = centres[truth[:objects]] + generator.normal(0, spread, (objects, 16))
    np.savez(path / "features.npz", object_id=ids[:objects], label=truth[:objects], features=features.astype("float32"))
    shown = min(objects, 24)
    np.savez(path / "cutouts.npz", object_id=ids[:shown], images=_cutouts(truth[:shown]))


def _cutouts(labels: np.ndarray, size: int = 32) -> np.ndarray:
    """Blobs that are rounder or flatter by class, M × size × size × 3."""
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    generator = np.random.default_rng(4)
    images = []
    for label in labels:
        flat, angle = 1 + 0.8 * label, generator.uniform(0, np.pi)
        u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        blob = np.exp(-((u**2 / flat + v**2 * flat) / 30))
        image = blob[..., None] * generator.uniform(120, 250, 3) + generator.normal(14, 6, (size, size, 1))
        images.append(np.clip(image, 0, 255))
    return np.array(images).astype("uint8")


def write_study(folder: Path, *, sets=("SG", "EF-4"), seeds=(0, 1), sizes=(100, None), schemes=PAPER) -> None:
    """A whole study: pretext, then every scheme on every set, with predictions, features and cutouts."""
    write_run(folder, spec("pretext", "pretext", 0), arrays=True)
    planned = [spec("pretext", "pretext", 0)]
    for index, (set_, scheme, size, seed) in enumerate(
        (set_, scheme, size, seed) for set_ in sets for scheme in schemes for size in sizes for seed in seeds
    ):
        run = spec(set_, scheme, seed, size)
        planned.append(run)
        level = 0.8 + 0.03 * schemes.index(scheme) - (0.08 if size else 0) - (0.1 if set_ == "EF-4" else 0)
        write_run(folder, run, arrays=True, accuracy=round(level + 0.004 * seed + 0.0007 * index % 0.005, 6))
    write_plan(folder, planned)
