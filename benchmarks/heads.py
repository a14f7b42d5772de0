"""What the feature half of the low-data grid costs, against one run after another with the convolutions in the loop.

``python benchmarks/heads.py`` makes a store of random images (32 × 32 × 3), then times, interleaved, in fresh
processes: (a) ``astrossl train`` of every run of a small grid in one command, features computed on the way; and what
one run would cost with the convolutions in the loop: (b) seconds an image forwards, (c) seconds a head step on
features. From the epochs that were run it derives the cost of the same grid one run after another, and by the same
formula that of the paper's 216 runs. Writes benchmarks/results/heads.json. About five minutes on two cores.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import accuracies
import numpy as np
import torch

from hpc_astrossl import config, names
from hpc_astrossl.nets.vgg import build
from hpc_astrossl.specs.run import DataSpec, ModelSpec, PhaseSpec, RunSpec, TrainingSpec
from hpc_astrossl.store import StoreInfo, create

SIZES, SEEDS = (100, 200, 300, 400, 500, 600, 1000), (0, 1, 2)
TRAIN, VALIDATION, EPOCHS = 1000, 300, 20
PAPER = {
    "sizes": [*range(100, 1001, 100), *range(1500, 3001, 500), *range(10000, 40001, 10000)],
    "seeds": 3, "weights": 2, "validation": 5000, "epochs": 30, "sets": {"SG": 50090, "SGQ": 54000},
}  # fmt: skip


def store(path: Path) -> None:
    """Random images of two classes that differ in brightness."""
    source, total = np.random.default_rng(0), TRAIN + VALIDATION + 100
    label = (np.arange(total) % 2).astype(np.int16)
    images = (
        source.integers(0, 200, (total, 32, 32, 3), dtype=np.uint8) + (label * 20).astype(np.uint8)[:, None, None, None]
    )
    writer = create(path, shape=images.shape, dtype=images.dtype, bands=0)
    for start, stop in writer.shards:
        writer.write_images(start, images[start:stop])
    split = np.repeat([0, 1, 2], [TRAIN, VALIDATION, 100]).astype(np.uint8)
    writer.write_table({
        "object_id": np.array([f"o{number:05d}" for number in range(total)]), "ra": np.arange(total) / 100.0,
        "dec": np.zeros(total), "split": split, "label": label,
    })  # fmt: skip
    writer.finish(StoreInfo(name="random", survey="none", release="0", bands=(), channels=("r", "g", "b"),
                            class_names=("dark", "bright"), pixel_scale=None, counts={"kept": total, "rejected": {}},
                            recipe={}))  # fmt: skip


def grid() -> list[RunSpec]:
    """The small grid: every seed and size, all epochs."""
    phase = PhaseSpec(trains="head", optimizer="adam", learning_rate=1e-3, epochs=EPOCHS)
    return [
        names.resolved(
            RunSpec(
                experiment="heads", set="random", scheme="features-imagenet", seed=seed, phases=(phase,), device="cpu",
                data=DataSpec(store="random.zarr", train_size=size, scaling="caffe"), weights="random",
                training=TrainingSpec(patience=None), threads=torch.get_num_threads(),
            )
        )
        for size in SIZES
        for seed in SEEDS
    ]  # fmt: skip


def together(workdir: Path, runs: list[RunSpec]) -> float:
    """Seconds of one command that trains them all, from nothing."""
    paths = [workdir / f"{run.run_id}.yaml" for run in runs]
    for path, run in zip(paths, runs, strict=True):
        path.write_text(config.dump(run))
    command = [sys.executable, "-m", "hpc_astrossl", "train", *map(str, paths), "--workdir", str(workdir)]
    begin = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - begin


def rates(repeats: int = 5) -> tuple[float, float]:
    """(seconds an image forwards through the convolutions, seconds an object of a head step), batches of 32."""
    model = build(ModelSpec(), shape=(32, 32, 3), outputs=2, seed=0)
    optimizer = torch.optim.Adam(model.head.parameters(), lr=1e-3)
    images, labels = torch.randn(32, 3, 32, 32), torch.arange(32) % 2
    forward, head = [], []
    for _ in range(repeats):
        begin = time.monotonic()
        with torch.no_grad():
            for _ in range(4):
                features = model.encode(images)
        forward.append((time.monotonic() - begin) / 128)
        begin = time.monotonic()
        for _ in range(20):
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model.head(features, model.head.keep(32, (0, 0, 0))), labels).backward()
            optimizer.step()
            model.head.constrain()
        head.append((time.monotonic() - begin) / 640)
    return float(np.median(forward)), float(np.median(head))


def one_by_one(sizes, seeds: int, validation: int, epochs: float, rate: tuple[float, float]) -> float:
    """Seconds of runs one after another with the convolutions in the loop: forwards for training and validation in
    every epoch, a head step for training; start-up and disk are left out, in their favour."""
    forward, head = rate
    return seeds * epochs * sum(size * (forward + head) + validation * forward for size in sizes)


def main() -> None:
    """Measure, derive, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=2, help="times the grid is trained (default: 2)")
    repeats, runs = parser.parse_args().repeats, grid()
    seconds, measured = [], []
    for _ in range(repeats):
        measured.append(rates())
        with tempfile.TemporaryDirectory(prefix="astrossl-heads-") as folder:
            place_weights(Path(folder))
            store(Path(folder) / "random.zarr")
            seconds.append(together(Path(folder), runs))
        measured.append(rates())
    forward, head = (float(value) for value in np.median(measured, axis=0))
    ours, rival = float(np.median(seconds)), one_by_one(SIZES, len(SEEDS), VALIDATION, EPOCHS, (forward, head))
    steps = len(SEEDS) * EPOCHS * sum(SIZES)
    inner = (ours - (TRAIN + VALIDATION + 100) * forward) / steps  # all but the encoding, an object of a head epoch
    full = paper(forward, head, inner)
    record = {
        "grid": {"runs": len(runs), "sizes": SIZES, "epochs": EPOCHS, "train": TRAIN, "validation": VALIDATION},
        "together_seconds": [round(value, 1) for value in seconds],
        "one_by_one_seconds": round(rival, 1),
        "ratio": round(ours / rival, 4),
        "seconds_an_image_forwards": forward,
        "seconds_an_object_of_a_head_step": head,
        "seconds_an_object_of_a_head_epoch_together": inner,
        "formula": "one by one: seeds × epochs × Σ sizes (size × (forward + head) + validation × forward); "
                   "together: images × forward + seeds × epochs × Σ sizes × size × inner, by set and weights",
        "paper_216_runs": full,
    }  # fmt: skip
    path = accuracies.write("heads", record)
    print(f"{len(runs)} runs: {ours:.0f} s together, {rival:.0f} s one by one: 1/{rival / ours:.0f}")
    print(f"the paper's 216: {full['ratio']:.4f} = 1/{1 / full['ratio']:.0f}; written: {path}")


def paper(forward: float, head: float, inner: float) -> dict:
    """Hours of the feature half of the paper's low-data grid at these rates on this machine, both ways."""
    sizes, seeds, epochs = PAPER["sizes"], PAPER["seeds"], PAPER["epochs"]
    alone = ours = 0.0
    for images in PAPER["sets"].values():
        for _ in range(PAPER["weights"]):
            alone += one_by_one(sizes, seeds, PAPER["validation"], epochs, (forward, head))
            ours += images * forward + seeds * epochs * sum(sizes) * inner
    return {"assumed": PAPER, "one_by_one_hours": alone / 3600, "together_hours": ours / 3600, "ratio": ours / alone}


def place_weights(folder: Path) -> None:
    """Random convolutions in a cache of this benchmark's own: what they are does not change what they cost."""
    import os

    from hpc_astrossl.nets import weights

    os.environ["ASTROSSL_CACHE"] = str(folder / "cache")
    model = build(ModelSpec(), shape=(32, 32, 3), outputs=2, seed=1)
    weights.install({k: v for k, v in model.state_dict().items() if k.startswith("features.")}, "random", "random")


if __name__ == "__main__":
    main()
