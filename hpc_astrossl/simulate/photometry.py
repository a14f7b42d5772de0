"""The catalogue of a field, measured by sep from the files that a user gets: nothing of the truth can leak into it.

Sources are found on the mean of g, r, i and z and measured in every band in the apertures that were fixed there (dual
mode, as S-PLUS DR1 did with SExtractor): Kron ellipses (auto), Petrosian ellipses (petro), 3″ circles (aper).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import sep
from astropy.io import fits
from astropy.wcs import WCS

from hpc_astrossl.simulate.bands import AB_ZERO, COLUMNS, DETECTION, NAMES, PIXEL_SCALE, file_name
from hpc_astrossl.simulate.images import Trilogy

APERTURES = ("auto", "petro", "aper")
UNDETECTED = 99.0
DETECTED = 2.0  # least signal-to-noise ratio of a detection in one band
_THRESHOLD, _AREA = 1.8, 5  # background sigmas and pixels of a source on the detection image
_KRON_FACTOR, _KRON_LEAST = 2.5, 3.5  # SExtractor's PHOT_AUTOPARAMS
_PETROSIAN_RATIO, _PETROSIAN_FACTOR = 0.2, 2.0  # surface brightness ratio and SExtractor's PHOT_PETROPARAMS
_APERTURE_RADIUS = 1.5 / PIXEL_SCALE  # pixels
_MASK_SCALE = 6.0  # ellipse in which Kron and Petrosian radii are sought, in units of A and B


@dataclass(frozen=True, kw_only=True)
class Coadd:
    """A background-subtracted coadd and what its files say about it."""

    image: np.ndarray  # float32 counts
    noise: float  # counts, r.m.s. of the background
    gain: float
    zero_point: float

    @property
    def flux(self) -> float:
        """AB flux of one count, 1 at AB_ZERO."""
        return 10 ** (-0.4 * (self.zero_point - AB_ZERO))


@dataclass(frozen=True, kw_only=True)
class Sources:
    """The sources of a field on its detection image, n of them; pixels are counted from 0 here, as sep does."""

    table: np.ndarray  # sep's records
    kron: np.ndarray  # semi-axis of the auto ellipse in units of A; 0: a circle of _KRON_LEAST / 2 pixels
    petrosian: np.ndarray  # semi-axis of the petro ellipse in units of A
    kron_radius: np.ndarray
    half_light: np.ndarray  # pixels
    signal_to_noise: np.ndarray
    flags: np.ndarray
    zero_point: float

    @property
    def ellipses(self) -> tuple[np.ndarray, ...]:
        """x, y, a, b, theta, as every aperture function of sep takes them."""
        return tuple(self.table[name] for name in ("x", "y", "a", "b", "theta"))


def read_zero_points(path: Path) -> dict[str, float]:
    """Column name → zero point of a ``{field}_ZP.cat``."""
    rows = (line.split() for line in path.read_text(encoding="ascii").splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in rows}


def read_band(folder: Path, field: str, name: str) -> Coadd:
    """One coadd of the field, its background removed."""
    zero_points = read_zero_points(folder / f"{field}_ZP.cat")
    with fits.open(folder / file_name(field, name)) as hdus:
        image = np.ascontiguousarray(hdus[1].data, dtype=np.float32)
        gain = float(hdus[1].header["GAIN"])
    background = sep.Background(image)
    background.subfrom(image)
    zero_point = zero_points[COLUMNS[NAMES.index(name)]]
    return Coadd(image=image, noise=float(background.globalrms), gain=gain, zero_point=zero_point)


def measure(folder: Path, field: str) -> list[str]:
    """Measure a field, write its colour picture, and return its lines of the master catalogue."""
    sources = detect(folder, field)
    with fits.open(folder / file_name(field, DETECTION[0])) as hdus:
        sky, size = WCS(hdus[1].header), hdus[1].shape[0]
    picture, blocks = Trilogy(size), []
    for name in NAMES:
        coadd = read_band(folder, field, name)
        picture.add(name, coadd.image, coadd.zero_point, coadd.noise)
        blocks.append(_photometry(coadd, sources))
    picture.write(folder / f"{field}_trilogy.png")
    return _lines(field, sources, sky, np.stack(blocks, axis=1))


def detect(folder: Path, field: str) -> Sources:
    """Find the sources on the inverse-variance weighted mean of g, r, i and z, in AB flux, and fix their apertures."""
    image, weights = 0.0, 0.0
    for name in DETECTION:
        coadd = read_band(folder, field, name)
        weight = (coadd.flux * coadd.noise) ** -2
        image = image + coadd.image * np.float32(coadd.flux * weight)
        weights += weight
    image /= np.float32(weights)
    noise = float(sep.Background(image).globalrms)
    sep.set_extract_pixstack(max(300_000, image.size // 20))
    table = sep.extract(image, _THRESHOLD, err=noise, minarea=_AREA)
    table = table[np.isfinite(table["theta"]) & (table["b"] > 0)]
    ellipses = tuple(table[name] for name in ("x", "y", "a", "b", "theta"))
    kron_radius, _ = sep.kron_radius(image, *ellipses, _MASK_SCALE)
    kron = np.maximum(_KRON_FACTOR * np.nan_to_num(kron_radius), 1.0)
    kron[kron * np.sqrt(table["a"] * table["b"]) < _KRON_LEAST / 2] = 0
    petrosian = _PETROSIAN_FACTOR * _petrosian_radius(image, ellipses)
    flux, error, flags = _sums(image, noise, None, ellipses, kron)
    half_light, _ = sep.flux_radius(image, table["x"], table["y"], _MASK_SCALE * table["a"], 0.5,
                                    normflux=np.where(flux > 0, flux, table["flux"]), subpix=5)  # fmt: skip
    return Sources(
        table=table, kron=kron, petrosian=petrosian, kron_radius=np.nan_to_num(kron_radius), half_light=half_light,
        signal_to_noise=flux / error, flags=table["flag"] | flags, zero_point=AB_ZERO,
    )  # fmt: skip


def _petrosian_radius(image: np.ndarray, ellipses: tuple) -> np.ndarray:
    """Where the light in a thin ring falls to a fifth of the mean light inside it, in units of A."""
    scales = np.geomspace(1.0, 8.0, 16)
    radius = np.full(len(ellipses[0]), scales[-1])
    searching = np.ones(len(radius), dtype=bool)
    for scale in scales:
        ring, _, _ = sep.sum_ellipann(image, *ellipses, 0.85 * scale, 1.15 * scale, subpix=3)
        inside, _, _ = sep.sum_ellipse(image, *ellipses, scale, subpix=3)
        ratio = (ring / (1.15**2 - 0.85**2)) / np.where(inside > 0, inside, np.inf)
        found = searching & (ratio < _PETROSIAN_RATIO)
        radius[found] = scale
        searching &= ~found
    return radius


def _sums(image: np.ndarray, noise: float, gain: float | None, ellipses: tuple, scale: np.ndarray) -> tuple:
    """Flux, its error and sep's flags in ellipses of ``scale`` times A and B; scale 0: in the least circle."""
    small = scale == 0
    flux, error, flags = sep.sum_ellipse(image, *ellipses, np.where(small, 1.0, scale), err=noise, gain=gain, subpix=5)
    if small.any():
        x, y = ellipses[0][small], ellipses[1][small]
        parts = sep.sum_circle(image, x, y, _KRON_LEAST / 2, err=noise, gain=gain, subpix=5)
        flux[small], error[small], flags[small] = parts
    return flux, error, flags


