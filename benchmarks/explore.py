"""Memory and CPU time of ``explore`` on many objects: ``python benchmarks/explore.py [--objects N] [--features F]``.

Writes an embedding of N objects × F features in ten overlapping classes (that of benchmarks/classify.py), then runs the
command in a process of its own, and tells the peak of its resident memory, its CPU seconds, the size of what it wrote
and what it says is approximate. Wall seconds are of a machine that may be busy. Writes benchmarks/results/explore.json.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import accuracies
import classify


def explore(work: Path, objects: int, features: int) -> dict:
    """What the command took, and what it told."""
    classify.write_embedding(work / "e.zarr", objects, features)
    command = ["explore", str(work / "e.zarr"), "--out", str(work / "found")]
    done = subprocess.run([sys.executable, "-c", classify.TIMED, *command], capture_output=True, text=True, check=True)
    told = json.loads((work / "found" / "explore.json").read_text())
    written = sum(path.stat().st_size for path in (work / "found").rglob("*") if path.is_file())
    kept = {name: told[name] for name in ("components", "variance_kept", "neighbours_by", "approximate")}
    return {"objects": objects, "features": features, **json.loads(done.stderr.splitlines()[-1]), **kept,
            "written_mb": written / 1e6}  # fmt: skip


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=10_000_000)
    parser.add_argument("--features", type=int, default=64)
    parser.add_argument("--work", type=Path, help="folder for some 3 GB meanwhile; default: the temporary one")
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="astrossl-explore-", dir=wanted.work) as work:
        record = explore(Path(work), wanted.objects, wanted.features)
    print(json.dumps(record, indent=1))
    print(accuracies.write("explore", record))


if __name__ == "__main__":
    main()
