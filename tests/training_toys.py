"""Small stores and runs that the tests of nets, targets and training share: dark red and bright blue squares."""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

from hpc_astrossl import provenance
from hpc_astrossl.specs.run import DataSpec, ModelSpec, PhaseSpec, RunSpec
from hpc_astrossl.store import StoreInfo, create

HEAD = PhaseSpec(trains="head", optimizer="adam", learning_rate=1e-3, epochs=3)
ALL = PhaseSpec(trains="all", optimizer="sgd", learning_rate=1e-3, epochs=2)
BANDS = ("g", "r", "i")
BRIEF = """\
overrides:
  all:
    data: {batch_size: 8}
    model: {hidden: 16}
    phases:
      - {trains: head, optimizer: adam, learning_rate: 1e-3, epochs: 2}
"""  # for recipes of experiments: every run takes seconds


def make_store(
    path: Path, *, objects: int = 48, seed: int = 0, prefix: str = "T", ra: float = 10.0, statistics: dict | None = None
) -> Path:
    """A labelled store with magnitudes: class 1 is blue and bright, and bright objects have small magnitudes.

    A sixth each of the objects is for validation and test. Positions are a degree apart, from ``ra`` on.
    """
    source = np.random.default_rng(seed)
    label = (np.arange(objects) % 2).astype(np.int16)
    level = np.where(label == 1, 170, 60) + source.integers(-20, 20, objects)
    colour = np.array([[1.0, 0.5, 0.1], [0.1, 0.5, 1.0]])[label]
    clean = (level[:, None] * colour)[:, None, None, :]
    images = np.clip(source.normal(clean, 15, (objects, 32, 32, 3)), 0, 255).astype(np.uint8)
    magnitudes = (22 - level[:, None] / 30 + np.arange(3)).astype(np.float32)
    writer = create(path, shape=images.shape, dtype=images.dtype, bands=3)
    for start, stop in writer.shards:
        writer.write_images(start, images[start:stop])
    split = np.select([np.arange(objects) % 12 < 2, np.arange(objects) % 12 < 4], [1, 2], 0).astype(np.uint8)
    writer.write_table(
        {
            "object_id": np.array([f"{prefix}{i:04d}" for i in range(objects)]),
            "ra": ra + np.arange(objects),
            "dec": np.full(objects, -30.0),
            "split": split,
            "label": label,
            "magnitudes": magnitudes,
            "magnitude_errors": np.full((objects, 3), 0.05, dtype=np.float32),
        }
    )
    return writer.finish(
        StoreInfo(
            name="toy",
            survey="toys",
            release="1",
            bands=BANDS,
            channels=("red", "green", "blue"),
            class_names=("red", "blue"),
            pixel_scale=None,
            counts={"kept": objects, "rejected": {}},
            recipe={},
            statistics=statistics or writer.statistics(split),
            images={"source": "files", "size": 32, "resampling": "lanczos", "channels": ["red", "green", "blue"]},
        )
    )


def make_run(*phases: PhaseSpec, **changes) -> RunSpec:
    """A quick run on the store ``toy``; keys of DataSpec and ModelSpec are passed on to them."""
    data = {key: changes.pop(key) for key in DataSpec.__dataclass_fields__ if key in changes}
    model = {key: changes.pop(key) for key in ModelSpec.__dataclass_fields__ if key in changes}
    return RunSpec(
        **{"experiment": "toys", "set": "toy", "scheme": "scratch", "seed": 0, "device": "cpu", "threads": 1} | changes,
        data=DataSpec(**{"store": "toy", "batch_size": 8} | data),
        model=ModelSpec(**{"hidden": 64} | model),
        phases=phases,
    )


def replace_weights(run: Path, tensors: dict[str, np.ndarray]) -> None:
    """A finished run as if it had ended with these weights: the file, and its SHA-256 in ``result.json``."""
    save_file(tensors, run / "weights.safetensors")
    result = json.loads((run / "result.json").read_text())
    result["files"] = {"weights.safetensors": provenance.sha256(run / "weights.safetensors")}
    (run / "result.json").write_text(json.dumps(result))
