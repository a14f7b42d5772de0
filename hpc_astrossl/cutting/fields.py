"""Cutouts of whole fields: of their RGB image, of their coadds a band at a time, or colours made from three coadds."""

from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from hpc_astrossl.cutting import fits, lupton, orientation, picture, rgb
from hpc_astrossl.cutting.badbooks import Books
from hpc_astrossl.cutting.badfile import BadFile
from hpc_astrossl.cutting.bandimage import BandImage, Place, band_windows, beside, open_band
from hpc_astrossl.cutting.calibration import Calibration
from hpc_astrossl.cutting.containers import there
from hpc_astrossl.cutting.fitsfaults import missing
from hpc_astrossl.cutting.geometry import field_size
from hpc_astrossl.cutting.grids import Reference
from hpc_astrossl.cutting.objectgrids import object_grid
from hpc_astrossl.cutting.resampling import resample
from hpc_astrossl.cutting.sky import Sky, areas, sky_of
from hpc_astrossl.cutting.source import RGB, Into, IntoArray, Unit, blank, window
from hpc_astrossl.cutting.spool import Spool
from hpc_astrossl.errors import InputError
from hpc_astrossl.objects import Objects, distinct, ranked, subset
from hpc_astrossl.specs import patterns
from hpc_astrossl.specs.recipe import Recipe

Hdu = int | str | None
PART = 256  # objects at a time
MEMORY = 1 << 28  # bytes, about, for the bands that are read together


