"""JPEG and PNG files of a store, decoded on the CPU: Pillow's pixels in a quarter to half of its time.

Of a cutout of 64 × 64 pixels most of Pillow's time is Python's, and holds its lock. simplejpeg calls libjpeg-turbo,
and ``png`` zlib, with next to nothing around them. Whatever they do not read is left to Pillow, which then finds the
words, too (``store.encoded``); so is every JPEG where simplejpeg is not installed.
"""

import numpy as np

from hpc_astrossl.loading import png
from hpc_astrossl.store.encoded import Encoding, decode, intact

try:
    import simplejpeg
except ModuleNotFoundError:
    simplejpeg = None


def decode_fast(row: np.ndarray, encoding: Encoding, out: np.ndarray) -> None:
    """What ``store.encoded.decode`` does, bit for bit and with its errors."""
    try:
        data = intact(row, encoding.format)
        done = png.read(memoryview(data), out) if encoding.format == "png" else _jpeg(data, out)
    except ValueError:
        done = False
    if not done:
        decode(row, encoding, out)


def _jpeg(data: np.ndarray, out: np.ndarray) -> bool:
    """Decode a file of three colours, or a grey one, into ``out``; False when it is not one of that size.

    ValueError when it is broken, be it so little that others would go on.
    """
    if simplejpeg is None:
        return False
    height, width, colours, _ = simplejpeg.decode_jpeg_header(data)
    if (height, width) != out.shape[:2] or colours not in ("YCbCr", "RGB", "Gray"):
        return False
    simplejpeg.decode_jpeg(data, "RGB", False, False, buffer=out)
    return True
