"""A preprocessing recipe: where a release keeps its catalogue and images, what is kept, and the stores made of it.

One YAML in ``preprocess/`` a release. File names may hold ``{field}``, ``{band}`` or ``{id}`` and are relative to the
folder given as ``--source``. Only the recipe knows a release's column names.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from hpc_astrossl import config
from hpc_astrossl.errors import unknown
from hpc_astrossl.specs.images import BandImages, CutoutsSpec, FieldsSpec, FilesSpec
from hpc_astrossl.specs.run import require


@dataclass(frozen=True, kw_only=True)
class CatalogueSpec:
    """The table of objects, one row each. ``ascii`` is separated by spaces and its header is a ``#`` line."""

    file: str
    format: Literal["ascii", "csv", "folders"] = "ascii"
    names: tuple[str, ...] = ()  # of the first columns, for a table without a header; empty: the header has them
    id: str
    ra: str | None = None  # degrees
    dec: str | None = None
    x: str | None = None  # FITS pixel position in the field: the centre of the first pixel is 1
    y: str | None = None
    flag: str | None = None
    field: str | None = None  # the column that names the field, or
    field_pattern: str | None = None  # a regular expression for the whole id, with a group (?P<field>…)
    bands: tuple[str, ...] = ()  # in order of wavelength
    magnitude: str | None = None  # column name with {band}
    error: str | None = None
    reference: str | None = None  # the band that decides between duplicates and stratifies the splits
    undetected: tuple[float, ...] = (99.0, -99.0)  # values that stand for "no magnitude"

    def __post_init__(self):
        for name in ("magnitude", "error"):
            text = getattr(self, name)
            require(text is None or "{band}" in text, f"{name} must contain {{band}}, found {text!r}")
        require(not self.bands or self.magnitude is not None, "bands are given, so magnitude must be given too")
        require((self.ra is None) == (self.dec is None), "ra and dec must be given together")
        require((self.x is None) == (self.y is None), "x and y must be given together")
        require(len(set(self.bands)) == len(self.bands), f"bands holds a band twice: {', '.join(self.bands)}")
        if self.reference is not None and self.reference not in self.bands:
            raise unknown("reference band", self.reference, self.bands)
        if self.field_pattern is not None:
            _check_pattern(self.field_pattern)


def _check_pattern(text: str) -> None:
    try:
        groups = re.compile(text).groupindex
    except re.error as error:
        require(False, f"field_pattern {text!r} is no regular expression: {error}")
    require("field" in groups, f"field_pattern {text!r} must have a group (?P<field>…)")


@dataclass(frozen=True, kw_only=True)
class SpectraSpec:
    """A spectroscopic table in CSV; its classes reach the catalogue by position."""

    file: str
    ra: str = "ra"  # degrees
    dec: str = "dec"
    spectral_class: str = "class"
    warning: str = "zWarning"  # 0: the redshift, and so the class, can be trusted
    radius: float = 1.0  # arcsec

    def __post_init__(self):
        require(0 < self.radius <= 60, f"radius must be in (0, 60] arcsec, found {self.radius}")


@dataclass(frozen=True, kw_only=True)
class FilterSpec:
    """What every object of every store must pass."""

    flags: tuple[int, ...] = ()  # allowed values of the catalogue's flag column; empty: all
    duplicates: float = 1.0  # arcsec: of objects nearer than this the brightest is kept; 0: only equal ids

    def __post_init__(self):
        require(0 <= self.duplicates <= 60, f"duplicates must be in [0, 60] arcsec, found {self.duplicates}")


@dataclass(frozen=True, kw_only=True)
class SplitSpec:
    """Shares of the three splits, stratified by class and rounded reference magnitude, and the seed of the draw."""

    train: float = 0.8
    validation: float = 0.1
    test: float = 0.1
    seed: int = 0

    def __post_init__(self):
        shares = self.shares
        require(all(share >= 0 for share in shares) and abs(sum(shares) - 1) < 1e-9 and self.train > 0,
                f"train, validation and test must add up to 1 and train be positive, found {shares}")  # fmt: skip
        require(self.seed >= 0, f"seed must not be negative, found {self.seed}")

    @property
    def shares(self) -> tuple[float, float, float]:
        """Train, validation, test."""
        return self.train, self.validation, self.test


@dataclass(frozen=True, kw_only=True)
class LabelSpec:
    """Classes in the order of their codes; each lists the source's values that belong to it (``-6..-4`` is a range)."""

    source: Literal["spectra", "column"]
    column: str | None = None  # of the catalogue, for source: column
    classes: dict[str, tuple[int | str, ...]]

    def __post_init__(self):
        require((self.source == "column") == (self.column is not None), "give column with source: column, only then")
        require(len(self.classes) >= 2, f"classes must name at least two classes, found {len(self.classes)}")
        self.codes()

    def codes(self) -> dict[str | float, int]:
        """Value of the source -> class code; numbers are keyed as float."""
        found: dict[str | float, int] = {}
        for code, (name, values) in enumerate(self.classes.items()):
            for value in _values(values):
                require(value not in found, f"value {value} belongs to two classes, the second is {name}")
                found[value] = code
        return found


def _values(entries: Iterable[int | str]) -> Iterable[str | float]:
    for entry in entries:
        bounds = re.fullmatch(r"(-?\d+)\.\.(-?\d+)", entry) if isinstance(entry, str) else None
        if bounds:
            low, high = int(bounds[1]), int(bounds[2])
            require(low <= high, f"range {entry} is empty; write the smaller number first")
            yield from map(float, range(low, high + 1))
        else:
            yield float(entry) if isinstance(entry, int) else entry


