"""What grows with a survey, and what does not: ``python benchmarks/scale.py --order 1e6 1e7 1e8 1e9``.

``--order``: the order of an epoch over so many rows, of which no pixel is there, 64 rows a chunk (``--chunk-rows``),
batches of 128. Each size is a process of its own, which plans the first section (``first batch``), then ``--sections``
more (CPU an object), as a loader does for rank 0 of ``--ranks``; memory is what planning takes beyond the libraries.

``--stage 1e6 4e6``: the catalogue stage over so many rows of 30 columns in Parquet with 500,000 spectra, beside what
``--old FOLDER``, a checkout of another version, needs for it; then as an array of 100 tasks, of which the first and
three others are run (``all_cpu_s`` is that of all 100, ``ratio`` over the first one's). Each is a process of its own.
The old version is left out beyond ``--beside`` rows, the array beyond ``--array``. With ``--folder`` the releases are
made there, and used again if they are there, instead of in a folder that goes. ``spilled_mb`` is what lay on disk
meanwhile. ``--peers PYTHON`` has spectra matched by lsdb and by astropy as well (``scale_peers.py``), up to
``--peers-most`` rows. Each size is kept in the record as soon as it is done, and takes the place of what was there of
that size.

``--store 1e6 1e9``: what commands ask of a store of so many rows beside pixels (``scale_store.py``): opening it and the
objects of each split, the columns of a hundred parts for ``predict``, the leakage check, ``check``; the last two up to
``--all-most`` rows, since they read all ids. Memory is what a store of 65,536 rows does not take.

``--train 1e6 1e9``: what a training run asks of such a store beside weights and pixels: its opening, for classes and
for magnitudes of two bands, with train_size 10,000 and null; up to ``--all-most`` rows the file of objects it leaves
(``kept``), and the leakage check of a labelled store of 65,536 rows against that (``seen``).

Prints tables and the exponents by which memory and time grow; writes benchmarks/results/scale.json, where the other
parts of the record stay as they are.
"""

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hpc_astrossl import provenance

RECORD = Path(__file__).parent / "results" / "scale.json"
BATCH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--order", nargs="+", type=float, metavar="N", default=[])
    parser.add_argument("--chunk-rows", type=int, default=64)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--sections", type=int, default=3)
    parser.add_argument("--stage", nargs="+", type=float, metavar="N", default=[])
    parser.add_argument("--store", nargs="+", type=float, metavar="N", default=[])
    parser.add_argument("--train", nargs="+", type=float, metavar="N", default=[])
    parser.add_argument("--all-most", type=float, default=1e7)
    parser.add_argument("--old", type=Path, help="a checkout of another version, to hold the stage against")
    parser.add_argument("--peers", type=Path, help="a Python that has lsdb and astropy, to match spectra by those")
    parser.add_argument("--peers-most", type=float, default=3e6)
    parser.add_argument("--folder", type=Path, help="where releases are made, and stay")
    parser.add_argument("--beside", type=float, default=8e6)
    parser.add_argument("--array", type=float, default=1e6)
    parser.add_argument("--spectra", type=int, default=500_000)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(step(*options.step)))
        return
    if options.alone:
        print(json.dumps(order(int(options.order[0]), options)))
        return
    if options.order:
        keep("order", of_order(options))
    if options.stage:
        of_stage(options)
    if options.store:
        keep("store", of_store(options, options.store, ("info", "predict"), ("leakage", "check")))
    if options.train:
        import scale_store

        keep("train", of_store(options, options.train, tuple(scale_store.TRAINED), ("kept", "seen")))


def keep(half: str, found: dict) -> None:
    """Put one part of the record in its place."""
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    record |= {half: found, "cores": len(os.sched_getaffinity(0))}
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


def _about() -> dict:
    return {"command": sys.argv[1:], "code": provenance.code(), "date": provenance.now()}


def of_order(options: argparse.Namespace) -> dict:
    """Plan epochs of each size, print, and return the record."""
    rows = [_process(int(count), options) for count in options.order]
    print(f"{'objects':>14} {'first batch s':>14} {'its CPU s':>10} {'ns an object':>13} {'memory MB':>10} "
          f"{'sections':>9}")  # fmt: skip
    for row in rows:
        print(f"{row['objects']:14,} {row['first_batch']:14.2f} {row['first_batch_cpu']:10.2f} "
              f"{row['cpu_ns_an_object']:13.1f} {row['memory_mb']:10.0f} {row['sections']:9,}")  # fmt: skip
    growth = {name: exponent(rows, name) for name in ("first_batch_cpu", "cpu_ns_an_object", "memory_mb")}
    print("grows as objects to the power of:", ", ".join(f"{name} {value:.2f}" for name, value in growth.items()))
    return _about() | {"rows": rows, "exponents": growth}


