"""Images kept as the survey delivered them: a row of the store is a JPEG or PNG file, its length before, zeros after.

The four bytes of the length are little-endian; a rejected row has length 0. docs/store-format.md is the authority.
"""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hpc_astrossl import config
from hpc_astrossl.errors import InputError

PREFIX = 4  # bytes of the length
ROUND = 256  # rows are a multiple of so many bytes
# How files begin, and what stands within their last bytes.
MARKS = {"jpeg": (b"\xff\xd8\xff", b"\xff\xd9"), "png": (b"\x89PNG\r\n\x1a\n", b"IEND")}
FORMATS, LAST = tuple(MARKS), 256
CHANNELS = 3
SIZE = ("height", "width")


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """What the rows hold: "jpeg" or "png", images of (height, width) in red, green and blue."""

    format: Literal["jpeg", "png"]
    height: int
    width: int

    def __post_init__(self):
        if min(self.height, self.width) < 1:
            raise InputError(f"height and width must be at least 1, found {self.height} × {self.width}")

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of a decoded image."""
        return self.height, self.width, CHANNELS

    def attributes(self) -> dict[str, Any]:
        """The attributes of the array ``images``."""
        return {"encoding": self.format, "height": self.height, "width": self.width}

    @classmethod
    def of(cls, attributes: Any) -> "Encoding | None":
        """The encoding that an array's attributes tell of; None when its numbers are pixels."""
        if "encoding" not in attributes:
            return None
        found = {key: attributes.get(name) for key, name in (("format", "encoding"), *zip(SIZE, SIZE, strict=True))}
        return config.parse(found, cls, "attributes of images")


def row_bytes(largest: int) -> int:
    """Bytes of a row that takes a file of ``largest`` bytes."""
    return -(-(largest + PREFIX) // ROUND) * ROUND


def pack(images: Sequence[bytes], size: int) -> np.ndarray:
    """The files as rows, uint8 (len(images), size); ValueError when one is too large."""
    rows = np.zeros((len(images), size), dtype=np.uint8)
    for row, data in zip(rows, images, strict=True):
        if len(data) > size - PREFIX:
            raise ValueError(f"a file of {len(data)} bytes in rows of {size}")
        row[:PREFIX] = np.frombuffer(len(data).to_bytes(PREFIX, "little"), dtype=np.uint8)
        row[PREFIX : PREFIX + len(data)] = np.frombuffer(data, dtype=np.uint8)
    return rows


def unpack(row: np.ndarray) -> np.ndarray:
    """The file in a row, a view of uint8; empty when the row was rejected. ValueError when the length is impossible."""
    length = int.from_bytes(row[:PREFIX].tobytes(), "little")
    if length > len(row) - PREFIX:
        raise ValueError(f"the length says {length} bytes, the row has {len(row) - PREFIX}")
    return row[PREFIX : PREFIX + length]


def intact(row: np.ndarray, kind: str) -> np.ndarray:
    """The file in a row, or ValueError unless it begins and ends as one of its kind does: fast, and no decoding.

    What is between was decoded when the store was written, and is what it was as long as the chunk's checksum holds.
    """
    data, (begin, end) = unpack(row), MARKS[kind]
    if data[: len(begin)].tobytes() != begin or end not in data[-LAST:].tobytes():
        raise ValueError(f"not a whole {kind} image")
    return data


def examine(data: bytes) -> Encoding:
    """What a delivered file is, found by decoding it wholly. ValueError, with the reason, when it cannot be kept."""
    from PIL import Image, UnidentifiedImageError  # where images are neither cut nor decoded it need not be there

    try:
        with Image.open(io.BytesIO(data)) as image:
            kind, mode, (width, height) = image.format.lower(), image.mode, image.size
            if kind not in FORMATS:
                raise ValueError(f"a {image.format} file; only JPEG and PNG are kept as they are")
            if mode not in ("RGB", "L"):
                raise ValueError(f"its pixels are {mode}; only RGB and grey ones are kept as they are")
            if fault := _fault(image):
                raise ValueError(fault)
            image.load()
            if image.has_transparency_data and image.convert("RGBA").getextrema()[3][0] < 255:
                raise ValueError("it has transparent pixels, whose colour is not defined; flatten it")
            if MARKS[kind][1] not in data[-LAST:]:
                raise ValueError("its end is missing, or far from the end of the file")
    except (UnidentifiedImageError, Image.DecompressionBombError, MemoryError, OSError, SyntaxError) as error:
        raise ValueError(f"not a whole image ({error})") from None
    return Encoding(format=kind, height=height, width=width)


def _fault(image: Any) -> str | None:
    """Why decoders would make different pictures of a file, or more than one; None if they would not."""
    if any(";16" in str(part) for tile in getattr(image, "tile", ()) for part in tile):
        return "it has 16 bits a channel; an image needs 8, so choose a stretch and convert it"
    if getattr(image, "n_frames", 1) > 1:
        return f"it holds {image.n_frames} images; one is needed"
    turned = image.getexif().get(0x0112, 1)  # the tag of the orientation
    if turned != 1:
        return f"it is to be turned when it is shown (EXIF orientation {turned}); turn the pixels themselves"
    return None


def texts(values: np.ndarray, width: int = 1) -> np.ndarray:
    """Texts as UTF-8, uint8 (N, length of the longest and at least ``width``), zeros behind the shorter ones."""
    found = [text.encode() for text in np.asarray(values).tolist()]
    width = max(width, *map(len, found), 1)
    return np.frombuffer(b"".join(text.ljust(width, b"\0") for text in found), dtype=np.uint8).reshape(-1, width)


def decode(row: np.ndarray, encoding: Encoding, out: np.ndarray) -> None:
    """Decode a row into ``out``, uint8 (height, width, 3); zeros when it is empty. ValueError when it is broken."""
    from PIL import Image, UnidentifiedImageError

    data = unpack(row)
    if not len(data):
        out[...] = 0
        return
    try:
        with Image.open(io.BytesIO(data.tobytes()), formats=FORMATS) as image:
            if image.size != (encoding.width, encoding.height):  # before memory is asked for
                raise ValueError(f"an image of {image.size[1]} × {image.size[0]}, expected {encoding.image_shape}")
            pixels = np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, Image.DecompressionBombError, MemoryError, OSError, SyntaxError) as error:
        raise ValueError(f"not a whole {encoding.format} image ({error})") from None
    if pixels.shape != encoding.image_shape:
        raise ValueError(f"an image of {pixels.shape}, expected {encoding.image_shape}")
    out[...] = pixels


def decoded(rows: np.ndarray, encoding: Encoding) -> np.ndarray:
    """All rows decoded, uint8 (rows, height, width, 3); ValueError when one is broken."""
    out = np.empty((len(rows), *encoding.image_shape), dtype=np.uint8)
    for row, image in zip(rows, out, strict=True):
        decode(row, encoding, image)
    return out
