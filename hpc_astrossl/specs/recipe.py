"""A preprocessing recipe: where a release keeps its catalogue and images, what is kept, and the stores made of it.

One YAML in ``preprocess/`` a release. File names may hold ``{field}``, ``{band}`` or ``{id}`` and are relative to the
folder given as ``--source``. Only the recipe knows a release's column names.
"""

import itertools
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

from hpc_astrossl import config
from hpc_astrossl.errors import unknown
from hpc_astrossl.specs.images import BandImages, CutoutsSpec, FieldsSpec, FilesSpec
from hpc_astrossl.specs.run import require
from hpc_astrossl.specs.tables import CatalogueSpec, SpectraSpec

MOST_CLASSES = 32767  # a store keeps their codes in 16 bits


@dataclass(frozen=True, kw_only=True)
class FilterSpec:
    """What every object of every store must pass."""

    flags: tuple[int, ...] = ()  # allowed values of the catalogue's flag column; empty: all
    duplicates: float = 1.0  # arcsec: of objects nearer than this the brightest is kept; 0: only equal ids
    magnitudes: dict[str, tuple[float, ...]] = field(default_factory=dict)  # band -> [brightest, faintest] allowed
    # Rows of one id that are not one object, since they lie more than 60 arcsec apart, or have other files or classes.
    repeated_ids: Literal["stop", "reject"] = field(default="stop", metadata={"identity": "changed"})

    def __post_init__(self):
        for band, limits in self.magnitudes.items():
            require(len(limits) == 2 and limits[0] < limits[1],
                    f"magnitudes.{band} must be [brightest, faintest], found {list(limits)}")  # fmt: skip
        require(all(abs(flag) < 2**53 for flag in self.flags), f"flags must be below 2**53, found {list(self.flags)}")
        require(0 <= self.duplicates <= 60, f"duplicates must be in [0, 60] arcsec, found {self.duplicates}")


@dataclass(frozen=True, kw_only=True)
class SplitSpec:
    """Shares of the three splits, the seed of the draw, and what is drawn.

    ``stratified``: by class and rounded reference magnitude, to within one object; a larger release draws anew.
    ``object``: by a hash of the id, ``sky``: by a hash of a cell of the sky, so that what has been drawn stays when the
    release grows; shares are then met as closely as chance allows. Objects nearer than ``together`` to one another, or
    with the same id, always share a split (that of the one listed first in the catalogue). ``column``: as the
    catalogue says, so shares, seed and together have no say; an object whose value ``parts`` does not list is left out.
    """

    by: Literal["stratified", "object", "sky", "column"] = "stratified"
    cell: float | None = None  # degrees, for sky: the side of a cell; all cells have about the same area
    column: str | None = None  # of the catalogue, for column
    parts: dict[Literal["train", "validation", "test"], tuple[str, ...]] = field(
        default_factory=lambda: {"train": ("train", "training"), "validation": ("validation", "valid", "val"),
                                 "test": ("test", "testing")}
    )  # fmt: skip
    together: float = 1.0  # arcsec
    train: float = 0.8
    validation: float = 0.1
    test: float = 0.1
    seed: int = 0

    def __post_init__(self):
        shares = self.shares
        require(all(share >= 0 for share in shares) and abs(sum(shares) - 1) < 1e-9 and self.train > 0,
                f"train, validation and test must add up to 1 and train be positive, found {shares}")  # fmt: skip
        require(self.seed >= 0, f"seed must not be negative, found {self.seed}")
        require((self.by == "column") == (self.column is not None), "give column with by: column, only then")
        values = [value for part in self.parts.values() for value in part]
        require(len(set(values)) == len(values), f"parts lists a value twice: {', '.join(sorted(values))}")
        require((self.by == "sky") == (self.cell is not None), "give cell, in degrees, with by: sky, only then")
        require(self.cell is None or 0.01 <= self.cell <= 30, f"cell must be in 0.01..30 degrees, found {self.cell}")
        require(0 <= self.together <= 60, f"together must be in 0..60 arcsec, found {self.together}")

    @property
    def shares(self) -> tuple[float, float, float]:
        """Train, validation, test."""
        return self.train, self.validation, self.test

    @property
    def codes(self) -> dict[str, int]:
        """Value of the column -> code of the split."""
        order = ("train", "validation", "test")
        return {value: code for code, name in enumerate(order) for value in self.parts.get(name, ())}


