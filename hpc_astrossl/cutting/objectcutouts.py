"""FITS cutouts made by the survey's own service: one file an object and band, or one cube an object."""

from pathlib import Path

import numpy as np

from hpc_astrossl.cutting import fits, lupton, source
from hpc_astrossl.cutting.badfile import NO_FILE, NO_IMAGE, BadFile, reason_of
from hpc_astrossl.cutting.calibration import Calibration
from hpc_astrossl.cutting.containers import there
from hpc_astrossl.cutting.source import BLANK, NO_VALUE, RGB, SMALL, Unit, blank, blocks, window
from hpc_astrossl.errors import InputError
from hpc_astrossl.objects import Objects
from hpc_astrossl.specs import patterns
from hpc_astrossl.specs.recipe import Recipe


class CutoutSource:
    """The middle of FITS cutouts; ``images`` is bands (float32, a channel a band) or rgb, made from three of them."""

    encoding = None

    def __init__(self, recipe: Recipe, folder: Path, objects: Objects, images: str):
        self._spec, self._size, self._folder, self._objects = recipe.cutouts, recipe.size, folder, objects
        self._all = recipe.catalogue.bands
        self._lupton = recipe.cutouts.lupton if images == "rgb" else None
        self._bands = self._lupton.bands if self._lupton else self._all
        self._calibration = Calibration(self._spec, folder, self._bands)
        self._factors: dict[str, np.ndarray] = {}
        self.channels, self.dtype = (RGB, np.dtype(np.uint8)) if self._lupton else (self._all, np.dtype(np.float32))
        self.pixel_scale = self._spec.pixel_scale

    def row_shape(self, rows: np.ndarray) -> tuple[int, ...]:
        return self._size, self._size, len(self.channels)

    def units(self, rows: np.ndarray) -> list[Unit]:
        """Blocks of objects in the order of the catalogue. InputError for a missing file, unless those are rejected."""
        if self._spec.unreadable == "stop":
            for path in (path for row in rows for path, _ in self._images(row) if not path.is_file()):
                raise _no_file(path)
        for path in self._tables(rows):
            if not path.is_file():
                raise fits.missing(path)
        return blocks(rows)

    def files(self, unit: Unit) -> list[Path]:
        return [*self._existing(unit), *self._tables(unit.rows)]

    def unverified(self, unit: Unit) -> list[Path]:
        found = [(path, hdu) for row in unit.rows for path, hdu in self._images(row) if there(path)]
        if not self._spec.checksum:
            return [path for path, _ in found]
        axes = 2 if self._spec.cube is None else 3
        return [path for path, hdu in found if fits.unverified([path], axes=axes, hdu=hdu)]

    def without_row(self) -> list[str]:
        return []

    def cut(self, unit: Unit, out: np.ndarray) -> np.ndarray:
        bands = np.zeros(out.shape, dtype=np.float32) if self._lupton else out
        reasons = np.full(len(unit.rows), "", dtype=object)
        for i, row in enumerate(unit.rows):
            factors = self._factors_of(self._field(row))
            try:
                fits_in = self._read(row, bands[i])
            except InputError as error:
                if self._spec.unreadable == "stop":
                    raise
                reasons[i] = reason_of(error)
                continue
            bands[i] *= factors
            reasons[i] = "" if fits_in else SMALL
        reasons[(reasons == "") & source.without_value(bands)] = NO_VALUE
        reasons[(reasons == "") & blank(bands)] = BLANK
        if self._lupton:
            out[:] = lupton.colours(bands, self._lupton)
        return reasons

    def _read(self, row: int, out: np.ndarray) -> bool:
        """Fill (size, size, bands) with the middle of the object's images; False if they are smaller than that."""
        planes = []
        for path, hdu in self._images(row):
            if not path.is_file():
                raise _no_file(path)
            axes = 3 if self._spec.cube else 2
            with fits.open_image(path, axes=axes, checksum=self._spec.checksum, hdu=hdu) as image:
                self._check_planes(image)
                if min(image.shape[-2:]) < self._size:
                    return False
                planes.append(self._middle(image))
        out[:] = np.moveaxis(np.concatenate(planes), 0, -1)
        return True

    def _check_planes(self, image: fits.Image) -> None:
        if self._spec.cube is not None and image.shape[0] != len(self._all):
            last = image.shape[2] == len(self._all)
            raise BadFile(f"{image.path}: has {image.shape[0]} planes, the catalogue has {len(self._all)} bands"
                          + ("; its last axis is the bands', they must be the first of numpy's order (NAXIS3)"
                             if last else ""), NO_IMAGE)  # fmt: skip

    def _middle(self, image: fits.Image) -> np.ndarray:
        """(bands, size, size) of one file, row 0 at the top; of a cube the bands that are asked for."""
        top, left = (int(window((length - 1) / 2, self._size)) for length in image.shape[-2:])
        bottom = image.shape[-2] - top - self._size
        middle = slice(bottom, bottom + self._size), slice(left, left + self._size)
        if self._spec.cube is None:
            return image.read(*middle)[None, ::-1]
        return image.read(slice(0, image.shape[0]), *middle)[[self._all.index(band) for band in self._bands], ::-1]

    def _images(self, row: int) -> list[tuple[Path, int | str | None]]:
        """(file, its unit) of each band, or of the cube."""
        name, spec = self._objects.object_id[row], self._spec
        if spec.cube is not None:
            return [(patterns.place(self._folder, spec.cube, {"id": name}), spec.hdu)]
        bands = [spec.band_names.get(band, band) for band in self._bands]
        return [(patterns.place(self._folder, spec.bands, {"id": name, "band": band}), spec.hdu_of(band))
                for band in bands]  # fmt: skip

    def _existing(self, unit: Unit) -> list[Path]:
        found = (path for row in unit.rows for path, _ in self._images(row) if there(path))
        return list(dict.fromkeys(found))

    def _tables(self, rows: np.ndarray) -> list[Path]:
        return sorted({path for row in rows for path in self._calibration.files(self._field(row))})

    def _field(self, row: int) -> str:
        return str(self._objects.field[row])

    def _factors_of(self, field: str) -> np.ndarray:
        if field not in self._factors:
            self._factors[field] = self._calibration.factors(field)
        return self._factors[field]


def _no_file(path: Path) -> BadFile:
    return BadFile(f"{path}: no such file, but the catalogue has a row for it. Fetch it, correct the file name in "
                   "the recipe, or set cutouts.unreadable=reject", NO_FILE)  # fmt: skip
