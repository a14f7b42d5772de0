"""Which cutouts would reach over the edge of their field: known from the headers, before any pixel is read."""

import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning
from PIL import Image

from hpc_astrossl.cutting.cutouts import Source, window
from hpc_astrossl.errors import InputError
from hpc_astrossl.objects import Objects
from hpc_astrossl.specs.recipe import Recipe


def over_edge(recipe: Recipe, source: Source, objects: Objects, rows: np.ndarray) -> np.ndarray:
    """True for those of ``rows`` whose cutout is not all inside its field; bool, N of the catalogue.

    InputError for a field whose size cannot be read; if the recipe rejects such fields, their objects count as inside
    here and are found out later.
    """
    outside = np.zeros(len(objects), dtype=bool)
    if recipe.fields is None:
        return outside
    for unit in source.units(rows):
        try:
            height, width = field_size(source.files(unit)[0])
        except InputError:
            if recipe.fields.unreadable == "reject":
                continue
            raise
        tops = window(height - objects.y[unit.rows], recipe.size)
        lefts = window(objects.x[unit.rows] - 1, recipe.size)
        inside = (tops >= 0) & (tops + recipe.size <= height) & (lefts >= 0) & (lefts + recipe.size <= width)
        outside[unit.rows[~inside]] = True
    return outside


def field_size(path: Path) -> tuple[int, int]:
    """(height, width) in pixels of a field's image, FITS or PNG, from its header. InputError when it has none."""
    try:
        if ".fit" in path.name.lower():
            return _fits_size(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # a field of 11000 × 11000 is no bomb
            with Image.open(path) as image:
                return image.size[::-1]
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, fits.VerifyError,
            Image.DecompressionBombError) as error:  # fmt: skip
        raise InputError(f"{path}: unreadable or truncated image ({str(error).strip()}); fetch it again") from None


def _fits_size(path: Path) -> tuple[int, int]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=AstropyWarning)  # that of its data is said when they are read
        with path.open("rb") as stream, fits.open(stream, memmap=False) as units:
            for unit in units:
                if unit.is_image and len(unit.shape) == 2:
                    return unit.shape
    raise InputError(f"{path}: holds no two-dimensional image")