class FieldSource:
    """Cutouts of whole fields; ``images`` is rgb (uint8) or bands (float32 surface brightness, a channel a band).

    ``alone``: a picture is not held against the coadd that lies beside it.
    """

    encoding, streams = None, True

    def __init__(
        self, recipe: Recipe, folder: Path, objects: Objects, images: str, threads: int = 1, *, alone: bool = False
    ):
        self._spec, self._size, self._folder, self._objects = recipe.fields, recipe.size, folder, objects
        self._lupton = recipe.fields.lupton if images == "rgb" else None
        self._bands = self._lupton.bands if self._lupton else recipe.catalogue.bands if images == "bands" else ()
        self._calibration = Calibration(self._spec, folder, self._bands)
        self._all_bands, self._threads, self._alone = recipe.catalogue.bands, threads, alone
        rgb_wanted = images != "bands"
        self.channels, self.dtype = (RGB, np.dtype(np.uint8)) if rgb_wanted else (self._bands, np.dtype(np.float32))

    @cached_property
    def pixel_scale(self) -> float | None:
        """Arcsec per stored pixel; None when every object has its own."""
        if self._spec.resample is not None:
            return self._spec.resample.pixel_scale
        if self._spec.pixel_scale is not None:
            return self._spec.pixel_scale
        for field in filter(None, distinct(self._objects.field).tolist()):
            place, hdu = self._places(field, self._all_bands[:1])[0]
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
        names, which = ranked(self._objects.field, rows)
        ordered, ends = rows[np.argsort(which, kind="stable")], np.cumsum(np.bincount(which, minlength=len(names)))
        units = [Unit(name=str(name), rows=part)
                 for name, part in zip(names, np.split(ordered, ends[:-1]), strict=len(names) > 0)]  # fmt: skip
        if self._spec.unreadable == "stop":
            for path in (path for unit in units for path in self._needed(unit) if not path.is_file()):
                raise missing(path)
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

    def cut(self, unit: Unit, out: np.ndarray | Into) -> np.ndarray:
        into = IntoArray(out) if isinstance(out, np.ndarray) else out
        if not self._bands:
            return self._cut_rgb(unit, into)
        books = Books(len(unit.rows), self._spec)
        if self._lupton is None:
            self._cut_bands(unit, into, books)
        else:
            with Spool((len(unit.rows), len(self._bands), self._size, self._size)) as bands:
                self._cut_bands(unit, bands, books)
                good = books.reasons() == ""
                for rows, images in bands.parts():
                    colours = lupton.colours(images, self._lupton)
                    books.empty[rows] |= good[rows] & blank(colours)
                    into.put(rows, colours)
        self.facts = books.facts()
        return books.reasons()

    def _cut_rgb(self, unit: Unit, into: Into) -> np.ndarray:
        image = rgb.read_field(self._picture(unit))
        self._beside(unit, image)
        image = image[::-1] if self._spec.rgb_top == "low" else image
        books = Books(len(unit.rows), self._spec)
        books.inside, tops, lefts = self._windows(unit, image.shape)
        for rows in _parts(np.flatnonzero(books.inside)):
            images = np.stack([image[tops[i] : tops[i] + self._size, lefts[i] : lefts[i] + self._size] for i in rows])
            books.empty[rows] = blank(images)
            into.put(rows, images)
        self.facts = {"wcs": self._of_picture(unit, image.shape, (tops, lefts))}
        return books.reasons()

    def _cut_bands(self, unit: Unit, into: Into, books: Books) -> None:
        if self._spec.resample is not None:
            self._cut_resampled(unit, into, books)
            return
        bands, reference, first = self._places(unit.name), Reference(), 0
        with ThreadPoolExecutor(self._threads) as pool:
            while first < len(bands):  # as many at a time as there is memory for
                with ExitStack() as stack:
                    some: list[BandImage] = []
                    for place, hdu in bands[first:]:
                        if sum(band.held for band in some) + (some[0].held if some else 0) > MEMORY:
                            break
                        band = stack.enter_context(open_band(self._spec, place, hdu))
                        reference.hold(band.image.path, band.shape, band.sky)
                        some.append(band)
                    if first == 0:
                        books.inside, *corners = self._windows(unit, some[0].shape)
                        books.wcs = orientation.of_windows(some[0].sky, self._radec(unit), corners, self._size)
                    names = self._bands[first : first + len(some)]
                    factors = [self._calibration.factor(unit.name, name, band.headers, band.scale)
                               for name, band in zip(names, some, strict=True)]  # fmt: skip
                    self._cut_together(pool, _Together(some, factors, first, into, books), corners)
                first += len(some)
        if self._spec.edge == "pad":
            books.inside = np.ones_like(books.inside)

    def _cut_together(self, pool: ThreadPoolExecutor, work: "_Together", corners: list[np.ndarray]) -> None:
        """Cut bands that are open: each thread part of the rows of all, or, where only one may read, one of them."""
        (tops, lefts), inside = corners, np.flatnonzero(work.books.inside)
        plain = all(band.plain for band in work.bands)
        shares = [work] if plain else work.alone()
        parts = np.array_split(inside[np.argsort(-tops[inside])], self._threads if plain else 1)
        waiting = [pool.submit(share.whole, rows, tops[rows], lefts[rows], self._size)
                   for share in shares for rows in parts]  # fmt: skip
        wait(waiting)  # before the files are closed
        for one in waiting:
            one.result()
        for row in np.flatnonzero(~work.books.inside) if self._spec.edge == "pad" else ():
            work.padded(row, int(tops[row]), int(lefts[row]), self._size)

    def _cut_resampled(self, unit: Unit, into: Into, books: Books) -> None:
        """Band after band, brought to the objects' grids."""
        grid = None
        for channel, (name, (place, hdu)) in enumerate(zip(self._bands, self._places(unit.name), strict=True)):
            with open_band(self._spec, place, hdu) as band:
                if grid is None:
                    grid = object_grid(self._spec, self._size, subset(self._objects, unit.rows), band)
                    books.wcs = orientation.of_grid(grid, band.sky)
                factor = self._calibration.factor(unit.name, name, band.headers, band.scale)
                for rows in _parts(np.arange(len(unit.rows))):
                    planes = np.zeros((len(rows), 1, self._size, self._size), dtype=np.float32)
                    bad, area = resample(band, grid.part(slice(rows[0], rows[-1] + 1)), planes[:, 0])
                    if self._calibration.per_pixel:
                        planes *= (factor * band.scale**2 / area)[:, None, None, None].astype(np.float32)
                    else:
                        planes *= factor
                    books.enter(rows, planes[:, 0], bad)
                    into.put_planes(rows, channel, planes)

    def _radec(self, unit: Unit) -> tuple[np.ndarray, np.ndarray]:
        return self._objects.ra[unit.rows], self._objects.dec[unit.rows]

    def _beside(self, unit: Unit, image: np.ndarray) -> None:
        """Hold the picture against the first coadd that lies beside it: its size, and which way its rows run."""
        if self._alone or not self._spec.bands:
            return
        for place, hdu in self._places(unit.name, self._all_bands[:1]):
            if not there(place.path):
                return
            try:
                with fits.open_image(place.path, checksum=False, hdu=hdu) as coadd:
                    picture.hold(self._picture(unit), image, coadd, top=self._spec.rgb_top)
            except BadFile:  # a damaged coadd is no fault of the picture
                return

    def _of_picture(self, unit: Unit, shape: tuple[int, ...], corner: tuple) -> np.ndarray:
        """How cutouts of the RGB image lie on the sky, if coadds of its size lie beside it."""
        return orientation.of_windows(self._sky(unit.name, shape[:2]), self._radec(unit), corner, self._size)

    def scales(self, unit: Unit, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Arcsec per pixel at places of a field by its first image's header, (M,); NaN where that tells none."""
        try:
            shape = None if self._bands else field_size(self._picture(unit))
        except InputError:  # it is dealt with as the recipe says when it is cut
            return np.full(len(x), np.nan)
        sky = self._sky(unit.name, shape)
        return np.full(len(x), np.nan) if sky is None else np.sqrt(areas(sky.matrix(x, y)))

    def _sky(self, field: str, shape: tuple[int, int] | None) -> Sky | None:
        """The sky of a field by the header of its first coadd, which must have a picture's ``shape``."""
        if self._spec.bands is None or not self._all_bands:
            return None
        place, hdu = self._places(field, (self._bands or self._all_bands)[:1])[0]
        try:
            headers = fits.read_headers(place.path, hdu=hdu)
            return sky_of(headers.image, headers.shape, place.path) if shape in (None, headers.shape) else None
        except InputError:
            return None

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


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[i : i + PART] for i in range(0, len(rows), PART)]


