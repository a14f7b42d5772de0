"""The innermost loop of the vectorised loader, compiled by numba: from stored pixels to the network's.

What was compiled is kept on disk (beside this file, or where NUMBA_CACHE_DIR says), which costs some ten seconds once.
Loops are written so that LLVM finds vector instructions for them (docs/decisions/loading-kernel.md).
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numba import carray, njit, types
from numba.extending import intrinsic

from hpc_astrossl.loading.geometry import MIRRORED, TRANSPOSED, UPSIDE_DOWN

EIGHT = 8  # bytes of a word; a constant, so that loops over them are unrolled
LOWER = np.array([0x00000000FFFFFFFF, 0x0000FFFF0000FFFF, 0x00FF00FF00FF00FF], np.uint64)  # parts of 4, 2, 1 bytes


class Into(NamedTuple):
    """Where images are put, and how.

    ``addresses`` is int64 (batches,): where in memory a batch begins, a contiguous array (B, channels, height, width)
    of the dtype of ``like``, which is empty, that nobody frees meanwhile. ``subtract`` and then ``multiply`` are
    float32 (channels,).
    """

    addresses: np.ndarray
    like: np.ndarray
    subtract: np.ndarray
    multiply: np.ndarray


def put(images: np.ndarray, moves: np.ndarray, into: Into) -> None:
    """Put images (n, channels, height, width) of any type and layout, flipped, turned and scaled, into batches.

    ``moves`` is int32 (k, 4): the number of an image, its batch, its place there, its code (``geometry.codes``).
    Nothing is fused, so that the numbers are bit by bit those of ``Scaling.apply``. Other threads run meanwhile.
    """
    work, lain = put_planes, images.transpose(0, 2, 3, 1)
    if lain.flags.c_contiguous and lain.shape[3] == 3 and lain.itemsize == 1:
        work, images = put_colours, lain
    else:
        images = np.ascontiguousarray(images)
    called(work, images, moves, into)


@intrinsic
def _pointer(typing, address, like):
    """The address as a pointer to numbers of the type of the array ``like``."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(address, like), generate


@njit(nogil=True)
def _target(into, move, channels, height, width):
    """Where an image is put, (channels, height, width)."""
    size = channels * height * width * into.like.itemsize
    return carray(_pointer(into.addresses[move[1]] + move[2] * size, into.like), (channels, height, width))


def put_planes(images, moves, into):
    """Images (n, channels, height, width) one plane after the other."""
    channels, height, width = images.shape[1:]
    turned = np.empty((width, height), images.dtype)
    for i in range(len(moves)):
        out = _target(into, moves[i], channels, height, width)
        _image(images[moves[i, 0]], turned, moves[i, 3], into, out)


def put_colours(images, moves, into):
    """Images (n, height, width, 3) of bytes: the colours are taken apart first, sixteen and more pixels at a time."""
    height, width = images.shape[1:3]
    planes, turned = np.empty((3, height, width), images.dtype), np.empty((width, height), images.dtype)
    red, green, blue = planes[0].reshape(-1), planes[1].reshape(-1), planes[2].reshape(-1)
    for i in range(len(moves)):
        pixels = images[moves[i, 0]].reshape(-1)
        for j in range(np.uintp(len(red))):  # unsigned: an index that may be negative costs the vector instructions
            at = np.uintp(3) * j
            red[j], green[j], blue[j] = pixels[at], pixels[at + np.uintp(1)], pixels[at + np.uintp(2)]
        out = _target(into, moves[i], 3, height, width)
        _image(planes, turned, moves[i, 3], into, out)


@njit(nogil=True)
def _image(image, turned, code, into, out):
    for channel in range(len(out)):
        plane, target = image[channel], out[channel]
        if not code & TRANSPOSED:
            _plane(plane, code, into.subtract[channel], into.multiply[channel], target)
        elif image.itemsize == 1:  # bytes are turned first, beside the processor: they are a quarter of the floats
            _transpose(plane, turned)
            _plane(turned, code, into.subtract[channel], into.multiply[channel], target)
        else:
            _plane(plane.T, code, into.subtract[channel], into.multiply[channel], target)


@njit(nogil=True)
def _plane(plane, code, subtract, multiply, out):
    height = len(out)
    for y in range(height):
        _row(plane[height - 1 - y if code & UPSIDE_DOWN else y], code, subtract, multiply, out[y])


@njit(nogil=True, inline="always")
def _row(row, code, subtract, multiply, out):
    width = len(out)
    last = np.uintp(width - 1)
    if code & MIRRORED:
        for x in range(np.uintp(width)):
            out[x] = (np.float32(row[last - x]) - subtract) * multiply
    else:
        for x in range(width):
            out[x] = (np.float32(row[x]) - subtract) * multiply


@njit(nogil=True)
def _transpose(plane, out):
    """Bytes, eight rows at a time, as words of eight: halves of words change places, then quarters, then bytes."""
    height, width = plane.shape
    if height % EIGHT or width % EIGHT:
        out[:] = plane.T
        return
    words, turned = plane.view(np.uint64), out.view(np.uint64)
    count = width // EIGHT
    rows = np.empty((EIGHT, count), np.uint64)
    for y in range(0, height, EIGHT):
        rows[:] = words[y : y + EIGHT]
        for step in range(len(LOWER)):
            size = 4 >> step
            shift, lower = np.uint64(8 * size), LOWER[step]
            for i in range(EIGHT):
                if not i & size:
                    for x in range(count):
                        change = ((rows[i, x] >> shift) ^ rows[i + size, x]) & lower
                        rows[i, x] ^= change << shift
                        rows[i + size, x] ^= change
        for x in range(count):
            for i in range(EIGHT):
                turned[x * EIGHT + i, y // EIGHT] = rows[i, x]


def compiled(function: Callable) -> Callable:
    """The function in machine code, kept on disk where that can be."""
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder that could be written
        return njit(nogil=True)(function)


def called(work: Callable, *arguments) -> None:
    """Call a compiled function."""
    try:
        work(*arguments)
    except OSError:  # compiled, and no room on the disk to keep it
        work(*arguments)


put_planes, put_colours = map(compiled, (put_planes, put_colours))
