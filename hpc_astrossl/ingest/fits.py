"""The door to astropy's FITS reader: one band of a field as calibrated surface brightness."""

import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from hpc_astrossl.errors import InputError
from hpc_astrossl.ingest.tables import read_table

DAMAGE = r"(?s).*([Tt]runcated|[Vv]erification failed)"


def read_image(path: Path) -> np.ndarray:
    """The first two-dimensional image of a FITS file, plain or tile-compressed: float32, (height, width).

    The rows are flipped, so that row 0 is the largest y, as in the survey's RGB images; see ``cutouts.window``.
    InputError for a file that is missing, truncated, fails its checksum, or holds no image.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=AstropyWarning)  # untidy headers are common and harmless
            warnings.filterwarnings("error", DAMAGE, AstropyWarning)
            with fits.open(path, memmap=False, checksum=True) as units:
                for unit in units:
                    if unit.is_image and len(unit.shape) == 2:
                        return np.ascontiguousarray(unit.data[::-1], dtype=np.float32)
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, ValueError, TypeError, KeyError, AstropyWarning, fits.VerifyError) as error:
        raise InputError(f"{path}: damaged or not a FITS file ({error}); fetch it again") from None
    raise InputError(f"{path}: holds no two-dimensional image")


def missing(path: Path) -> InputError:
    """The message for an image that the catalogue needs and the folder does not have."""
    return InputError(f"{path}: no such file; objects of the catalogue lie in this field. Fetch it, or correct the "
                      "file name in the recipe")  # fmt: skip


def zero_points(path: Path, bands: dict[str, str]) -> dict[str, float]:
    """AB zero point of each catalogue band; ``bands`` gives its other name. InputError for a band that is not there.

    The file is a table with columns FILTER and ZP; FILTER may hold either name.
    """
    table = read_table(path, {"FILTER": "text", "ZP": "number"})
    found = dict(zip(table["FILTER"].tolist(), table["ZP"].tolist(), strict=True))
    points = {}
    for band, other in bands.items():
        point = found.get(band, found.get(other))
        if point is None or not np.isfinite(point):
            raise InputError(f"{path}: no zero point for band {band} (nor {other}); FILTER holds {', '.join(found)}")
        points[band] = point
    return points


def calibrate(data: np.ndarray, zero_point: float, pixel_scale: float) -> np.ndarray:
    """Counts as surface brightness, float32: 1e5 · data · 10^(-0.4 ZP) / pixel_scale² (arcsec per pixel).

    In units of 1e-5 of the AB zero flux (3631 Jy) per square arcsec; the scaling of the authors' own code.
    """
    return (data * (1e5 * 10 ** (-0.4 * zero_point) / pixel_scale**2)).astype(np.float32)
