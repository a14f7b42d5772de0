"""The door to astropy.wcs: where on an image a position of the sky is, and how the image is scaled and turned.

All projections and distortions that astropy knows; what it reads otherwise than a header's author meant is set right
first (``wcsheaders``). Celestial axes may come in any order.
"""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from hpc_astrossl.cutting import wcsframes, wcsheaders
from hpc_astrossl.cutting.badfile import BadFile

ARCSEC = 3600.0
_BACK = 0.05  # pixels: a position must come back to itself so closely, or it is not on the image's side of the sky


class Sky:
    """The sky of one image. Pixels are FITS pixels (the first one's centre is 1); positions ICRS degrees, float64."""

    def __init__(self, wcs: Any, shape: tuple[int, int]):
        from astropy.coordinates import ICRS  # here, as astropy.wcs below, since they look for matplotlib

        self._wcs, self.shape = wcs, shape
        self._frame = wcsframes.frame(wcs)
        self._icrs = isinstance(self._frame, ICRS)
        self._lon, self._lat = wcs.wcs.lng, wcs.wcs.lat

    def pixel(self, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(x, y) of positions; NaN where a position is not on this image's side of the sky, or is none."""
        ra, dec = np.broadcast_arrays(np.asarray(ra, float), np.asarray(dec, float))
        x, y = np.full(ra.shape, np.nan), np.full(ra.shape, np.nan)
        good = np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90)
        if not good.any():
            return x, y
        world = np.empty((2, good.sum()))
        world[self._lon], world[self._lat] = self._own(ra[good], dec[good])
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = self._wcs.all_world2pix(*world, 1, quiet=True, maxiter=50, tolerance=1e-5)
        back = self.sky(*found)
        away = separation(ra[good], dec[good], *back)
        lost = ~(away <= _BACK * self.scale)
        x[good], y[good] = (np.where(lost, np.nan, axis) for axis in found)
        return x, y

    def sky(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(ra, dec) of pixels."""
        with np.errstate(all="ignore"):
            world = self._wcs.all_pix2world(x, y, 1)
        lon, lat = world[self._lon], world[self._lat]
        if self._icrs:
            return np.mod(lon, 360), lat
        return _through(lon, lat, self._frame, "icrs")

    def _own(self, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return (ra, dec) if self._icrs else _through(ra, dec, "icrs", self._frame)

    def matrix(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """(…, 2, 2): how far east (first row) and north a step of one pixel in x (first column) and y goes; arcsec."""
        x, y = np.broadcast_arrays(np.asarray(x, float), np.asarray(y, float))
        here = self.sky(x, y)
        steps = []
        for dx, dy in ((0.5, 0), (0, 0.5)):
            ahead, behind = (offsets(*here, *self.sky(x + sign * dx, y + sign * dy)) for sign in (1, -1))
            steps.append(np.stack([a - b for a, b in zip(ahead, behind, strict=True)], axis=-1))
        return np.stack(steps, axis=-1)

    @property
    def scale(self) -> float:
        """Arcsec per pixel at the middle: the square root of a pixel's area."""
        if not hasattr(self, "_scale"):
            height, width = self.shape
            self._scale = float(areas(self.matrix((width + 1) / 2, (height + 1) / 2)) ** 0.5)
        return self._scale

    @property
    def centre(self) -> tuple[float, float]:
        """(ra, dec) of the middle."""
        height, width = self.shape
        ra, dec = self.sky(np.array([(width + 1) / 2]), np.array([(height + 1) / 2]))
        return float(ra[0]), float(dec[0])

    @property
    def radius(self) -> float:
        """Degrees from the middle to the farthest corner or side; 180 where one of them is not on the sky."""
        height, width = self.shape
        x, y = (np.array([0.5, 0.5, 0.5, length + 0.5, length + 0.5, length + 0.5]) for length in (width, height))
        x = np.concatenate([x, [(width + 1) / 2] * 2])
        y = np.concatenate([np.tile([0.5, (height + 1) / 2, height + 0.5], 2), [0.5, height + 0.5]])
        found = float(separation(*self.centre, *self.sky(x, y)).max()) / ARCSEC
        return found if np.isfinite(found) else 180.0


def sky_of(header: fits.Header, shape: tuple[int, int], path: Path) -> Sky | None:
    """The sky of an image of that shape (height, width); None when its header has no celestial WCS.

    BadFile when there is one that cannot be used.
    """
    if not wcsheaders.celestial(header):
        return None
    from astropy.wcs import WCS

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=AstropyWarning)
            warnings.filterwarnings("ignore", category=RuntimeWarning)
            wcs = WCS(wcsheaders.mended(header, shape[-2:]), naxis=2)
            if not wcs.has_celestial:
                raise ValueError("its first two axes are not the celestial ones")
            sky = Sky(wcs, tuple(shape[-2:]))
            if not np.isfinite(sky.scale) or sky.scale <= 0:
                raise ValueError("the middle of the image is nowhere on the sky")
        return sky
    except Exception as error:  # astropy.wcs raises anything, down to AssertionError
        words = " ".join(str(error).split()) or type(error).__name__
        raise BadFile(f"{path}: its WCS cannot be used ({words[:400]})") from None