@dataclass(frozen=True, kw_only=True)
class StoreSpec:
    """One store made by the recipe: its images, its labels, and what its objects must pass besides the filters."""

    images: Literal["rgb", "bands"] = "rgb"
    labels: LabelSpec | None = None  # null: unlabelled
    detected_in: int = 0  # at least so many bands with a magnitude
    max_error: float | None = None  # largest uncertainty in any band, in magnitudes
    balanced: bool = False  # every class cut down, by a seeded draw, to the size of the smallest
    disjoint_from: tuple[str, ...] = ()  # stores of this recipe with which no object may be shared, by id or position

    def __post_init__(self):
        require(self.detected_in >= 0, f"detected_in must not be negative, found {self.detected_in}")
        require(self.max_error is None or self.max_error > 0, f"max_error must be positive, found {self.max_error}")
        require(not self.balanced or self.labels is not None, "balanced: true needs labels")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A release, and the stores made of it."""

    survey: str
    release: str
    size: int  # side of the stored images, pixels
    catalogue: CatalogueSpec
    fields: FieldsSpec | None = None
    files: FilesSpec | None = None
    cutouts: CutoutsSpec | None = None
    spectra: SpectraSpec | None = None
    filters: FilterSpec = FilterSpec()
    split: SplitSpec = SplitSpec()
    stores: dict[str, StoreSpec]

    def __post_init__(self):
        require(4 <= self.size <= 1024, f"size must be in 4..1024 pixels, found {self.size}")
        places = [place for place in (self.fields, self.files, self.cutouts) if place is not None]
        require(len(places) == 1, "give either fields or files or cutouts: where the images are")
        require(bool(self.stores), "stores is empty; name at least one")
        if self.images is not None:
            self._check_images("fields" if self.fields else "cutouts", self.images)
        require(not self.filters.flags or self.catalogue.flag is not None, "filters: flags needs catalogue: flag")
        for name, store in self.stores.items():
            self._check_store(name, store)

    @property
    def images(self) -> BandImages | None:
        """What is known of the FITS images, of fields or of objects; None if there are none."""
        return self.fields or self.cutouts

    @property
    def tables(self) -> tuple[str, ...]:
        """The files of catalogue and spectra; with ``format: folders`` the tree of folders is the catalogue."""
        own = () if self.catalogue.format == "folders" else (self.catalogue.file,)
        return own + ((self.spectra.file,) if self.spectra else ())

    def _check_images(self, key: str, images: BandImages) -> None:
        catalogue = self.catalogue
        require(
            self.fields is None or catalogue.x is not None, "images are cut from fields, so catalogue needs x and y"
        )
        named = (catalogue.field is None) != (catalogue.field_pattern is None)
        require(named or not (self.fields or images.zero_points),
                f"{'images are cut from' if self.fields else 'zero points belong to'} fields, so catalogue needs "
                "either field or field_pattern")  # fmt: skip
        require(self.cutouts is None or bool(catalogue.bands), "cutouts have bands, so catalogue needs bands")
        for name, bands in (("band_names", images.band_names), ("lupton", images.lupton and images.lupton.bands)):
            for band in bands or ():
                if band not in catalogue.bands:
                    raise unknown(f"band in {key}: {name}", band, catalogue.bands)

    def _check_store(self, name: str, store: StoreSpec) -> None:
        here, catalogue = f"stores.{name}", self.catalogue
        require(
            re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name) is not None,
            f"{here}: a store's name begins with a letter or digit, then letters, digits, '_', '-' or '.'",
        )
        bands = len(catalogue.bands)
        require(store.detected_in <= bands, f"{here}: detected_in is {store.detected_in}, catalogue has {bands} bands")
        needs_error = store.max_error is not None
        require(not needs_error or (bands and catalogue.error), f"{here}: max_error needs catalogue: bands and error")
        if self.images is None:
            require(store.images == "rgb", f"{here}: images: bands needs fields: bands")
        elif store.images == "bands":
            require(self.cutouts is not None or self.fields.bands is not None,
                    f"{here}: images: bands needs fields: bands")  # fmt: skip
            require(bands > 0, f"{here}: images: bands needs catalogue: bands")
        else:
            require(getattr(self.images, "rgb", None) is not None or self.images.lupton is not None,
                    f"{here}: images: rgb needs fields: rgb, or lupton, which makes RGB from three bands")  # fmt: skip
        if store.labels is not None and store.labels.source == "spectra":
            require(self.spectra is not None and catalogue.ra is not None,
                    f"{here}: labels from spectra need spectra, and catalogue: ra and dec")  # fmt: skip
        for other in store.disjoint_from:
            if other not in self.stores or other == name:
                raise unknown(f"store in {here}.disjoint_from", other, [key for key in self.stores if key != name])

    def part(self, name: str) -> "Recipe":
        """The recipe as far as one store depends on it: that store and those it must be disjoint from."""
        kept = (name, *self.stores[name].disjoint_from)
        return replace(self, stores={key: spec for key, spec in self.stores.items() if key in kept})


def load_recipe(path: Path | str, settings: Iterable[str] = ()) -> Recipe:
    """Read a recipe, with ``key=value`` settings laid over it; InputError says which key is wrong."""
    data = config.merge(config.read_yaml(path), config.settings(list(settings)))
    return config.parse(data, Recipe, str(path))
