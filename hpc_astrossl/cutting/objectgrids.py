"""The grids of objects that are resampled, as the recipe asks: one scale for all, or a size on the sky for each."""

import numpy as np

from hpc_astrossl.cutting.badfile import RecipeFault
from hpc_astrossl.cutting.bandimage import BandImage
from hpc_astrossl.cutting.resampling import Grid, as_lies, north_up
from hpc_astrossl.objects import Objects
from hpc_astrossl.specs.images import BandImages


def scales(spec: BandImages, size: int, objects: Objects) -> np.ndarray:
    """Arcsec per stored pixel of each object; NaN where the column that gives its size has no positive number."""
    if spec.size is None:
        return np.full(len(objects), spec.resample.pixel_scale)
    values = np.array([_number(text) for text in objects.columns[spec.size.column].tolist()])
    side = np.clip(values * spec.size.factor, spec.size.smallest, spec.size.largest)
    return np.where(values > 0, side, np.nan) / size


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return np.nan


def object_grid(spec: BandImages, size: int, objects: Objects, first: BandImage) -> Grid:
    """The grids of a unit's objects; ``first`` is the first band, whose direction they have unless north is up."""
    ra, dec, count = objects.ra, objects.dec, len(objects)
    if first.sky is not None and not np.isfinite(ra).all():
        ra, dec = first.sky.sky(objects.x, objects.y)
    if first.sky is None and first.scale is None:
        raise RecipeFault(f"{first.image.path}: has no WCS, so it cannot be resampled; give pixel_scale for each band")
    if first.sky is None:  # the middle is the object, wherever that is
        ra, dec = np.zeros(count), np.zeros(count)
    turn = north_up(count)
    if not spec.resample.north_up and first.sky is not None:
        turn = as_lies(first.sky, *first.sky.pixel(ra, dec))
    return Grid(size=size, ra=ra, dec=dec, scale=scales(spec, size, objects), turn=turn, method=spec.resample.method)
