"""The door to Pillow: RGB images of whole fields, and one image an object."""

import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from hpc_astrossl.errors import InputError
from hpc_astrossl.ingest.fits import missing


def read_field(path: Path) -> np.ndarray:
    """The RGB image of a field, uint8, (height, width, 3), as stored: row 0 is the top."""
    try:
        return np.asarray(_open(path))
    except FileNotFoundError:
        raise missing(path) from None


def read_object(path: Path, size: int) -> np.ndarray:
    """The largest centred square of an image, resized with antialiasing (Lanczos): uint8, (size, size, 3)."""
    try:
        image = _open(path)
    except FileNotFoundError:
        raise no_file(path) from None
    side = min(image.size)
    left, top = ((length - side) // 2 for length in image.size)
    square = (left, top, left + side, top + side)
    return np.asarray(image.resize((size, size), Image.Resampling.LANCZOS, box=square))


def no_file(path: Path) -> InputError:
    """The message for an object's image that the folder does not have."""
    return InputError(f"{path}: no such file, but the table has a row for it. Fetch it, or set files.unreadable=reject")


def _open(path: Path) -> Image.Image:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # a field of 11000 × 11000 is no bomb
            with Image.open(path) as image:
                image.load()
                return image if image.mode == "RGB" else image.convert("RGB")  # a copy of a field is 360 MB
    except FileNotFoundError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise InputError(f"{path}: unreadable or truncated image ({error}); fetch it again") from None
