"""The part of a recipe that says where the images are: whole fields, image files, or FITS cutouts of objects."""

from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Literal

from hpc_astrossl.specs import patterns
from hpc_astrossl.specs.pixels import FactorSpec, MaskSpec, ResampleSpec, SizeSpec, Unit, WeightSpec
from hpc_astrossl.specs.run import require

LEAST_POINT, MOST_POINT = 5.0, 40.0  # AB magnitudes of one count that some survey has; DECam 30, nJy 31.4

# Names of image files that are not FITS end so; what a file is decide its bytes.
SUFFIXES = (".jpg", ".jpeg", ".png", ".tif", ".tiff", ".bmp", ".webp")


def hdu_of(hdu: int | str | None, band: str) -> int | str | None:
    """A number or name as it is, with the band put in."""
    return hdu.format(band=band) if isinstance(hdu, str) else hdu


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


# A key that came after the first stores: while it holds its default, it does not change what they are known by.
LATER = {"identity": "changed"}


@dataclass(frozen=True, kw_only=True)
class BandImages:
    """What FITS images of fields and of single objects have in common."""

    # arcsec per pixel, held against headers that have a WCS; null: the header's. A mapping of bands: of cutouts
    # that are resampled and have no WCS.
    pixel_scale: float | dict[str, float] | None = None
    bands: str | None = None  # file name with {band}, unless there is one band, or hdu has it; FITS, in counts
    # Of the image in its file: a number from 0, a name, or NAME,VERSION; a name may hold {band}. Null: the only one.
    hdu: int | str | None = field(default=None, metadata=LATER)
    zero_points: str | None = None  # file name with {field}: a table with columns FILTER and ZP (AB magnitudes), or
    zero_point_column: str | None = None  # with {band}, of one table of all fields that zero_points names then
    zero_point_field: str = "Field"  # the column of that table that names the field
    unit: Unit | None = field(default=None, metadata=LATER)  # of a pixel, instead of zero points
    # AB magnitude of one count: a number, one a band, or header keywords (the image's header, then the primary one);
    # FLUXMAG0 among them is the flux of magnitude 0.
    zero_point: float | dict[str, float] | tuple[str, ...] | str | None = field(default=None, metadata=LATER)
    # Whether a zero_point that is a number, a unit or a table is held against zero points in the images' headers.
    header_zero_point: Literal["hold", "ignore"] = field(default="hold", metadata=LATER)
    # Seconds, or their keyword: pixels are counts, and the zero point is that of counts/s.
    exposure: float | str | None = field(default=None, metadata=LATER)
    # m(AB) - m of the zero point or unit, where that is not AB.
    ab_offset: float | dict[str, float] | None = field(default=None, metadata=LATER)
    calibration: FactorSpec | None = field(default=None, metadata=LATER)  # an image of factors
    mask: MaskSpec | None = field(default=None, metadata=LATER)
    weight: WeightSpec | None = field(default=None, metadata=LATER)
    # Stored values that are no pixels; []: none is, also not the zeros of a coadd.
    no_value: float | tuple[float, ...] | None = field(default=None, metadata=LATER)
    # Share of bad pixels, of the worst band, up to which an object is kept and they are filled.
    max_bad: float = field(default=0.0, metadata=LATER)
    # What a cutout that reaches over the edge of its image becomes.
    edge: Literal["reject", "pad"] = field(default="reject", metadata=LATER)
    resample: ResampleSpec | None = field(default=None, metadata=LATER)
    size: SizeSpec | None = field(default=None, metadata=LATER)  # on the sky, for each object
    unreadable: Literal["stop", "reject"] = "stop"  # what a missing or damaged image does to its objects
    checksum: bool = True  # hold FITS data against their DATASUM, where there is one
    band_names: dict[str, str] = field(
        default_factory=dict
    )  # catalogue's band -> band in file names, where they differ
    lupton: LuptonSpec | None = None  # how RGB images are made from the bands, if the release has none

    def __post_init__(self):
        self._check_scale()
        for_all = self.zero_point_column is not None
        require(not for_all or self.zero_points is not None, "zero_point_column needs zero_points, the table's name")
        one = for_all or self.single
        self.check_pattern("zero_points", *(() if one else ("{field}",)), also=("field",))
        self.check_pattern("zero_point_column", "{band}")
        if isinstance(self.hdu, str):
            patterns.check("hdu", self.hdu, ["band"])
        require(not isinstance(self.hdu, int) or self.hdu >= 0, f"hdu must be 0 or more, found {self.hdu}")
        self._check_units()
        require(0 <= self.max_bad < 1, f"max_bad is a share of pixels, from 0 to below 1, found {self.max_bad}")
        require(self.edge == "reject" or self.max_bad > 0, "edge: pad needs max_bad: padded pixels are bad ones")
        resampled = self.resample is not None
        require(self.size is None or resampled, "a size per object needs resample: {} beside it")
        require(not resampled or (self.size is None) == (self.resample.pixel_scale is not None),
                "resample needs pixel_scale, or a size per object, not both")  # fmt: skip

    def _check_scale(self) -> None:
        scales = self.pixel_scale if isinstance(self.pixel_scale, dict) else {"": self.pixel_scale}
        for scale in scales.values():
            require(scale is None or scale > 0, f"pixel_scale must be positive, found {scale}")
        require("" in scales or self.resample is not None, "a pixel_scale for each band needs resample")

    def _check_units(self) -> None:
        given = [name for name in ("unit", "zero_point", "zero_points") if getattr(self, name) is not None]
        require(len(given) <= 1, f"give one of unit, zero_point and zero_points, found {' and '.join(given)}")
        for point in self.zero_point.values() if isinstance(self.zero_point, dict) else [self.zero_point]:
            good = not isinstance(point, float) or LEAST_POINT <= point <= MOST_POINT
            require(good, f"zero_point must be an AB magnitude, {LEAST_POINT:g}..{MOST_POINT:g}, found {point}")
        require(self.zero_point != (), "zero_point is an empty list of header keywords")
        require(self.exposure is None or self.zero_point is not None, "exposure needs zero_point, that of counts/s")
        require(not isinstance(self.exposure, float) or self.exposure > 0, f"exposure is {self.exposure} seconds")
        require(self.ab_offset is None or bool(given), "ab_offset needs unit, zero_point or zero_points")

    @property
    def single(self) -> bool:
        """Whether the images are those of one field, whose names need not tell which."""
        return False

    @property
    def calibrated(self) -> bool:
        """Whether the recipe says what a pixel is worth."""
        return (self.unit, self.zero_point, self.zero_points) != (None, None, None)

    def hdu_of(self, band: str) -> int | str | None:
        """Where in its file the image of a band is; ``band`` as in file names."""
        return hdu_of(self.hdu, band)

    def check_pattern(self, name: str, *needed: str, also: tuple[str, ...] = ()) -> None:
        """InputError unless the file name of that key is absent, or contains what is needed and no other braces."""
        text = getattr(self, name)
        good = text is None or all(part in text for part in needed)
        require(good, f"{name} must contain {' and '.join(needed)}, found {text!r}")
        if text is not None:
            patterns.check(name, text, [part.strip("{}") for part in needed] + list(also))

    def check_beside(self, *words: str) -> None:
        """InputError unless the files of masks, weights and factors are named by these words."""
        for key in ("mask", "weight", "calibration"):
            spec = getattr(self, key)
            if spec is not None and spec.file is not None:
                patterns.check(f"{key}.file", spec.file, words)


