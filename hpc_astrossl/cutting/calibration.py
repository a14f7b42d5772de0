"""What turns the pixels of a coadd into surface brightness: zero points or a unit, by table, recipe or header."""

from pathlib import Path

import numpy as np

from hpc_astrossl.cutting.badfile import RecipeFault
from hpc_astrossl.cutting.fitsheaders import Headers
from hpc_astrossl.cutting.headerunits import NEAR, contradiction, exposure, per_second, stated, zero_point_of
from hpc_astrossl.errors import InputError
from hpc_astrossl.specs import patterns
from hpc_astrossl.specs.images import LEAST_POINT, MOST_POINT, BandImages
from hpc_astrossl.specs.pixels import JANSKYS, PER_STERADIAN
from hpc_astrossl.tables.tables import read_table

AB = 3631.0  # Jy of magnitude 0
STERADIAN = (180 / np.pi * 3600) ** 2  # square arcsec
_TABLE = 0.5  # magnitudes: a table may be a better calibration than the header's, but is none of that image beyond
_SAME = 0.01  # a header's unit may differ so much, relatively, from what the recipe says


class Calibration:
    """The factors of a release's images, as the recipe says where they come from; ``bands`` are the catalogue's."""

    def __init__(self, spec: BandImages, folder: Path, bands: tuple[str, ...]):
        self._spec, self._folder = spec, folder
        self._bands = {band: spec.band_names.get(band, band) for band in bands}
        self._table: dict[str, dict[str, float]] | None = None  # of all fields, once it is read
        self._points: tuple[str, dict[str, float]] = ("", {})  # of the last field

    @property
    def per_pixel(self) -> bool:
        """Whether a stored value is the flux in a pixel, so that its brightness depends on the pixel's area."""
        return self._spec.calibrated and self._spec.unit not in PER_STERADIAN

    def files(self, field: str) -> list[Path]:
        """The file that the zero points of a field are read from; none if there is no table."""
        name = self._spec.zero_points
        return [] if name is None else [patterns.place(self._folder, name, {"field": field})]

    def factor(self, field: str, band: str, headers: Headers, scale: float | None) -> np.float32:
        """What a pixel of ``scale`` arcsec is multiplied by; 1 without calibration.

        InputError when a zero point is not there or cannot be one, or a header contradicts the recipe.
        """
        spec = self._spec
        self._hold_band(headers, band)
        if not spec.calibrated:
            return np.float32(1)
        if scale is None:
            raise RecipeFault(f"{headers.path}: has no WCS that tells its pixel scale; give pixel_scale in the recipe")
        if spec.unit is not None:
            value = JANSKYS[spec.unit] / AB * 1e5 / (STERADIAN if spec.unit in PER_STERADIAN else scale**2)
            value *= 10 ** (-0.4 * self._offset(band))
        else:
            value = factor(self._point(field, band, headers) + self._offset(band), scale)
            value = value / np.float32(self._seconds(headers)) if spec.exposure is not None else value
        self._hold(headers, float(value), scale, band)
        self._hold_point(headers, field, band)
        return np.float32(value)

    def _hold_band(self, headers: Headers, band: str) -> None:
        """RecipeFault when the header of a band's own file names another of the recipe's bands, by FILTER."""
        own = {band.lower(), self._bands[band].lower()}
        said = str(headers.get("FILTER", "")).split()[:1]
        others = {name for both in self._bands.items() if both[0] != band for name in both}
        if len(headers.shape) == 2 and said and said[0] in others and said[0].lower() not in own:
            raise RecipeFault(f"{headers.path}: its FILTER is {said[0]!r}, but the recipe takes it for band {band}; "
                              "correct bands or band_names (of the file names), or the header")  # fmt: skip

    def _hold_point(self, headers: Headers, field: str, band: str) -> None:
        """RecipeFault when the header has zero points of its own, and none is what the recipe's number, unit or table
        says."""
        spec = self._spec
        keywords = isinstance(spec.zero_point, str | tuple)
        if spec.header_zero_point == "ignore" or keywords or spec.unit in PER_STERADIAN:
            return
        said = -2.5 * np.log10(JANSKYS[spec.unit] / AB) if spec.unit else self._point(field, band, headers)
        if not LEAST_POINT <= said <= MOST_POINT:
            return
        near = NEAR if spec.zero_points is None else _TABLE
        if found := contradiction(headers, (said, said + self._offset(band)), near):
            what = f"recipe's zero_point is {said:g}" if spec.unit is None else \
                f"recipe's unit is {spec.unit}, a zero point of {said:.3f}"  # fmt: skip
            what = what if spec.zero_points is None else f"table of zero points {said:g}, more than {near:g} mag away"
            raise RecipeFault(f"{headers.path}: its header says {found}, the {what}; name the right keyword "
                              "(zero_point: [KEYWORD]), correct the recipe, or, if the header is what is wrong, set "
                              "header_zero_point: ignore")  # fmt: skip

    def _offset(self, band: str) -> float:
        offset = self._spec.ab_offset
        if isinstance(offset, dict):
            if band not in offset:
                raise RecipeFault(f"ab_offset names {', '.join(offset)}, but not band {band}")
            return offset[band]
        return offset or 0.0

    def _point(self, field: str, band: str, headers: Headers) -> float:
        spec = self._spec
        if spec.zero_points is not None:
            return self.points(field)[band]
        if isinstance(spec.zero_point, float):
            return spec.zero_point
        if isinstance(spec.zero_point, dict):
            if band not in spec.zero_point:
                raise RecipeFault(f"zero_point names {', '.join(spec.zero_point)}, but not band {band}")
            return spec.zero_point[band]
        keys = (spec.zero_point,) if isinstance(spec.zero_point, str) else spec.zero_point
        return zero_point_of(headers, keys)

    def _seconds(self, headers: Headers) -> float:
        """Of exposure; RecipeFault when the header says that pixels are counts a second already."""
        if (unit := per_second(headers)) is not None:
            raise RecipeFault(f"{headers.path}: its BUNIT is {unit!r}, a rate already, and exposure would divide by "
                              "the time again; leave exposure out, or correct BUNIT")  # fmt: skip
        return exposure(headers, self._spec.exposure)

    def _hold(self, headers: Headers, value: float, scale: float, band: str) -> None:
        """RecipeFault when the header's BUNIT says another unit than the recipe."""
        unit, jansky, per_steradian = stated(headers)
        if unit is None:
            return
        own = jansky / AB * 1e5 / (STERADIAN if per_steradian else scale**2) * 10 ** (-0.4 * self._offset(band))
        if not abs(value / own - 1) <= _SAME:
            raise RecipeFault(f"{headers.path}: its BUNIT is {unit!r}, a pixel is worth {own / value:.4g} times what "
                              "the recipe's unit or zero point says; correct one of them")  # fmt: skip

    def points(self, field: str) -> dict[str, float]:
        """AB zero point of each band, by the table."""
        if self._points[0] != field:
            if self._spec.zero_point_column is None:
                found = zero_points(*self.files(field), self._bands)
            else:
                found = self._of_table(field)
            self._points = field, found
        return self._points[1]

    def _of_table(self, field: str) -> dict[str, float]:
        (path,) = self.files(field)
        if self._table is None:
            self._table = self._read(path)
        points = self._table.get(field)
        if points is None:
            raise InputError(f"{path}: no row for field {field!r} in column {self._spec.zero_point_field}")
        for band, point in points.items():
            if not np.isfinite(point):
                raise InputError(f"{path}: no zero point for band {band} in the row of field {field!r}")
            plausible(point, f"{path}: field {field!r}, band {band}")
        return points

    def _read(self, path: Path) -> dict[str, dict[str, float]]:
        name, columns = self._spec.zero_point_field, [self._spec.zero_point_column.format(band=b) for b in self._bands]
        table = read_table(path, {name: "text"} | dict.fromkeys(columns, "number"))
        rows = zip(*(table[column].tolist() for column in columns), strict=True)
        found: dict[str, dict[str, float]] = {}
        for field, row in zip(table[name].tolist(), rows, strict=True):
            points = dict(zip(self._bands, row, strict=True))
            if not _equal(found.setdefault(field, points), points):
                raise InputError(f"{path}: lists field {field!r} twice, with different zero points; correct the table")
        return found


