"""One band of a field or object, with its mask, weight and factors: its pixels, and which of them are bad."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_astrossl.cutting import fits, nodata
from hpc_astrossl.cutting.badfile import BadFile, RecipeFault
from hpc_astrossl.cutting.grids import differ
from hpc_astrossl.cutting.sky import Sky, sky_of
from hpc_astrossl.cutting.windows import windows
from hpc_astrossl.specs import patterns
from hpc_astrossl.specs.images import BandImages, hdu_of
from hpc_astrossl.specs.pixels import BesideSpec

BESIDE = 0.5  # pixels that a mask may be off, by its header: it is of whole pixels, and often of an older WCS
SCALES_AGREE = 0.01  # relatively: a recipe's pixel scale and a header's
_SCALES = ("PIXSCALE", "PIXSCAL1", "SECPIX", "SECPIX1", "PIXELSCL")  # arcsec per pixel, where there is no WCS


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the files of one band are: the folder, the words of file names (field or id, and band), the image's own."""

    folder: Path
    path: Path
    words: dict[str, str]

    def beside(self, spec: BesideSpec) -> Path:
        """The file of a mask, weight or factors."""
        return self.path if spec.file is None else patterns.place(self.folder, spec.file, self.words)


def beside(spec: BandImages, place: Place) -> list[tuple[Path, int | str | None]]:
    """(file, unit) of mask, weight and factors, as far as the recipe names them."""
    specs = [one for one in (spec.mask, spec.weight, spec.calibration) if one is not None]
    return [(place.beside(one), hdu_of(one.hdu, place.words["band"])) for one in specs]