@dataclass(frozen=True)
class _Together:
    """Bands that are cut together, the factors that calibrate them, the channel of the first, and where all goes."""

    bands: list[BandImage]
    factors: list[np.float32]
    channel: int
    into: Into
    books: Books

    def alone(self) -> list["_Together"]:
        """Each band by itself."""
        return [_Together([band], [factor], self.channel + i, self.into, self.books)
                for i, (band, factor) in enumerate(zip(self.bands, self.factors, strict=True))]  # fmt: skip

    def whole(self, rows: np.ndarray, tops: np.ndarray, lefts: np.ndarray, size: int) -> None:
        """Cut windows that lie inside: whole pixels, seen once while they are in the processor's cache."""
        factors = np.array(self.factors, dtype=np.float32)[:, None, None]
        for which, pixels, bad in band_windows(self.bands, tops, lefts, size):
            pixels *= factors
            self._enter(rows[which], pixels, bad)

    def padded(self, row: int, top: int, left: int, size: int) -> None:
        """Cut a window that reaches over the edge; what lies outside is bad."""
        for i, band in enumerate(self.bands):
            pixels, bad = band.box(band.shape[0] - top - size, left, (size, size))
            pixels = np.ascontiguousarray(pixels[None, None, ::-1]) * self.factors[i]
            one = _Together([band], [self.factors[i]], self.channel + i, self.into, self.books)
            one._enter(np.array([row]), pixels, [bad[None, ::-1]])

    def _enter(self, rows: np.ndarray, pixels: np.ndarray, bad: list[np.ndarray | None]) -> None:
        if all(wrong is None for wrong in bad):
            self.books.enter_good(rows, pixels)
        else:
            for i, wrong in enumerate(bad):
                self.books.enter(rows, pixels[:, i], wrong)
        self.into.put_planes(rows, self.channel, pixels)