def zero_points(path: Path, bands: dict[str, str]) -> dict[str, float]:
    """AB zero point of each catalogue band; ``bands`` gives its other name. InputError for a band that is not there.

    The file is a table with columns FILTER and ZP; FILTER may hold either name.
    """
    table = read_table(path, {"FILTER": "text", "ZP": "number"})
    found: dict[str, float] = {}
    for band, point in zip(table["FILTER"].tolist(), table["ZP"].tolist(), strict=True):
        if not _equal({"": found.setdefault(band, point)}, {"": point}):
            raise InputError(f"{path}: lists band {band} twice, as {found[band]:g} and {point:g}; correct the table")
    points = {}
    for band, other in bands.items():
        both = [found[name] for name in dict.fromkeys((band, other)) if name in found]
        if not both or not np.isfinite(both[0]):
            raise InputError(f"{path}: no zero point for band {band} (nor {other}); FILTER holds {', '.join(found)}")
        if len(both) == 2 and both[0] != both[1]:
            raise InputError(f"{path}: lists band {band} as {both[0]:g} and, named {other}, as {both[1]:g}")
        points[band] = plausible(both[0], f"{path}: band {band}")
    return points


def plausible(point: float, where: str) -> float:
    """The zero point; InputError for a value that stands for "not measured", or that no survey has."""
    if not LEAST_POINT <= point <= MOST_POINT:
        raise InputError(f"{where}: zero point {point:g} is none (AB magnitudes of one count are in {LEAST_POINT:g}.."
                         f"{MOST_POINT:g}); correct it, or leave the field out")  # fmt: skip
    return point


def _equal(one: dict[str, float], other: dict[str, float]) -> bool:
    return all(one[key] == other[key] or (one[key] != one[key] and other[key] != other[key]) for key in one)


def factor(zero_point: float, pixel_scale: float) -> np.float32:
    """Factor that turns counts into surface brightness: 1e5 · 10^(-0.4 ZP) / pixel_scale² (arcsec per pixel).

    In units of 1e-5 of the AB zero flux (3631 Jy) per square arcsec; the scaling of the authors' own code.
    """
    return np.float32(1e5 * 10 ** (-0.4 * zero_point) / pixel_scale**2)