class BandImage:
    """An open band. ``sky`` is None without a celestial WCS; ``scale`` is arcsec per pixel, None when unknown."""

    def __init__(self, spec: BandImages, image: fits.Image, others: dict[str, fits.Image]):
        self.image, self.others, self._spec = image, others, spec
        self.shape, self.headers = image.shape, image.headers
        self.sky: Sky | None = sky_of(image.headers.image, image.shape, image.path)
        self.scale = self._scale()
        no_value = spec.no_value
        self._no_value = (no_value,) if isinstance(no_value, float) else no_value
        self._bits = _bits(spec, others["mask"]) if "mask" in others else 0

    def _scale(self) -> float | None:
        said = self._spec.pixel_scale
        if isinstance(said, dict):
            return None
        if self.sky is None:
            self._hold(said)
            return said
        found = self.sky.scale
        if said is not None and abs(found / said - 1) > SCALES_AGREE:
            raise RecipeFault(f"{self.image.path}: its WCS says {found:.4f} arcsec per pixel, the recipe's pixel_scale "
                              f"is {said:g}; correct it, or leave it out to take the header's")  # fmt: skip
        return found if said is None else said

    def _hold(self, said: float | None) -> None:
        """RecipeFault when a header without a WCS names another pixel scale than the recipe."""
        for key in _SCALES:
            found = self.headers.get(key)
            if said is None or not isinstance(found, int | float) or found <= 0:
                continue
            if abs(found / said - 1) > SCALES_AGREE:
                raise RecipeFault(f"{self.image.path}: its {key} is {found:g} arcsec per pixel, the recipe's "
                                  f"pixel_scale is {said:g}; correct one of them")  # fmt: skip

    def squares(self, tops: np.ndarray, lefts: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Fill (M, size, size) with windows, row 0 at the top; bool of the same shape: which pixels are bad."""
        bad = np.zeros(out.shape, dtype=bool)
        for which, pixels, (wrong,) in band_windows([self], tops, lefts, out.shape[1]):
            out[which] = pixels[:, 0]
            if wrong is not None:
                bad[which] = wrong
        return bad

    @property
    def held(self) -> int:
        """Bytes of memory that reading windows takes, about."""
        return sum(image.held for image in (self.image, *self.others.values()))

    @property
    def plain(self) -> bool:
        """Whether several threads may read at a time."""
        return self.image.plain and not self.others

    def good(self, pixels: np.ndarray, steps: np.ndarray | None) -> bool:
        """Whether no pixel of windows (m, bands, height, width) is bad, by their values alone; see ``nodata``."""
        steps = steps if steps is None else steps.reshape(-1, *steps.shape[2:])
        return nodata.nobody(pixels.reshape(-1, *pixels.shape[2:]), self._no_value, steps) is None

    def judge(self, pixels: np.ndarray, others: list[np.ndarray], steps: np.ndarray | None) -> np.ndarray | None:
        """Which pixels (m, height, width) of windows are bad, given those of mask, weight and factors, which are
        applied; None where none is bad."""
        bad = nodata.nobody(pixels, self._no_value, steps)
        for name, found in zip(self.others, others, strict=True):
            bad = np.zeros(pixels.shape, dtype=bool) if bad is None else bad
            self._apply(name, found, pixels, bad)
        return bad

    def box(self, bottom: int, left: int, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
        """(pixels, which are bad) of a part in FITS rows, (height, width); what lies outside the image is bad, NaN."""
        (height, width), (rows, columns) = shape, self.shape
        values, bad = np.full(shape, np.nan, dtype=np.float32), np.ones(shape, dtype=bool)
        first, last = max(bottom, 0), min(bottom + height, rows)
        start, end = max(left, 0), min(left + width, columns)
        if first >= last or start >= end:
            return values, bad
        part = slice(first, last), slice(start, end)
        inside = slice(first - bottom, last - bottom), slice(start - left, end - left)
        pixels = self.image.read(*part)
        steps = self.image.steps(*(np.arange(one.start, one.stop)[None] for one in part))
        none = nodata.nobody(pixels[None], self._no_value, steps)
        wrong = np.zeros(pixels.shape, dtype=bool) if none is None else none[0]
        for name, other in self.others.items():
            self._apply(name, other.read(*part), pixels, wrong)
        values[inside], bad[inside] = pixels, wrong
        return values, bad

    def _apply(self, name: str, found: np.ndarray, pixels: np.ndarray, bad: np.ndarray) -> None:
        if name == "mask":
            bad |= (found & self._bits) != 0
            return
        with np.errstate(invalid="ignore"):
            bad |= ~((found > 0) & (found < nodata.HIGHEST))  # an rms or variance of 1e30 says: no pixel
            if name == "calibration":
                np.multiply(pixels, found, out=pixels, where=found > 0)


def band_windows(bands: Sequence[BandImage], tops: np.ndarray, lefts: np.ndarray, size: int) \
        -> Iterator[tuple[np.ndarray, np.ndarray, list[np.ndarray | None]]]:  # fmt: skip
    """Yield (which windows, their pixels in all bands, of each band which are bad), a few at a time, until all were
    handed on. Pixels are (m, bands, size, size), row 0 at the top; see ``judge``."""
    beside = [[other] for band in bands for other in band.others.values()]
    for which, (pixels, *found) in windows([[band.image for band in bands], *beside], tops, lefts, size):
        others, steps = iter(found), _steps(bands, tops[which], lefts[which], size)
        if not beside and bands[0].good(pixels, steps):  # nearly always: all bands in one look
            yield which, pixels, [None] * len(bands)
            continue
        bad = [band.judge(pixels[:, i], [next(others)[:, 0] for _ in band.others],
                          None if steps is None else steps[:, i]) for i, band in enumerate(bands)]  # fmt: skip
        yield which, pixels, bad


def _steps(bands: Sequence[BandImage], tops: np.ndarray, lefts: np.ndarray, size: int) -> np.ndarray | None:
    """Steps of the quantisation of windows, (m, bands, size, size); None where no band was quantised."""
    if not any(band.image.quantised for band in bands):
        return None
    rows = (bands[0].shape[0] - 1 - tops)[:, None] - np.arange(size)
    steps = np.zeros((len(tops), len(bands), size, size), dtype=np.float32)
    for i, band in enumerate(bands):
        if band.image.quantised:
            steps[:, i] = band.image.steps(rows, lefts[:, None] + np.arange(size))
    return steps


def _bits(spec: BandImages, mask: fits.Image) -> int:
    """The bits that make a pixel bad, as one number; RecipeFault for a name that the mask's header does not know."""
    if not spec.mask.bits:
        return -1
    total = 0
    for bit in spec.mask.bits:
        number = bit
        if isinstance(bit, str):
            number = mask.headers.get(f"MP_{bit}")
        if not isinstance(number, int):
            known = sorted(key[3:] for key in mask.headers.image if key.startswith("MP_"))
            raise RecipeFault(f"{mask.path}: has no mask plane {bit!r} (keyword MP_{bit}); its header names "
                              f"{', '.join(known) or 'none, so give numbers'}")  # fmt: skip
        total |= 1 << number
    return total


@contextmanager
def open_band(spec: BandImages, place: Place, hdu: int | str | None) -> Iterator[BandImage]:
    """A band's image with its mask, weight and factors, all open. InputError for what is missing or differs in size."""
    with ExitStack() as stack:
        image = stack.enter_context(fits.open_image(place.path, checksum=spec.checksum, hdu=hdu))
        others = {}
        for name in ("calibration", "mask", "weight"):
            one = getattr(spec, name)
            if one is None:
                continue
            path, unit = place.beside(one), hdu_of(one.hdu, place.words["band"])
            kind = np.int64 if name == "mask" else np.float32
            other = stack.enter_context(fits.open_image(path, checksum=spec.checksum, hdu=unit, dtype=kind))
            if other.shape != image.shape:
                raise BadFile(f"{path}: the {name} is {other.shape[1]} × {other.shape[0]} pixels, its image "
                              f"{image.shape[1]} × {image.shape[0]}")  # fmt: skip
            others[name] = other
        band = BandImage(spec, image, others)
        for name, other in others.items():
            _hold_place(name, other, band)
        yield band


def _hold_place(name: str, other: fits.Image, band: BandImage) -> None:
    """RecipeFault when a mask, weight or factors lie elsewhere on the sky than their image, by the headers of both."""
    sky = sky_of(other.headers.image, other.shape, other.path)
    if band.sky is not None and sky is not None and (words := differ(band.sky, sky, BESIDE)):
        raise RecipeFault(f"{other.path}: the {name} does not lie on the pixels of {band.image.path.name}: {words}; "
                          f"take the {name} that belongs to it, or, if only its WCS is old, delete that from the header"
                          )  # fmt: skip
