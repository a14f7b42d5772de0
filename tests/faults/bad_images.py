"""Rows of the table: image files, as objects of a store and as pictures that a trained run is asked about."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ingest_survey import RECIPES
from PIL import Image

from faults import stock
from faults.cases import REFUSED, TOLERATED, Case

PIXELS = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
DEEP = np.arange(1600, dtype=np.uint16).reshape(40, 40) * 40


def saved(image: Image.Image, format: str = "png") -> bytes:
    stream = io.BytesIO()
    image.save(stream, format)
    return stream.getvalue()


def bomb(side: int = 50_000) -> bytes:
    """A PNG of a few bytes that claims 2.5 thousand million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(9999))) + chunk(b"IEND", b"")


def alpha(value: int) -> bytes:
    return saved(Image.fromarray(np.dstack([PIXELS, np.full((40, 40), value, np.uint8)])))


# (name of the row, name of the file, its bytes, status, words); "a" is an image of class star.
IMAGES = [
    ("truncated", "a.png", saved(Image.fromarray(PIXELS))[:900], REFUSED, r"a\.png: unreadable or truncated image"),
    ("truncated JPEG", "a.jpg", saved(Image.fromarray(PIXELS), "jpeg")[:700], REFUSED, r"a\.jpg: unreadable or trunc"),
    ("of zero bytes", "a.png", b"", REFUSED, r"a\.png: unreadable or truncated image .*fetch it again"),
    ("text under an image's name", "a.jpg", b"404 not found" * 99, REFUSED, r"a\.jpg: unreadable or truncated image"),
    ("inks", "a.jpg", saved(Image.fromarray(PIXELS).convert("CMYK"), "jpeg"), REFUSED,
     r"a\.jpg: has inks \(CMYK\).*convert it to RGB"),
    ("16 bits", "a.png", saved(Image.fromarray(DEEP)), REFUSED, r"a\.png: has 16 bits a channel; an image needs 8"),
    ("floating-point pixels", "a.tif", saved(Image.fromarray(DEEP.astype("f4")), "tiff"), REFUSED,
     r"a\.tif: has floating-point pixels"),
    ("transparent pixels", "a.png", alpha(100), REFUSED, r"a\.png: has transparent pixels, .*flatten it"),
    ("opaque alpha", "a.png", alpha(255), TOLERATED, "(kept 13|2 objects)"),
    ("grey", "a.png", saved(Image.fromarray(PIXELS[..., 0])), TOLERATED, "(kept 13|2 objects)"),
    ("a PNG named JPEG", "a.jpg", saved(Image.fromarray(PIXELS)), TOLERATED, "(kept 13|2 objects)"),
    ("a decompression bomb", "a.png", bomb(), REFUSED, r"a\.png: too large to be read"),
]  # fmt: skip


def folder_of(name: str, data: bytes) -> Callable[[Path], list[str]]:
    """Folders named after classes, one image in them as given, the others good; the arguments that make a store."""

    def arrange(folder: Path) -> list[str]:
        for n in range(12):
            place = folder / "images" / ("star", "galaxy")[n % 2]
            place.mkdir(parents=True, exist_ok=True)
            Image.fromarray(PIXELS ^ np.uint8(n)).save(place / f"{n}.png")
        (folder / "images" / "star" / name).write_bytes(data)
        places = ["--source", str(folder / "images"), "--out", str(folder / "stores")]
        settings = ["--workers", "1", "--set", "size=16", "--set", "files.unreadable=stop"]
        return ["preprocess", str(RECIPES / "image_folder.yaml"), *places, *settings]

    return arrange


def pictures_of(name: str, data: bytes) -> Callable[[Path], list[str]]:
    """A folder of pictures, one of them as given; the arguments that ask a trained run about them."""

    def arrange(folder: Path) -> list[str]:
        (folder / "pictures").mkdir()
        Image.fromarray(PIXELS).save(folder / "pictures" / "good.png")
        (folder / "pictures" / name).write_bytes(data)
        out = str(folder / "answers.csv")
        return ["predict", str(stock.run()), str(folder / "pictures"), "--out", out]

    return arrange


def rejected(folder: Path) -> list[str]:
    """The table's only row that is no refusal of damage: the recipe says to leave such images out."""
    return [*folder_of("a.png", b"")(folder), "--set", "files.unreadable=reject"]


CASES = [
    *(Case("image", name, folder_of(file, data), status, words) for name, file, data, status, words in IMAGES),
    *(Case("picture", name, pictures_of(file, data), status, words) for name, file, data, status, words in IMAGES),
    Case("image", "of zero bytes, to be left out", rejected, TOLERATED, "kept 12 · left out unreadable image 1"),
]  # fmt: skip
