"""A training step of all of VGG16: ours beside a textbook loop, Lightning and Keras: ``python benchmarks/training.py``.

One optimiser step on the same batch (32 × 32 × 3 pixels, 32 objects, two classes, Adam) is timed in rounds in which the
variants take turns, in CPU time of one thread, beside the machine's own rate of float32 matrix products in the same
round, so that other work on the machine cancels. Peers that are not installed are named as such. Writes
benchmarks/results/training.json and prints a table. Keras' network is the same in layers and sizes.
"""

import argparse
import importlib.util
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from types import SimpleNamespace

import accuracies
import numpy as np
import torch
from torch import nn
from torchvision.models import vgg16

from hpc_astrossl.engines import open_engine
from hpc_astrossl.nets.vgg import build
from hpc_astrossl.specs.run import ModelSpec, PhaseSpec
from hpc_astrossl.store import StoreInfo
from hpc_astrossl.targets.classes import Classes
from hpc_astrossl.training.changing import Still
from hpc_astrossl.training.loop import Step, train_step
from hpc_astrossl.training.optim import optimizer

BATCH, SIDE, RATE = 32, 32, 1e-4
GFLOP = 0.626 * 3  # an image of 32 × 32 forwards (313 million multiply-adds), and twice that backwards
Timed = Callable[[], None]


def ours(
    images: torch.Tensor, labels: torch.Tensor, precision: str = "float32", device: str = "cpu", side: int = SIDE
) -> Timed:
    """The step of ``training.loop``, dropout and max-norm included."""
    engine = open_engine("single", device)
    model = build(ModelSpec(precision=precision), shape=(side, side, 3), outputs=2, seed=0).to(engine.device)
    fused = optimizer(model, PhaseSpec(trains="all", optimizer="adam", learning_rate=RATE, epochs=1))
    info = StoreInfo(name="", survey="", release="", bands=(), channels=(), class_names=("a", "b"), pixel_scale=None,
                     counts={}, recipe={})  # fmt: skip
    phase = SimpleNamespace(net=model, head=model.head, wrapped=model, optimizer=fused, target=Classes(info),
                            truth=labels, engine=engine, changing=Still())  # fmt: skip
    batch = SimpleNamespace(images=images, rows=np.arange(len(images)), offset=0, total=len(images))
    return lambda: train_step(phase, Step(batch=batch, key=(0, 1, 0)))


def network() -> nn.Module:
    """The same network as a textbook writes it."""
    top = nn.Sequential(nn.Linear(512, 2048), nn.ReLU(), nn.Dropout(0.5), nn.Linear(2048, 2))
    return nn.Sequential(vgg16(weights=None).features, nn.AdaptiveAvgPool2d(1), nn.Flatten(), top)


def textbook(images: torch.Tensor, labels: torch.Tensor) -> Timed:
    """zero_grad, forward, backward, step."""
    model = network()
    adam = torch.optim.Adam(model.parameters(), lr=RATE)

    def step() -> None:
        adam.zero_grad()
        nn.functional.cross_entropy(model(images), labels.long()).backward()
        adam.step()

    return step


def lightning(images: torch.Tensor, labels: torch.Tensor) -> Timed:
    """Lightning's Fabric around the textbook step (its Trainer adds a loop and logging to this)."""
    from lightning.fabric import Fabric

    fabric, model = Fabric(accelerator="cpu", devices=1), network()
    model, adam = fabric.setup(model, torch.optim.Adam(model.parameters(), lr=RATE))

    def step() -> None:
        adam.zero_grad()
        fabric.backward(nn.functional.cross_entropy(model(images), labels.long()))
        adam.step()

    return step


def keras(images: torch.Tensor, labels: torch.Tensor) -> Timed:
    """Keras on TensorFlow, compiled graph, ``train_on_batch``: the authors' stack."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    layers = tf.keras.layers
    base = tf.keras.applications.VGG16(include_top=False, weights=None, input_shape=(SIDE, SIDE, 3), pooling="avg")
    bound = tf.keras.constraints.MaxNorm(2, axis=0)
    hidden = layers.Dropout(0.5)(layers.Dense(2048, activation="relu", kernel_constraint=bound)(base.output))
    model = tf.keras.Model(base.input, layers.Dense(2, activation="softmax")(hidden))
    model.compile(optimizer=tf.keras.optimizers.Adam(RATE), loss="sparse_categorical_crossentropy")
    batch, truth = images.permute(0, 2, 3, 1).numpy(), labels.numpy()
    return lambda: model.train_on_batch(batch, truth)


def matmul(size: int = 1024) -> float:
    """The machine's rate of float32 matrix products now, GFLOP/s."""
    first, second = torch.rand(size, size), torch.rand(size, size)
    begin = time.process_time()
    for _ in range(4):
        torch.mm(first, second)
    return 4 * 2 * size**3 / (time.process_time() - begin) / 1e9


def variants(images: torch.Tensor, labels: torch.Tensor) -> tuple[dict[str, Timed], list[str]]:
    """The steps by name, each taken once already, and the peers that are missing."""
    found = {
        "ours": ours(images, labels),
        "ours, bfloat16": ours(images, labels, "bfloat16"),
        "textbook loop": textbook(images, labels),
    }
    missing = []
    for name, module, make in (("Lightning", "lightning", lightning), ("Keras on TensorFlow", "tensorflow", keras)):
        if importlib.util.find_spec(module):
            found[name] = make(images, labels)
        else:
            missing.append(name)
    for step in found.values():
        step()
    return found, missing


def main() -> None:
    """Measure in turns, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="turns of every variant (default: 7)")
    rounds = parser.parse_args().rounds
    warnings.simplefilter("ignore")  # of the peers
    torch.set_num_threads(1)
    source = torch.Generator().manual_seed(0)
    images, labels = torch.rand(BATCH, 3, SIDE, SIDE, generator=source), torch.arange(BATCH) % 2
    steps, missing = variants(images, labels)
    times: dict[str, list[float]] = {name: [] for name in steps}
    shares: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds):
        for name, step in steps.items():
            rate = matmul()
            begin = time.process_time()
            step()
            seconds = time.process_time() - begin
            rate = (rate + matmul()) / 2
            times[name].append(seconds)
            shares[name].append(BATCH * GFLOP / seconds / rate)
    ratios = {
        name: statistics.median(a / b for a, b in zip(found, times["ours"], strict=True))
        for name, found in times.items()
    }
    table = {
        name: {
            "samples_per_second": round(BATCH / statistics.median(found), 1),
            "best_samples_per_second": round(BATCH / min(found), 1),
            "share_of_matmul_rate": round(statistics.median(shares[name]), 2),
            "time_over_ours": round(ratios[name], 2),
        }
        for name, found in times.items()
    }
    versions = {"torch": torch.__version__, "python": sys.version.split()[0]}
    record = {"batch": BATCH, "side": SIDE, "rounds": rounds, "load_average": os.getloadavg()[0], "libraries": versions,
              "variants": table, "not_installed": missing}  # fmt: skip
    path = accuracies.write("training", record)
    print("| step of | samples/s (median, best) | share of the matmul rate | time / ours |\n|---|---|---|---|")
    for name, row in table.items():
        print(f"| {name} | {row['samples_per_second']}, {row['best_samples_per_second']} | "
              f"{row['share_of_matmul_rate']} | {row['time_over_ours']} |")  # fmt: skip
    print(f"not installed: {', '.join(missing) or 'none'}; written: {path}")


if __name__ == "__main__":
    main()
