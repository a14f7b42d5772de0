"""The door to Pillow: RGB images of whole fields, and one image an object. What is not 8-bit RGB is converted where
that loses nothing (grey, palette, opaque alpha) and refused where it would change the picture unseen."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image

from hpc_astrossl.cutting import depth
from hpc_astrossl.cutting.badfile import NO_FILE, BadFile
from hpc_astrossl.cutting.fitsfaults import missing
from hpc_astrossl.cutting.source import SMALL
from hpc_astrossl.errors import InputError

# Modes of Pillow that are no 8-bit grey or colour; L, P, 1, RGB, RGBA, LA, PA and YCbCr are converted.
_REFUSED = {
    "CMYK": "has inks (CMYK), whose colours depend on a printer's profile; convert it to RGB",
    "LAB": "has Lab colours; convert it to RGB",
    "HSV": "has HSV colours; convert it to RGB",
    "F": depth.FLOATING,
}


def read_field(path: Path) -> np.ndarray:
    """The RGB image of a field, uint8, (height, width, 3), as stored: row 0 is the top."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # a field of 11000 × 11000 is no bomb
            return np.asarray(_open(path))
    except FileNotFoundError:
        raise missing(path) from None


def read_object(path: Path, size: int, crop: int | None = None) -> np.ndarray:
    """The centred square of ``crop`` pixels (None: the largest), resized with antialiasing (Lanczos) if it is larger.

    uint8, (size, size, 3). InputError for a file that is missing, damaged, too large or too small, or whose pixels are
    not 8-bit grey or colour.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = _open(path)
    except FileNotFoundError:
        raise no_file(path) from None
    side = crop or min(image.size)
    if side > min(image.size):
        raise BadFile(f"{path}: is {image.width} × {image.height} pixels, smaller than files.crop={crop}", SMALL)
    left, top = ((length - side) // 2 for length in image.size)
    square = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS, box=square))


def no_file(path: Path) -> BadFile:
    """The message for an object's image that the folder does not have."""
    return BadFile(f"{path}: no such file, but the table has a row for it. Fetch it, or set files.unreadable=reject",
                   NO_FILE)  # fmt: skip


def look(path: Path) -> tuple[int, int]:
    """(width, height) of an object's image by its header; InputError for what the header tells that is refused."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with _allowed(path, header=True) as image:
                return image.size
    except FileNotFoundError:
        raise no_file(path) from None


@contextmanager
def _allowed(path: Path, *, header: bool = False) -> Iterator[Image.Image]:
    """The image before its pixels are read; InputError when they must not be taken as they are.

    ``header``: what only the end of the file may tell is not asked for.
    """
    with _named(path), path.open("rb") as stream:
        if fault := depth.tiff_fault(stream):
            raise InputError(f"{path}: {fault}")
    with _named(path), Image.open(path) as image:
        if fault := depth.fault(image) or _fault(image, header):
            raise InputError(f"{path}: {fault}")
        yield image


def _open(path: Path) -> Image.Image:
    with _allowed(path) as image:
        image.load()
        if image.mode == "RGB" and not image.has_transparency_data:
            return image  # a copy of a field is 360 MB
        if image.has_transparency_data:
            image = image.convert("RGBA")
            if image.getextrema()[3][0] < 255:
                raise InputError(f"{path}: has transparent pixels, whose colour is not defined; flatten it")
        return image.convert("RGB")


def _fault(image: Image.Image, header: bool) -> str | None:
    """Why the pixels must not be taken as they are; None if they may."""
    layout = " ".join(str(part) for part in getattr(image, "tile", ()))
    if image.mode.startswith("I") or ";16" in layout:
        return depth.DEEP.format(32 if image.mode == "I" and ";16" not in layout else 16)
    if getattr(image, "n_frames", 1) > 1:
        return f"holds {image.n_frames} images; one is needed"
    unread = header and image.format == "PNG" and "exif" not in image.info  # Pillow would decode it to look behind it
    turned = 1 if unread else image.getexif().get(ExifTags.Base.Orientation, 1)
    if turned != 1:
        return f"is to be turned when it is shown (EXIF orientation {turned}); turn the pixels themselves"
    return _REFUSED.get(image.mode)


def _unread(path: Path) -> str | None:
    """What a picture is that Pillow does not read, by its first bytes; None if it is another fault."""
    with path.open("rb") as stream:
        head = stream.read(12)
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL ")):
        return "a JPEG XL picture"
    return "a HEIF picture" if head[4:8] == b"ftyp" else None


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn what Pillow raises into an InputError that names the file."""
    try:
        yield
    except FileNotFoundError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{path}: too large to be read ({error})") from None
    except MemoryError:
        raise InputError(f"{path}: too large to be read: there is not so much memory") from None
    except (OSError, SyntaxError, ValueError) as error:
        if what := _unread(path):
            raise InputError(f"{path}: is {what}, which is not read; convert it to PNG or TIFF") from None
        raise InputError(f"{path}: unreadable or truncated image ({error}); fetch it again") from None