def _photometry(coadd: Coadd, sources: Sources) -> np.ndarray:
    """(n, apertures, 3): magnitude, its error, signal-to-noise ratio; magnitude and error are 99 where undetected."""
    ellipses = sources.ellipses
    sums = [
        _sums(coadd.image, coadd.noise, coadd.gain, ellipses, sources.kron)[:2],
        _sums(coadd.image, coadd.noise, coadd.gain, ellipses, sources.petrosian)[:2],
        sep.sum_circle(coadd.image, *ellipses[:2], _APERTURE_RADIUS, err=coadd.noise, gain=coadd.gain, subpix=5)[:2],
    ]
    flux, error = (np.stack(parts, axis=1) for parts in zip(*sums, strict=True))
    ratio = np.divide(flux, error, out=np.zeros_like(flux), where=error > 0)
    seen = ratio >= DETECTED
    magnitude, uncertainty = np.full_like(flux, UNDETECTED), np.full_like(flux, UNDETECTED)
    magnitude[seen] = coadd.zero_point - 2.5 * np.log10(flux[seen])
    uncertainty[seen] = 2.5 / np.log(10) / ratio[seen]
    return np.stack([magnitude, uncertainty, ratio], axis=-1)


def header() -> str:
    """The first line of the master catalogue: the columns of S-PLUS DR1."""
    shape = "# ID RA Dec X Y ISOarea s2nDet PhotoFlag FWHM MUMAX A B THETA FlRadDet KrRadDet nDet_auto"
    return " ".join([shape, *(f"{c}_{a} e{c}_{a} s2n_{c}_{a}" for c in COLUMNS for a in APERTURES)])


def _lines(field: str, sources: Sources, sky: WCS, values: np.ndarray) -> list[str]:
    """Catalogue lines; ``values`` is (n, bands, apertures, 3). X and Y are FITS pixels, sizes are pixels.

    FWHM is that of the Gaussian with the measured half-light radius; MUMAX is on the detection image.
    """
    table = sources.table
    x, y = table["x"] + 1, table["y"] + 1
    ra, dec = sky.all_pix2world(x, y, 1)
    peak = sources.zero_point - 2.5 * np.log10(table["peak"] / PIXEL_SCALE**2)
    seen = (values[:, :, 0, 0] < UNDETECTED).sum(axis=1)
    order = np.arange(1, len(table) + 1)
    names = [f"SPLUS.{field}.{number:05d}.griz" for number in order]
    columns = (
        ("%.6f", ra), ("%.6f", dec), ("%.3f", x), ("%.3f", y), ("%d", table["npix"]),
        ("%.2f", sources.signal_to_noise), ("%d", sources.flags), ("%.3f", 2 * sources.half_light), ("%.3f", peak),
        ("%.3f", table["a"]), ("%.3f", table["b"]), ("%.2f", np.degrees(table["theta"])),
        ("%.3f", sources.half_light), ("%.3f", sources.kron_radius), ("%d", seen),
    )  # fmt: skip
    shape = " ".join(form for form, _ in columns) + " "
    photometry = " ".join(["%.4f %.4f %.2f"] * (len(NAMES) * len(APERTURES)))
    rows = zip(names, *(column for _, column in columns), strict=True)
    flat = values.reshape(len(table), -1)
    return [f"{row[0]} " + shape % row[1:] + photometry % tuple(flat[i]) for i, row in enumerate(rows)]
