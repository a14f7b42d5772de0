"""The part of a recipe that says where the images are: whole fields, image files, or FITS cutouts of objects."""

from dataclasses import dataclass, field
from typing import Literal

from hpc_astrossl.specs import patterns
from hpc_astrossl.specs.run import require

# Names of image files that are not FITS end so; what a file is decide its bytes.
SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")


@dataclass(frozen=True, kw_only=True)
class LuptonSpec:
    """RGB made from three bands as Lupton et al. (2004, PASP 116, 133): one fixed stretch, in units of the bands.

    The bands are calibrated first, so minimum and stretch are in 1e-5 of the AB zero flux (3631 Jy) per square arcsec,
    or, without zero points, in the units of the files. A colour depends on its own pixel alone.
    """

    red: str  # bands of the catalogue
    green: str
    blue: str
    stretch: float  # brightness above the minimum up to which the image is nearly linear
    q: float = 8.0  # softening: larger shows brighter parts of bright objects
    minimum: float = 0.0  # what is black

    def __post_init__(self):
        require(self.stretch > 0, f"stretch must be positive, found {self.stretch}")
        require(self.q > 0, f"q must be positive, found {self.q}")

    @property
    def bands(self) -> tuple[str, str, str]:
        """Red, green, blue."""
        return self.red, self.green, self.blue


def added(default: object) -> object:
    """A key that came after the first stores: while it holds its default, it does not change what they are known by."""
    return field(default=default, metadata={"identity": "changed"})


@dataclass(frozen=True, kw_only=True)
class BandImages:
    """What FITS images of fields and of single objects have in common."""

    pixel_scale: float  # arcsec per pixel
    bands: str | None = None  # file name with {band}; FITS, in counts
    # Of the image in its file: a number from 0, a name, or NAME,VERSION; a name may hold {band}. Null: the only one.
    hdu: int | str | None = added(None)
    zero_points: str | None = None  # file name with {field}: a table with columns FILTER and ZP (AB magnitudes), or
    zero_point_column: str | None = None  # with {band}, of one table of all fields that zero_points names then
    zero_point_field: str = "Field"  # the column of that table that names the field
    unreadable: Literal["stop", "reject"] = "stop"  # what a missing or damaged image does to its objects
    checksum: bool = True  # hold FITS data against their DATASUM, where there is one
    band_names: dict[str, str] = field(
        default_factory=dict
    )  # catalogue's band -> band in file names, where they differ
    lupton: LuptonSpec | None = None  # how RGB images are made from the bands, if the release has none

    def __post_init__(self):
        require(self.pixel_scale > 0, f"pixel_scale must be positive, found {self.pixel_scale}")
        for_all = self.zero_point_column is not None
        require(not for_all or self.zero_points is not None, "zero_point_column needs zero_points, the table's name")
        self.check_pattern("zero_points", *(() if for_all else ("{field}",)), also=("field",))
        self.check_pattern("zero_point_column", "{band}")
        if isinstance(self.hdu, str):
            patterns.check("hdu", self.hdu, ["band"])
        require(not isinstance(self.hdu, int) or self.hdu >= 0, f"hdu must be 0 or more, found {self.hdu}")

    def hdu_of(self, band: str) -> int | str | None:
        """Where in its file the image of a band is; ``band`` as in file names."""
        return self.hdu.format(band=band) if isinstance(self.hdu, str) else self.hdu

    def check_pattern(self, name: str, *needed: str, also: tuple[str, ...] = ()) -> None:
        """InputError unless the file name of that key is absent, or contains what is needed and no other braces."""
        text = getattr(self, name)
        good = text is None or all(part in text for part in needed)
        require(good, f"{name} must contain {' and '.join(needed)}, found {text!r}")
        if text is not None:
            patterns.check(name, text, [part.strip("{}") for part in needed] + list(also))


@dataclass(frozen=True, kw_only=True)
class FieldsSpec(BandImages):
    """Images of whole fields, out of which objects are cut; ``bands`` has {field} and {band}."""

    rgb: str | None = None  # file name with {field}; its top row is the field's largest y

    def __post_init__(self):
        super().__post_init__()
        self.check_pattern("rgb", "{field}")
        self.check_pattern("bands", "{field}", "{band}")
        require(self.rgb is not None or self.bands is not None, "give rgb, bands, or both")
        require((self.bands is None) == (self.zero_points is None), "bands and zero_points must be given together")
        require(self.lupton is None or self.bands is not None, "lupton makes RGB from bands, so give bands")
        require(self.lupton is None or self.rgb is None, "give either rgb or lupton: where RGB images come from")


@dataclass(frozen=True, kw_only=True)
class CutoutsSpec(BandImages):
    """FITS cutouts, the object in the middle: one an object and band (``bands`` has {id} and {band}), or one cube.

    Only the middle is kept, without resizing. Zero points are those of the catalogue's field; without them the values
    are kept as they are.
    """

    cube: str | None = None  # file name with {id}; its planes are the catalogue's bands in their order

    def __post_init__(self):
        super().__post_init__()
        self.check_pattern("bands", "{id}", "{band}")
        self.check_pattern("cube", "{id}")
        require((self.bands is None) != (self.cube is None), "give either bands or cube: the names of the FITS files")


@dataclass(frozen=True, kw_only=True)
class FilesSpec:
    """One image file an object (JPEG, PNG): its centred square is resized, with antialiasing, to the recipe's size.

    With ``keep`` its bytes go into the store as they were delivered, for the loader to decode (on the GPU, if there is
    one): every file must then be of that kind and the recipe's size.
    """

    image: str  # file name with {id}, or with any column of the catalogue in braces
    crop: int | None = None  # side of the square in the file, pixels; null: the largest there is
    unreadable: Literal["stop", "reject"] = "stop"  # what a missing, damaged or unsuitable image does
    keep: Literal["jpeg", "png"] | None = None

    def __post_init__(self):
        patterns.check("image", self.image)
        require(self.keep is None or self.crop is None, "keep: the files stay as they are, so crop must not be given")
        repeated = [name for name in self.columns if self.columns.count(name) > 1]
        needed = f"image must contain {{id}} once, or columns of the catalogue in braces, found {self.image!r}"
        require(bool(self.columns) and not repeated, needed)
        require(self.crop is None or self.crop >= 4, f"crop must be at least 4 pixels, found {self.crop}")

    @property
    def columns(self) -> list[str]:
        """The names in braces."""
        return patterns.words(self.image)
