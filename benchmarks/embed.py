"""Features of 100,000 objects, killed on the way: ``python benchmarks/embed.py [--objects N]``.

Writes a store of small images and trains a head for one epoch on a part of it (random convolutions: what is measured
does not depend on their weights), then runs ``astrossl embed``, kills it with SIGKILL when half of the parts are there,
and runs it again. Tells the time, the peak memory and the parts that stayed; writes benchmarks/results/embed.json.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import accuracies
import numpy as np

from hpc_astrossl import names
from hpc_astrossl.specs.run import DataSpec, ModelSpec, PhaseSpec, RunSpec
from hpc_astrossl.store import StoreInfo, create, embedding
from hpc_astrossl.training.apply import PART_ROWS
from hpc_astrossl.training.folder import run_path
from hpc_astrossl.training.run import train

SIDE, TRAINED = 32, 240


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


def trained(workdir: Path) -> Path:
    """The folder of a run of one epoch."""
    run = names.resolved(RunSpec(
        experiment="squares", set="squares", scheme="features-random", seed=0, device="auto", threads=1,
        data=DataSpec(store="squares.zarr"), model=ModelSpec(hidden=64, precision="bfloat16"),
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
    return {"wall_seconds": round(time.perf_counter() - began), "cpu_seconds": round(used.ru_utime + used.ru_stime),
            "peak_mb": used.ru_maxrss >> 10}  # fmt: skip


def main() -> None:
    """Make, kill, go on, check, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=100_000)
    objects = parser.parse_args().objects
    with tempfile.TemporaryDirectory() as place:
        workdir, out = Path(place), Path(place) / "features.zarr"
        write_store(workdir / "squares.zarr", objects)
        run, parts = trained(workdir), out.with_name(out.name + ".parts")
        command = [sys.executable, "-m", "hpc_astrossl", "embed", str(run), str(workdir / "squares.zarr"),
                   "--out", str(out)]  # fmt: skip
        killed = embed(command, parts, kill_at=max(1, objects // PART_ROWS // 2))
        stayed = {file.name: file.stat().st_mtime_ns for file in parts.glob("*.npz")}
        again = embed(command, parts)
        found = embedding.read(out)
    if len(found.object_id) != objects or not np.isfinite(found.features).all():
        sys.exit(f"{len(found.object_id)} of {objects} objects in {out}")
    record = {"objects": objects, "side": SIDE, "parts": -(-objects // PART_ROWS), "parts_before_the_kill": len(stayed),
              "killed": killed, "again": again}  # fmt: skip
    print(record, accuracies.write("embed", record), sep="\n")


if __name__ == "__main__":
    main()
