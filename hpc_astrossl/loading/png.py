"""PNG files of 8 bits, grey or of three colours, to pixels: zlib unpacks a file, a compiled loop undoes its filters.

The format is that of the W3C's recommendation (Portable Network Graphics, third edition), sections 7, 9 and 11.
"""

import zlib

import numpy as np
from numba import njit

from hpc_astrossl.loading.kernel import called, compiled

HEADER = 8  # bytes that every PNG file begins with
COLOURS = {0: 1, 2: 3}  # kind of colour -> numbers of a pixel: grey, and red, green and blue
PLAIN = b"\0\0\0"  # compression and filters as all files have them; not interlaced


def read(data: memoryview, out: np.ndarray) -> bool:
    """Decode a file into ``out``, uint8 (height, width, 3); False, and anything in it, when that is not done here.

    It is left to others when it is of another size than ``out``, of a kind not read here, or broken in any way.
    """
    height, width = out.shape[:2]
    expected = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08"
    channels = COLOURS.get(data[HEADER + 17])
    if data[HEADER + 8 : HEADER + 17] != expected or channels is None or data[HEADER + 18 : HEADER + 21] != PLAIN:
        return False
    size = height * (1 + width * channels)
    unpacking = zlib.decompressobj()
    try:
        lines = unpacking.decompress(_packed(data), size + 1)  # no more, whatever the file would unpack to
    except zlib.error:
        return False
    return unpacking.eof and len(lines) == size and called(unfilter, np.frombuffer(lines, np.uint8), channels, out)


def _packed(data: memoryview) -> bytes | memoryview:
    """What the pieces of an image hold together; a length that leads out of the file ends it."""
    place, parts = HEADER, []
    while place + 8 <= len(data) and data[place + 4 : place + 8] != b"IEND":
        end = place + 8 + int.from_bytes(data[place : place + 4], "big")
        if data[place + 4 : place + 8] == b"IDAT":
            parts.append(data[place + 8 : end])
        place = end + 4
    return parts[0] if len(parts) == 1 else b"".join(parts)


@njit(nogil=True)
def _paeth(left, above, corner):
    """The one of three neighbours that is nearest to left + above - corner; the first of equals."""
    to_left, to_above, to_corner = abs(above - corner), abs(left - corner), abs(left + above - 2 * corner)
    if to_left <= to_above and to_left <= to_corner:
        return left
    return above if to_above <= to_corner else corner


def unfilter(lines, channels, out):
    """Undo the filters of lines (each a byte that names its filter, then its pixels); False for a filter unknown."""
    height, width = out.shape[:2]
    length = width * channels
    above, line = np.zeros(length, np.uint8), np.zeros(length, np.uint8)
    for y in range(height):
        start = y * (length + 1)
        kind, found = lines[start], lines[start + 1 : start + 1 + length]
        if kind == 0:
            line[:] = found
        elif kind == 1:
            line[:channels] = found[:channels]
            for x in range(channels, length):
                line[x] = found[x] + line[x - channels]
        elif kind == 2:
            for x in range(length):
                line[x] = found[x] + above[x]
        elif kind == 3:
            for x in range(length):
                left = np.int32(line[x - channels]) if x >= channels else np.int32(0)
                line[x] = found[x] + np.uint8((left + np.int32(above[x])) >> 1)
        elif kind == 4:
            for x in range(channels):
                line[x] = found[x] + above[x]
            for x in range(channels, length):
                corner = np.int32(above[x - channels])
                line[x] = found[x] + np.uint8(_paeth(np.int32(line[x - channels]), np.int32(above[x]), corner))
        else:
            return False
        for x in range(width):
            for colour in range(3):
                out[y, x, colour] = line[x * channels + (colour if channels == 3 else 0)]
        above, line = line, above
    return True


unfilter = compiled(unfilter)
