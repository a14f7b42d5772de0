"""Cutouts of whole fields: of their RGB image, of their coadds a band at a time, or colours made from three coadds."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hpc_astrossl.cutting import fits, lupton, rgb
from hpc_astrossl.cutting.calibration import Calibration
from hpc_astrossl.cutting.containers import there
from hpc_astrossl.cutting.source import BLANK, EDGE, NO_VALUE, RGB, Unit, blank, window, without_value
from hpc_astrossl.cutting.windows import gather
from hpc_astrossl.errors import InputError
from hpc_astrossl.objects import Objects
from hpc_astrossl.specs import patterns
from hpc_astrossl.specs.recipe import Recipe


class FieldSource:
    """Cutouts of whole fields; ``images`` is rgb (uint8) or bands (float32 surface brightness, a channel a band)."""

    encoding = None

    def __init__(self, recipe: Recipe, folder: Path, objects: Objects, images: str):
        self._spec, self._size, self._folder, self._objects = recipe.fields, recipe.size, folder, objects
        self._lupton = recipe.fields.lupton if images == "rgb" else None
        bands = self._lupton.bands if self._lupton else recipe.catalogue.bands if images == "bands" else ()
        self._bands = [self._spec.band_names.get(band, band) for band in bands]
        self._calibration = Calibration(self._spec, folder, bands)
        self.channels, self.dtype = (bands, np.dtype(np.float32)) if images == "bands" else (RGB, np.dtype(np.uint8))
        self.pixel_scale = self._spec.pixel_scale

    def row_shape(self, rows: np.ndarray) -> tuple[int, ...]:
        return self._size, self._size, len(self.channels)

    def units(self, rows: np.ndarray) -> list[Unit]:
        """One unit a field, in the order of the fields' names. InputError for a field without its image files."""
        names, which = np.unique(self._objects.field[rows], return_inverse=True)
        units = [Unit(name=str(name), rows=rows[which == i]) for i, name in enumerate(names)]
        if self._spec.unreadable == "stop":
            for path in (path for unit in units for path in self._needed(unit) if not path.is_file()):
                raise fits.missing(path)
        return units

    def first(self, unit: Unit) -> Path:
        """The image whose header tells the field's size."""
        return self._images(unit)[0]

    def files(self, unit: Unit) -> list[Path]:
        """What there is of the field's files."""
        return [path for path in self._needed(unit) if there(path)]

    def _needed(self, unit: Unit) -> list[Path]:
        return [*self._images(unit), *(self._calibration.files(unit.name) if self._bands else [])]

    def unverified(self, unit: Unit) -> list[Path]:
        if not self._bands:
            return []
        found = [(path, self._hdu(band)) for path, band in zip(self._images(unit), self._bands, strict=True)]
        found = [(path, hdu) for path, hdu in found if there(path)]
        if not self._spec.checksum:
            return [path for path, _ in found]
        return [path for path, hdu in found if fits.unverified([path], hdu=hdu)]

    def _hdu(self, band: str) -> int | str | None:
        return self._spec.hdu_of(band)

    @property
    def hdu(self) -> int | str | None:
        """Of the first image."""
        return self._hdu(self._bands[0]) if self._bands else None

    def without_row(self) -> list[str]:
        return []

    def cut(self, unit: Unit, out: np.ndarray) -> np.ndarray:
        if not self._bands:
            return self._cut_rgb(unit, out)
        if self._lupton is None:
            return self._cut_bands(unit, out)
        bands = np.zeros(out.shape, dtype=np.float32)
        reasons = self._cut_bands(unit, bands)
        out[:] = lupton.colours(bands, self._lupton)
        reasons[(reasons == "") & blank(out)] = BLANK
        return reasons

    def _cut_rgb(self, unit: Unit, out: np.ndarray) -> np.ndarray:
        (path,) = self._images(unit)
        image = rgb.read_field(path)
        inside, tops, lefts = self._windows(unit, image.shape)
        for i in np.flatnonzero(inside):
            out[i] = image[tops[i] : tops[i] + self._size, lefts[i] : lefts[i] + self._size]
        return _reasons(inside, blank(out), np.zeros_like(inside))

    def _cut_bands(self, unit: Unit, out: np.ndarray) -> np.ndarray:
        """Band after band, so that no more than a part of one coadd is in memory."""
        factors = self._calibration.factors(unit.name)
        empty, unknown = np.zeros((2, len(unit.rows)), dtype=bool)
        for channel, image in enumerate(self._opened(unit)):
            inside, tops, lefts = self._windows(unit, image.shape)
            plane = out[..., channel : channel + 1]
            if inside.all():
                gather(image, tops, lefts, plane[..., 0])
            else:
                squares = np.zeros((inside.sum(), *plane.shape[1:3]), dtype=np.float32)
                gather(image, tops[inside], lefts[inside], squares)
                plane[inside, ..., 0] = squares
            plane *= factors[channel]
            empty |= blank(plane)
            unknown |= without_value(plane)
        return _reasons(inside, empty, unknown)

    def _opened(self, unit: Unit) -> Iterator[fits.Image]:
        """The coadds of a field, each open while it is its turn. InputError if they differ in size."""
        shape = None
        for path, band in zip(self._images(unit), self._bands, strict=True):
            with fits.open_image(path, checksum=self._spec.checksum, hdu=self._hdu(band)) as image:
                shape = shape or image.shape
                if image.shape != shape:
                    raise InputError(f"{path}: is {image.shape[1]} × {image.shape[0]} pixels, the field's other bands "
                                     f"are {shape[1]} × {shape[0]}; all bands must share one pixel grid")  # fmt: skip
                yield image

    def _windows(self, unit: Unit, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        tops = window(shape[0] - self._objects.y[unit.rows], self._size)
        lefts = window(self._objects.x[unit.rows] - 1, self._size)
        inside = (tops >= 0) & (tops + self._size <= shape[0]) & (lefts >= 0) & (lefts + self._size <= shape[1])
        return inside, tops, lefts

    def _images(self, unit: Unit) -> list[Path]:
        if not self._bands:
            return [patterns.place(self._folder, self._spec.rgb, {"field": unit.name})]
        names = [{"field": unit.name, "band": band} for band in self._bands]
        return [patterns.place(self._folder, self._spec.bands, name) for name in names]


def _reasons(inside: np.ndarray, empty: np.ndarray, unknown: np.ndarray) -> np.ndarray:
    reasons = np.full(len(inside), "", dtype=object)
    reasons[empty] = BLANK
    reasons[unknown] = NO_VALUE
    reasons[~inside] = EDGE
    return reasons
