"""FITS cutouts made by the survey's own service: one file an object and band, or one cube an object."""

from pathlib import Path

import numpy as np

from hpc_astrossl.cutting import fits, lupton, orientation
from hpc_astrossl.cutting.badbooks import Books
from hpc_astrossl.cutting.badfile import NO_FILE, NO_IMAGE, BadFile, RecipeFault, reason_of
from hpc_astrossl.cutting.bandimage import BandImage, Place, beside, open_band
from hpc_astrossl.cutting.calibration import Calibration
from hpc_astrossl.cutting.containers import there
from hpc_astrossl.cutting.grids import Reference
from hpc_astrossl.cutting.objectgrids import object_grid
from hpc_astrossl.cutting.resampling import resample
from hpc_astrossl.cutting.source import EDGE, RGB, SMALL, Unit, blocks, window
from hpc_astrossl.errors import InputError
from hpc_astrossl.objects import Objects, subset
from hpc_astrossl.specs import patterns
from hpc_astrossl.specs.recipe import Recipe

Hdu = int | str | None
_ONE = np.zeros(1, dtype=np.int64)  # the row of an object that has its own account
OFF = 1.5  # pixels from the middle beyond which an object is not in it: it is cut where its header says


class CutoutSource:
    """The middle of FITS cutouts; ``images`` is bands (float32, a channel a band) or rgb, made from three of them."""

    encoding, streams = None, False

    def __init__(self, recipe: Recipe, folder: Path, objects: Objects, images: str):
        self._spec, self._size, self._folder, self._objects = recipe.cutouts, recipe.size, folder, objects
        self._all = recipe.catalogue.bands
        self._lupton = recipe.cutouts.lupton if images == "rgb" else None
        self._bands = self._lupton.bands if self._lupton else self._all
        self._calibration = Calibration(self._spec, folder, self._bands)
        self.channels, self.dtype = (RGB, np.dtype(np.uint8)) if self._lupton else (self._all, np.dtype(np.float32))

    @property
    def pixel_scale(self) -> float | None:
        """Arcsec per stored pixel; None when the recipe does not say, or every object has its own."""
        if self._spec.resample is not None:
            return self._spec.resample.pixel_scale
        return self._spec.pixel_scale

    def row_shape(self, rows: np.ndarray) -> tuple[int, ...]:
        return self._size, self._size, len(self.channels)

    def units(self, rows: np.ndarray) -> list[Unit]:
        """Blocks of objects in the order of the catalogue. InputError for a missing file, unless those are rejected."""
        if self._spec.unreadable == "stop" and (path := self.missing(rows)):
            raise _no_file(path)
        for path in self._tables(rows):
            if not path.is_file():
                raise InputError(f"{path}: no such file; correct cutouts.zero_points, or fetch it")
        return blocks(rows)

    def missing(self, rows: np.ndarray) -> Path | None:
        """The first file of these objects that is not there."""
        return next((path for row in rows for path, _ in self._files(row) if not path.is_file()), None)

    def files(self, unit: Unit) -> list[Path]:
        found = (path for row in unit.rows for path, _ in self._files(row) if there(path))
        return [*dict.fromkeys(found), *self._tables(unit.rows)]

    def unverified(self, unit: Unit) -> list[Path]:
        found = [(path, hdu) for row in unit.rows for path, hdu in self._files(row) if there(path)]
        if self._spec.checksum:
            axes = 2 if self._spec.cube is None else 3
            found = [(path, hdu) for path, hdu in found if fits.unverified([path], axes=axes, hdu=hdu)]
        return list(dict.fromkeys(path for path, _ in found))

    def without_row(self) -> list[str]:
        return []

    def cut(self, unit: Unit, out: np.ndarray) -> np.ndarray:
        bands = np.zeros(out.shape, dtype=np.float32) if self._lupton else out
        reasons, self.facts = np.full(len(unit.rows), "", dtype=object), Books(len(unit.rows), self._spec).facts()
        for i, row in enumerate(unit.rows):
            books = Books(1, self._spec)
            try:
                reason = (self._cube if self._spec.cube else self._object)(row, bands[i], books)
            except RecipeFault:
                raise
            except InputError as error:
                if self._spec.unreadable == "stop":
                    raise
                reasons[i] = reason_of(error)
                continue
            reasons[i] = reason or books.reasons()[0]
            for name, values in books.facts().items():
                self.facts[name][i] = values[0]
        if self._lupton:
            out[:] = lupton.colours(bands, self._lupton)
        return reasons

    def _object(self, row: int, out: np.ndarray, books: Books) -> str:
        """Fill (size, size, bands) with the middle of the object's images; the reason why not."""
        reference, grid, where = Reference(), None, None
        for channel, (place, hdu) in enumerate(self._places(row)):
            if not place.path.is_file():
                raise _no_file(place.path)
            with open_band(self._spec, place, hdu) as band:
                scale = self._scale(band, channel)
                plane = out[None, ..., channel]
                if self._spec.resample is None:
                    reference.hold(band.image.path, band.shape, band.sky)
                    where = where if channel else self._corner(band, row)
                    if isinstance(where, str):
                        return where
                    bad = band.squares(*where, plane)
                    if channel == 0:
                        books.wcs = orientation.of_windows(band.sky, self._radec(row), where, self._size)
                else:
                    grid = grid or object_grid(self._spec, self._size, subset(self._objects, np.array([row])), band)
                    bad, area = resample(band, grid, plane)
                    if channel == 0:
                        books.wcs = orientation.of_grid(grid, band.sky)
                factor = self._calibration.factor(self._field(row), self._bands[channel], band.headers, scale)
                if self._spec.resample is not None and self._calibration.per_pixel:
                    factor = np.float32(factor * scale**2 / area[0])
                plane *= factor
                books.enter(_ONE, plane, bad)
        return ""

    def _radec(self, row: int) -> tuple[np.ndarray, np.ndarray]:
        return self._objects.ra[[row]], self._objects.dec[[row]]

    def _scale(self, band: BandImage, channel: int) -> float | None:
        if isinstance(self._spec.pixel_scale, dict) and band.sky is None:
            band.scale = self._spec.pixel_scale[self._bands[channel]]
        return band.scale if band.scale is not None or band.sky is None else band.sky.scale

    def _corner(self, band: BandImage, row: int) -> tuple[np.ndarray, np.ndarray] | str:
        """(top, left) of the middle, or of the object where the header puts it elsewhere; the reason why not."""
        height, width = band.shape
        if min(height, width) < self._size:
            return SMALL
        y, x = (height - 1) / 2, (width - 1) / 2  # from the first pixel's centre, FITS rows
        ra, dec = self._objects.ra[row], self._objects.dec[row]
        if band.sky is not None and np.isfinite(ra) and np.isfinite(dec):
            px, py = (float(axis) - 1 for axis in band.sky.pixel(ra, dec))
            if not np.hypot(px - x, py - y) <= OFF:
                x, y = px, py
        if not (np.isfinite(x) and np.isfinite(y)):
            return EDGE
        top, left = (window(np.array([place]), self._size) for place in (height - 1 - y, x))
        if min(top[0], left[0]) < 0 or top[0] + self._size > height or left[0] + self._size > width:
            return EDGE
        return top, left

    def _cube(self, row: int, out: np.ndarray, books: Books) -> str:
        """As ``_object``, of a cube whose planes are the bands."""
        (path, hdu), spec = self._files(row)[0], self._spec
        if not path.is_file():
            raise _no_file(path)
        with fits.open_image(path, axes=3, checksum=spec.checksum, hdu=hdu) as image:
            self._check_planes(image)
            if min(image.shape[-2:]) < self._size:
                return SMALL
            for channel, name in enumerate(self._bands):
                plane = _Plane(image, self._all.index(name))
                band = BandImage(spec, plane, {})
                where = self._corner(band, row)
                if isinstance(where, str):
                    return where
                bad = band.squares(*where, out[None, ..., channel])
                books.wcs = orientation.of_windows(band.sky, self._radec(row), where, self._size)
                out[..., channel] *= self._calibration.factor(self._field(row), name, band.headers, band.scale)
                books.enter(_ONE, out[None, ..., channel], bad)
        return ""

    def _check_planes(self, image: fits.Image) -> None:
        if image.shape[0] != len(self._all):
            last = image.shape[2] == len(self._all)
            words = f"{image.path}: has {image.shape[0]} planes, the catalogue has {len(self._all)} bands"
            hint = f": it is {' × '.join(map(str, image.shape))}, and the bands must be the first axis (NAXIS3)"
            raise BadFile(words + (hint if last else ""), NO_IMAGE)
        names = [self._spec.band_names.get(band, band) for band in self._all]
        said = str(image.headers.image.get("BANDS", "")).strip()  # as the Legacy Surveys' cutout service writes
        said = list(said) if len(said) == len(names) else said.replace(",", " ").split()
        if sorted(said) == sorted(names) and said != names:
            raise RecipeFault(f"{image.path}: its planes are {', '.join(said)} (BANDS), the recipe's bands "
                              f"{', '.join(names)}; list catalogue.bands in the order of the planes")  # fmt: skip

    def _places(self, row: int) -> list[tuple[Place, Hdu]]:
        """(where the files of a band are, the image's unit) of each band."""
        spec, found = self._spec, []
        for band in (spec.band_names.get(band, band) for band in self._bands):
            words = self._words(row) | {"band": band}
            path = patterns.place(self._folder, spec.bands, words)
            found.append((Place(folder=self._folder, path=path, words=words), spec.hdu_of(band)))
        return found

    def _files(self, row: int) -> list[tuple[Path, Hdu]]:
        """Every FITS file of an object, and its unit."""
        if self._spec.cube is not None:
            return [(patterns.place(self._folder, self._spec.cube, self._words(row)), self._spec.hdu)]
        return [file for place, hdu in self._places(row) for file in ((place.path, hdu), *beside(self._spec, place))]

    def _words(self, row: int) -> dict[str, str]:
        """What fills the names of an object's files."""
        columns = {name: self._objects.columns[name][row] for name in self._spec.columns}
        return columns | {"id": self._objects.object_id[row]}

    def _tables(self, rows: np.ndarray) -> list[Path]:
        return sorted({path for row in rows for path in self._calibration.files(self._field(row))})

    def _field(self, row: int) -> str:
        return str(self._objects.field[row])


class _Plane:
    """One plane of a cube, as an image."""

    def __init__(self, cube: fits.Image, number: int):
        self._cube, self._number, self.path, self.dtype = cube, number, cube.path, cube.dtype
        self.shape, self.tile, self.headers, self.plain = cube.shape[1:], cube.tile, cube.headers, False
        self.quantised = cube.quantised

    def read(self, *part: slice) -> np.ndarray:
        return self._cube.read(slice(self._number, self._number + 1), *part)[0]

    def steps(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray | None:
        return self._cube.steps(rows, columns, self._number)


def _no_file(path: Path) -> BadFile:
    return BadFile(f"{path}: no such file, but the catalogue has a row for it. Fetch it, correct the file name in "
                   "the recipe, or set cutouts.unreadable=reject", NO_FILE)  # fmt: skip