@dataclass(frozen=True, kw_only=True)
class FieldsSpec(BandImages):
    """Images of whole fields, out of which objects are cut; ``bands`` has {field} and {band}.

    Without {field} there is one field, in which all objects lie.
    """

    rgb: str | None = None  # file name with {field}
    # Which y the top row of the RGB image has: high, the largest, or low; null: high, held against coadds beside it.
    rgb_top: Literal["high", "low"] | None = field(default=None, metadata=LATER)

    def __post_init__(self):
        super().__post_init__()
        self.check_pattern("rgb", also=("field",))
        self.check_pattern("bands", also=("field", "band"))
        require(self.rgb is not None or self.bands is not None, "give rgb, bands, or both")
        self._check_single()
        together = "bands and zero_points must be given together, or zero_point or unit in the place of zero_points"
        require((self.bands is not None) == self.calibrated, together)
        require(self.bands is not None or self.pixel_scale is not None, "without bands, pixel_scale must be given")
        require(not isinstance(self.pixel_scale, dict), "pixel_scale of fields is one number, or null")
        require(self.rgb is None or self.resample is None, "RGB images are not resampled; make them by lupton")
        self.check_beside("field", "band")
        require(self.lupton is None or self.bands is not None, "lupton makes RGB from bands, so give bands")
        require(self.rgb_top is None or self.rgb is not None, "rgb_top is of rgb, which is not given")
        require(self.lupton is None or self.rgb is None, "give either rgb or lupton: where RGB images come from")

    @property
    def pattern(self) -> str:
        """The file names that tell which fields there are."""
        return self.bands or self.rgb

    @property
    def single(self) -> bool:
        return all("{field}" not in text for text in (self.bands, self.rgb) if text is not None)

    def _check_single(self) -> None:
        """InputError unless all file names have {field}, or, of one field, none of them."""
        beside = [f"{key}.file" for key in ("mask", "weight", "calibration")]
        specs = (getattr(self, key) for key in ("mask", "weight", "calibration"))
        names = {"bands": self.bands, "rgb": self.rgb, "zero_points": self.zero_points}
        names |= dict(zip(beside, (spec and spec.file for spec in specs), strict=True))
        without = [key for key in ("bands", "rgb") if names[key] is not None and "{field}" not in names[key]]
        having = [key for key, text in names.items() if text is not None and "{field}" in text]
        require(not (without and having), f"{' and '.join(without)} names one field, without {{field}}, but "
                f"{' and '.join(having)} has {{field}}; give it to all, or to none")  # fmt: skip


