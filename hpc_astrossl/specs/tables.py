"""The part of a recipe that says where the tables are and what their columns are called: catalogue and spectra."""

import re
from dataclasses import dataclass
from dataclasses import field as field_of  # `field` is a key of the recipe
from typing import Literal

from hpc_astrossl.errors import unknown
from hpc_astrossl.specs import patterns
from hpc_astrossl.specs.run import require

TableFormat = Literal["ascii", "csv", "fits", "parquet"]


@dataclass(frozen=True, kw_only=True)
class CatalogueSpec:
    """The table of objects, one row each.

    ``file`` may be a pattern (``*``, ``?``) for several files with the same columns. ``ascii`` is separated by spaces
    and its header is a ``#`` line; ``fits`` is the first binary table of a file, whatever the file's name ends in.
    """

    file: str
    format: Literal["ascii", "csv", "fits", "parquet", "folders"] = "ascii"
    names: tuple[str, ...] = ()  # of the first columns, for a text table without a header; empty: the header has them
    id: str
    ra: str | None = None  # degrees, 0..360: right ascension in hours cannot be told from degrees, so look at it
    dec: str | None = None
    x: str | None = None  # FITS pixel position in the field: the centre of the first pixel is 1
    y: str | None = None
    flag: str | None = None
    field: str | None = None  # the column that names the field, or
    field_pattern: str | None = None  # a regular expression for the whole id, with a group (?P<field>…)
    bands: tuple[str, ...] = ()  # in order of wavelength
    magnitude: str | None = None  # column name with {band}
    error: str | None = None
    band_names: dict[str, str] = field_of(default_factory=dict)  # band -> band in column names, where they differ
    reference: str | None = None  # the band that decides between duplicates and stratifies the splits
    undetected: tuple[float, ...] = (99.0, -99.0)  # values that stand for "no magnitude"

    def __post_init__(self):
        for name in ("magnitude", "error"):
            text = getattr(self, name)
            require(text is None or "{band}" in text, f"{name} must contain {{band}}, found {text!r}")
            patterns.check(name, text or "", ["band"])
        require(not self.bands or self.magnitude is not None, "bands are given, so magnitude must be given too")
        require(self.error is None or self.error != self.magnitude, "error and magnitude name the same columns")
        require((self.ra is None) == (self.dec is None), "ra and dec must be given together")
        require((self.x is None) == (self.y is None), "x and y must be given together")
        require(len(set(self.bands)) == len(self.bands), f"bands holds a band twice: {', '.join(self.bands)}")
        require(not self.names or self.format in ("ascii", "csv"), f"names is for text tables, format is {self.format}")
        for band in self.band_names:
            if band not in self.bands:
                raise unknown("band in band_names", band, self.bands)
        if self.reference is not None and self.reference not in self.bands:
            raise unknown("reference band", self.reference, self.bands)
        if self.field_pattern is not None:
            _check_pattern(self.field_pattern)

    def columns(self, pattern: str) -> list[str]:
        """The column names that a pattern with ``{band}`` stands for, in the order of the bands."""
        return [pattern.format(band=self.band_names.get(band, band)) for band in self.bands]


def _check_pattern(text: str) -> None:
    try:
        groups = re.compile(text).groupindex
    except re.error as error:
        require(False, f"field_pattern {text!r} is no regular expression: {error}")
    require("field" in groups, f"field_pattern {text!r} must have a group (?P<field>…)")


@dataclass(frozen=True, kw_only=True)
class SpectraSpec:
    """A spectroscopic table; its classes reach the catalogue by position."""

    file: str  # or a pattern, as for the catalogue
    format: TableFormat = "csv"
    ra: str = "ra"  # degrees
    dec: str = "dec"
    spectral_class: str = "class"
    warning: str = "zWarning"  # 0: the redshift, and so the class, can be trusted
    radius: float = 1.0  # arcsec

    def __post_init__(self):
        require(0 < self.radius <= 60, f"radius must be in (0, 60] arcsec, found {self.radius}")
