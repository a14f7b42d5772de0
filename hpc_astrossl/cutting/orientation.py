"""How stored cutouts lie on the sky: for each object six numbers, from which a cutout leaves as FITS with a WCS.

They are CRPIX1, CRPIX2, CD1_1, CD1_2, CD2_1, CD2_2 (degrees) of a TAN whose CRVAL is the object's RA and Dec, for the
cutout in FITS rows, the lowest first; NaN where no WCS is known.
"""

import numpy as np

from hpc_astrossl.cutting.resampling import Grid
from hpc_astrossl.cutting.sky import ARCSEC, Sky

COUNT = 6


def unknown(count: int) -> np.ndarray:
    """Of objects without a WCS: (M, 6)."""
    return np.full((count, COUNT), np.nan)


def of_windows(sky: Sky | None, place: tuple[np.ndarray, np.ndarray], corner: tuple[np.ndarray, np.ndarray],
               size: int) -> np.ndarray:  # fmt: skip
    """Of whole pixels: ``place`` is (ra, dec), ``corner`` (top, left) of M windows of an image, row 0 at the top."""
    found = unknown(len(place[0]))
    if sky is None:
        return found
    x, y = sky.pixel(*place)
    known = np.isfinite(x)
    if known.any():
        top, left = corner
        found[:, 0], found[:, 1] = x - left, y - (sky.shape[0] - top - size)
        found[known, 2:] = sky.matrix(x[known], y[known]).reshape(-1, 4) / ARCSEC
        found[~known] = np.nan
    return found


def of_grid(grid: Grid, sky: Sky | None) -> np.ndarray:
    """Of objects that were resampled."""
    found = unknown(len(grid.ra))
    if sky is not None:
        found[:, :2] = (grid.size + 1) / 2
        found[:, 2:] = (grid.turn * grid.scale[:, None, None]).reshape(-1, 4) / ARCSEC
    return found
