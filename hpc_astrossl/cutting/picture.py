"""A field's colour picture held against a coadd beside it: the same size, and the same end up."""

from pathlib import Path

import numpy as np

from hpc_astrossl.cutting.badfile import RecipeFault
from hpc_astrossl.cutting.fits import Image

ROWS, STRIPS = 24, 9  # of the coadd that are looked at: strips spread over its height
CLEAR = 0.2  # by so much one way must correlate better than the other


def hold(path: Path, picture: np.ndarray, coadd: Image, *, told: bool) -> None:
    """RecipeFault when the picture (height, width, 3), row 0 at the top, is of another size than the coadd, or when its
    rows run the other way and the recipe has not said how they do (``told``)."""
    height, width = coadd.shape
    if picture.shape[:2] != coadd.shape:
        raise RecipeFault(f"{path}: is {picture.shape[1]} × {picture.shape[0]} pixels, the coadd {coadd.path.name} is "
                          f"{width} × {height}: a preview of another size; take the full one, or lupton, which makes "
                          "pictures from three bands")  # fmt: skip
    if told or height < 2 * ROWS:
        return
    high, low = [], []
    for bottom in np.unique(np.linspace(0, height - ROWS, STRIPS).astype(int)):
        strip = np.arcsinh(_scaled(coadd.read(slice(bottom, bottom + ROWS), slice(0, width))))
        top = height - bottom - ROWS
        high.append(_alike(strip[::-1], picture[top : top + ROWS]))
        low.append(_alike(strip, picture[bottom : bottom + ROWS]))
    if np.nanmedian(low) > np.nanmedian(high) + CLEAR:
        raise RecipeFault(f"{path}: its rows run the other way than those of {coadd.path.name} (correlation "
                          f"{np.nanmedian(low):.2f} upside down, {np.nanmedian(high):.2f} as it is); set "
                          "fields.rgb_top: low, if its top row has the smallest y")  # fmt: skip


def _scaled(values: np.ndarray) -> np.ndarray:
    """Pixels in units of their scatter, the middle at 0."""
    good = np.where(np.isfinite(values), values, 0).astype(np.float64)
    above = good - np.median(good)
    return above / (1.4826 * np.median(np.abs(above)) or float(np.abs(above).max()) or 1.0)


def _alike(strip: np.ndarray, colours: np.ndarray) -> float:
    """Correlation of brightness; 0 where one of them is flat."""
    grey = colours.mean(axis=2)
    if strip.std() == 0 or grey.std() == 0:
        return 0.0
    return float(np.corrcoef(strip.ravel(), grey.ravel())[0, 1])
