"""Features of many objects, and a bare loop beside: ``python benchmarks/embed.py [--objects N] [--backbone NAME]``.

Writes a store of small images and trains a head for one epoch on a part of it (random convolutions: what is measured
does not depend on their weights), then runs ``astrossl embed`` whole and, where there are several parts, once more,
kills that with SIGKILL when half of them are there, and runs it again. Before and after the whole run, a bare loop over
images that are in memory as the network takes them, with torchvision's network alone, in the same precision (bfloat16
where the CPU has it), memory layout and batches, on one thread as well; and what a process does before its first batch,
beside ``import torch``. All in CPU seconds.
Tells the peak memory and the parts that stayed, too; writes benchmarks/results/embed.json, an entry a network.
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import accuracies
import numpy as np
import torch
import torchvision

from hpc_astrossl import names, provenance
from hpc_astrossl.specs.run import DataSpec, ModelSpec, PhaseSpec, RunSpec
from hpc_astrossl.store import StoreInfo, create, embedding
from hpc_astrossl.training.apply import PART_ROWS
from hpc_astrossl.training.folder import run_path
from hpc_astrossl.training.run import train

SIDE, TRAINED, FEW = 32, 240, 256
BARE_BATCH, BARE_IMAGES = 256, 4096
BFLOAT16 = torch.ops.mkldnn._is_mkldnn_bf16_supported()  # else it takes many times as long
PRECISION = "bfloat16" if BFLOAT16 else "float32"


def write_store(path: Path, objects: int) -> None:
    """Coloured squares, the first ``TRAINED`` of them labelled and in all splits."""
    rows = np.arange(objects)
    writer = create(path, shape=(objects, SIDE, SIDE, 3), dtype=np.dtype("uint8"), bands=0)
    for start, stop in writer.shards:
        colours = (np.stack([rows[start:stop] * step for step in (1, 7, 31)], axis=1) % 251).astype("uint8")
        writer.write_images(start, np.broadcast_to(colours[:, None, None], (stop - start, SIDE, SIDE, 3)).copy())
    writer.write_table({
        "object_id": np.array([f"E{row:07d}" for row in rows]), "ra": rows * 1e-3, "dec": np.zeros(objects),
        "split": np.where(rows < TRAINED, rows % 3, 0).astype("uint8"),
        "label": np.where(rows < TRAINED, rows % 2, -1).astype("int16"),
    })  # fmt: skip
    writer.finish(
        StoreInfo(
            name="squares",
            survey="made up",
            release="1",
            bands=(),
            channels=("red", "green", "blue"),
            class_names=("even", "odd"),
            pixel_scale=None,
            counts={"kept": objects},
            recipe={},
        )
    )


def trained(workdir: Path, backbone: str) -> Path:
    """The folder of a run of one epoch."""
    run = names.resolved(RunSpec(
        experiment="squares", set="squares", scheme="features-random", seed=0, device="auto", threads=1,
        data=DataSpec(store="squares.zarr"), model=ModelSpec(backbone=backbone, hidden=64, precision=PRECISION),
        phases=(PhaseSpec(trains="head", optimizer="adam", learning_rate=1e-3, epochs=1),),
    ))  # fmt: skip
    train(run, workdir)
    return run_path(workdir, run.experiment, run.run_id)


def embed(command: list[str], parts: Path, kill_at: int | None = None) -> dict[str, float]:
    """Wall seconds, CPU seconds and peak MB of the command, which is killed when so many parts are there."""
    began, process = time.perf_counter(), subprocess.Popen(command)
    while kill_at and len(list(parts.glob("*.npz"))) < kill_at and process.poll() is None:
        time.sleep(0.2)
    if kill_at:
        process.send_signal(signal.SIGKILL)
    _, status, used = os.wait4(process.pid, 0)
    if status != (signal.SIGKILL if kill_at else 0):
        sys.exit(f"embed ended with wait status {status}")
    return {"wall_seconds": round(time.perf_counter() - began, 1),
            "cpu_seconds": round(used.ru_utime + used.ru_stime, 1), "peak_mb": used.ru_maxrss >> 10}  # fmt: skip


def bare(backbone: str, images: torch.Tensor) -> float:
    """CPU seconds an image of torchvision's network without its last layers, averaged over the last map."""
    network = getattr(torchvision.models, backbone)(weights=None).eval()
    if backbone == "vgg16":
        torso = torch.nn.Sequential(network.features, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    else:
        network.fc, torso = torch.nn.Identity(), network
    torso = torso.to(memory_format=torch.channels_last)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=BFLOAT16):
        torso(images[:BARE_BATCH])
        began = time.process_time()
        for start in range(0, len(images), BARE_BATCH):
            torso(images[start : start + BARE_BATCH]).float().numpy()
    return (time.process_time() - began) / len(images)


