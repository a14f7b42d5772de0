"""A tiny survey in S-PLUS DR1's file layout for tests: bright blobs at known positions of one or two fields."""

from pathlib import Path

import numpy as np
from astropy.io import fits
from PIL import Image

BANDS = ("uJAVA", "F378", "F395", "F410", "F430", "g", "F515", "r", "F660", "i", "F861", "z")
FILES = {"uJAVA": "U", "g": "G", "r": "R", "i": "I", "z": "Z"}
WIDTH, HEIGHT = 260, 180  # of a field, pixels; not square, so that swapped axes show
SCALE = 0.55  # arcsec per pixel
RECIPES = Path(__file__).parent.parent / "preprocess"


def blobs(positions, width=WIDTH, height=HEIGHT) -> np.ndarray:
    """A field with a Gaussian of σ = 2 pixels at each FITS position (x, y), row 0 at the bottom as in FITS."""
    y, x = np.mgrid[1 : height + 1, 1 : width + 1]
    field = np.zeros((height, width), dtype=np.float32)
    for x0, y0 in positions:
        field += np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 8)
    return field


def centroid(image: np.ndarray) -> tuple[float, float]:
    """(row, column) of the light, counted from the centre of the first pixel."""
    weights = image.astype(float)
    rows, columns = np.indices(weights.shape)
    return (weights * rows).sum() / weights.sum(), (weights * columns).sum() / weights.sum()


def write_png(path: Path, field: np.ndarray) -> None:
    """An RGB image with row 0 at the top."""
    grey = np.round(field[::-1] / field.max() * 250).astype(np.uint8)
    Image.fromarray(np.stack([grey] * 3, axis=-1)).save(path)


def write_band(path: Path, field: np.ndarray) -> None:
    """A tile-compressed FITS file with checksums, data in its second unit."""
    unit = fits.CompImageHDU(field, compression_type="GZIP_2", quantize_level=0)
    fits.HDUList([fits.PrimaryHDU(), unit]).writeto(path, checksum=True, overwrite=True)


class Survey:
    """Rows of a catalogue and of a spectroscopic table, to be changed by a test and then written."""

    def __init__(self, folder: Path, fields=("SIM-1", "SIM-2"), per_field=45):
        self.folder, self.fields, self.rows, self.spectra = folder, fields, [], []
        for f, field in enumerate(fields):
            for n in range(per_field):
                x, y = 20.3 + 25.1 * (n % 9), 20.7 + 34.2 * (n // 9)
                self.add(field, n, x, y, ra=(359.99 + 0.02 * f + x * SCALE / 3600) % 360, dec=0.5 + y * SCALE / 3600)
        for n, row in enumerate(self.rows[: 2 * len(self.rows) // 3]):
            kind = ("STAR", "GALAXY", "STAR", "QSO")[n % 4]
            self.spectra.append({"ra": row["RA"], "dec": row["Dec"], "class": kind, "redshift": 0.1, "zWarning": 0})

    def add(self, field: str, number: int, x: float, y: float, ra: float, dec: float) -> dict:
        """Append an object that passes every filter, and return its row."""
        row = {"ID": f"SPLUS.{field}.{number:05d}.griz", "RA": ra, "Dec": dec, "X": x, "Y": y, "PhotoFlag": 0}
        for b, band in enumerate(BANDS):
            row |= {f"{band}_auto": 16 + (number % 5) - 0.1 * b, f"e{band}_auto": 0.02}
        self.rows.append(row | {"field": field})
        return self.rows[-1]

    def write(self, *, bands: bool = False) -> Path:
        """Write every file below the folder; the coadds of the twelve bands only if asked. Returns the folder."""
        self.folder.mkdir(exist_ok=True)
        for field in self.fields:
            positions = [(float(row["X"]), float(row["Y"])) for row in self.rows if row["field"] == field]
            image = blobs([position for position in positions if np.isfinite(position).all()])
            write_png(self.folder / f"{field}_trilogy.png", image)
            if bands:
                self._write_bands(field, image)
        columns = [name for name in self.rows[0] if name != "field"]
        lines = [" ".join(str(row[name]) for name in columns) for row in self.rows]
        (self.folder / "master_catalog.cat").write_text("\n".join(["# " + " ".join(columns), *lines]) + "\n")
        table = [",".join(map(str, row.values())) for row in self.spectra]
        (self.folder / "spec.csv").write_text("\n".join(["ra,dec,class,redshift,zWarning", *table]) + "\n")
        return self.folder

    def _write_bands(self, field: str, image: np.ndarray) -> None:
        for b, band in enumerate(BANDS):
            write_band(self.folder / f"{field}_{FILES.get(band, band)}_swp.fits.fz", image * (b + 1))
        points = [f"{band} {20 + 0.1 * b}" for b, band in enumerate(BANDS)]
        (self.folder / f"{field}_ZP.cat").write_text("\n".join(["# FILTER ZP", *points]) + "\n")
