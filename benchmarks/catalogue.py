"""The catalogue stage at a release's size, timed: ``python benchmarks/catalogue.py``.

Makes a catalogue of 3,000,000 rows × 44 columns as ASCII, CSV, FITS and Parquet and 500,000 spectra; reads 30 of its
columns with each table library that is installed (polars is no dependency of the package), and then runs the stage
itself (read, filter, drop duplicates, crossmatch) from each format. Every measurement is a process of its own. Prints
a table; writes benchmarks/results/catalogue.json.
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

import numpy as np
from catalogue_readers import READERS, installed, read

from hpc_astrossl import provenance

HERE = Path(__file__).parent
RECIPE = HERE.parent / "preprocess" / "simulated.yaml"
BANDS = ("uJAVA", "F378", "F395", "F410", "F430", "g", "F515", "r", "F660", "i", "F861", "z")
USED = ["ID", "RA", "Dec", "X", "Y", "PhotoFlag", *(f"{e}{band}_auto" for e in ("", "e") for band in BANDS)]
UNUSED = ["ISOarea", "s2nDet", "FWHM", "MUMAX", "A", "B", "THETA", "FlRadDet", "KrRadDet", "nDet_auto"]
UNUSED += [f"{band}_petro" for band in BANDS[:4]]  # 44 columns in all


def make(folder: Path, rows: int, spectra: int) -> None:
    """Write the four catalogues and the spectra: 1.5 % repeated objects, one in ten undetected somewhere."""
    import pyarrow as pa
    from astropy.table import Table
    from pyarrow import csv, parquet

    random = np.random.default_rng(0)
    data: dict[str, np.ndarray] = {"ID": np.array([f"SPLUS.S82-{i % 170:04d}.{i:07d}.griz" for i in range(rows)])}
    data["RA"], data["Dec"] = np.round(random.uniform(0, 360, rows), 6), np.round(random.uniform(-1.4, 1.4, rows), 6)
    twice = rows // 64
    data["RA"][-twice:], data["Dec"][-twice:] = data["RA"][:twice], data["Dec"][:twice]
    data |= {name: np.round(random.uniform(1, 11000, rows), 2) for name in ("X", "Y")}
    data["PhotoFlag"] = random.choice([0, 0, 0, 1, 2], rows)
    base = random.normal(19, 1.5, rows)
    for band in BANDS:
        data[f"{band}_auto"] = np.round(np.where(random.random(rows) < 0.01, 99, base + random.normal(0, 1, rows)), 3)
    data |= {f"e{band}_auto": np.round(random.exponential(0.04, rows), 4) for band in BANDS}
    data |= {name: np.round(random.uniform(0, 100, rows), 3) for name in UNUSED}
    table, plain = pa.table(data), csv.WriteOptions(include_header=False, delimiter=" ", quoting_style="none")
    parquet.write_table(table, folder / "catalogue.parquet")
    csv.write_csv(table, folder / "catalogue.csv", csv.WriteOptions(quoting_style="none"))
    with (folder / "catalogue.cat").open("wb") as stream:
        stream.write(("# " + " ".join(data) + "\n").encode())
        csv.write_csv(table, stream, plain)
    Table(data).write(folder / "catalogue.fits")
    at = random.choice(rows, spectra, replace=False)
    found = {"ra": data["RA"][at], "dec": np.round(data["Dec"][at] + random.normal(0, 1e-4, spectra), 7)}
    found["class"] = random.choice(["STAR", "GALAXY", "QSO"], spectra)
    found["zWarning"] = random.choice([0] * 9 + [4], spectra)
    csv.write_csv(pa.table(found), folder / "spectra.csv")


def stage(folder: Path, kind: str) -> dict[str, int]:
    """The stage as ``astrossl preprocess`` runs it before any pixel is read: objects kept, a store each."""
    from hpc_astrossl.selection.catalogue import read_objects
    from hpc_astrossl.selection.select import select
    from hpc_astrossl.specs.recipe import load_recipe

    format = "ascii" if kind == "cat" else kind
    recipe = load_recipe(RECIPE, [f"catalogue.file=catalogue.{kind}", f"catalogue.format={format}",
                                  "spectra.file=spectra.csv"])  # fmt: skip
    began = time.monotonic()
    objects = read_objects(recipe, folder)
    print(f"  read in {time.monotonic() - began:.1f} s", file=sys.stderr)
    return {name: len(selection.rows) for name, selection in select(recipe, objects, folder).items()}


def measure(*step: str) -> dict:
    """Run one step in a new process: wall and CPU seconds, peak memory, what it found."""
    began = time.monotonic()
    done = subprocess.run([sys.executable, __file__, "--step", *step], stdout=subprocess.PIPE, text=True, check=True)
    return {"wall_s": round(time.monotonic() - began, 2), **json.loads(done.stdout.splitlines()[-1])}


def run_step(step: list[str]) -> None:
    """Inside the new process: do it, print what it found and used."""
    name, folder, *rest = step
    if name == "make":
        found = make(Path(folder), *map(int, rest))
    elif name == "read":
        found = read(rest[0], Path(folder) / f"catalogue.{rest[1]}", USED)
    else:
        found = stage(Path(folder), rest[0])
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"cpu_s": round(used.ru_utime + used.ru_stime, 2), "peak_mb": used.ru_maxrss // 1024,
                      "found": found}))  # fmt: skip


def main() -> None:
    """Make, measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=3_000_000)
    parser.add_argument("--spectra", type=int, default=500_000)
    parser.add_argument("--step", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help="keep the made files here, and use those that are here")
    parser.add_argument("--stage-only", action="store_true", help="do not compare the libraries")
    options = parser.parse_args()
    if options.step:
        run_step(options.step)
        return
    with tempfile.TemporaryDirectory(prefix="catalogue-") as temporary:
        folder = options.folder or Path(temporary)
        folder.mkdir(exist_ok=True)
        if not (folder / "spectra.csv").exists():
            measure("make", str(folder), str(options.rows), str(options.spectra))
        results = {"size_mb": {kind: (folder / f"catalogue.{kind}").stat().st_size >> 20 for kind in READERS}}
        if not options.stage_only:
            results["read"] = {
                kind: {name: measure("read", str(folder), name, kind) for name in installed(kind)} for kind in READERS
            }
        results["stage"] = {kind: measure("stage", str(folder), kind) for kind in READERS}
    report(options, results)


def report(options: argparse.Namespace, results: dict) -> None:
    """Print the table; write the record, unless this was a partial or smaller run."""
    print("| format | what | wall s | CPU s | peak MB |\n|---|---|---|---|---|")
    for kind in READERS:
        lines = {f"read, {name}": row for name, row in results.get("read", {}).get(kind, {}).items()}
        for what, row in (lines | {"whole stage": results["stage"][kind]}).items():
            print(f"| {kind} | {what} | {row['wall_s']} | {row['cpu_s']} | {row['peak_mb']:,} |")
    if options.stage_only or options.rows < 3_000_000:
        return
    record = {
        "command": "python benchmarks/catalogue.py", **provenance.code(), "date": provenance.now(),
        "machine": {"cores": len(os.sched_getaffinity(0))},
        "rows": options.rows, "columns": len(USED + UNUSED), "columns_read": len(USED), "spectra": options.spectra,
        **results,
    }  # fmt: skip
    path = HERE / "results" / "catalogue.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(record, indent=1) + "\n")
    return


if __name__ == "__main__":
    main()