def _through(lon: np.ndarray, lat: np.ndarray, one: Any, other: Any) -> tuple[np.ndarray, np.ndarray]:
    """Spherical coordinates of one frame in another; NaN stays."""
    from astropy import units
    from astropy.coordinates import SkyCoord

    lon, lat = np.asarray(lon, float), np.asarray(lat, float)
    good = np.isfinite(lon) & np.isfinite(lat) & (np.abs(lat) <= 90)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=AstropyWarning)
        there = SkyCoord(np.where(good, lon, 0) * units.deg, np.where(good, lat, 0) * units.deg, frame=one)
        there = there.transform_to(other)
    ra, dec = there.spherical.lon.deg, there.spherical.lat.deg
    return np.where(good, np.mod(ra, 360), np.nan), np.where(good, dec, np.nan)


def vectors(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Unit vectors, (…, 3)."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def separation(ra: np.ndarray, dec: np.ndarray, other_ra: np.ndarray, other_dec: np.ndarray) -> np.ndarray:
    """Arcsec between positions in degrees, also at the poles and over RA 0."""
    chord = np.linalg.norm(vectors(ra, dec) - vectors(other_ra, other_dec), axis=-1)
    return np.degrees(2 * np.arcsin(np.clip(chord / 2, 0, 1))) * ARCSEC


def offsets(ra: np.ndarray, dec: np.ndarray, other_ra: np.ndarray, other_dec: np.ndarray):
    """(east, north) of other positions on the plane that touches the sky at (ra, dec); arcsec."""
    away = vectors(other_ra, other_dec)
    east, north, out = _axes(ra, dec)
    depth = (away * out).sum(-1)
    return tuple(np.degrees((away * axis).sum(-1) / depth) * ARCSEC for axis in (east, north))


def position(ra: np.ndarray, dec: np.ndarray, east: np.ndarray, north: np.ndarray):
    """(ra, dec) of points on the plane that touches the sky at (ra, dec), given in arcsec: the inverse of offsets."""
    e, n, out = _axes(ra, dec)
    east, north = (np.radians(np.asarray(axis) / ARCSEC)[..., None] for axis in (east, north))
    x, y, z = np.moveaxis(out + east * e + north * n, -1, 0)
    return np.mod(np.degrees(np.arctan2(y, x)), 360), np.degrees(np.arctan2(z, np.hypot(x, y)))


def _axes(ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors to the east, to the north, and outwards."""
    a, d = np.radians(ra), np.radians(dec)
    zero = np.zeros(np.shape(a))
    east = np.stack([-np.sin(a), np.cos(a), zero], axis=-1)
    north = np.stack([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)], axis=-1)
    return east, north, vectors(ra, dec)


def areas(matrix: np.ndarray) -> np.ndarray:
    """Square arcsec of a pixel, of ``Sky.matrix``."""
    with np.errstate(invalid="ignore"):  # of an object that has no place
        return np.abs(np.linalg.det(matrix))
