"""What identities cost, beside another build: ``python benchmarks/identity.py --old CHECKOUT [--rounds N]``.

CHECKOUT is a build from before identities were kept (``git worktree add --detach CHECKOUT 991ffdc``). Both builds do
the same by turns, each time in a process of its own: open a store of one shard and one of 100, submit a study of 1,000
runs to a Slurm that takes everything (commands that do nothing), submit it again, stream an epoch, train three epochs.
Told are CPU seconds, since a machine may be shared, and seconds by the clock, medians of all rounds; the ratio of CPU
seconds by their medians and by the least of each. Writes benchmarks/results/identity.json.
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve()
CHECKOUT = HERE.parents[1]
OPENINGS, EPOCHS, RUNS = 20, 40, 1000  # epochs of the loader take 0.05 s each
RECIPE = f"""\
experiment: thousand
pretext: {{store: large.zarr}}
sets:
  SG: {{store: small.zarr}}
schemes: [scratch, features-magnitudes]
seeds: [{", ".join(str(seed) for seed in range(RUNS // 2))}]
report: false
"""
CLUSTER = "kind: slurm\npartition: cpu\n"
SLURM = {
    "sbatch": "echo Submitted batch job $$",
    "squeue": "echo 'JOBID|STATE|REASON|NAME|COMMAND'",
    "sacct": "true",
    "scontrol": "echo 'MaxArraySize = 10001'",
    "scancel": "true",
    "srun": "true",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", metavar="CHECKOUT", type=Path, help="the build to compare with")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", action="append", choices=KINDS, help="may be repeated")
    parser.add_argument("--alone", nargs=2, metavar=("KIND", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(KINDS[options.alone[0]](Path(options.alone[1]))))
        return
    if options.old is None:
        parser.error("--old CHECKOUT is missing")
    with tempfile.TemporaryDirectory() as folder:
        _compare(Path(folder), options)


def _compare(folder: Path, options: argparse.Namespace) -> None:
    """Measure each kind by both builds, print a row of each, and write the record when all were asked for."""
    import accuracies

    _lay_out(folder)
    builds = {"old": options.old.resolve(), "new": CHECKOUT}
    told = {}
    print(f"{'':24} {'old CPU s':>10} {'new CPU s':>10} {'ratio':>7} {'least':>7}   {'old s':>8} {'new s':>8}")
    for kind in options.only or KINDS:
        found: dict[str, list[dict]] = {"old": [], "new": []}
        for number in range(options.rounds + 1):  # the first warms the caches, and does not count
            for name in sorted(builds, reverse=bool(number % 2)):
                one = _alone(kind, folder, builds[name])
                found[name] += [one] if number else []
        told[kind] = _summary(found)
        row = told[kind]
        print(f"{kind:24} {row['old']['cpu']:10.4f} {row['new']['cpu']:10.4f} {row['ratio']:7.3f} "
              f"{row['ratio_of_least']:7.3f}   {row['old']['wall']:8.4f} {row['new']['wall']:8.4f}",
              flush=True)  # fmt: skip
    if not options.only:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=builds["old"], capture_output=True, text=True)
        command = f"python benchmarks/identity.py --old CHECKOUT --rounds {options.rounds}"
        accuracies.write("identity", {"old": commit.stdout.strip(), "runs": RUNS, "kinds": told}, command=command)


def _summary(found: dict[str, list[dict]]) -> dict:
    """Medians of both builds, and how the new one's CPU seconds stand to the old one's."""
    medians = {
        name: {key: statistics.median(one[key] for one in rounds) for key in ("cpu", "wall")}
        for name, rounds in found.items()
    }
    least = {name: min(one["cpu"] for one in rounds) for name, rounds in found.items()}
    ratios = {"ratio": medians["new"]["cpu"] / medians["old"]["cpu"], "ratio_of_least": least["new"] / least["old"]}
    return medians | {key: round(value, 3) for key, value in ratios.items()}


def _alone(kind: str, folder: Path, build: Path) -> dict:
    """One measurement by a build: CPU and wall seconds."""
    environment = os.environ | {
        "PYTHONPATH": str(build),
        "OMP_NUM_THREADS": "1",
        "ASTROSSL_CACHE": str(folder / "cache"),
    }
    command = [sys.executable, str(HERE), "--alone", kind, str(folder)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{kind} by {build}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def _lay_out(folder: Path) -> None:
    """Stores that both builds read, a study, and commands in Slurm's place."""
    _store(folder / "small.zarr", 1024, 4096, dec=-30.0)
    _store(folder / "large.zarr", 25_600, 256, dec=30.0)
    (folder / "study.yaml").write_text(RECIPE)
    (folder / "site.yaml").write_text(CLUSTER)
    (folder / "bin").mkdir()
    for name, line in SLURM.items():
        (folder / "bin" / name).write_text(f"#!/bin/sh\n{line}\n")
        (folder / "bin" / name).chmod(0o755)


def _store(path: Path, objects: int, shard: int, dec: float) -> None:
    """Random squares of 32 pixels; ``shard`` rows a file at most. Stores of other declinations share no object."""
    import numpy as np

    from hpc_astrossl.store import StoreInfo, create, layout

    source = np.random.default_rng(0)
    before, layout.SHARD_BYTES = layout.SHARD_BYTES, shard * 32 * 32 * 3
    writing = create(path, shape=(objects, 32, 32, 3), dtype=np.dtype("uint8"), bands=3)
    layout.SHARD_BYTES = before
    for start, stop in writing.shards:
        writing.write_images(start, source.integers(0, 255, (stop - start, 32, 32, 3), dtype=np.uint8))
    rows = np.arange(objects)
    split = np.select([rows % 12 < 2, rows % 12 < 4], [1, 2], 0).astype(np.uint8)
    splits = dict(zip(("train", "validation", "test"), np.bincount(split).tolist(), strict=True))
    writing.write_table({
        "object_id": np.array([f"E{dec:+.0f}-{row:06d}" for row in rows]), "ra": rows * 1e-3,
        "dec": np.full(objects, dec), "split": split, "label": (rows % 2).astype(np.int16),
        "magnitudes": source.normal(20, 1, (objects, 3)).astype(np.float32),
        "magnitude_errors": np.full((objects, 3), 0.05, dtype=np.float32),
    })  # fmt: skip
    writing.finish(StoreInfo(
        name="squares", survey="made up", release="1", bands=("g", "r", "i"), channels=("red", "green", "blue"),
        class_names=("even", "odd"), pixel_scale=None,
        counts={"kept": objects, "splits": splits},
        recipe={}, statistics=writing.statistics(split),
    ))  # fmt: skip


def opening(store: Path) -> dict:
    """Seconds of one opening, of many in a process."""
    from hpc_astrossl.store import open_store

    open_store(store)
    cpu, wall = time.process_time(), time.perf_counter()
    for _ in range(OPENINGS):
        open_store(store)
    return {"cpu": (time.process_time() - cpu) / OPENINGS, "wall": (time.perf_counter() - wall) / OPENINGS}


def submitting(folder: Path, *, again: bool = False) -> dict:
    """Seconds of the whole command; with ``again``, of the second of two."""
    shutil.rmtree(folder / "runs", ignore_errors=True)
    command = [sys.executable, "-m", "hpc_astrossl", "submit", "study.yaml", "--cluster", "site.yaml"]
    environment = os.environ | {"PATH": str(folder / "bin")}
    for _ in range(1 + again):
        before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        wall, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
        if done.returncode:
            raise SystemExit(done.stderr or done.stdout)
    return {"cpu": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, "wall": wall}


def streaming(folder: Path) -> dict:
    """Seconds of an epoch of the loader, nothing kept, from the store of 100 shards."""
    from types import SimpleNamespace

    from hpc_astrossl.loading import LoaderSpec, open_loader
    from hpc_astrossl.store import open_store

    store = open_store(folder / "large.zarr")
    spec = LoaderSpec(batch_size=128, scaling="unit", flips=True, turns=True, seed=0, resident_mb=0)
    loader = open_loader(store, store.rows("train"), spec, engine=SimpleNamespace(rank=0, size=1), device="cpu")
    for _ in loader.epoch(0):
        pass
    cpu, wall = time.process_time(), time.perf_counter()
    for epoch in range(1, EPOCHS + 1):
        for _ in loader.epoch(epoch):
            pass
    found = {"cpu": (time.process_time() - cpu) / EPOCHS, "wall": (time.perf_counter() - wall) / EPOCHS}
    loader.close()
    return found


def training(folder: Path) -> dict:
    """Seconds of a small run, from its configuration to its result."""
    import contextlib
    import io

    from hpc_astrossl.specs.run import DataSpec, ModelSpec, PhaseSpec, RunSpec
    from hpc_astrossl.training.run import train

    shutil.rmtree(folder / "runs", ignore_errors=True)
    phases = (PhaseSpec(trains="all", optimizer="sgd", learning_rate=1e-3, epochs=3),)
    run = RunSpec(experiment="cost", set="toy", scheme="scratch", seed=0, device="cpu", threads=1, phases=phases,
                  data=DataSpec(store="small.zarr", batch_size=32, resident_mb=0, train_size=128),
                  model=ModelSpec(hidden=64))  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        cpu, wall = time.process_time(), time.perf_counter()
        train(run, folder)
    return {"cpu": time.process_time() - cpu, "wall": time.perf_counter() - wall}


KINDS = {
    "open, one shard": lambda folder: opening(folder / "small.zarr"),
    "open, 100 shards": lambda folder: opening(folder / "large.zarr"),
    "submit 1,000 runs": submitting,
    "submit them again": lambda folder: submitting(folder, again=True),
    "an epoch of the loader": streaming,
    "a run of three epochs": training,
}


if __name__ == "__main__":
    main()
