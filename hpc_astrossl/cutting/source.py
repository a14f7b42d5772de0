"""What cuts images: the interface, the pixel convention, and the reasons why an image cannot be used.

Pixel convention. A catalogue gives FITS positions: (1, 1) is the centre of the first pixel, y grows upwards. All
images here have row 0 at the top (the largest y), as the survey's RGB images are stored; FITS data are flipped when
they are cut. In a field of height H, position (X, Y) is then the point (row, column) = (H − Y, X − 1), counted from the
centre of the first pixel. The centre of a cutout of ``size`` pixels that begins at pixel s is s + (size − 1)/2, so
s = floor(p − (size − 1)/2 + 1/2) for a point p: the object is at most half a pixel from the cutout's centre.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from hpc_astrossl.store.encoded import Encoding

RGB = ("red", "green", "blue")
BLOCK = 512  # objects with files of their own that make one unit
EDGE, BLANK, NO_VALUE = "near the edge", "blank image", "pixels without a value"
SMALL = "image smaller than the cutout"


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Objects (row numbers) that are cut in one go, since they share a field."""

    name: str
    rows: np.ndarray


class Into(Protocol):
    """Where the cutouts of a unit go, in any order: whole images (m, height, width, channels), or of some rows the
    planes (m, n, height, width) from a channel on, each row's contiguous. Rows are those of the unit."""

    def put(self, rows: np.ndarray, images: np.ndarray) -> None: ...

    def put_planes(self, rows: np.ndarray, channel: int, planes: np.ndarray) -> None: ...


class IntoArray:
    """Cutouts in memory, (M, height, width, channels)."""

    def __init__(self, out: np.ndarray):
        self._out = out

    def put(self, rows: np.ndarray, images: np.ndarray) -> None:
        self._out[rows] = images

    def put_planes(self, rows: np.ndarray, channel: int, planes: np.ndarray) -> None:
        self._out[rows, :, :, channel : channel + planes.shape[1]] = planes.transpose(0, 2, 3, 1)


class Source(Protocol):
    """What cuts: ``files`` are the images a unit needs; ``cut`` fills (M, *row shape) of uint8 or float32 and returns
    M reasons. One that ``streams`` takes an ``Into`` as well, and hands on the cutouts as they are made, since those of
    a field may be more than fit in memory.

    ``facts`` are columns of the unit that was cut last, known only from its images: bad_pixels, wcs.
    ``encoding`` is None, or says what the files are whose bytes are kept: ``row_shape`` is (bytes,) then, and else
    (size, size, channels). ``without_row`` are the ids of images that the catalogue does not have; ``unverified`` are
    the FITS files of a unit that carry no DATASUM, so that damage to them may go unseen.
    """

    channels: tuple[str, ...]
    dtype: np.dtype
    pixel_scale: float | None
    encoding: Encoding | None
    facts: dict[str, np.ndarray]
    streams: bool

    def row_shape(self, rows: np.ndarray) -> tuple[int, ...]: ...

    def units(self, rows: np.ndarray) -> list[Unit]: ...

    def files(self, unit: Unit) -> list[Path]: ...

    def cut(self, unit: Unit, out: np.ndarray | Into) -> np.ndarray: ...

    def without_row(self) -> list[str]: ...

    def unverified(self, unit: Unit) -> list[Path]: ...


def blocks(rows: np.ndarray) -> list[Unit]:
    """Units of objects that have files of their own, in the order of the catalogue."""
    return [Unit(name=f"images {i + 1} on", rows=rows[i : i + BLOCK]) for i in range(0, len(rows), BLOCK)]


def window(position: np.ndarray, size: int) -> np.ndarray:
    """First pixel of windows of ``size`` pixels centred on ``position`` (from the first pixel's centre); int64."""
    return np.floor(position - (size - 1) / 2 + 0.5).astype(np.int64)


def blank(images: np.ndarray) -> np.ndarray:
    """True for images without content: an RGB image of one colour, or any band of one value; bool, N.

    All pixels are looked at only where those of the first row are equal, which is seldom.
    """
    enough = np.all if images.dtype == np.uint8 else np.any
    found = enough((images[:, 0] == images[:, :1, 0]).all(axis=1), axis=1)
    some = images[found]
    found[found] = enough(some.min(axis=(1, 2)) == some.max(axis=(1, 2)), axis=1)
    return found