Axes = Literal["object band y x", "object y x band", "object y x"]


@dataclass(frozen=True, kw_only=True)
class CutoutsSpec(BandImages):
    """Cutouts, the object in the middle: FITS, one an object and band (``bands``) or one cube an object (``cube``), or
    all of them in one array of numbers (``array``), a row of the table each.

    Names of FITS files hold {id}, or any columns of the catalogue in braces, and {band}. Only the middle is kept,
    without resizing. Zero points are those of the catalogue's field; without them the values are kept as they are.
    """

    cube: str | None = None  # file name with {id}; its planes are the catalogue's bands in their order
    array: str | None = field(default=None, metadata=LATER)  # a .npy or .npz file, an image for each row of the table
    array_name: str | None = field(default=None, metadata=LATER)  # which array of a .npz file; null: the only one
    # Order of the array's axes; null: told by its shape and the number of bands.
    axes: Axes | None = field(default=None, metadata=LATER)
    # Column with an object's place in the array, from 0; null: rows of table and array are in the same order.
    array_row: str | None = field(default=None, metadata=LATER)
    # Which row of pixels comes first in the array: the top one, or the bottom one, as in the data of FITS files.
    first_row: Literal["top", "bottom"] = field(default="top", metadata=LATER)

    def __post_init__(self):
        super().__post_init__()
        given = [name for name in ("bands", "cube", "array") if getattr(self, name) is not None]
        require(len(given) == 1, "give one of bands, cube (the names of FITS files) and array (of a .npy or .npz file)"
                f", found {' and '.join(given) or 'none'}")  # fmt: skip
        for name in ("bands", "cube"):
            self._check_names(name)
        for name, key in (("mask", self.mask), ("weight", self.weight), ("calibration", self.calibration)):
            if key is not None and key.file is not None:
                patterns.check(f"{name}.file", key.file)
        for name in ("mask", "weight", "calibration", "resample"):
            require(self.bands is not None or getattr(self, name) is None, f"{name} is for cutouts in files of their "
                    f"own, not for {given[0]}")  # fmt: skip
        require(self.edge == "reject", "edge is for windows cut out of fields; a cutout that is smaller than size "
                "is left out or stops the making, as unreadable says")  # fmt: skip
        for name in ("array_name", "axes", "array_row"):
            require(self.array is not None or getattr(self, name) is None, f"{name} is of array, which is not given")
        require(self.array is not None or self.first_row == "top", "first_row is of array, which is not given; FITS "
                "files say themselves which row is the first")  # fmt: skip
        if self.array is not None:
            self._check_array()

    def _check_names(self, name: str) -> None:
        text = getattr(self, name)
        if text is None:
            return
        patterns.check(name, text)
        columns = [word for word in patterns.words(text) if word != "band"]
        require(bool(columns), f"{name} must contain {{id}}, or columns of the catalogue in braces, found {text!r}")
        require(name == "bands" or "band" not in patterns.words(text), f"{name} holds all bands of an object, so "
                f"{{band}} has no place in its name, found {text!r}")  # fmt: skip

    def _check_array(self) -> None:
        suffix = PurePath(self.array).suffix
        require(suffix in (".npy", ".npz"), f"array must be the name of a .npy or .npz file, found {self.array!r}; "
                "read another file in Python and write its cutouts with numpy.save")  # fmt: skip
        require(self.array_name is None or suffix == ".npz", "array_name is for .npz files, which hold several arrays")
        patterns.check("array", self.array, [])
        require(self.hdu is None, "hdu is of FITS files; of a .npz file give array_name")
        require(self.unreadable == "stop" or self.array_row is not None, "unreadable: reject leaves out objects "
                "without a place in the array, which array_row tells; pixels without a value are counted "
                "in any case")  # fmt: skip
        require(self.header_zero_point == "hold", "header_zero_point: an array has no header; leave it out")
        for name in ("zero_point", "exposure"):
            value = getattr(self, name)
            require(not isinstance(value, str | tuple), f"{name}: an array has no header keywords, found {value!r}")

    @property
    def columns(self) -> list[str]:
        """The columns of the catalogue that names of files, or places in an array, are made of, besides the id."""
        beside = [spec.file for spec in (self.mask, self.weight, self.calibration) if spec is not None]
        names = [word for text in (self.bands, self.cube, *beside) if text for word in patterns.words(text)]
        names += [self.array_row] if self.array_row else []
        return [name for name in dict.fromkeys(names) if name not in ("id", "band")]


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
