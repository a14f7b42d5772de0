"""How many bits and channels a picture has, told by its file: Pillow opens some deeper ones as 8-bit RGB."""

import re
import struct
from typing import IO

from PIL import Image, TiffImagePlugin

DEEP = "has {} bits a channel; an image needs 8, so choose a stretch and convert it"
FLOATING = "has floating-point pixels; an image needs 8 bits a channel, so choose a stretch and convert it"
# Kinds whose depth is known here; of others Pillow drops bits, or turns rows, without a word.
READ = ("JPEG", "MPO", "PNG", "TIFF", "BMP", "DIB", "GIF", "WEBP", "JPEG2000", "PPM")
_SIZ, _BITS = b"\xff\x51", 40  # the marker of a JPEG 2000 codestream's sizes, and where after it the bits are
_FLOAT, _SIGNED, _ALPHA, _INKS = (3, 6), (2, 5), (1, 2), 5  # of SampleFormat, ExtraSamples and Photometric in a TIFF
_PACKINGS = {34887: "LERC", 33003: "JPEG 2000", 33005: "JPEG 2000", 34712: "JPEG 2000", 50001: "WebP",
             50002: "JPEG XL", 52546: "JPEG XL", 34892: "lossy JPEG"}  # fmt: skip


def fault(image: Image.Image) -> str | None:
    """Why an open picture's file has other pixels than 8-bit grey or colour; None if it has those, or other checks
    tell."""
    if image.format == "FITS":
        return "is a FITS image; name it under bands of fields or cutouts, which calibrate it"
    if image.format not in READ:
        return f"is a picture of the kind {image.format}, whose depth is not looked at; convert it to PNG or TIFF"
    if image.format == "PPM" and any(tile[0] != "raw" for tile in image.tile):
        return "has numbers that do not run from 0 to 255; an image needs 8 bits a channel, so convert it"
    if image.format == "JPEG2000":
        image.fp.seek(0)
        head = image.fp.read(1 << 16)
        place = head.find(_SIZ) + _BITS
        bits = (head[place] & 0x7F) + 1 if _BITS <= place < len(head) else 8
        return DEEP.format(bits) if bits > 8 else None
    return None


def tiff_fault(stream: IO[bytes]) -> str | None:
    """Why a TIFF's first image is not to be read, by its tags; None for one of 8 bits, or what is no TIFF."""
    head = stream.read(8)
    if head[:4] not in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return None
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(head + (stream.read(8) if head[2:4] in (b"+\0", b"\0+") else b""))
        stream.seek(tags.next)
        tags.load(stream)
    except (OSError, SyntaxError, ValueError, TypeError, IndexError, struct.error):
        return None  # damaged: Pillow says how
    bits, kinds, extra = (_all(tags.get(tag)) for tag in (258, 339, 338))
    if set(kinds) & set(_FLOAT):
        return FLOATING
    if max(bits, default=1) > 8:
        return DEEP.format(max(bits))
    if set(kinds) & set(_SIGNED):
        return "has signed numbers; an image needs 0 to 255, so convert it"
    if tags.get(259) in _PACKINGS:
        return f"is packed by {_PACKINGS[tags[259]]}, which is not read; convert it to PNG"
    colours = 4 if tags.get(262) == _INKS else tags.get(277, 1)
    alpha = colours in (2, 4) and extra and extra[0] in _ALPHA
    if colours not in (1, 3) and not alpha and tags.get(262) != _INKS:
        return f"has {colours} channels; an image has one or three, so choose those"
    if len(order := _COLOUR.findall(str(tags.get(_GDAL, "")))) == 3 and order != ["Red", "Green", "Blue"]:
        return f"holds its channels as {', '.join(order)}, by what GDAL wrote; bring them to red, green, blue"
    return None


_GDAL = 42112  # a tag that holds XML, of the channels among others
_COLOUR = re.compile(r'role="colorinterp">(Red|Green|Blue)<')


def _all(value: int | tuple[int, ...] | None) -> tuple[int, ...]:
    if value is None:
        return ()
    return value if isinstance(value, tuple) else (value,)
