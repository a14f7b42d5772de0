"""The catalogue stage for ``scale.py``: a made release, the selection by one task, and what it costs the others."""

import importlib
import os
import resource
import shutil
import time
from pathlib import Path

import numpy as np
from catalogue import BANDS, RECIPE

BLOCK = 1_000_000
FIELDS, SIDE = 170, 11_000
COLUMNS = ["ID", "RA", "Dec", "X", "Y", "PhotoFlag", *(f"{e}{band}_auto" for e in ("", "e") for band in BANDS)]


def make(folder: Path, rows: int, spectra: int) -> None:
    """A Parquet catalogue of 30 columns (1.5 % repeated positions), spectra in CSV, and fields without content."""
    import pyarrow as pa
    from PIL import Image
    from pyarrow import csv, parquet

    random, writer, places = np.random.default_rng(0), None, []
    for start in range(0, rows, BLOCK):
        block = release_block(random, start, min(BLOCK, rows - start))
        table = pa.table({name: block[name] for name in COLUMNS})
        writer = writer or parquet.ParquetWriter(folder / "catalogue.parquet", table.schema)
        writer.write_table(table)
        at = random.choice(len(table), min(len(table), spectra * len(table) // rows), replace=False)
        places.append((block["RA"][at], block["Dec"][at]))
    writer.close()
    ra, dec = (np.concatenate(part) for part in zip(*places, strict=True))
    found = {"ra": ra, "dec": np.round(dec + random.normal(0, 1e-4, len(ra)), 7),
             "class": random.choice(["STAR", "GALAXY", "QSO"], len(ra)),
             "zWarning": random.choice([0] * 9 + [4], len(ra))}  # fmt: skip
    csv.write_csv(pa.table(found), folder / "spectra.csv")
    one = folder / "field.png"
    Image.new("1", (SIDE, SIDE)).save(one)
    for i in range(FIELDS):
        os.link(one, folder / f"S82-{i:04d}_trilogy.png")


def release_block(random: np.random.Generator, start: int, count: int, twice: int | None = None,
                  side: int = SIDE) -> dict[str, np.ndarray]:  # fmt: skip
    """Rows of a release from ``start`` on, of which the last ``twice`` (1.5 %) repeat the places of the first."""
    numbers = np.arange(start, start + count)
    found = {"ID": np.array([f"SPLUS.S82-{i % FIELDS:04d}.{i:09d}.griz" for i in numbers.tolist()])}
    found["RA"], found["Dec"] = np.round(random.uniform(0, 360, count), 6), np.round(random.uniform(-40, 2, count), 6)
    twice = count // 64 if twice is None else twice
    found["RA"][-twice:], found["Dec"][-twice:] = found["RA"][:twice], found["Dec"][:twice]
    found |= {name: np.round(random.uniform(1, side, count), 2) for name in ("X", "Y")}
    found["PhotoFlag"] = random.choice([0, 0, 0, 1, 2], count)
    base = random.normal(19, 1.5, count)
    for band in BANDS:
        found[f"{band}_auto"] = np.round(
            np.where(random.random(count) < 0.01, 99, base + random.normal(0, 1, count)), 3
        )
    return found | {f"e{band}_auto": np.round(random.exponential(0.04, count), 4) for band in BANDS}


def _recipe():
    from hpc_astrossl.specs.recipe import load_recipe

    return load_recipe(RECIPE, ["catalogue.file=catalogue.parquet", "catalogue.format=parquet",
                                "spectra.file=spectra.csv"])  # fmt: skip


def stage(folder: Path) -> dict:
    """Read, filter, drop duplicates, crossmatch and keep apart, as before any pixel is read, in this process."""
    import hpc_astrossl

    here = Path(hpc_astrossl.__file__).parent
    room = "selection" if (here / "selection").is_dir() else "ingest"  # so it was called in 0.1.0
    read_objects = importlib.import_module(f"hpc_astrossl.{room}.catalogue").read_objects
    select = importlib.import_module(f"hpc_astrossl.{room}.select").select
    recipe, more, spilled = _recipe(), {}, 0
    begun = time.monotonic(), time.process_time()
    if (here / "selection" / "workspace.py").is_file():  # from 0.2.0 on: in a budget of memory, which is the default
        from hpc_astrossl.selection.workspace import Workspace

        more = {"space": Workspace(folder=folder / "workspace")}
    objects = read_objects(recipe, folder, **more)
    kept = {name: len(found.rows) for name, found in select(recipe, objects, folder, **more).items()}
    if more:
        spilled = sum(file.stat().st_size for file in more["space"].folder.glob("*"))
        shutil.rmtree(more["space"].folder, ignore_errors=True)
    return {"kept": kept, "spilled_mb": spilled >> 20} | _used(begun)


def task(folder: Path, out: Path, number: int, tasks: int) -> dict:
    """What one task of many spends before it cuts: the selection, or reading what another has left of it."""
    from hpc_astrossl.cutting.progress import Progress

    build = importlib.import_module("hpc_astrossl.ingest.build")
    recipe, options = _recipe(), build.Options(task=number, tasks=tasks, workers=1)
    begun = time.monotonic(), time.process_time()
    jobs, _ = build._planned(recipe, list(recipe.stores), (folder, out), options, Progress())
    portions = importlib.import_module("hpc_astrossl.ingest.portions").portions
    objects = sum(len(portion) for portion in portions(list(jobs.values()), folder, options))
    return {"objects": objects} | _used(begun)


def _used(begun: tuple[float, float]) -> dict:
    return {"wall_s": round(time.monotonic() - begun[0], 2), "cpu_s": round(time.process_time() - begun[1], 2),
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}  # fmt: skip
