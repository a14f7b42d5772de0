"""What the docs say or leave open about GPUs, in under ten minutes: ``python benchmarks/gpu.py``.

Loaders (DALI decoding kept JPEGs, DALI and arrays resident on the GPU) by turns with a tensor that is there already; an
optimiser step of all of VGG16 in bfloat16 by turns with a textbook loop under autocast; data wait; ``embed``
beside a bare loop over the same images; a run on the CPU and the same on the GPU, and on one rank of Horovod with NCCL.
Writes benchmarks/results/gpu.json. Without a GPU it says so (status 3); ``--rehearse`` then goes through all
of it on the CPU with little work, and writes nothing.
"""

import argparse
import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import accuracies
import embed as squares
import numpy as np
import torch
import training as steps
from loading_data import write_all
from loading_peers import SHAPES
from torch import nn

from hpc_astrossl import config, names
from hpc_astrossl.engines import open_engine
from hpc_astrossl.loading import LoaderSpec, open_loader
from hpc_astrossl.nets.vgg import build
from hpc_astrossl.specs.run import DataSpec, ModelSpec, PhaseSpec, RunSpec
from hpc_astrossl.store import embedding, open_store
from hpc_astrossl.training.folder import run_path

SKIPPED = 3
# Largest difference of a test object's outputs, GPU beside CPU, float32 after two epochs; TF32 is off by default.
TOLERANCE = 1e-2


@dataclass(frozen=True)
class Size:
    """How much work: objects of a store, objects of a step, seconds and rounds of a measurement."""

    objects: int
    batch: int
    side: int
    seconds: float
    rounds: int


FULL, LITTLE = Size(50_000, 256, 64, 3.0, 5), Size(400, 16, 32, 0.2, 2)


def synchronised(device: str) -> float:
    """The time when all that was asked of the device is done."""
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def rate(work: Callable[[], int], seconds: float, device: str) -> float:
    """Objects a second of a piece of work that is repeated for so long, after one that is not counted."""
    work()
    begin, count = synchronised(device), 0
    while time.perf_counter() - begin < seconds:
        count += work()
    return count / (synchronised(device) - begin)


def by_turns(works: dict[str, Callable[[], int]], limit: str, size: Size, device: str) -> dict[str, Any]:
    """Median rates of all, and the median ratio to ``limit`` of the same round."""
    found: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(size.rounds):
        for name, work in works.items():
            found[name].append(rate(work, size.seconds, device))
    ratios = {name: [a / b for a, b in zip(rates, found[limit], strict=True)] for name, rates in found.items()}
    return {name: {"rate": round(statistics.median(rates)), f"of {limit}": round(statistics.median(ratios[name]), 3)}
            for name, rates in found.items()}  # fmt: skip


def loaders(folder: Path, size: Size, device: str) -> dict[str, Any]:
    """Training batches of each loader that serves the device, beside whole batches gathered on it."""
    found = {}
    engine = open_engine("single", device)
    for kind, name, resident in (("jpeg", "dali", False), ("rgb", "dali", True), ("rgb", "vectorised", True)):
        place = folder / kind
        if not place.exists():
            write_all(place, kind, SHAPES[kind], size.objects, peers=False)
        store = open_store(place / "store.zarr")
        spec = LoaderSpec(batch_size=size.batch, scaling="unit", flips=True, turns=True, seed=0,
                          resident_mb=1 << 16 if resident else 0)  # fmt: skip
        loader = open_loader(store, store.rows("train"), spec, engine=engine, device=engine.device, name=name)
        batches = itertools.chain.from_iterable(loader.epoch(epoch) for epoch in itertools.count(1))
        found[f"{name}, {kind}, {'resident' if resident else 'streamed'}"] = lambda got=batches: len(next(got).images)
    images = torch.rand(min(size.objects, 20_000), 3, 64, 64, device=engine.device)

    def gathered() -> int:
        rows = torch.randint(len(images), (size.batch,), device=engine.device)
        return len(images[rows].flip(2))

    found["gathered on the device"] = gathered
    return by_turns(found, "gathered on the device", size, device)


def step(size: Size, device: str) -> dict[str, Any]:
    """Our step in bfloat16 beside forward under autocast, backward, step."""
    images = torch.rand(size.batch, 3, size.side, size.side, device=device)
    labels = torch.arange(size.batch, device=device) % 2
    found = {"ours": counted(steps.ours(images, labels, "bfloat16", device, size.side), size.batch),
             "textbook loop": counted(textbook(images, labels), size.batch)}  # fmt: skip
    return by_turns(found, "textbook loop", size, device)


def counted(work: Callable[[], Any], objects: int) -> Callable[[], int]:
    """Work that says of how many objects it was."""

    def once() -> int:
        work()
        return objects

    return once


def textbook(images: torch.Tensor, labels: torch.Tensor) -> Callable[[], None]:
    """The loop of PyTorch's documentation in mixed precision."""
    model = steps.network().to(images.device, memory_format=torch.channels_last)
    images = images.to(memory_format=torch.channels_last)
    adam = torch.optim.Adam(model.parameters(), lr=steps.RATE, fused=True)

    def once() -> None:
        adam.zero_grad(set_to_none=True)
        with torch.autocast(images.device.type, torch.bfloat16):
            loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()
        adam.step()

    return once


def a_run(device: str, precision: str, **data: Any) -> RunSpec:
    """Two epochs of all of VGG16 on the labelled squares."""
    return names.resolved(RunSpec(
        experiment="gpu", set="squares", scheme="scratch", seed=0, device=device, threads=1,
        data=DataSpec(store="squares.zarr", batch_size=32, **data), model=ModelSpec(hidden=64, precision=precision),
        phases=(PhaseSpec(trains="all", optimizer="sgd", learning_rate=1e-3, epochs=2),),
    ))  # fmt: skip


