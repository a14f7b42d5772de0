"""The part of a recipe that says where the tables are and what their columns are called: catalogue and spectra."""

import re
from dataclasses import dataclass
from dataclasses import field as field_of  # `field` is a key of the recipe
from typing import Literal

from hpc_astrossl.errors import unknown
from hpc_astrossl.specs import patterns
from hpc_astrossl.specs.run import require

TableFormat = Literal[
    "auto", "ascii", "csv", "tsv", "fits", "parquet", "feather", "hats", "votable", "ecsv", "ipac", "cds", "daophot",
    "sextractor", "gnuastro", "fixed",
]  # fmt: skip
TreeFormat = Literal[TableFormat, "folders"]


UNITS = ("nanomaggy", "nJy", "uJy", "µJy", "mJy", "Jy")  # of fluxes; ``selection.photometry`` knows their zero points


@dataclass(frozen=True, kw_only=True)
class CatalogueSpec:
    """The table of objects, one row each.

    ``file`` may be a pattern (``*``, ``?``) for several files with the same columns, the folder of a HATS catalogue,
    or, for a tree of folders, a pattern with names in braces. A column may be an element of a vector: ``MAG_APER[1]``
    is its second value. Brightness comes from ``magnitude`` and ``error``, or from ``flux`` in ``unit`` and
    ``flux_error`` or ``flux_ivar``: then m = ZP − 2.5 log10 f, and a flux that is not positive counts as undetected.
    """

    file: str
    # auto: known by its bytes; gzip, bzip2, xz and Zstandard too. A format is needed only where a text table can be
    # read in two ways (ascii: separated by spaces; csv; tsv: by tabs).
    format: TreeFormat = "auto"
    hdu: int | str | None = None  # number (from 0) or name of the table, where a file (FITS, VOTable) has several
    names: tuple[str, ...] = ()  # of the first columns, for a text table without a header; empty: the header has them
    null_words: tuple[str, ...] = ()  # that stand for no value in a text table, besides an empty field, null and --
    id: str
    ra: str | None = None  # degrees, 0..360: right ascension in hours cannot be told from degrees, so look at it
    dec: str | None = None
    x: str | None = None  # FITS pixel position in the field: the centre of the first pixel is 1
    y: str | None = None
    origin: Literal[0, 1] = field_of(default=1, metadata={"identity": "changed"})  # of x, y: the first pixel's number
    flag: str | None = None
    field: str | None = None  # the column that names the field, or
    field_pattern: str | None = None  # a regular expression for the whole id, with a group (?P<field>…)
    bands: tuple[str, ...] = ()  # in order of wavelength; of images too, then without magnitude or flux if need be
    magnitude: str | None = None  # column name with {band}
    error: str | None = None
    flux: str | None = None  # column name with {band}, instead of magnitude
    flux_error: str | None = None  # column name with {band}: standard deviation of the flux, or
    flux_ivar: str | None = None  # column name with {band}: its inverse variance
    # Of the fluxes: nanomaggy, nJy, uJy, mJy or Jy, or the AB zero point, the magnitude of a flux of 1.
    unit: str | float | None = None
    band_names: dict[str, str] = field_of(default_factory=dict)  # band -> band in column names, where they differ
    reference: str | None = None  # the band that decides between duplicates and stratifies the splits
    undetected: tuple[float, ...] = (99.0, -99.0)  # values that stand for "no magnitude"

    def __post_init__(self):
        self._check_brightness()
        require((self.ra is None) == (self.dec is None), "ra and dec must be given together")
        require((self.x is None) == (self.y is None), "x and y must be given together")
        require(self.origin == 1 or self.x is not None, "origin is that of x and y, which are not given")
        require(len(set(self.bands)) == len(self.bands), f"bands holds a band twice: {', '.join(self.bands)}")
        plain = self.format in ("auto", "ascii", "csv", "tsv")
        require(not self.names or plain, f"names is for text tables, format is {self.format}")
        require(self.format != "folders" or self.tree, "format: folders needs names in braces in file")
        for band in self.band_names:
            if band not in self.bands:
                raise unknown("band in band_names", band, self.bands)
        if self.reference is not None and self.reference not in self.bands:
            raise unknown("reference band", self.reference, self.bands)
        if self.field_pattern is not None:
            _check_pattern(self.field_pattern)

    def _check_brightness(self) -> None:
        for name in ("magnitude", "error", "flux", "flux_error", "flux_ivar"):
            text = getattr(self, name)
            require(text is None or "{band}" in text, f"{name} must contain {{band}}, found {text!r}")
            patterns.check(name, text or "", ["band"])
        given = [name for name in ("magnitude", "flux") if getattr(self, name) is not None]
        require(bool(given) or self.reference is None, "reference is the band whose magnitude decides, so magnitude "
                "(or flux) must be given too")  # fmt: skip
        require(len(given) < 2, "give either magnitude or flux: what the brightness is read from")
        require(self.error is None or self.magnitude is not None, "error belongs to magnitude; the "
                "uncertainty of flux is flux_error or flux_ivar")  # fmt: skip
        require(self.error is None or self.error != self.magnitude, "error and magnitude name the same columns")
        require(self.flux_error is None or self.flux_ivar is None, "give either flux_error or flux_ivar")
        require(self.flux is not None or not (self.flux_error or self.flux_ivar), "flux_error and flux_ivar need flux")
        require((self.flux is None) == (self.unit is None), "flux and unit must be given together")
        uncertain = self.flux_error or self.flux_ivar
        require(uncertain is None or uncertain != self.flux, "flux and its uncertainty name the same columns")
        if isinstance(self.unit, str) and self.unit not in UNITS:
            raise unknown("unit", self.unit, [*UNITS, "or an AB zero point, a number"])

    @property
    def measured(self) -> tuple[str, ...]:
        """The bands with a magnitude; none where bands only name the channels of images."""
        return self.bands if self.magnitude or self.flux else ()

    @property
    def tree(self) -> bool:
        """Whether the catalogue is a tree of folders, whose names are its columns."""
        return self.format == "folders" or (self.format == "auto" and "{" in self.file)

    @property
    def uncertain(self) -> bool:
        """Whether the catalogue gives uncertainties."""
        return any((self.error, self.flux_error, self.flux_ivar))

    @property
    def has_field(self) -> bool:
        """Whether it says in which field an object is."""
        return self.field is not None or self.field_pattern is not None

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
    format: TableFormat = "auto"
    hdu: int | str | None = None  # as for the catalogue
    null_words: tuple[str, ...] = ()
    ra: str = "ra"  # degrees
    dec: str = "dec"
    spectral_class: str = "class"
    warning: str = "zWarning"  # 0: the redshift, and so the class, can be trusted
    radius: float = 1.0  # arcsec

    def __post_init__(self):
        require(0 < self.radius <= 60, f"radius must be in (0, 60] arcsec, found {self.radius}")
