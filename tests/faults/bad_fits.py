"""Rows of the table: FITS images that are not what the recipe says, or not whole."""

import re
from pathlib import Path

import numpy as np
from astropy.io import fits

from faults import small_release as release
from faults.cases import REFUSED, TOLERATED, cut, edit, flip, spoiling

row = spoiling("fits", release.make)
AGAIN = "fetch it again"


def image(change, **options):
    """A row's spoiling: the g band from ``change(field)``."""

    def spoil(folder: Path) -> None:
        release.write_image(release.band(folder), fits.PrimaryHDU(change(release.field())), **options)

    return spoil


def compressed(folder: Path) -> Path:
    """The g band as a tile-compressed image, a tile a row; without checksums, so that only the tiles tell."""
    unit = fits.CompImageHDU(release.field(), compression_type="GZIP_1", quantize_level=0)
    release.write_image(release.band(folder), unit, checksum=False)
    return release.band(folder)


def lose_tiles(folder: Path) -> None:
    """Descriptors of ten tiles say that no byte is theirs."""
    path = compressed(folder)
    with fits.open(path, disable_image_compression=True) as units:
        start, width = units[1].fileinfo()["datLoc"], units[1].header["NAXIS1"]
    data = bytearray(path.read_bytes())
    data[start + 40 * width : start + 50 * width] = bytes(10 * width)
    path.write_bytes(data)


def retype(bits: int, checksum: bool):
    """The header of the g band claims another type of numbers."""

    def spoil(folder: Path) -> None:
        release.write_image(release.band(folder), fits.PrimaryHDU(release.field()), checksum=checksum)
        edit(release.band(folder), (f"BITPIX  = {-32:20d}", f"BITPIX  = {bits:20d}"))

    return spoil


def holes(values: np.ndarray) -> np.ndarray:
    values[10:22, 10:26] = np.nan
    return values


def table_only(folder: Path) -> None:
    columns = [fits.Column("flux", "E", array=np.ones(4))]
    release.write_image(release.band(folder), fits.BinTableHDU.from_columns(columns))


def lie_about_datasum(folder: Path) -> None:
    path = release.band(folder)
    path.write_bytes(re.sub(rb"DATASUM = '\d{6}", b"DATASUM = 'twelve", path.read_bytes()))


def wide(folder: Path) -> None:
    release.write_image(release.band(folder, "r"), fits.PrimaryHDU(release.field()[:-1, :-1].copy()))


CASES = [
    row("truncated", lambda f: cut(release.band(f), 0.6), REFUSED, r"F1_g\.fits: truncated: [\d,]+ bytes found, "
        rf"[\d,]+ needed; {AGAIN}"),
    row("truncated in its header", lambda f: cut(release.band(f), 0.02), REFUSED,
        rf"F1_g\.fits: damaged or not a FITS file.*{AGAIN}"),
    row("of zero bytes", lambda f: cut(release.band(f), 0), REFUSED,
        rf"F1_g\.fits: damaged or not a FITS file: it is empty.*{AGAIN}"),
    row("another file under its name", lambda f: release.band(f).write_bytes(b"<html>404</html>" * 300), REFUSED,
        rf"F1_g\.fits: damaged or not a FITS file: by its first bytes.*{AGAIN}"),
    row("compressed and truncated", lambda f: cut(compressed(f), 0.7), REFUSED, r"F1_g\.fits: truncated"),
    row("compressed with lost tiles", lose_tiles, REFUSED,
        r"F1_g\.fits: damaged.*COMPRESSED_DATA column has zero length"),
    row("flipped bit", lambda f: flip(release.band(f)), REFUSED, r"F1_g\.fits: damaged: its data do not add up to "
        "their DATASUM"),
    row("checksum that is no number", lie_about_datasum, REFUSED, rf"F1_g\.fits: damaged.*{AGAIN}"),
    row("a table where the image should be", table_only, REFUSED, r"F1_g\.fits: holds no two-dimensional image"),
    row("a cube where the image should be", image(lambda v: np.stack([v, v])), REFUSED,
        r"F1_g\.fits: holds no two-dimensional image"),
    row("missing band", lambda f: release.band(f, "r").unlink(), REFUSED, r"F1_r\.fits: no such file; objects of the "
        "catalogue lie in this field"),
    row("bands of different size", wide, REFUSED, r"F1_r\.fits: is 119 × 89 pixels, the field's other bands are "
        "120 × 90; all bands must share one pixel grid"),
    row("wider BITPIX", retype(-64, False), REFUSED, r"F1_g\.fits: truncated"),
    row("narrower BITPIX", retype(16, False), REFUSED, rf"F1_g\.fits: damaged.*{AGAIN}"),
    row("BITPIX that FITS does not have", retype(13, True), REFUSED, r"F1_g\.fits: damaged"),
    row("region of NaN", image(holes), TOLERATED, r"kept 23 · left out pixels without a value 1"),
    row("infinite pixels", image(lambda v: np.where(v > 90, np.inf, v).astype("f4")), REFUSED,
        r"none of its 24 objects has an image that can be used: pixels without a value 24"),
    row("all zero", image(np.zeros_like), REFUSED, r"none of its 24 objects has an image that can be used: "
        "blank image 24"),
    row("zero point missing", lambda f: edit(f / "release/F1_ZP.cat", ("g 20.0\n", "")), REFUSED,
        r"F1_ZP\.cat: no zero point for band g"),
]  # fmt: skip