@dataclass(frozen=True, kw_only=True)
class LabelSpec:
    """Classes in the order of their codes; each lists the source's values that belong to it.

    ``-6..-4`` is a range with both ends, of decimals as well (``-0.5..0.5``), ``0..<0.5`` one without its upper end,
    ``0.1..`` and ``..0.1`` have one end only: where such a one meets another, their common end belongs to the upper.
    ``true`` and ``false`` are values of a boolean column, however the table writes them.
    """

    source: Literal["spectra", "column"]
    column: str | None = None  # of the catalogue, for source: column
    classes: dict[str, tuple[bool | int | float | str, ...]]
    allow_empty: bool = False  # whether a class may be left without a single object; else that is refused

    def __post_init__(self):
        require((self.source == "column") == (self.column is not None), "give column with source: column, only then")
        require(2 <= len(self.classes) <= MOST_CLASSES,
                f"classes must name 2 to {MOST_CLASSES:,} classes, found {len(self.classes):,}")  # fmt: skip
        self._check_overlaps()

    def codes(self) -> dict[str | float, int]:
        """Value of the source -> class code; numbers are keyed as float, booleans as true and false. Of a range it
        holds the whole numbers, if they are not too many."""
        found = self._singles()
        for low, high, closed, code in self.ranges():
            if low.is_integer() and high - low <= MOST_CLASSES:
                last = math.floor(high) if closed or not high.is_integer() else int(high) - 1
                found |= {float(value): code for value in range(int(low), last + 1)}
        return found

    def _singles(self) -> dict[str | float, int]:
        found: dict[str | float, int] = {}
        for code, (name, values) in enumerate(self.classes.items()):
            for value in (_single(entry) for entry in values if _range(entry) is None):
                first = list(self.classes)[found.get(value, code)]
                require(value not in found, f"value {value} belongs to two classes, {first} and {name}")
                found[value] = code
        return found

    def ranges(self) -> list[tuple[float, float, bool, int]]:
        """(low, high, whether high belongs to it, class code) of each range, from the lowest on."""
        found = [(*bounds, code) for code, values in enumerate(self.classes.values())
                 for entry in values if (bounds := _range(entry)) is not None]  # fmt: skip
        return sorted(found, key=lambda bounds: bounds[:2])

    def _check_overlaps(self) -> None:
        names, ranges = list(self.classes), self.ranges()
        for (start, end, closed, one), (low, last, _, other) in itertools.pairwise(ranges):
            meet = end == low and (not closed or math.inf in (-start, last))
            require(end < low or meet,
                    f"value {low:g} belongs to two classes, {names[one]} and {names[other]}; a range without its "
                    "upper end is written 0..<1")  # fmt: skip
        for value, code in self._singles().items():
            inside = [other for low, high, closed, other in ranges if isinstance(value, float)
                      and (low <= value < high or (closed and value == high))]  # fmt: skip
            require(not inside, f"value {value} belongs to two classes, {names[code]} and {names[(inside or [0])[0]]}")


def _single(entry: bool | int | float | str) -> str | float:
    if isinstance(entry, bool):
        return str(entry).lower()
    require(not isinstance(entry, int) or abs(entry) < 2**53, f"value {entry} of a class must be below 2**53")
    return float(entry) if isinstance(entry, int | float) else entry


def _range(entry: bool | int | float | str) -> tuple[float, float, bool] | None:
    """(low, high, whether high belongs to it) of an entry that is a range."""
    number = r"([+-]?(?:\d+\.?\d*|\.\d+))"
    bounds = re.fullmatch(rf"{number}?\.\.(?:(<?){number})?", entry) if isinstance(entry, str) else None
    if bounds is None or (bounds[1] is None and bounds[3] is None):
        return None
    low, high = float(bounds[1] or "-inf"), float(bounds[3] or "inf")
    require(low <= high, f"range {entry} is empty; write the smaller number first")
    require(low < high or not bounds[2], f"range {entry} is empty")
    return low, high, not bounds[2]


