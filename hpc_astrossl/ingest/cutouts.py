"""Where an object's image comes from: cut out of its field, or a file of its own.

Pixel convention. A catalogue gives FITS positions: (1, 1) is the centre of the first pixel, y grows upwards. All
images here have row 0 at the top (the largest y), as the survey's RGB images are stored; FITS data are flipped when
read. In a field of height H, position (X, Y) is then the point (row, column) = (H − Y, X − 1), counted from the centre
of the first pixel. The centre of a cutout of ``size`` pixels that begins at pixel s is s + (size − 1)/2, so
s = floor(p − (size − 1)/2 + 1/2) for a point p: the object is at most half a pixel from the cutout's centre.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.ingest import fits, rgb
from hpc_astrossl.ingest.catalogue import Objects
from hpc_astrossl.specs.recipe import Recipe

BLOCK = 512  # objects with a file each that make one unit
EDGE, BLANK, NO_VALUE, UNREADABLE = "near the edge", "blank image", "pixels without a value", "unreadable image"


@dataclass(frozen=True, kw_only=True)
class Unit:
    """Objects (row numbers) that are cut in one go, since they share a field."""

    name: str
    rows: np.ndarray


class Source(Protocol):
    """What cuts: ``files`` are the images a unit needs; ``cut`` fills (M, size, size, channels), returns M reasons."""

    channels: tuple[str, ...]
    dtype: np.dtype
    pixel_scale: float | None

    def units(self, rows: np.ndarray) -> list[Unit]: ...

    def files(self, unit: Unit) -> list[Path]: ...

    def cut(self, unit: Unit, out: np.ndarray) -> np.ndarray: ...


def window(position: np.ndarray, size: int) -> np.ndarray:
    """First pixel of windows of ``size`` pixels centred on ``position`` (from the first pixel's centre); int64."""
    return np.floor(position - (size - 1) / 2 + 0.5).astype(np.int64)


def blank(images: np.ndarray) -> np.ndarray:
    """True for images without content: an RGB image of one colour, or any band of one value; bool, N."""
    flat = images.min(axis=(1, 2)) == images.max(axis=(1, 2))
    return flat.all(axis=1) if images.dtype == np.uint8 else flat.any(axis=1)


class FieldSource:
    """Cutouts of whole fields; ``images`` is rgb (uint8) or bands (float32 surface brightness, a channel a band)."""

    def __init__(self, recipe: Recipe, folder: Path, objects: Objects, images: str):
        self._spec, self._size, self._folder, self._objects = recipe.fields, recipe.size, folder, objects
        self._bands = None
        self.channels, self.dtype = ("red", "green", "blue"), np.dtype(np.uint8)
        if images == "bands":
            self._bands = {band: self._spec.band_names.get(band, band) for band in recipe.catalogue.bands}
            self.channels, self.dtype = recipe.catalogue.bands, np.dtype(np.float32)
        self.pixel_scale = self._spec.pixel_scale

    def units(self, rows: np.ndarray) -> list[Unit]:
        """One unit a field, in the order of the fields' names. InputError for a field without its image files."""
        names, which = np.unique(self._objects.field[rows], return_inverse=True)
        units = [Unit(name=str(name), rows=rows[which == i]) for i, name in enumerate(names)]
        for path in (path for unit in units for path in self.files(unit)):
            if not path.is_file():
                raise fits.missing(path)
        return units

    def files(self, unit: Unit) -> list[Path]:
        if self._bands is None:
            return [self._path(self._spec.rgb, unit)]
        bands = [self._path(self._spec.bands, unit, band) for band in self._bands.values()]
        return [*bands, self._path(self._spec.zero_points, unit)]

    def cut(self, unit: Unit, out: np.ndarray) -> np.ndarray:
        factors = self._factors(unit)
        shape, inside = None, None
        for channels, path, plane in self._planes(unit):
            if shape is None:
                shape, (inside, tops, lefts) = plane.shape[:2], self._windows(unit, plane.shape)
            if plane.shape[:2] != shape:
                raise InputError(f"{path}: is {plane.shape[1]} × {plane.shape[0]} pixels, the field's other bands are "
                                 f"{shape[1]} × {shape[0]}; all bands must share one pixel grid")  # fmt: skip
            for i in np.flatnonzero(inside):
                square = plane[tops[i] : tops[i] + self._size, lefts[i] : lefts[i] + self._size]
                out[i, :, :, channels] = square.reshape(self._size, self._size, -1)
        if factors is not None:
            out *= factors
        reasons = np.full(len(unit.rows), "", dtype=object)
        reasons[blank(out)] = BLANK
        reasons[~np.isfinite(out).all(axis=(1, 2, 3))] = NO_VALUE
        reasons[~inside] = EDGE
        return reasons

    def _planes(self, unit: Unit) -> Iterator[tuple[slice, Path, np.ndarray]]:
        """(channels of the cutout, file, image of the field), one file in memory at a time."""
        if self._bands is None:
            path = self._path(self._spec.rgb, unit)
            yield slice(0, 3), path, rgb.read_field(path)
            return
        for i, name in enumerate(self._bands.values()):
            path = self._path(self._spec.bands, unit, name)
            yield slice(i, i + 1), path, fits.read_image(path, checksum=self._spec.checksum)

    def _factors(self, unit: Unit) -> np.ndarray | None:
        """What turns the counts of each channel into surface brightness, float32; None for RGB."""
        if self._bands is None:
            return None
        points = fits.zero_points(self._path(self._spec.zero_points, unit), self._bands)
        return np.array([fits.calibration(points[band], self.pixel_scale) for band in self._bands])

    def _windows(self, unit: Unit, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        tops = window(shape[0] - self._objects.y[unit.rows], self._size)
        lefts = window(self._objects.x[unit.rows] - 1, self._size)
        inside = (tops >= 0) & (tops + self._size <= shape[0]) & (lefts >= 0) & (lefts + self._size <= shape[1])
        return inside, tops, lefts

    def _path(self, pattern: str, unit: Unit, band: str = "") -> Path:
        return self._folder / pattern.format(field=unit.name, band=band)


class FileSource:
    """One image file an object."""

    channels, dtype, pixel_scale = ("red", "green", "blue"), np.dtype(np.uint8), None

    def __init__(self, recipe: Recipe, folder: Path, objects: Objects):
        self._spec, self._size, self._folder, self._objects = recipe.files, recipe.size, folder, objects

    def units(self, rows: np.ndarray) -> list[Unit]:
        """Blocks of objects in the order of the catalogue. InputError for a missing file, unless those are rejected."""
        if self._spec.unreadable == "stop":
            for path in (path for path in map(self._path, rows) if not path.is_file()):
                raise rgb.no_file(path)
        blocks = range(0, len(rows), BLOCK)
        return [Unit(name=f"images {i + 1} on", rows=rows[i : i + BLOCK]) for i in blocks]

    def files(self, unit: Unit) -> list[Path]:
        return [path for path in map(self._path, unit.rows) if path.is_file()]

    def cut(self, unit: Unit, out: np.ndarray) -> np.ndarray:
        reasons = np.full(len(unit.rows), "", dtype=object)
        for i, row in enumerate(unit.rows):
            try:
                out[i] = rgb.read_object(self._path(row), self._size)
            except InputError:
                if self._spec.unreadable == "stop":
                    raise
                reasons[i] = UNREADABLE
        reasons[(reasons == "") & blank(out)] = BLANK
        return reasons

    def without_row(self) -> list[str]:
        """Ids of the images that the table has no row for, sorted."""
        before, after = self._spec.image.split("{id}")
        found = {str(path.relative_to(self._folder)) for path in self._folder.glob(f"{before}*{after}")}
        ids = {name[len(before) : len(name) - len(after)] for name in found}
        return sorted(ids - set(self._objects.object_id.tolist()))

    def _path(self, row: int) -> Path:
        return self._folder / self._spec.image.format(id=self._objects.object_id[row])
