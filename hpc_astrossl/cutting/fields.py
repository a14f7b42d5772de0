"""Cutouts of whole fields: of their RGB image, of their coadds a band at a time, or colours made from three coadds."""

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import numpy as np

from hpc_astrossl.cutting import fits, lupton, orientation, picture, rgb
from hpc_astrossl.cutting.badbooks import Books
from hpc_astrossl.cutting.badfile import BadFile
from hpc_astrossl.cutting.bandimage import BandImage, Place, beside, open_band
from hpc_astrossl.cutting.calibration import Calibration
from hpc_astrossl.cutting.containers import there
from hpc_astrossl.cutting.grids import Reference
from hpc_astrossl.cutting.objectgrids import object_grid
from hpc_astrossl.cutting.resampling import resample
from hpc_astrossl.cutting.sky import sky_of
from hpc_astrossl.cutting.source import RGB, Unit, blank, window
from hpc_astrossl.errors import InputError
from hpc_astrossl.objects import Objects, subset
from hpc_astrossl.specs import patterns
from hpc_astrossl.specs.recipe import Recipe

Hdu = int | str | None


class FieldSource:
    """Cutouts of whole fields; ``images`` is rgb (uint8) or bands (float32 surface brightness, a channel a band)."""

    encoding = None

    def __init__(self, recipe: Recipe, folder: Path, objects: Objects, images: str):
        self._spec, self._size, self._folder, self._objects = recipe.fields, recipe.size, folder, objects
        self._lupton = recipe.fields.lupton if images == "rgb" else None
        self._bands = self._lupton.bands if self._lupton else recipe.catalogue.bands if images == "bands" else ()
        self._calibration = Calibration(self._spec, folder, self._bands)
        self._all_bands = recipe.catalogue.bands
        rgb_wanted = images != "bands"
        self.channels, self.dtype = (RGB, np.dtype(np.uint8)) if rgb_wanted else (self._bands, np.dtype(np.float32))

    @cached_property
    def pixel_scale(self) -> float | None:
        """Arcsec per stored pixel; None when every object has its own."""
        if self._spec.resample is not None:
            return self._spec.resample.pixel_scale
        if self._spec.pixel_scale is not None:
            return self._spec.pixel_scale
        for field in np.unique(self._objects.field[self._objects.field != ""]):
            place, hdu = self._places(str(field), self._all_bands[:1])[0]
            try:
                headers = fits.read_headers(place.path, hdu=hdu)
            except InputError:
                continue
            if sky := sky_of(headers.image, headers.shape, place.path):
                return sky.scale
        raise InputError("no field has a WCS that tells its pixel scale; give fields.pixel_scale in the recipe")

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

    def first(self, unit: Unit) -> tuple[Path, Hdu]:
        """The image whose header tells the field's size, and its unit in the file."""
        if not self._bands:
            return self._picture(unit), None
        place, hdu = self._places(unit.name)[0]
        return place.path, hdu

    def files(self, unit: Unit) -> list[Path]:
        """What there is of the field's files."""
        return [path for path in self._needed(unit) if there(path)]

    def _needed(self, unit: Unit) -> list[Path]:
        if not self._bands:
            return [self._picture(unit)]
        return list(dict.fromkeys([path for path, _ in self._images(unit)] + self._calibration.files(unit.name)))

    def unverified(self, unit: Unit) -> list[Path]:
        found = [(path, hdu) for path, hdu in self._images(unit) if there(path)]
        if self._spec.checksum:
            found = [(path, hdu) for path, hdu in found if fits.unverified([path], hdu=hdu)]
        return list(dict.fromkeys(path for path, _ in found))

    def without_row(self) -> list[str]:
        return []

    def cut(self, unit: Unit, out: np.ndarray) -> np.ndarray:
        if not self._bands:
            return self._cut_rgb(unit, out)
        books = Books(len(unit.rows), self._spec)
        if self._lupton is None:
            self._cut_bands(unit, out, books)
        else:
            bands = np.zeros(out.shape, dtype=np.float32)
            self._cut_bands(unit, bands, books)
            out[:] = lupton.colours(bands, self._lupton)
            books.empty |= (books.reasons() == "") & blank(out)
        self.facts = books.facts()
        return books.reasons()

    def _cut_rgb(self, unit: Unit, out: np.ndarray) -> np.ndarray:
        image = rgb.read_field(self._picture(unit))
        self._beside(unit, image)
        image = image[::-1] if self._spec.rgb_top == "low" else image
        books = Books(len(unit.rows), self._spec)
        books.inside, tops, lefts = self._windows(unit, image.shape)
        for i in np.flatnonzero(books.inside):
            out[i] = image[tops[i] : tops[i] + self._size, lefts[i] : lefts[i] + self._size]
        books.empty = blank(out)
        self.facts = {"wcs": self._of_picture(unit, image.shape, (tops, lefts))}
        return books.reasons()

    def _cut_bands(self, unit: Unit, out: np.ndarray, books: Books) -> None:
        """Band after band, so that no more than a part of one coadd is in memory."""
        reference, grid = Reference(self._spec), None
        for channel, (name, band) in enumerate(zip(self._bands, self._opened(unit), strict=True)):
            plane = out[..., channel]
            if self._spec.resample is None:
                reference.hold(band)
                bad = self._as_they_lie(unit, band, plane, books)
                if channel == 0:
                    _, *corner = self._windows(unit, band.shape)
                    books.wcs = orientation.of_windows(band.sky, self._radec(unit), corner, self._size)
            else:
                grid = grid or object_grid(self._spec, self._size, subset(self._objects, unit.rows), band)
                bad, area = resample(band, grid, plane)
                if channel == 0:
                    books.wcs = orientation.of_grid(grid, band.sky)
            factor = self._calibration.factor(unit.name, name, band.headers, band.scale)
            if self._spec.resample is not None and self._calibration.per_pixel:
                plane *= (factor * band.scale**2 / area)[:, None, None].astype(np.float32)
            else:
                plane *= factor
            books.enter(plane, bad)

    def _as_they_lie(self, unit: Unit, band: BandImage, plane: np.ndarray, books: Books) -> np.ndarray:
        """Whole pixels; returns which of them are bad."""
        inside, tops, lefts = self._windows(unit, band.shape)
        bad = np.zeros(plane.shape, dtype=bool)
        books.inside = inside
        if inside.all():
            return band.squares(tops, lefts, plane)
        squares = np.zeros((inside.sum(), *plane.shape[1:]), dtype=np.float32)
        bad[inside] = band.squares(tops[inside], lefts[inside], squares)
        plane[inside] = squares
        if self._spec.edge == "pad":
            for i in np.flatnonzero(~inside):
                bottom = band.shape[0] - int(tops[i]) - self._size
                pixels, wrong = band.box(bottom, int(lefts[i]), (self._size, self._size))
                plane[i], bad[i] = pixels[::-1], wrong[::-1]
            books.inside = np.ones_like(inside)
        return bad

    def _radec(self, unit: Unit) -> tuple[np.ndarray, np.ndarray]:
        return self._objects.ra[unit.rows], self._objects.dec[unit.rows]

    def _beside(self, unit: Unit, image: np.ndarray) -> None:
        """Hold the picture against the first coadd that lies beside it: its size, and which way its rows run."""
        for place, hdu in self._places(unit.name, self._all_bands[:1]) if self._spec.bands else ():
            if not there(place.path):
                return
            try:
                with fits.open_image(place.path, checksum=False, hdu=hdu) as coadd:
                    picture.hold(self._picture(unit), image, coadd, told=self._spec.rgb_top is not None)
            except BadFile:  # a damaged coadd is no fault of the picture
                return

    def _of_picture(self, unit: Unit, shape: tuple[int, ...], corner: tuple) -> np.ndarray:
        """How cutouts of the RGB image lie on the sky, if coadds of its size lie beside it."""
        if self._spec.bands is None or not self._all_bands:
            return orientation.unknown(len(unit.rows))
        place, hdu = self._places(unit.name, self._all_bands[:1])[0]
        try:
            headers = fits.read_headers(place.path, hdu=hdu)
            sky = sky_of(headers.image, headers.shape, place.path) if headers.shape == shape[:2] else None
        except InputError:
            sky = None
        return orientation.of_windows(sky, self._radec(unit), corner, self._size)

    def _opened(self, unit: Unit) -> Iterator[BandImage]:
        """The coadds of a field, each open while it is its turn."""
        for place, hdu in self._places(unit.name):
            with open_band(self._spec, place, hdu) as band:
                yield band

    def _windows(self, unit: Unit, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        tops = window(shape[0] - self._objects.y[unit.rows], self._size)
        lefts = window(self._objects.x[unit.rows] - 1, self._size)
        inside = (tops >= 0) & (tops + self._size <= shape[0]) & (lefts >= 0) & (lefts + self._size <= shape[1])
        return inside, tops, lefts

    def _places(self, field: str, bands: tuple[str, ...] | None = None) -> list[tuple[Place, Hdu]]:
        """(where the files of a band are, the image's unit) of each band."""
        found = []
        for band in self._bands if bands is None else bands:
            words = {"field": field, "band": self._spec.band_names.get(band, band)}
            path = patterns.place(self._folder, self._spec.bands, words)
            found.append((Place(folder=self._folder, path=path, words=words), self._spec.hdu_of(words["band"])))
        return found

    def _images(self, unit: Unit) -> list[tuple[Path, Hdu]]:
        """Every FITS file of a field and its unit: of each band the image, then mask, weight and factors."""
        found = []
        for place, hdu in self._places(unit.name) if self._bands else ():
            found += [(place.path, hdu), *beside(self._spec, place)]
        return found

    def _picture(self, unit: Unit) -> Path:
        return patterns.place(self._folder, self._spec.rgb, {"field": unit.name})