def of_stage(options: argparse.Namespace) -> None:
    """Make releases of each size, select from them, print, and keep what was found of each."""
    print(f"{'rows':>12} {'wall s':>8} {'CPU s':>8} {'peak MB':>8} {'on disk':>8} {'old CPU s':>10} {'old MB':>8} "
          f"{'100 tasks':>10}")  # fmt: skip
    for count in map(int, options.stage):
        with _release(count, options) as folder:
            row = {"objects": count, **_about(), **_step("stage", folder)}
            beside = options.old and count <= options.beside
            row["old"] = _step("stage", folder, code=options.old) if beside else {}
            peers = ("astropy", "lsdb") if options.peers and count <= options.peers_most else ()
            row["peers"] = [_peer(name, folder, options.peers) for name in peers]
            row["tasks"] = of_tasks(Path(folder)) if count <= options.array else {}
        known = json.loads(RECORD.read_text()).get("stage", {}).get("rows", []) if RECORD.exists() else []
        rows = [other for other in known if other["objects"] != count] + [row]
        rows.sort(key=lambda row: row["objects"])
        growth = {name: exponent(rows, name) for name in ("cpu_s", "peak_mb")}
        keep("stage", {"rows": rows, "exponents": growth})
        old, ratio = row["old"], row["tasks"].get("ratio", 0)
        print(f"{count:12,} {row['wall_s']:8.1f} {row['cpu_s']:8.1f} {row['peak_mb']:8,} {row['spilled_mb']:8,} "
              f"{old.get('cpu_s', 0):10.1f} {old.get('peak_mb', 0):8,} {ratio:9.2f}x", flush=True)  # fmt: skip
    print("grows as objects to the power of:", ", ".join(f"{name} {value:.2f}" for name, value in growth.items()))


@contextlib.contextmanager
def _release(count: int, options: argparse.Namespace) -> Iterator[str]:
    """The folder of a made release."""
    if options.folder is None:
        with tempfile.TemporaryDirectory(prefix="scale-") as folder:
            _step("make", folder, count, options.spectra)
            yield folder
        return
    folder = options.folder / str(count)
    if not (folder / "spectra.csv").exists():  # written after the catalogue
        folder.mkdir(parents=True, exist_ok=True)
        _step("make", folder, count, options.spectra)
    yield str(folder)


def of_store(options: argparse.Namespace, sizes: list[float], asked: tuple, all_ids: tuple) -> dict:
    """Make stores of each size, ask, print, and return the record."""
    import scale_store

    rows, small = [], scale_store.ROWS
    with tempfile.TemporaryDirectory(prefix="scale-", dir=options.folder) as folder:
        scale_store.make(Path(folder) / f"{small}.zarr", small)
        scale_store.make(Path(folder) / "labelled.zarr", small, prefix="other", seed=1)
        for count in (max(2, round(count / small)) * small for count in sizes):
            scale_store.make(Path(folder) / f"{count}.zarr", count)
            row = {"objects": count}
            for name in (*asked, *(all_ids if count <= options.all_most else ())):
                row[name] = _step("store", folder, name, count)
                print(f"{count:14,} {name:>17}: {row[name]['memory_mb']:6,} MB, {row[name]['cpu_s']:8.1f} s of CPU; "
                      f"{row[name]['told']}", flush=True)  # fmt: skip
            rows.append(row)
    growth = {}
    for name in (*asked, *all_ids):
        some = [row[name] | {"objects": row["objects"]} for row in rows if name in row]
        growth[name] = exponent(some, "memory_mb")
    told = ", ".join(f"{name} {value:.2f}" for name, value in growth.items())
    print("memory grows as objects to the power of:", told)
    return _about() | {"rows": rows, "exponents": growth}