@dataclass(frozen=True, kw_only=True)
class StoreSpec:
    """One store made by the recipe: its images, its labels, and what its objects must pass besides the filters."""

    images: Literal["rgb", "bands"] = "rgb"
    labels: LabelSpec | None = None  # null: unlabelled
    detected_in: int = 0  # at least so many bands with a magnitude
    max_error: float | dict[str, float] | None = (
        None  # largest uncertainty, magnitudes: of any band, or band -> its own
    )
    balanced: bool = False  # every class cut down, by a seeded draw, to the size of the smallest
    # Stores with which no object may be shared, by id or position: names of this recipe, or paths of stores (….zarr).
    disjoint_from: tuple[str, ...] = ()

    def __post_init__(self):
        require(self.detected_in >= 0, f"detected_in must not be negative, found {self.detected_in}")
        limits = self.max_error.values() if isinstance(self.max_error, dict) else [self.max_error or 0.1]
        require(self.max_error != 0 and all(limit > 0 for limit in limits),
                f"max_error must be positive, found {self.max_error}")  # fmt: skip
        require(not self.balanced or self.labels is not None, "balanced: true needs labels")


def is_path(store: str) -> bool:
    """Whether an entry of ``disjoint_from`` is the path of a store, rather than a name in the recipe."""
    return store.endswith(".zarr") or "/" in store


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
    compression: Literal["zstd", "none"] | None = None  # of the stored pixels; null: none
    stores: dict[str, StoreSpec]

    def __post_init__(self):
        require(4 <= self.size <= 1024, f"size must be in 4..1024 pixels, found {self.size}")
        places = [place for place in (self.fields, self.files, self.cutouts) if place is not None]
        require(len(places) == 1, "give either fields or files or cutouts: where the images are")
        require(bool(self.stores), "stores is empty; name at least one")
        require(self.compression is None or self.files is None or self.files.keep is None,
                "compression is of pixels, and files: keep stores files as they are; remove one of them")  # fmt: skip
        if self.images is not None:
            self._check_images("fields" if self.fields else "cutouts", self.images)
        catalogue = self.catalogue
        require(not catalogue.bands or bool(catalogue.measured) or self._has_bands, "catalogue: bands are given, so "
                "magnitude (or flux) must be given too: the images have none (rgb, or image files)")  # fmt: skip
        require(not self.filters.flags or catalogue.flag is not None, "filters: flags needs catalogue: flag")
        require(self.split.by != "sky" or catalogue.ra is not None, "split: by: sky needs catalogue: ra and dec")
        for band in self.filters.magnitudes:
            require(bool(catalogue.measured), "filters: magnitudes needs catalogue: bands and magnitude (or flux)")
            if band not in catalogue.measured:
                raise unknown("band in filters: magnitudes", band, catalogue.measured)
        for name, store in self.stores.items():
            self._check_store(name, store)

    @property
    def images(self) -> BandImages | None:
        """What is known of the FITS images, of fields or of objects; None if there are none."""
        return self.fields or self.cutouts

    @property
    def _has_bands(self) -> bool:
        """Whether images are read band by band."""
        read = any(store.images == "bands" for store in self.stores.values())
        return self.images is not None and (read or self.images.lupton is not None)

    @property
    def tables(self) -> tuple[str, ...]:
        """The files of catalogue and spectra; a tree of folders is no table."""
        own = () if self.catalogue.tree else (self.catalogue.file,)
        return own + ((self.spectra.file,) if self.spectra else ())

    def _check_images(self, key: str, images: BandImages) -> None:
        catalogue = self.catalogue
        by_sky = catalogue.ra is not None and images.bands is not None
        require(self.fields is None or catalogue.x is not None or (by_sky and bool(catalogue.bands)),
                "images are cut from fields, so catalogue needs x and y, or ra and dec, where fields has bands, whose "
                "headers tell where they are")  # fmt: skip
        named = (catalogue.field is None) != (catalogue.field_pattern is None)
        require(named or not catalogue.has_field, "catalogue: give either field or field_pattern")
        require(named or self.fields is not None or not images.zero_points,
                "zero points belong to fields, so catalogue needs either field or field_pattern")  # fmt: skip
        require(not named or not images.single, f"fields names one image ({getattr(images, 'pattern', '')}), without "
                "{field}, but catalogue says in which field an object is; put {field} into the name, or leave field "
                "and field_pattern out")  # fmt: skip
        by_band = images.bands is None or "{band}" in images.bands or "{band}" in str(images.hdu)
        require(by_band or len(catalogue.bands) < 2, f"{key}: bands must contain {{band}}, found {images.bands!r} for "
                f"the bands {', '.join(catalogue.bands)}; of one file with a unit for each band, hdu must contain it"
                )  # fmt: skip
        needed = self.cutouts is not None and (images.array is None or images.lupton is not None)
        require(bool(catalogue.bands) or not needed, "cutouts have bands, so catalogue needs bands: their names, in "
                "the order of the planes of a cube; magnitudes are not needed")  # fmt: skip
        require(images.resample is None or catalogue.ra is not None or self.cutouts is not None,
                "resample needs catalogue: ra and dec")  # fmt: skip
        self._check_per_band(key, images)
        for name, bands in (("band_names", images.band_names), ("lupton", images.lupton and images.lupton.bands)):
            for band in bands or ():
                if band not in catalogue.bands:
                    raise unknown(f"band in {key}: {name}", band, catalogue.bands)

    def _check_per_band(self, key: str, images: BandImages) -> None:
        """What is given for each band must be given for all of them."""
        for name in ("pixel_scale", "zero_point", "ab_offset"):
            value = getattr(images, name)
            for band in value if isinstance(value, dict) else ():
                if band not in self.catalogue.bands:
                    raise unknown(f"band in {key}: {name}", band, self.catalogue.bands)
            missing = [band for band in self.catalogue.bands if isinstance(value, dict) and band not in value]
            require(not missing, f"{key}: {name} names no value for {', '.join(missing)}")

    def _check_store(self, name: str, store: StoreSpec) -> None:
        here, catalogue = f"stores.{name}", self.catalogue
        require(
            re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name) is not None,
            f"{here}: a store's name begins with a letter or digit, then letters, digits, '_', '-' or '.'",
        )
        bands, measured = len(catalogue.bands), len(catalogue.measured)
        require(store.detected_in <= measured,
                f"{here}: detected_in is {store.detected_in}, catalogue has {measured} bands with "
                "a magnitude")  # fmt: skip
        needs_error = store.max_error is not None
        require(not needs_error or (measured and catalogue.uncertain),
                f"{here}: max_error needs catalogue: bands and error (or flux_error, flux_ivar)")  # fmt: skip
        for band in store.max_error if isinstance(store.max_error, dict) else ():
            if band not in catalogue.bands:
                raise unknown(f"band in {here}.max_error", band, catalogue.bands)
        if self.images is None:
            require(store.images == "rgb", f"{here}: images: bands needs fields: bands")
        elif store.images == "bands":
            require(self.cutouts is not None or self.fields.bands is not None,
                    f"{here}: images: bands needs fields: bands")  # fmt: skip
            require(bands > 0, f"{here}: images: bands needs catalogue: bands, their names in order")
        else:
            ready = getattr(self.images, "rgb", None) or getattr(self.images, "array", None)
            require(ready is not None or self.images.lupton is not None,
                    f"{here}: images: rgb needs fields: rgb, or lupton, which makes RGB from three bands; for one "
                    "channel a band say images: bands")  # fmt: skip
        if store.labels is not None and store.labels.source == "spectra":
            require(self.spectra is not None and catalogue.ra is not None,
                    f"{here}: labels from spectra need spectra, and catalogue: ra and dec")  # fmt: skip
        for other in store.disjoint_from:
            if not is_path(other) and (other not in self.stores or other == name):
                raise unknown(f"store in {here}.disjoint_from", other, [key for key in self.stores if key != name])

    def part(self, name: str) -> "Recipe":
        """The recipe as far as one store depends on it: that store and those it must be disjoint from."""
        kept = (name, *self.stores[name].disjoint_from)
        return replace(self, stores={key: spec for key, spec in self.stores.items() if key in kept})


def load_recipe(path: Path | str, settings: Iterable[str] = ()) -> Recipe:
    """Read a recipe, with ``key=value`` settings laid over it; InputError says which key is wrong."""
    data = config.apply_settings(config.read_yaml(path), settings)
    return config.parse(data, Recipe, str(path))
