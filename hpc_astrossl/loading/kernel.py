"""The innermost loop of the vectorised loader, compiled by numba: from stored pixels to the network's.

What was compiled is kept on disk (beside this file, or where NUMBA_CACHE_DIR says), so that it costs a second once.
Loops are written so that LLVM finds vector instructions for them (docs/decisions/loading-kernel.md).
"""

import numpy as np
from numba import njit

from hpc_astrossl.loading.geometry import MIRRORED, TRANSPOSED, UPSIDE_DOWN

EIGHT = 8  # columns; a constant, so that the loop over them is unrolled


def put(images: np.ndarray, moves: np.ndarray, subtract: np.ndarray, multiply: np.ndarray, out: np.ndarray) -> None:
    """Put images (n, channels, height, width) of any type and layout, flipped, turned and scaled, into ``out``.

    ``moves`` is int64 (k, 3): the number of an image, its place in ``out``, its code (``geometry.codes``). ``subtract``
    and ``multiply`` are float32 (channels,), ``out`` float32 (B, channels, height, width). Nothing is fused, so that
    the numbers are bit by bit those of ``Scaling.apply``. Other threads run meanwhile.
    """
    work, lain = _put, images.transpose(0, 2, 3, 1)
    if lain.shape[3] == 3 and lain.itemsize == 1 and lain.flags.c_contiguous:
        work, images = _put_colours, lain
    try:
        work(images, moves, subtract, multiply, out)
    except OSError:  # compiled, and no room on the disk to keep it
        work(images, moves, subtract, multiply, out)


def _put(images, moves, subtract, multiply, out):
    turned = np.empty((images.shape[3], images.shape[2]), images.dtype)
    for move in range(len(moves)):
        number, place, code = moves[move]
        _image(images[number], turned, code, subtract, multiply, out[place])


def _put_colours(images, moves, subtract, multiply, out):
    """Images (n, height, width, 3) of bytes: the colours are taken apart first, sixteen and more pixels at a time."""
    planes = np.empty((3, images.shape[1], images.shape[2]), images.dtype)
    turned = np.empty((images.shape[2], images.shape[1]), images.dtype)
    red, green, blue = planes[0].reshape(-1), planes[1].reshape(-1), planes[2].reshape(-1)
    for move in range(len(moves)):
        number, place, code = moves[move]
        pixels = images[number].reshape(-1)
        for i in range(np.uintp(len(red))):  # unsigned: an index that may be negative costs the vector instructions
            at = np.uintp(3) * i
            red[i], green[i], blue[i] = pixels[at], pixels[at + np.uintp(1)], pixels[at + np.uintp(2)]
        _image(planes, turned, code, subtract, multiply, out[place])


@njit(nogil=True)
def _image(image, turned, code, subtract, multiply, out):
    for channel in range(len(out)):
        plane, target = image[channel], out[channel]
        if not code & TRANSPOSED:
            _plane(plane, code, subtract[channel], multiply[channel], target)
        elif image.itemsize == 1:  # bytes are turned first, beside the processor: they are a quarter of the floats
            _transpose(plane, turned)
            _plane(turned, code, subtract[channel], multiply[channel], target)
        else:
            _plane(plane.T, code, subtract[channel], multiply[channel], target)


@njit(nogil=True)
def _plane(plane, code, subtract, multiply, out):
    height, width = out.shape
    last = np.uintp(width - 1)
    for y in range(height):
        row, target = plane[height - 1 - y if code & UPSIDE_DOWN else y], out[y]
        if code & MIRRORED:
            for x in range(np.uintp(width)):
                target[x] = (np.float32(row[last - x]) - subtract) * multiply
        else:
            for x in range(width):
                target[x] = (np.float32(row[x]) - subtract) * multiply


@njit(nogil=True)
def _transpose(plane, out):
    # Eight columns at a time, whose lines of memory stay at hand while all rows are gone through.
    height, width = plane.shape
    whole = width // EIGHT * EIGHT
    for first in range(0, whole, EIGHT):
        for y in range(height):
            row = plane[y]
            for x in range(EIGHT):
                out[first + x, y] = row[first + x]
    for y in range(height):
        for x in range(whole, width):
            out[x, y] = plane[y, x]


try:
    _put, _put_colours = njit(nogil=True, cache=True)(_put), njit(nogil=True, cache=True)(_put_colours)
except RuntimeError:  # no folder that could be written
    _put, _put_colours = njit(nogil=True)(_put), njit(nogil=True)(_put_colours)
