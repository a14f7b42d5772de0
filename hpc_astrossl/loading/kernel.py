"""The innermost loop of the vectorised loader, compiled by numba: from stored pixels to the network's.

What was compiled is kept on disk (beside this file, or where NUMBA_CACHE_DIR says), which costs a few seconds once.
It is compiled anew when this file changes, and only then: so all that is compiled is here.
Loops are written so that LLVM finds vector instructions for them (docs/decisions/loading-kernel.md).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from hpc_astrossl.loading.geometry import MIRRORED, TRANSPOSED, UPSIDE_DOWN

SIDE = 8  # rows and columns that are transposed at once

_pread = types.ExternalFunction("pread", types.intp(types.int32, types.intp, types.uintp, types.int64))


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


@intrinsic
def _sum(typing, function, address, count):
    """What the C function at an address says of so many bytes, see ``checksum.address``."""

    def generate(context, builder, signature, arguments):
        number, pointer, size = ir.IntType(32), ir.IntType(8).as_pointer(), arguments[2].type
        kind = ir.FunctionType(number, [number, pointer, size]).as_pointer()
        called = builder.inttoptr(arguments[0], kind)
        return builder.call(called, [number(0), builder.inttoptr(arguments[1], pointer), arguments[2]])

    return types.uint32(types.intp, types.intp, types.intp), generate


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


def read_and_put_planes(wanted, memory, into, whole):
    """Chunks of images as ``put_planes`` wants them, see ``direct.put_chunks``."""
    for i in range(len(whole)):
        whole[i] = _read(wanted, i, memory)
        if whole[i]:
            put_planes(memory.images, wanted.moves[wanted.bounds[i, 0] : wanted.bounds[i, 1]], into)


def read_and_put_colours(wanted, memory, into, whole):
    """Chunks of images as ``put_colours`` wants them."""
    for i in range(len(whole)):
        whole[i] = _read(wanted, i, memory)
        if whole[i]:
            put_colours(memory.images, wanted.moves[wanted.bounds[i, 0] : wanted.bounds[i, 1]], into)


@njit(nogil=True)
def _read(wanted, i, memory):
    """Read a chunk; whether it is all there, and its sum as it should be."""
    begin, count = memory.bytes.ctypes.data, len(memory.bytes)
    if _pread(wanted.files[i], begin, count, wanted.offsets[i]) != count:
        return False
    return memory.sum[0] == _sum(memory.function, begin, count - memory.sum.nbytes)


@njit(nogil=True)
def _image(image, turned, code, into, out):
    for channel in range(len(out)):
        plane, target = image[channel], out[channel]
        if code & TRANSPOSED:
            _transpose(plane, turned)
            plane = turned
        _plane(plane, code, into.subtract[channel], into.multiply[channel], target)


@njit(nogil=True)
def _plane(plane, code, subtract, multiply, out):
    height, width = out.shape
    last = np.uintp(width - 1)
    for y in range(height):
        row, scaled = plane[height - 1 - y if code & UPSIDE_DOWN else y], out[y]
        if code & MIRRORED:
            for x in range(np.uintp(width)):
                scaled[x] = (np.float32(row[last - x]) - subtract) * multiply
        else:
            for x in range(width):
                scaled[x] = (np.float32(row[x]) - subtract) * multiply


@njit(nogil=True)
def _transpose(plane, out):
    """Eight rows and columns at a time, and what is left at the edges one by one."""
    height, width = plane.shape
    tall, wide = height - height % SIDE, width - width % SIDE
    for y in range(0, tall, SIDE):
        for x in range(0, wide, SIDE):
            _transpose_block(plane[y:, x:], out[x:, y:])
    for x in range(width):
        for y in range(tall if x < wide else 0, height):
            out[x, y] = plane[y, x]


@intrinsic
def _transpose_block(typing, plane, out):
    """Transpose the first eight rows and columns: a row and that four below are interleaved, three times over."""

    def generate(context, builder, signature, arguments):
        row = ir.VectorType(context.get_value_type(plane.dtype), SIDE).as_pointer()
        lanes = [lane // 2 + SIDE * (lane % 2) for lane in range(2 * SIDE)]
        halves = [ir.Constant(ir.VectorType(ir.IntType(32), SIDE), half) for half in (lanes[:SIDE], lanes[SIDE:])]

        def pointers(kind, value):
            array = context.make_array(kind)(context, builder, value)
            for number in range(SIDE):
                at = [context.get_constant(types.intp, index) for index in (number, 0)]
                yield builder.bitcast(cgutils.get_item_pointer(context, builder, kind, array, at), row)

        align = plane.dtype.bitwidth // 8  # of a number: rows begin anywhere
        rows = [builder.load(pointer, align=align) for pointer in pointers(plane, arguments[0])]
        for _ in range(SIDE.bit_length() - 1):
            pairs = zip(rows[: SIDE // 2], rows[SIDE // 2 :], strict=True)
            rows = [builder.shuffle_vector(one, other, half) for one, other in pairs for half in halves]
        for done, pointer in zip(rows, pointers(out, arguments[1]), strict=True):
            builder.store(done, pointer, align=align)
        return context.get_dummy_value()

    return types.void(plane, out), generate


def compiled(function: Callable) -> Callable:
    """The function in machine code, kept on disk where that can be."""
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder that could be written
        return njit(nogil=True)(function)


def called(work: Callable, *arguments) -> Any:
    """What a compiled function gives."""
    try:
        return work(*arguments)
    except OSError:  # compiled, and no room on the disk to keep it
        return work(*arguments)


put_planes, put_colours = map(compiled, (put_planes, put_colours))
read_and_put_planes, read_and_put_colours = map(compiled, (read_and_put_planes, read_and_put_colours))
