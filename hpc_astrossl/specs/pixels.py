"""The part of a recipe that says what a pixel is worth: masks, weights, calibration in files, and one grid for all."""

from dataclasses import dataclass
from typing import Literal

from hpc_astrossl.specs import patterns
from hpc_astrossl.specs.run import require

# Pixel unit -> Jy in it. AB: 3631 Jy have magnitude 0 (Oke & Gunn 1983, ApJ 266, 713).
JANSKYS = {"nanomaggy": 3.631e-6, "maggy": 3631.0, "nJy": 1e-9, "uJy": 1e-6, "µJy": 1e-6, "mJy": 1e-3, "Jy": 1.0,
           "MJy/sr": 1e6}  # fmt: skip
PER_STERADIAN = ("MJy/sr",)
Unit = Literal["nanomaggy", "maggy", "nJy", "uJy", "µJy", "mJy", "Jy", "MJy/sr"]


@dataclass(frozen=True, kw_only=True)
class BesideSpec:
    """An image on the same pixels: in ``file`` (null: the image's own), under ``hdu`` (null: the only one there)."""

    file: str | None = None  # file name with the same words in braces as the image's
    hdu: int | str | None = None

    def __post_init__(self):
        require(self.file is not None or self.hdu is not None, "give file, hdu, or both: where it is")
        if isinstance(self.hdu, str):
            patterns.check("hdu", self.hdu, ["band"])


@dataclass(frozen=True, kw_only=True)
class MaskSpec(BesideSpec):
    """Bits that make a pixel bad; empty: any value but 0. A name is looked up as MP_NAME in the mask's header."""

    bits: tuple[int | str, ...] = ()

    def __post_init__(self):
        super().__post_init__()
        for bit in self.bits:
            require(not isinstance(bit, int) or 0 <= bit < 63, f"bits are numbers from 0 to 62, or names, found {bit}")


@dataclass(frozen=True, kw_only=True)
class WeightSpec(BesideSpec):
    """Pixels of weight zero, below, or without a value are bad."""


@dataclass(frozen=True, kw_only=True)
class FactorSpec(BesideSpec):
    """Factors by which pixels are multiplied, where a calibration varies over the field; zero or less is no factor."""


@dataclass(frozen=True, kw_only=True)
class ResampleSpec:
    """One grid for all bands, an object in its middle; surface brightness is kept.

    ``spline`` is a cubic spline, averaged over the new pixel where that is the larger one; ``nearest`` takes the pixel
    at the new one's centre.
    """

    pixel_scale: float | None = None  # arcsec; null only with a size per object
    north_up: bool = True  # east left; false: turned and mirrored as the first band is
    method: Literal["spline", "nearest"] = "spline"

    def __post_init__(self):
        require(self.pixel_scale is None or self.pixel_scale > 0, f"pixel_scale must be positive: {self.pixel_scale}")


@dataclass(frozen=True, kw_only=True)
class SizeSpec:
    """The side of an object's image on the sky: ``factor`` × a column of the catalogue, in arcsec.

    ``smallest`` and ``largest`` hold it within limits. Every object then has a pixel scale of its own.
    """

    column: str
    factor: float = 1.0
    smallest: float = 1.0
    largest: float = 600.0

    def __post_init__(self):
        require(self.factor > 0, f"factor must be positive, found {self.factor}")
        require(0 < self.smallest < self.largest, "smallest must be positive and less than largest")
