"""Which cutouts would reach over the edge of their field: known from the headers, before any pixel is read."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from hpc_astrossl.cutting import containers, fits
from hpc_astrossl.cutting.badfile import BadFile, RecipeFault
from hpc_astrossl.cutting.fitsfaults import missing
from hpc_astrossl.cutting.source import Source, window
from hpc_astrossl.errors import InputError
from hpc_astrossl.objects import Objects
from hpc_astrossl.specs.recipe import Recipe

BLOCK = 1 << 17  # objects at once


def over_edge(recipe: Recipe, source: Source, objects: Objects, rows: np.ndarray) -> np.ndarray:
    """True for those of ``rows`` (ascending) whose cutout is not all inside its field; bool, N of the catalogue.

    InputError for a field whose size cannot be read; if the recipe rejects such fields, their objects count as inside
    here and are found out later.
    """
    outside = np.zeros(len(objects), dtype=bool)
    if recipe.fields is None or recipe.fields.edge == "pad" or recipe.fields.resample is not None:
        return outside
    sizes, which = np.zeros((2, 0)), np.full(len(rows), -1, dtype=np.int32)
    for unit in source.units(rows):
        try:
            size = field_size(*source.first(unit))
        except RecipeFault:
            raise
        except InputError:
            if recipe.fields.unreadable == "reject":
                continue
            raise
        which[np.searchsorted(rows, unit.rows)] = sizes.shape[1]
        sizes = np.append(sizes, np.array([size]).T, axis=1)
    rows, which = rows[which >= 0], which[which >= 0]
    for start in range(0, len(rows), BLOCK):  # in the order of the catalogue, which may lie on disk
        part = rows[start : start + BLOCK]
        height, width = sizes[:, which[start : start + BLOCK]].astype(np.int64)
        tops = window(height - objects.y[part], recipe.size)
        lefts = window(objects.x[part] - 1, recipe.size)
        inside = (tops >= 0) & (tops + recipe.size <= height) & (lefts >= 0) & (lefts + recipe.size <= width)
        outside[part[~inside]] = True
    return outside


def field_size(path: Path, hdu: int | str | None = None) -> tuple[int, int]:
    """(height, width) in pixels of a field's image, FITS or a picture, from its header. InputError when it has none."""
    try:
        if containers.is_fits(path) or ".fit" in path.name.lower():
            return fits.read_headers(path, hdu=hdu).shape
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # a field of 11000 × 11000 is no bomb
            with Image.open(path) as image:
                return image.size[::-1]
    except FileNotFoundError:
        raise missing(path) from None
    except (OSError, SyntaxError, ValueError, KeyError, TypeError, Image.DecompressionBombError) as error:
        raise BadFile(f"{path}: unreadable or truncated image ({str(error).strip()}); fetch it again") from None
