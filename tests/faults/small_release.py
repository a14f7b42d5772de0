"""The smallest release that ``astrossl preprocess`` makes a store of: one field in two bands, 24 objects in a CSV."""

from pathlib import Path

import numpy as np
from astropy.io import fits
from ingest_survey import blobs

WIDTH, HEIGHT = 120, 90
RECIPE = """\
survey: tiny
release: "1"
size: 16
catalogue:
  file: objects.csv
  format: csv
  id: ID
  ra: RA
  dec: DEC
  x: X
  y: Y
  field: FIELD
  bands: [g, r]
  magnitude: "{band}_auto"
fields:
  pixel_scale: 0.55
  bands: "{field}_{band}.fits"
  zero_points: "{field}_ZP.cat"
stores:
  tiny: {images: bands, detected_in: 1}
"""
HEADER = "ID,RA,DEC,X,Y,FIELD,g_auto,r_auto"


def places() -> list[tuple[float, float]]:
    """FITS positions of the objects."""
    return [(18.0 + 16 * column, 16.0 + 18 * row) for row in range(4) for column in range(6)]


def rows() -> list[str]:
    """The lines of the catalogue."""
    return [
        f"o{n:02d},{10 + x / 1000},{-30 + y / 1000},{x},{y},F1,{17 + n / 10},{16.5 + n / 10}"
        for n, (x, y) in enumerate(places())
    ]


def write_catalogue(folder: Path, lines: list[str], header: str = HEADER) -> None:
    """``objects.csv`` with those lines."""
    (folder / "release" / "objects.csv").write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")


def field() -> np.ndarray:
    """The field's light on a sky that is nowhere zero, row 0 at the bottom."""
    return blobs(places(), WIDTH, HEIGHT) * 100 + np.float32(1)


def band(folder: Path, name: str = "g") -> Path:
    """The file of a band."""
    return folder / "release" / f"F1_{name}.fits"


def write_image(path: Path, unit, **options) -> None:
    """A FITS file with the image in its first unit, or behind an empty one if it cannot be the first."""
    units = [unit] if isinstance(unit, fits.PrimaryHDU) else [fits.PrimaryHDU(), unit]
    fits.HDUList(units).writeto(path, overwrite=True, **({"checksum": True} | options))


def make(folder: Path) -> list[str]:
    """Write release and recipe into the folder; the arguments that make its store."""
    (folder / "release").mkdir()
    write_catalogue(folder, rows())
    for scale, name in enumerate("gr", start=1):
        write_image(band(folder, name), fits.PrimaryHDU(field() * scale))
    (folder / "release" / "F1_ZP.cat").write_text("# FILTER ZP\ng 20.0\nr 20.5\n")
    (folder / "recipe.yaml").write_text(RECIPE)
    return command(folder)


def command(folder: Path) -> list[str]:
    """The arguments that make the store of the folder's recipe."""
    source, out = str(folder / "release"), str(folder / "stores")
    return ["preprocess", str(folder / "recipe.yaml"), "--source", source, "--out", out, "--workers", "1"]
