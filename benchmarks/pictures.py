"""Cutting pictures and cutouts beside decoding them and no more: ``python benchmarks/pictures.py [--rounds 3]``.

What a survey may deliver instead of fields of bands: colour fields as PNG and JPEG, a picture an object that is made
smaller, kept as it is, or cropped, and FITS cutouts of three bands an object. Told is the CPU of an object, in
microseconds: decoding all files alone (Pillow, and astropy for FITS), what cuts them (``Source.cut``), and all of
``astrossl preprocess`` in one process after its imports, with sums, statistics and the store. Rounds take turns in one
process; medians of the ratios within a round are compared. Writes benchmarks/results/pictures.json.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.io import fits
from PIL import Image

from hpc_astrossl import provenance
from hpc_astrossl.cutting.cutouts import open_source
from hpc_astrossl.ingest import build
from hpc_astrossl.ingest.build import Options
from hpc_astrossl.selection.catalogue import read_objects
from hpc_astrossl.specs.recipe import load_recipe

RECORD = Path(__file__).parent / "results" / "pictures.json"
FIELD, FIELD_OBJECTS, PICTURE, CUTOUT = 6000, 4000, 255, 100  # pixels, objects, pixels (as EFIGI), pixels
BANDS = ("g", "r", "z")
FILES = "survey: benchmark\nrelease: '1'\nsize: {size}\ncatalogue: {{file: t.csv, id: id, ra: ra, dec: dec{more}}}\n"
STORES = "stores:\n  all: {}\n"


def sky(height: int, width: int, seed: int) -> np.ndarray:
    """Noise with round sources, uint8 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    image = rng.normal(30, 4, (height, width, 3)).astype(np.float32)
    spot = 200 * np.exp(-(np.hypot(*np.mgrid[-15:16, -15:16]) ** 2) / 40)[..., None]
    for y, x in rng.integers(0, [height - 31, width - 31], (height * width // 8000, 2)):
        image[y : y + 31, x : x + 31] += spot
    return image.clip(0, 255).astype(np.uint8)


def field(folder: Path, kind: str) -> str:
    """One colour field and its table; the recipe."""
    Image.fromarray(sky(FIELD, FIELD, 0)).save(folder / f"a.{kind}", **({"quality": 92} if kind == "jpg" else {}))
    x, y = np.random.default_rng(1).integers(100, FIELD - 100, (2, FIELD_OBJECTS))
    table(folder, FIELD_OBJECTS, {"x": x, "y": y, "field": ["a"] * FIELD_OBJECTS})
    more = ", x: x, y: y, field: field"
    return FILES.format(size=64, more=more) + f"fields: {{rgb: '{{field}}.{kind}', pixel_scale: 0.5}}\n" + STORES


def pictures(folder: Path, kind: str, size: int, options: str = "", count: int = 600) -> str:
    """A picture an object."""
    for number in range(count):
        saved = {"quality": 92} if kind == "jpg" else {}
        Image.fromarray(sky(PICTURE, PICTURE, number)).save(folder / f"{number}.{kind}", **saved)
    table(folder, count, {})
    return FILES.format(size=size, more="") + f"files: {{image: '{{id}}.{kind}'{options}}}\n" + STORES


def cutouts(folder: Path, count: int = 300) -> str:
    """A FITS file an object and band."""
    for number in range(count):
        image = sky(CUTOUT, CUTOUT, number).astype(np.float32)
        for channel, band in enumerate(BANDS):
            fits.PrimaryHDU(image[..., channel]).writeto(folder / f"{number}_{band}.fits", checksum=True)
    table(folder, count, {f"{kind}{band}": np.full(count, 18.0) for kind in ("m", "e") for band in BANDS})
    more = f", bands: [{', '.join(BANDS)}], magnitude: 'm{{band}}', error: 'e{{band}}', reference: r"
    spec = "cutouts: {bands: '{id}_{band}.fits', unit: nJy, pixel_scale: 0.5}\n"
    return FILES.format(size=64, more=more) + spec + "stores:\n  all: {images: bands}\n"


def table(folder: Path, count: int, columns: dict) -> None:
    """The catalogue, objects a degree apart."""
    columns = {"id": range(count), "ra": np.arange(count) % 360, "dec": np.arange(count) // 360 - 5.0} | columns
    rows = zip(*columns.values(), strict=True)
    (folder / "t.csv").write_text("\n".join(",".join(map(str, row)) for row in [tuple(columns), *rows]) + "\n")


CASES: dict[str, Callable[[Path], str]] = {
    "PNG field": lambda folder: field(folder, "png"),
    "JPEG field": lambda folder: field(folder, "jpg"),
    "JPEG files, 255 to 64 pixels": lambda folder: pictures(folder, "jpg", 64),
    "PNG files, 255 to 64 pixels": lambda folder: pictures(folder, "png", 64),
    "JPEG files, cropped to 64": lambda folder: pictures(folder, "jpg", 64, ", crop: 64"),
    "JPEG files, kept": lambda folder: pictures(folder, "jpg", PICTURE, ", keep: jpeg"),
    "FITS cutouts, 3 bands": cutouts,
}


def decoding(folder: Path) -> None:
    """Every file read and decoded, once."""
    for path in sorted(folder.iterdir()):
        if path.suffix == ".fits":
            with fits.open(path, memmap=False) as units:
                units[0].data  # noqa: B018  reading it is the work
        elif path.suffix != ".csv":
            with Image.open(path) as image:
                image.load()


def cutting(folder: Path, recipe) -> None:
    """What fills a store's rows, and no more."""
    objects = read_objects(recipe, folder)
    source = open_source(recipe, folder, objects, recipe.stores["all"].images)
    for unit in source.units(np.arange(len(objects))):
        source.cut(unit, np.zeros((len(unit.rows), *source.row_shape(unit.rows)), source.dtype))


def preprocessing(folder: Path, recipe) -> None:
    """All of the verb."""
    with tempfile.TemporaryDirectory() as out:
        build(recipe, folder, Path(out), Options(workers=1))


def main() -> None:
    """Make the input, measure by turns, print, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", nargs="*", default=list(CASES), help=f"of {', '.join(CASES)}")
    options, found = parser.parse_args(), {}
    Image.MAX_IMAGE_PIXELS = None
    with tempfile.TemporaryDirectory() as name:
        for case in options.cases:
            folder = Path(name) / case.replace(" ", "-")
            folder.mkdir()
            (folder.parent / "recipe.yaml").write_text(CASES[case](folder))
            recipe = load_recipe(folder.parent / "recipe.yaml")
            found[case] = compared(folder, recipe, options.rounds)
            print(case, found[case], flush=True)
    record = {"microseconds_of_cpu_an_object": found, "rounds": options.rounds, "libraries": provenance.libraries(),
              "cores": os.cpu_count(), "load": os.getloadavg()}  # fmt: skip
    RECORD.write_text(json.dumps(record, indent=1) + "\n")


def compared(folder: Path, recipe, rounds: int) -> dict[str, float]:
    """Medians of the ways, and of their ratios to decoding."""
    ways = {"decoding": lambda: decoding(folder), "cutting": lambda: cutting(folder, recipe),
            "preprocess": lambda: preprocessing(folder, recipe)}  # fmt: skip
    count, seen = len((folder / "t.csv").read_text().splitlines()) - 1, {name: [] for name in ways}
    for number in range(rounds + 1):
        for name, way in ways.items():
            begin = time.process_time()
            way()
            if number:  # the first round brings imports
                seen[name].append((time.process_time() - begin) / count * 1e6)
    row = {name: round(statistics.median(times), 1) for name, times in seen.items()}
    for name in ("cutting", "preprocess"):
        ratios = [a / b for a, b in zip(seen[name], seen["decoding"], strict=True)]
        row[f"{name}_over_decoding"] = round(statistics.median(ratios), 2)
    return row


if __name__ == "__main__":
    main()
