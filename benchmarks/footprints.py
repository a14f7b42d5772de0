"""What finding objects in fields by position costs: ``python benchmarks/footprints.py [--tiles N --objects N]``.

Tiles of 0.25 square degree (TAN, 3600 × 3600 pixels of 0.5 arcsec: headers, and data that take no room) overlap a
little and cover a band of sky; objects are spread over it. Told are seconds by the clock and CPU seconds of reading all
headers, of reading the index that is kept instead, and of giving every object its field and pixel, with the largest
memory of the process. Writes benchmarks/results/footprints.json.
"""

import argparse
import json
import os
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits

from hpc_astrossl.cutting.footprints import Index, deepest
from hpc_astrossl.specs.recipe import load_recipe

SIDE, SCALE, STEP = 3600, 0.5, 0.48  # pixels, arcsec, degrees between centres
BLOCK = 2880
RECIPE = """
survey: sky
release: benchmark
size: 32
catalogue: {file: cat.csv, format: csv, id: id, ra: ra, dec: dec, bands: [r], magnitude: "mag_{band}"}
fields: {bands: "{field}_{band}.fits", zero_point: 25}
stores: {all: {images: bands}}
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tiles", type=int, default=10_000)
    parser.add_argument("--objects", type=int, default=10_000_000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "recipe.yaml").write_text(RECIPE)
        recipe = load_recipe(folder / "recipe.yaml", [])
        width = _tiles(folder, options.tiles)
        rng = np.random.default_rng(0)
        ra, dec = rng.uniform(0.5, width, options.objects), rng.uniform(-10, 10, options.objects)
        index = Index(recipe, folder)
        record = {"tiles": options.tiles, "objects": options.objects, "before_mb": _memory()}
        record["headers"] = _timed(index.all)
        index.save()
        again = Index(recipe, folder)
        record["index"] = _timed(again.all)
        found = []
        record["objects_to_tiles"] = _timed(lambda: found.append(deepest(again, ra, dec)))
        record |= {"found": int((found[0][0] != "").sum()), "most_mb": _memory()}
    print(json.dumps(record, indent=1))
    path = Path(__file__).parent / "results" / "footprints.json"
    path.write_text(json.dumps(record, indent=1) + "\n")


def _tiles(folder: Path, count: int) -> float:
    """Write the tiles, in rows of declination from -10 to 10; returns the band's width in degrees."""
    rows = np.arange(-10 + STEP / 2, 10, STEP)
    columns = -(-count // len(rows))
    for number in range(count):
        column, row = divmod(number, len(rows))
        cards = fits.Header()
        for axis, (kind, value) in enumerate((("RA---TAN", (column + 0.5) * STEP), ("DEC--TAN", rows[row])), start=1):
            cards[f"CTYPE{axis}"], cards[f"CRVAL{axis}"], cards[f"CRPIX{axis}"] = kind, float(value), SIDE / 2 + 0.5
            cards[f"CD{axis}_{axis}"] = (-SCALE if axis == 1 else SCALE) / 3600
        header = fits.PrimaryHDU(header=cards).header
        header["BITPIX"], header["NAXIS"] = -32, 2
        header.set("NAXIS1", SIDE, after="NAXIS")
        header.set("NAXIS2", SIDE, after="NAXIS1")
        content = header.tostring().encode()
        path = folder / f"T{number:05d}_r.fits"
        path.write_bytes(content)
        os.truncate(path, -(-(len(content) + SIDE * SIDE * 4) // BLOCK) * BLOCK)
    return columns * STEP


def _timed(work) -> dict[str, float]:
    clock, cpu = time.perf_counter(), time.process_time()
    work()
    return {"seconds": round(time.perf_counter() - clock, 1), "cpu_seconds": round(time.process_time() - cpu, 1)}


def _memory() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


if __name__ == "__main__":
    main()
