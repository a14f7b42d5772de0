"""What grows with a survey, and what does not: ``python benchmarks/scale.py --order 1e6 1e7 1e8 1e9``.

``--order``: the order of an epoch over so many rows, of which no pixel is there, 64 rows a chunk (``--chunk-rows``),
batches of 128. Each size is a process of its own, which plans the first section (``first batch``), then ``--sections``
more (CPU an object), as a loader does for rank 0 of ``--ranks``; memory is what planning takes beyond the libraries.
Prints a table and the exponents by which memory and time grow; writes benchmarks/results/scale.json.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from hpc_astrossl import provenance

RECORD = Path(__file__).parent / "results" / "scale.json"
BATCH = 128


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--order", nargs="+", type=float, metavar="N", required=True)
    parser.add_argument("--chunk-rows", type=int, default=64)
    parser.add_argument("--ranks", type=int, default=1)
    parser.add_argument("--sections", type=int, default=3)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        print(json.dumps(order(int(options.order[0]), options)))
        return
    rows = [_process(int(count), options) for count in options.order]
    print(f"{'objects':>14} {'first batch s':>14} {'ns an object':>13} {'memory MB':>10} {'sections':>9}")
    for row in rows:
        print(f"{row['objects']:14,} {row['first_batch']:14.2f} {row['cpu_ns_an_object']:13.1f} "
              f"{row['memory_mb']:10.0f} {row['sections']:9,}")  # fmt: skip
    growth = {name: exponent(rows, name) for name in ("first_batch", "cpu_ns_an_object", "memory_mb")}
    print("grows as objects to the power of:", ", ".join(f"{name} {value:.2f}" for name, value in growth.items()))
    record = {"command": sys.argv[1:], "code": provenance.code(), "order": rows, "exponents": growth}
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


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
    compiled.arrivals([compiled.epoch_order(small, 4, seed=0, epoch=0, batch_size=8, window=16)], 4)  # now it is there
    before = _memory()
    rows = RowSet(np.full(-(-count // 8), 255, dtype=np.uint8), count)
    begun = time.perf_counter()
    members = Members(rows, options.chunk_rows)
    sections = Sections(members, seed=0, epoch=0, batch_size=BATCH)
    _plan(sections, 0, options)
    first = time.perf_counter() - begun
    begun, done, epoch = time.process_time(), 0, 0
    for number in range(1, 1 + options.sections):
        if len(sections) == 1:  # the next epochs, then
            epoch += 1
            sections = Sections(members, seed=0, epoch=epoch, batch_size=BATCH)
        done += _plan(sections, number % len(sections), options)
    cpu = time.process_time() - begun
    return {"objects": count, "sections": len(sections), "first_batch": round(first, 3),
            "cpu_ns_an_object": round(cpu / max(1, done) * 1e9, 1), "memory_mb": round(_memory() - before)}  # fmt: skip


def _plan(sections, number: int, options: argparse.Namespace) -> int:
    """Plan a section as ``Loader`` does (less what is drawn for flips and turns); the objects of all ranks in it."""
    from hpc_astrossl.loading import compiled
    from hpc_astrossl.loading.arrival import arrivals
    from hpc_astrossl.loading.order import COMPILED, training_parts

    order = sections[number]
    parts = [part.rows for part in training_parts(order, BATCH, rank=0, size=options.ranks)]
    (compiled.arrivals if len(order) >= COMPILED else arrivals)(parts, options.chunk_rows)
    return len(order)


def _memory() -> float:
    """The most that this process has had so far, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


if __name__ == "__main__":
    main()
