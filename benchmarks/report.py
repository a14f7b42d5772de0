"""What a report of 1,000 runs costs: ``python benchmarks/report.py``.

Writes run folders as tests/run_folders.py makes them (six sets, five schemes, eleven sizes, three seeds, and a pretext
run; predictions, features and cutouts in each), then runs ``astrossl report`` on them: into an empty folder, again
with nothing changed, and again after one more run was done. Writes benchmarks/results/report.json.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import accuracies

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import run_folders

SETS = ("EF-15", "EF-2", "EF-4", "MG", "SGQ", "SG")
SIZES = (100, 200, 300, 400, 500, 700, 1000, 2000, 5000, 10000, None)


def study(folder: Path, objects: int) -> int:
    """Write the run folders; how many there are."""
    count = {"EF-15": 15, "EF-2": 2, "MG": 2, "SGQ": 3}
    run_folders.CLASSES.update({name: tuple(f"class {k}" for k in range(some)) for name, some in count.items()})
    write_arrays = run_folders.write_arrays
    run_folders.write_arrays = lambda path, content: write_arrays(path, content, objects=objects)
    run_folders.write_study(folder, sets=SETS, seeds=(0, 1, 2), sizes=SIZES)
    return len(list(folder.glob("*/result.json")))


def cost(workdir: Path, experiment: str) -> dict[str, float]:
    """CPU and wall seconds of one ``astrossl report``, single-threaded, the interpreter's start included."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    command = [sys.executable, "-m", "hpc_astrossl", "report", experiment, "--workdir", str(workdir)]
    subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"cpu_seconds": round(cpu, 1), "wall_seconds": round(time.perf_counter() - began, 1)}


def main() -> None:
    """Write runs, report thrice, write what it took."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=60, help="of validation and of test, in each run (default: 60)")
    objects = parser.parse_args().objects
    with tempfile.TemporaryDirectory() as place:
        workdir = Path(place)
        folder = workdir / "runs" / "study"
        runs = study(folder, objects)
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        found = {"first": cost(workdir, "study"), "again": cost(workdir, "study")}
        run_folders.write_run(folder, run_folders.spec("SG", "scratch", 3, 100), arrays=True)
        found["after one more run"] = cost(workdir, "study")
        page = (workdir / "reports/study/report.html").stat().st_size
    record = {
        "runs": runs,
        "objects_of_a_split": objects,
        "megabytes_of_runs": size >> 20,
        "page_kilobytes": page >> 10,
    }
    path = accuracies.write("report", record | found)
    print(f"{json.dumps(record | found, indent=1)}\nwritten: {path}")


if __name__ == "__main__":
    main()
