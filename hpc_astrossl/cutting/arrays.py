"""Cutouts in one array of numbers (.npy, .npz), as machine learning shares them: an image for each row of a table.

The array is mapped, so that any number of processes read only what they cut. The middle of each image is taken, as of
FITS cutouts; whether its first row of pixels is the top or the bottom one, as in data of FITS files, says the recipe.
"""

from functools import cached_property
from pathlib import Path

import numpy as np

from hpc_astrossl.cutting import lupton, nodata
from hpc_astrossl.cutting.arrayfiles import open_array, words
from hpc_astrossl.cutting.badbooks import Books
from hpc_astrossl.cutting.badfile import RecipeFault
from hpc_astrossl.cutting.calibration import Calibration
from hpc_astrossl.cutting.fitsheaders import Header, Headers
from hpc_astrossl.cutting.source import BLANK, RGB, SMALL, Unit, blank, blocks, window
from hpc_astrossl.errors import InputError
from hpc_astrossl.objects import ARRAY_ROW, NO_ROW, Objects
from hpc_astrossl.specs import patterns
from hpc_astrossl.specs.recipe import Recipe

ORDERS = {"object band y x": (0, 1, 2, 3), "object y x band": (0, 3, 1, 2)}  # to object, band, y, x
NO_IMAGE = "no image in the array"