def importing() -> float:
    """CPU seconds of a process that imports torch and ends."""
    before = os.times()
    subprocess.run([sys.executable, "-c", "import torch"], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def beginning(run: Path, few: Path, out: Path) -> float:
    """CPU seconds of ``embed`` of few objects, all of which are one batch or two."""
    return embed([sys.executable, "-m", "hpc_astrossl", "embed", str(run), str(few), "--out", str(out)], out)[
        "cpu_seconds"
    ]


def main() -> None:
    """Make, kill, go on, check, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=100_000)
    parser.add_argument("--backbone", choices=["vgg16", "resnet18", "resnet50"], default="resnet18")
    options = parser.parse_args()
    objects, backbone = options.objects, options.backbone
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as place:
        workdir, out = Path(place), Path(place) / "features.zarr"
        write_store(workdir / "squares.zarr", objects)
        write_store(workdir / "few.zarr", FEW)
        run, parts = trained(workdir, backbone), out.with_name(out.name + ".parts")
        command = [sys.executable, "-m", "hpc_astrossl", "embed", str(run), str(workdir / "squares.zarr"),
                   "--out", str(out)]  # fmt: skip
        images = torch.rand(BARE_IMAGES, 3, SIDE, SIDE).contiguous(memory_format=torch.channels_last)
        begun = [beginning(run, workdir / "few.zarr", workdir / f"few{number}.zarr") for number in range(4)][1:]
        imported = [importing() for _ in range(4)][1:]
        loops = [bare(backbone, images)]
        whole = embed([*command[:-1], str(workdir / "whole.zarr")], parts)
        loops.append(bare(backbone, images))
        continued: dict[str, Any] = {}
        if objects > PART_ROWS:
            killed = embed(command, parts, kill_at=max(1, objects // PART_ROWS // 2))
            stayed = len(list(parts.glob("*.npz")))
            continued = {"parts_before_the_kill": stayed, "killed": killed, "again": embed(command, parts)}
            if not np.array_equal(embedding.read(out).features, embedding.read(workdir / "whole.zarr").features):
                sys.exit("killed and run again it found other features")
        found = embedding.read(workdir / "whole.zarr")
    if len(found.object_id) != objects or not np.isfinite(found.features).all():
        sys.exit(f"{len(found.object_id)} of {objects} objects in whole.zarr")
    start, loop = statistics.median(begun), statistics.median(loops)
    first = start - FEW * loop  # of which nothing is the network's
    record: dict[str, Any] = {
        "commit": provenance.code()["commit"], "date": provenance.now(),  # networks may be measured on different days
        "objects": objects, "side": SIDE, "precision": PRECISION, "parts": -(-objects // PART_ROWS), "whole": whole,
        **continued,
        "bare loop, objects/s": round(1 / loop), "embed, objects/s": round(objects / (whole["cpu_seconds"] - first)),
        "of the bare loop": round(objects * loop / (whole["cpu_seconds"] - first), 3),
        "before the first batch, s": round(first, 2), "import torch, s": round(statistics.median(imported), 2),
        "of importing torch": round(first / statistics.median(imported), 2),
    }  # fmt: skip
    before = accuracies.RESULTS / "embed.json"
    others = json.loads(before.read_text())["networks"] if before.exists() else {}
    print(record, accuracies.write("embed", {"networks": others | {backbone: record}}), sep="\n")


if __name__ == "__main__":
    main()
