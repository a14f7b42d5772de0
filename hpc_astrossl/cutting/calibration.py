"""What turns a coadd's counts into surface brightness: the zero points of its field."""

from pathlib import Path

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.specs import patterns
from hpc_astrossl.specs.images import BandImages
from hpc_astrossl.tables.tables import read_table


class Calibration:
    """Zero points of the fields of a release, as the recipe says where they are."""

    def __init__(self, spec: BandImages, folder: Path, bands: tuple[str, ...]):
        self._spec, self._folder = spec, folder
        self._bands = {band: spec.band_names.get(band, band) for band in bands}
        self._table: dict[str, dict[str, float]] | None = None  # of all fields, once it is read

    def files(self, field: str) -> list[Path]:
        """The file that the zero points of a field are read from; none if the values are not calibrated."""
        name = self._spec.zero_points
        return [] if name is None else [patterns.place(self._folder, name, {"field": field})]

    def factors(self, field: str) -> np.ndarray:
        """Factor of each band, float32; ones without zero points. InputError if a zero point is not there."""
        if self._spec.zero_points is None:
            return np.ones(len(self._bands), dtype=np.float32)
        if self._spec.zero_point_column is None:
            points = zero_points(*self.files(field), self._bands)
        else:
            points = self._of_table(field)
        return np.array([factor(points[band], self._spec.pixel_scale) for band in self._bands])

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
        return points

    def _read(self, path: Path) -> dict[str, dict[str, float]]:
        name, columns = self._spec.zero_point_field, [self._spec.zero_point_column.format(band=b) for b in self._bands]
        table = read_table(path, {name: "text"} | dict.fromkeys(columns, "number"))
        rows = zip(*(table[column].tolist() for column in columns), strict=True)
        return {field: dict(zip(self._bands, row, strict=True)) for field, row in zip(table[name], rows, strict=True)}


def zero_points(path: Path, bands: dict[str, str]) -> dict[str, float]:
    """AB zero point of each catalogue band; ``bands`` gives its other name. InputError for a band that is not there.

    The file is a table with columns FILTER and ZP; FILTER may hold either name.
    """
    table = read_table(path, {"FILTER": "text", "ZP": "number"})
    found = dict(zip(table["FILTER"].tolist(), table["ZP"].tolist(), strict=True))
    points = {}
    for band, other in bands.items():
        point = found.get(band, found.get(other))
        if point is None or not np.isfinite(point):
            raise InputError(f"{path}: no zero point for band {band} (nor {other}); FILTER holds {', '.join(found)}")
        points[band] = point
    return points


def factor(zero_point: float, pixel_scale: float) -> np.float32:
    """Factor that turns counts into surface brightness: 1e5 · 10^(-0.4 ZP) / pixel_scale² (arcsec per pixel).

    In units of 1e-5 of the AB zero flux (3631 Jy) per square arcsec; the scaling of the authors' own code.
    """
    return np.float32(1e5 * 10 ** (-0.4 * zero_point) / pixel_scale**2)
