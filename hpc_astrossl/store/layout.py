"""Format version 1: names, types and chunk shapes of the arrays, and the attributes of the group.

docs/store-format.md is the authority; this module is its code.
"""

import hashlib
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from hpc_astrossl import config
from hpc_astrossl.errors import InputError
from hpc_astrossl.manifest import PIXELS
from hpc_astrossl.specs import making
from hpc_astrossl.specs.making import Making

FORMAT, VERSION = "astrossl-store", 1
SPLITS = ("train", "validation", "test")  # their codes in the array `split` are 0, 1, 2
REJECTED = 3  # the code of a row whose pixels turned out to be of no use: all zero, in no split

# Column -> (Zarr data type, one value a band?). NaN stands for unknown positions and magnitudes, -1 for no label.
TABLE = {
    "object_id": ("string", False),
    "ra": ("float64", False),
    "dec": ("float64", False),
    "split": ("uint8", False),
    "label": ("int16", False),
    "magnitudes": ("float32", True),
    "magnitude_errors": ("float32", True),
}
# Columns that a store may have besides, with the length of their second axis (0: none; None: as long as it needs).
EXTRA = {"bad_pixels": ("float32", 0), "wcs": ("float64", 6), "object_id_utf8": ("uint8", None)}
# Names of the axes, by which xarray and others know them.
AXES = {"images": ("object", "y", "x", "channel"), "encoded": ("object", "byte"), "magnitudes": ("object", "band"),
        "magnitude_errors": ("object", "band"), "wcs": ("object", "wcs_term"),
        "object_id_utf8": ("object", "id_byte")}  # fmt: skip
TABLE_CHUNK = 65536  # rows
CHUNK_BYTES = 1 << 20  # of uncompressed pixels, about
SHARD_ROWS = 4096
SHARD_BYTES = 1 << 28  # of uncompressed pixels, at most: a writer holds a whole shard in memory


@dataclass(frozen=True, kw_only=True)
class StoreInfo:
    """The attributes of a store.

    ``bands`` names the columns of ``magnitudes`` in order, ``channels`` the last axis of ``images``;
    ``pixel_scale`` is in arcsec per pixel of the stored cutouts, None when unknown; ``counts`` holds the number of
    objects kept and, by reason, rejected. ``rejected_rows`` of the rejected ones have a row all the same, with split
    code REJECTED and pixels of zero: they were found useless only when every row had its place. ``statistics`` of
    the training split's pixels are those of ``store.statistics``; {} when they were not computed. ``images`` is how
    they were made (``specs.making``); {} when that was not kept.
    """

    name: str
    survey: str
    release: str
    bands: tuple[str, ...]
    channels: tuple[str, ...]
    class_names: tuple[str, ...]
    pixel_scale: float | None
    counts: dict[str, Any]
    recipe: dict[str, Any]
    provenance: dict[str, Any] = field(default_factory=dict)
    statistics: dict[str, Any] = field(default_factory=dict)
    images: dict[str, Any] = field(default_factory=dict)

    def making(self) -> Making | None:
        """How the images were made; of stores that did not keep it, by the recipe they do keep. None: it is unknown."""
        if self.images:
            return making.read(self.images, f"store {self.name}")
        return making.of_recipe(self.recipe, self.name, channels=self.channels, pixel_scale=self.pixel_scale)

    def attributes(self) -> dict[str, Any]:
        """The group's attributes as JSON-able data."""
        plain = {key: list(v) if isinstance(v, tuple) else v for key, v in asdict(self).items()}
        return {"format": FORMAT, "version": VERSION, **plain}

    @classmethod
    def from_attributes(cls, attributes: dict[str, Any], path: str) -> "StoreInfo":
        """Read the attributes back; InputError when they are not those of a store of this version."""
        if attributes.get("format") != FORMAT:
            raise InputError(f"{path}: a Zarr group, but not an astrossl store (attribute format is "
                             f"{attributes.get('format')!r}, expected {FORMAT!r})")  # fmt: skip
        if attributes.get("version") != VERSION:
            raise InputError(
                f"{path}: store format version {attributes.get('version')!r}, this program reads version {VERSION}; "
                "make the store again with astrossl preprocess"
            )
        attributes = {"statistics": {}, "images": {}, **attributes}  # stores made before there were any remain readable
        fields = cls.__dataclass_fields__
        missing = [name for name in fields if name not in attributes]
        if missing:
            raise InputError(f"{path}: damaged store, missing attributes {', '.join(missing)}")
        try:
            return config.parse({name: attributes[name] for name in fields}, cls, "attributes")
        except InputError as error:
            raise InputError(f"{path}: damaged store, {error}") from None


def chunk_rows(shape: tuple[int, ...], dtype: np.dtype) -> tuple[int, int]:
    """(rows a chunk, rows a shard) for images of ``shape`` (N, height, width, channels).

    A chunk holds about a mebibyte, as a power of two between 4 and 512 rows; a shard holds 4096 rows or, of large
    images, the power of two that makes 256 MiB at most; in a smaller store, all of them rounded up to whole chunks.
    """
    size = int(np.prod(shape[1:])) * dtype.itemsize
    chunk = 1 << max(2, min(9, (CHUNK_BYTES // max(size, 1)).bit_length() - 1))
    fits = 1 << ((SHARD_BYTES // max(size, 1)).bit_length() - 1) if size <= SHARD_BYTES else 1
    shard = max(chunk, min(SHARD_ROWS, fits))
    return chunk, min(shard, -(-max(shape[0], 1) // chunk) * chunk)


def hashed(image: np.ndarray) -> bytes:
    """A hash of one row's pixels, by which equal pictures are known; PIXELS bytes."""
    return hashlib.blake2b(np.ascontiguousarray(image).tobytes(), digest_size=PIXELS).digest()