def trained(workdir: Path, run: RunSpec, launcher: tuple[str, ...] = ()) -> dict[str, Any]:
    """Train it in a process of its own, below ``workdir``; its result, its outputs, and the mean wait for data."""
    shutil.rmtree(run_path(workdir, run.experiment, run.run_id), ignore_errors=True)
    (workdir / "run.yaml").write_text(config.dump(run))
    command = [*launcher, sys.executable, "-m", "hpc_astrossl", "train", "run.yaml"]
    done = subprocess.run(
        command, cwd=workdir, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    if done.returncode:
        return {"error": (done.stderr.strip().splitlines() or ["no words"])[-1][:200]}
    folder = run_path(workdir, run.experiment, run.run_id)
    result = json.loads((folder / "result.json").read_text())
    with np.load(folder / "predictions.npz", allow_pickle=False) as found:
        output = found["output"]
    waits = [json.loads(line).get("data_wait", 0.0) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return {"device": result["device"], "engine": result["engine"], "wait": waits[-1], "output": output}


def equality(workdir: Path, device: str) -> dict[str, Any]:
    """The same run on the CPU, on the device, and on one rank of Horovod there: the largest difference of outputs."""
    runs = {"cpu": trained(workdir, a_run("cpu", "float32"))}
    runs["device"] = trained(workdir, a_run(device, "float32"))
    launcher = (shutil.which("horovodrun", path=Path(sys.executable).parent) or "horovodrun", "-np", "1", "--gloo")
    runs["horovod"] = trained(workdir, a_run(device, "float32"), launcher)
    told = {"tolerance": TOLERANCE, "nccl": nccl()}
    for name in ("device", "horovod"):
        if "error" in runs[name]:
            told[name] = runs[name]["error"]
            continue
        far = float(np.abs(runs[name]["output"] - runs["cpu"]["output"]).max())
        told[name] = {"largest_difference": far, "within": far <= TOLERANCE, "engine": runs[name]["engine"]["name"]}
    quick = trained(workdir, replace(a_run(device, "bfloat16")))
    return told | {"data_wait_bfloat16": quick.get("wait", quick.get("error"))}


def nccl() -> bool | str:
    """Whether Horovod here was built with NCCL."""
    try:
        import horovod.torch as hvd
    except ImportError as error:
        return str(error)
    return bool(hvd.nccl_built())


def features(workdir: Path, size: Size, device: str) -> dict[str, Any]:
    """``embed`` from store to file, the second time (kernels chosen), beside the encoder alone on images in memory."""
    run = replace(a_run(device, "bfloat16"), scheme="features-random",
                  phases=(PhaseSpec(trains="head", optimizer="adam", learning_rate=1e-3, epochs=1),))  # fmt: skip
    run = names.resolved(run)
    made = trained(workdir, run)
    if "error" in made:
        return made
    folder = run_path(workdir, run.experiment, run.run_id)
    rates = []
    for number in range(2):
        out = workdir / f"features{number}.zarr"
        begin = time.perf_counter()
        accuracies.astrossl("embed", folder, workdir / "squares.zarr", "--out", out)
        rates.append(size.objects / (time.perf_counter() - begin))
    if not np.isfinite(embedding.read(out).features).all():
        sys.exit("features that are no numbers")
    model = build(run.model, shape=(squares.SIDE, squares.SIDE, 3), outputs=2, seed=0).to(device).eval()
    images = torch.rand(1024, 3, squares.SIDE, squares.SIDE, device=device)

    def bare() -> int:
        with torch.inference_mode():
            model.encode(images)
        return len(images)

    alone = rate(bare, size.seconds, device)
    return {
        "embed": round(rates[-1]),
        "bare loop": round(alone),
        "of bare loop, with start-up": round(rates[-1] / alone, 3),
    }


def machine() -> dict[str, Any]:
    """The GPU, its memory, driver and libraries."""
    told = {"torch": torch.__version__, "cuda": torch.version.cuda}
    if torch.cuda.is_available():
        about = torch.cuda.get_device_properties(0)
        told |= {"gpu": about.name, "memory_gb": about.total_memory >> 30, "capability": f"{about.major}.{about.minor}"}
    return told


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rehearse", action="store_true", help="little of everything on the CPU; writes nothing")
    rehearse = parser.parse_args().rehearse
    if not rehearse and not torch.cuda.is_available():
        print("torch sees no GPU here: nothing was measured (--rehearse goes through it on the CPU)")
        sys.exit(SKIPPED)
    size, device = (LITTLE, "cpu") if rehearse else (FULL, "cuda")
    record: dict[str, Any] = {"machine": machine(), "objects": size.objects, "batch": size.batch, "side": size.side}
    with tempfile.TemporaryDirectory(prefix="astrossl-gpu-") as place:
        workdir = Path(place)
        squares.write_store(workdir / "squares.zarr", max(size.objects, squares.TRAINED))
        parts = {
            "loaders": lambda: loaders(workdir, size, device),
            "step": lambda: step(size, device),
            "equality": lambda: equality(workdir, device),
            "embed": lambda: features(workdir, size, device),
        }
        for name, part in parts.items():
            begin = time.perf_counter()
            record[name] = part()
            print(f"{name} ({time.perf_counter() - begin:.0f} s): {json.dumps(record[name])}", flush=True)
    if not rehearse:
        print(accuracies.write("gpu", record))


if __name__ == "__main__":
    main()
