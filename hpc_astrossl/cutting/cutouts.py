"""Where an object's image comes from, as the recipe says: its field, an image file, FITS cutouts, an array of all."""

from pathlib import Path

from hpc_astrossl.cutting.arrays import ArraySource
from hpc_astrossl.cutting.badfile import DAMAGED as UNREADABLE
from hpc_astrossl.cutting.fields import FieldSource
from hpc_astrossl.cutting.imagefiles import FileSource, KeptSource
from hpc_astrossl.cutting.objectcutouts import CutoutSource
from hpc_astrossl.cutting.source import BLANK, EDGE, NO_VALUE, SMALL, Source, Unit, window
from hpc_astrossl.objects import Objects
from hpc_astrossl.specs.recipe import Recipe

__all__ = [
    "BLANK",
    "EDGE",
    "NO_VALUE",
    "SMALL",
    "UNREADABLE",
    "ArraySource",
    "CutoutSource",
    "FieldSource",
    "FileSource",
    "KeptSource",
    "Source",
    "Unit",
    "open_source",
    "window",
]


def open_source(
    recipe: Recipe, folder: Path, objects: Objects, images: str, threads: int = 1, *, alone: bool = False
) -> Source:
    """What cuts the images (rgb or bands) of the recipe's objects, from the files below ``folder``.

    Of a field, so many bands at a time as there are ``threads``; its picture ``alone`` is not held against its coadds.
    """
    if recipe.files is not None:
        return (KeptSource if recipe.files.keep else FileSource)(recipe, folder, objects)
    if recipe.fields is not None:
        return FieldSource(recipe, folder, objects, images, threads, alone=alone)
    kind = CutoutSource if recipe.cutouts.array is None else ArraySource
    return kind(recipe, folder, objects, images)
