"""The door to astropy's FITS reader: one band of a field, and what makes its counts fluxes."""

import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from hpc_astrossl.errors import InputError
from hpc_astrossl.ingest.tables import read_table

DAMAGE = r"(?s).*([Tt]runcated|Datasum verification failed)"


def read_image(path: Path, *, checksum: bool = True) -> np.ndarray:
    """The first two-dimensional image of a FITS file, plain or tile-compressed: float32, (height, width).

    The rows are flipped, so that row 0 is the largest y, as in the survey's RGB images; see ``cutouts``. The data are
    held against their DATASUM, if there is one and unless told otherwise; CHECKSUM is not looked at, since it covers
    the header too, which many tools edit. InputError for a file that is missing, damaged, or holds no image.
    """
    try:
        with path.open("rb") as stream, warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=AstropyWarning)  # untidy headers are common and harmless
            warnings.filterwarnings("error", DAMAGE, AstropyWarning)
            with fits.open(stream, memmap=False, checksum=checksum) as units:
                for unit in units:
                    if unit.is_image and len(unit.shape) == 2:
                        return np.asarray(unit.data[::-1], dtype=np.float32)
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, ValueError, TypeError, KeyError, AstropyWarning, fits.VerifyError) as error:
        hint = " (or, if its DATASUM is stale, set fields.checksum=false)" if "Datasum" in str(error) else ""
        raise InputError(f"{path}: damaged or not a FITS file ({str(error).strip()}); fetch it again{hint}") from None
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


def calibration(zero_point: float, pixel_scale: float) -> np.float32:
    """Factor that turns counts into surface brightness: 1e5 · 10^(-0.4 ZP) / pixel_scale² (arcsec per pixel).

    In units of 1e-5 of the AB zero flux (3631 Jy) per square arcsec; the scaling of the authors' own code.
    """
    return np.float32(1e5 * 10 ** (-0.4 * zero_point) / pixel_scale**2)
