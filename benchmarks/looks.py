"""What it costs the selection to look at twins of overlapping fields: ``python benchmarks/looks.py``.

A release of ``--rows`` rows in 170 fields of 12 bands (all the same 2,000 × 2,000 pixels of noise, plain FITS); in it
a share of the objects is listed twice, in two fields. Its selection is made once a share, in a process of its own: CPU
seconds of the selection, and of the looks at twins within it; how many cutouts were looked at. Prints a table; writes
benchmarks/results/looks.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from catalogue import BANDS
from scale_stage import COLUMNS, FIELDS, release_block

from hpc_astrossl import provenance

RECORD = Path(__file__).parent / "results" / "looks.json"
SIDE = 2000
RECIPE = f"""
survey: made
release: "1"
size: 32
catalogue: {{file: catalogue.parquet, id: ID, ra: RA, dec: Dec, x: X, y: Y, flag: PhotoFlag,
            field_pattern: 'SPLUS\\.(?P<field>.+)\\.\\d+\\.griz', bands: [{", ".join(BANDS)}],
            magnitude: "{{band}}_auto", error: "e{{band}}_auto", reference: r}}
fields: {{pixel_scale: 0.55, bands: "{{field}}_{{band}}.fits", zero_point: 25}}
filters: {{flags: [0]}}
stores: {{pretext: {{images: bands, detected_in: 12, max_error: 0.1}}}}
"""


def make(folder: Path, rows: int, share: float) -> None:
    """The table, and one file of noise under the name of every field and band."""
    import pyarrow as pa
    from astropy.io import fits
    from pyarrow import parquet

    random = np.random.default_rng(0)
    found = release_block(random, 0, rows, int(rows * share / 2), SIDE)
    parquet.write_table(pa.table({name: found[name] for name in COLUMNS}), folder / "catalogue.parquet")
    one = folder / "noise.fits"
    fits.writeto(one, random.normal(0, 1, (SIDE, SIDE)).astype(np.float32), checksum=True)
    for field in range(FIELDS):
        for band in BANDS:
            os.link(one, folder / f"S82-{field:04d}_{band}.fits")
    (folder / "recipe.yaml").write_text(RECIPE)


def measure(folder: Path) -> dict:
    """In this process: CPU seconds of the selection, and of the looks within it."""
    from hpc_astrossl.ingest.looks import Looks
    from hpc_astrossl.selection.catalogue import read_objects
    from hpc_astrossl.selection.select import select
    from hpc_astrossl.selection.workspace import Workspace
    from hpc_astrossl.specs.recipe import load_recipe

    recipe, space, spent, looked = load_recipe(folder / "recipe.yaml"), Workspace(folder=folder / "workspace"), [], []

    class Timed(Looks):
        def useless(self, store, rows, others):
            begun = time.process_time()
            found = super().useless(store, rows, others)
            spent.append(time.process_time() - begun)
            looked.append(len(rows))
            return found

    begun = time.process_time()
    objects = read_objects(recipe, folder, space)
    kept = select(recipe, objects, folder, Timed(recipe, folder, objects), space)["pretext"].counts()
    whole = time.process_time() - begun
    return {"kept": kept[""], "near": kept.get("within 1 arcsec of a brighter object", 0), "looked_at": sum(looked),
            "selection_cpu_s": round(whole - sum(spent), 2), "looks_cpu_s": round(sum(spent), 2),
            "share": round(sum(spent) / (whole - sum(spent)), 3)}  # fmt: skip


def main() -> None:
    """Make, measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--shares", type=float, nargs="+", default=[0.05, 0.1])
    parser.add_argument("--step", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        print(json.dumps(measure(options.step)))
        return
    found = []
    for share in options.shares:
        with tempfile.TemporaryDirectory(prefix="looks-") as folder:
            make(Path(folder), options.rows, share)
            command = [sys.executable, __file__, "--step", folder]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            found.append({"overlap": share, "rows": options.rows} | json.loads(done.stdout.splitlines()[-1]))
            print(found[-1], flush=True)
    record = {"command": sys.argv[1:], "code": provenance.code(), "date": provenance.now(),
              "cores": len(os.sched_getaffinity(0)), "rows": found}  # fmt: skip
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