class ArraySource:
    """``images`` is bands (float32, a channel a band) or rgb: uint8 of three channels, or made by lupton."""

    encoding, streams = None, False

    def __init__(self, recipe: Recipe, folder: Path, objects: Objects, images: str):
        self._spec, self._size, self._objects = recipe.cutouts, recipe.size, objects
        self.path = patterns.place(folder, self._spec.array, {})
        self._lupton = self._spec.lupton if images == "rgb" else None
        self._colour = images == "rgb" and self._lupton is None
        self._all = RGB if self._colour else recipe.catalogue.bands
        self._bands = self._lupton.bands if self._lupton else self._all
        self._calibration = Calibration(self._spec, folder, self._bands)
        self.channels, self.dtype = (RGB, np.dtype(np.uint8)) if images == "rgb" else (self._all, np.dtype(np.float32))
        self.facts: dict[str, np.ndarray] = {}

    @property
    def pixel_scale(self) -> float | None:
        """Arcsec per stored pixel; None when the recipe does not say."""
        return self._spec.pixel_scale

    def row_shape(self, rows: np.ndarray) -> tuple[int, ...]:
        return self._size, self._size, len(self.channels)

    def units(self, rows: np.ndarray) -> list[Unit]:
        """Blocks of objects in the order of the catalogue. InputError for places that the array does not have, unless
        those objects are rejected."""
        lost = rows[~self._there(rows)]
        if self._spec.unreadable == "stop" and len(lost):
            row = lost.min()
            place = self._places(row)
            asked = "no place" if place == NO_ROW else f"place {place:,}, counted from 0"
            raise InputError(f"{self.path}: holds {len(self._array):,} images, and the table gives object "
                             f"{str(self._objects.object_id[row])!r} {asked} "
                             f"(cutouts.array_row={self._spec.array_row}); correct the table, or set "
                             "cutouts.unreadable=reject")  # fmt: skip
        return blocks(rows)

    def files(self, unit: Unit) -> list[Path]:
        return [self.path, *self._tables(unit.rows)]

    def unverified(self, unit: Unit) -> list[Path]:
        return []

    def without_row(self) -> list[str]:
        """None can be told. InputError when table and array differ in length, so that rows cannot be held to be the
        same."""
        count, rows = len(self._array), len(self._objects)
        if self._spec.array_row is None and count != rows:
            raise InputError(f"{self.path}: holds {count:,} images, the table {rows:,} rows: without cutouts.array_row "
                             "both must have the same order and length; name the column with each object's place in "
                             "the array, from 0, or correct one of them")  # fmt: skip
        return []

    def cut(self, unit: Unit, out: np.ndarray) -> np.ndarray:
        height, width = self._array.shape[2:]
        if min(height, width) < self._size:
            return np.full(len(unit.rows), SMALL, dtype=object)
        there = self._there(unit.rows)
        places = np.where(there, self._places(unit.rows), 0)
        cut = self._colours if self._colour else self._pixels
        reasons = cut(places, unit.rows, out)
        out[~there], reasons[~there] = 0, NO_IMAGE
        return reasons

    def _colours(self, places: np.ndarray, rows: np.ndarray, out: np.ndarray) -> np.ndarray:
        for channel in range(len(RGB)):
            out[..., channel] = self._middle(places, channel)
        return np.where(blank(out), BLANK, "").astype(object)

    def _pixels(self, places: np.ndarray, rows: np.ndarray, out: np.ndarray) -> np.ndarray:
        bands = np.zeros((*out.shape[:3], len(self._bands)), dtype=np.float32) if self._lupton else out
        books, spec = Books(len(places), self._spec), self._spec
        every = np.arange(len(places))
        no_value = (spec.no_value,) if isinstance(spec.no_value, float) else spec.no_value
        for channel, band in enumerate(self._bands):
            with np.errstate(over="ignore"):  # what float32 cannot hold is infinite, so no value
                plane = self._middle(places, self._all.index(band)).astype(np.float32)
            bad = nodata.nobody(plane, no_value)
            plane *= self._factors(rows, band)[:, None, None]
            books.enter(every, plane, bad)
            bands[..., channel] = plane
        if self._lupton:
            out[:] = lupton.colours(bands, self._lupton)
        self.facts = books.facts()
        return books.reasons()

    def _middle(self, places: np.ndarray, channel: int) -> np.ndarray:
        """(m, size, size) of a band, row 0 at the top."""
        height, width = self._array.shape[2:]
        rows = self._array[:, channel, :: -1 if self._spec.first_row == "bottom" else 1]
        top, left = (int(window(np.array([(side - 1) / 2]), self._size)[0]) for side in (height, width))
        return rows[:, top : top + self._size, left : left + self._size][places]

    def _factors(self, rows: np.ndarray, band: str) -> np.ndarray:
        fields, place = np.unique(self._objects.field[rows], return_inverse=True)
        nothing = Headers(path=self.path, shape=self._array.shape[2:], image=Header(), primary=Header())
        scale = self._spec.pixel_scale
        return np.array([self._calibration.factor(str(one), band, nothing, scale) for one in fields])[place]

    def _places(self, rows: np.ndarray) -> np.ndarray:
        return self._objects.columns[ARRAY_ROW][rows].astype(np.int64)

    def _there(self, rows: np.ndarray) -> np.ndarray:
        """Which objects have an image; bool."""
        places = self._places(rows)
        return (places != NO_ROW) & (places < len(self._array))

    def _tables(self, rows: np.ndarray) -> list[Path]:
        fields = np.unique(self._objects.field[rows]).tolist()
        return sorted({path for field in fields for path in self._calibration.files(str(field))})

    @cached_property
    def _array(self) -> np.ndarray:
        """(objects, bands, y, x). InputError for what is no such array."""
        found = self._ordered(open_array(self.path, self._spec.array_name))
        if found.shape[1] != len(self._all):
            raise self._other(f"by cutouts.axes it has {found.shape[1]}", found.shape)
        if self._colour and found.dtype != np.uint8:
            raise RecipeFault(f"{self.path}: images: rgb takes arrays of uint8 (0 to 255), this one holds "
                              f"{found.dtype}; say images: bands, and name its channels: catalogue.bands")  # fmt: skip
        return found

    def _ordered(self, found: np.ndarray) -> np.ndarray:
        bands, axes = len(self._all), self._spec.axes
        if found.ndim == 3 and axes in (None, "object y x"):
            if bands != 1:
                raise self._other("three axes are objects, y and x of one band", found.shape)
            return found[:, None]
        if found.ndim != 4 or axes == "object y x":
            raise self._other(f"cutouts have {'three axes' if axes == 'object y x' else 'three axes, or four'}",
                              found.shape)  # fmt: skip
        if axes is None:
            fit = [name for name, order in ORDERS.items() if found.shape[order[1]] == bands]
            if not fit:
                raise self._other("neither its second nor its last axis has that length", found.shape)
            if len(fit) == 2:
                raise RecipeFault(f"{self.path}: of shape {words(found.shape)}, bands may be its second or its last "
                                  f"axis; say which: cutouts.axes={fit[0]!r} or {fit[1]!r}")  # fmt: skip
            axes = fit[0]
        return found.transpose(ORDERS[axes])

    def _other(self, why: str, shape: tuple[int, ...]) -> RecipeFault:
        count = len(self._all)
        if self._colour:
            named, remedy = "red, green, blue of images: rgb", "say images: bands, and name them: catalogue.bands"
        else:
            named, remedy = f"catalogue.bands: {', '.join(self._all)}", "correct catalogue.bands or cutouts.axes"
        fit = f"does not fit {count} band{'s' * (count != 1)} ({named}): {why}; {remedy}"
        return RecipeFault(f"{self.path}: an array of shape {words(shape)} {fit}")