def of_tasks(folder: Path, tasks: int = 100) -> dict:
    """The CPU that an array of tasks spends on the catalogue, from the first and three of the others."""
    first, *others = (_step("task", folder, folder / "out", number, tasks) for number in (1, 2, tasks // 2, tasks))
    whole = first["cpu_s"] + (tasks - 1) * float(np.mean([other["cpu_s"] for other in others]))
    return {"tasks": tasks, "first": first, "others": others, "all_cpu_s": round(whole, 2),
            "ratio": round(whole / first["cpu_s"], 3)}  # fmt: skip


def step(name: str, folder: str, *rest: str) -> dict:
    """Inside a process of its own: one step of the stage."""
    import scale_stage

    if name == "make":
        return scale_stage.make(Path(folder), *map(int, rest)) or {}
    if name == "store":
        import scale_store

        return scale_store.step(rest[0], Path(folder), int(rest[1]))
    if name == "task":
        return scale_stage.task(Path(folder), Path(rest[0]), *map(int, rest[1:]))
    return scale_stage.stage(Path(folder))


def _step(*words: object, code: Path | None = None) -> dict:
    """Run a step, with the package of ``code`` if that is given."""
    place = os.environ | ({"PYTHONPATH": str(code.resolve())} if code else {})
    command = [sys.executable, __file__, "--step", *map(str, words)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=place)
    return json.loads(done.stdout.splitlines()[-1])


def _peer(name: str, folder: str, python: Path) -> dict:
    """What a peer needs, in the environment that it is in."""
    command = [str(python), str(Path(__file__).with_name("scale_peers.py")), name, folder]
    place = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True, env=place)
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{name:>12}: matched {found['matched']:,} in {found['cpu_s']} s of CPU, {found['peak_mb']:,} MB", flush=True)
    return found


def exponent(rows: list[dict], name: str) -> float:
    """The slope of ``name`` against the number of objects, both as logarithms; 0 for one size."""
    if len(rows) < 2:
        return 0.0
    sizes, values = (np.log([max(row[key], 1e-9) for row in rows]) for key in ("objects", name))
    return float(np.polyfit(sizes, values, 1)[0])


def _process(count: int, options: argparse.Namespace) -> dict:
    command = [sys.executable, __file__, "--order", str(count), "--alone"]
    command += [f"--{name}={getattr(options, name.replace('-', '_'))}" for name in ("chunk-rows", "ranks", "sections")]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def order(count: int, options: argparse.Namespace) -> dict:
    """Plan parts of an epoch over ``count`` rows, all of them in the split."""
    from hpc_astrossl.loading import compiled
    from hpc_astrossl.loading.sections import Members, Sections
    from hpc_astrossl.store import RowSet

    small = np.arange(1000)
    small = compiled.epoch_order(small, 4, seed=0, epoch=0, batch_size=8, window=16)
    compiled.arrivals(small, np.array([len(small)]), 4)  # now it is there
    before = _memory()
    bits = RowSet.room(count)
    bits[: count // 8] = 255
    begun, cpu = time.perf_counter(), time.process_time()
    members = Members(RowSet(bits, count), options.chunk_rows)
    sections = Sections(members, seed=0, epoch=0, batch_size=BATCH)
    _plan(sections, 0, options)
    first, first_cpu = time.perf_counter() - begun, time.process_time() - cpu
    begun, done, epoch = time.process_time(), 0, 0
    for number in range(1, 1 + options.sections):
        if len(sections) == 1:  # the next epochs, then
            epoch += 1
            sections = Sections(members, seed=0, epoch=epoch, batch_size=BATCH)
        done += _plan(sections, number % len(sections), options)
    cpu = time.process_time() - begun
    return {"objects": count, "sections": len(sections), "first_batch": round(first, 3),
            "first_batch_cpu": round(first_cpu, 3),
            "cpu_ns_an_object": round(cpu / max(1, done) * 1e9, 1), "memory_mb": round(_memory() - before)}  # fmt: skip


def _plan(sections, number: int, options: argparse.Namespace) -> int:
    """Plan a section as ``Loader`` does (less what is drawn for flips and turns); the objects of all ranks in it."""
    from hpc_astrossl.loading import compiled
    from hpc_astrossl.loading.arrival import arrivals
    from hpc_astrossl.loading.order import COMPILED, training_parts

    order = sections[number]
    parts = training_parts(order, BATCH, rank=0, size=options.ranks)
    (compiled.arrivals if len(order) >= COMPILED else arrivals)(parts.rows, parts.lengths, options.chunk_rows)
    for _ in parts:  # a loader goes through them one by one
        pass
    return len(order)


def _memory() -> float:
    """The most that this process has had so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    main()
