"""The innermost loop of the vectorised loader, compiled by numba: from stored pixels to the network's.

What was compiled is kept on disk (beside this file, or where NUMBA_CACHE_DIR says), which costs some ten seconds once.
Loops are written so that LLVM finds vector instructions for them (docs/decisions/loading-kernel.md).
"""

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.extending import intrinsic

from hpc_astrossl.loading.geometry import MIRRORED, TRANSPOSED, UPSIDE_DOWN
from hpc_astrossl.store import Store, checksum
from hpc_astrossl.store.blocks import SUM, Extents

EIGHT = 8  # bytes of a word; a constant, so that loops over them are unrolled
_pread = types.ExternalFunction("pread", types.intp(types.int32, types.intp, types.uintp, types.int64))
LOWER = np.array([0x00000000FFFFFFFF, 0x0000FFFF0000FFFF, 0x00FF00FF00FF00FF], np.uint64)  # parts of 4, 2, 1 bytes


class Chunk:
    """Memory for one chunk of a plain store and the sum behind it, and the ways to look at its images."""

    def __init__(self, store: Store):
        height, width, channels = store.image_shape
        rows, self.colours = store.chunk_rows, not store.planes_first
        self.bytes = np.empty(rows * height * width * channels * store.dtype.itemsize + SUM, np.uint8)
        images = self.bytes[:-SUM].view(store.dtype)
        self.planes = images.reshape(rows, channels, height, width)
        self.pixels = images.reshape(rows, height, width, channels)

    @staticmethod
    def suits(store: Store) -> bool:
        """Whether ``put_chunks`` can read it: planes, or three colours of a byte each."""
        known = store.planes_first or (store.dtype == np.uint8 and store.image_shape[2] == 3)
        return store.plain and store.encoding is None and known and checksum.address() is not None


def put(images: np.ndarray, moves: np.ndarray, subtract: np.ndarray, multiply: np.ndarray, addresses: np.ndarray,
        dtype: np.dtype) -> None:  # fmt: skip
    """Put images (n, channels, height, width) of any type and layout, flipped, turned and scaled, into batches.

    ``moves`` is int32 (k, 4): the number of an image, its batch, its place there, its code (``geometry.codes``).
    ``addresses`` is int64 (batches,): where in memory a batch begins, a contiguous array (B, channels, height, width)
    of ``dtype`` that nobody frees meanwhile. ``subtract`` and ``multiply`` are float32 (channels,). Nothing is fused,
    so that the numbers are bit by bit those of ``Scaling.apply``. Other threads run meanwhile.
    """
    work, lain = _put_planes, images.transpose(0, 2, 3, 1)
    if lain.flags.c_contiguous and lain.shape[3] == 3 and lain.itemsize == 1:
        work, images = _put_colours, lain
    else:
        images = np.ascontiguousarray(images)
    arguments = images, moves, subtract, multiply, addresses, np.empty(0, dtype)
    try:
        work(*arguments)
    except OSError:  # compiled, and no room on the disk to keep it
        work(*arguments)


def put_chunks(found: Extents, chunk: Chunk, bounds: np.ndarray, moves: np.ndarray, subtract: np.ndarray,
               multiply: np.ndarray, addresses: np.ndarray, dtype: np.dtype) -> np.ndarray:  # fmt: skip
    """Read chunks into ``chunk``, one after the other, and ``put`` the images of those whose CRC-32C is right.

    Returns for each whether it was, bool (chunks,). ``bounds`` is int64 (chunks, 2): where the moves of each begin and
    end. Threads that read wait for one another whenever they are back in Python: here they are once in several chunks.
    """
    whole = np.zeros(len(found.files), bool)
    read = found.files, found.offsets, chunk.bytes, checksum.address(), chunk.planes, chunk.pixels, chunk.colours
    arguments = *read, bounds, moves, subtract, multiply, addresses, np.empty(0, dtype), whole
    try:
        _read_and_put(*arguments)
    except OSError:  # compiled, and no room on the disk to keep it
        _read_and_put(*arguments)
    return whole


@intrinsic
def _pointer(typing, address, like):
    """The address as a pointer to numbers of the type of the array ``like``."""

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(like.dtype)(address, like), generate


@njit(nogil=True)
def _target(addresses, move, like, channels, height, width):
    """Where an image is put, (channels, height, width)."""
    size = channels * height * width * like.itemsize
    return carray(_pointer(addresses[move[1]] + move[2] * size, like), (channels, height, width))


def _put_planes(images, moves, subtract, multiply, addresses, like):
    """Images (n, channels, height, width) one plane after the other."""
    channels, height, width = images.shape[1:]
    turned = np.empty((width, height), images.dtype)
    for i in range(len(moves)):
        out = _target(addresses, moves[i], like, channels, height, width)
        _image(images[moves[i, 0]], turned, moves[i, 3], subtract, multiply, out)


def _put_colours(images, moves, subtract, multiply, addresses, like):
    """Images (n, height, width, 3) of bytes: the colours are taken apart first, sixteen and more pixels at a time."""
    height, width = images.shape[1:3]
    planes, turned = np.empty((3, height, width), images.dtype), np.empty((width, height), images.dtype)
    red, green, blue = planes[0].reshape(-1), planes[1].reshape(-1), planes[2].reshape(-1)
    for i in range(len(moves)):
        pixels = images[moves[i, 0]].reshape(-1)
        for j in range(np.uintp(len(red))):  # unsigned: an index that may be negative costs the vector instructions
            at = np.uintp(3) * j
            red[j], green[j], blue[j] = pixels[at], pixels[at + np.uintp(1)], pixels[at + np.uintp(2)]
        out = _target(addresses, moves[i], like, 3, height, width)
        _image(planes, turned, moves[i, 3], subtract, multiply, out)


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


@intrinsic
def _sum(typing, function, address, count):
    """What the C function at an address says of so many bytes, see ``checksum.address``."""

    def generate(context, builder, signature, arguments):
        number, pointer, size = ir.IntType(32), ir.IntType(8).as_pointer(), arguments[2].type
        kind = ir.FunctionType(number, [number, pointer, size]).as_pointer()
        called = builder.inttoptr(arguments[0], kind)
        return builder.call(called, [number(0), builder.inttoptr(arguments[1], pointer), arguments[2]])

    return types.uint32(types.intp, types.intp, types.intp), generate


def _read_and_put(files, offsets, room, summing, planes, pixels, colours, bounds, moves, subtract, multiply,
                  addresses, like, whole):  # fmt: skip
    size = len(room) - SUM
    found = room[size:].view(np.uint32)
    for i in range(len(files)):
        count = _pread(files[i], room.ctypes.data, len(room), offsets[i])
        if count != len(room) or found[0] != _sum(summing, room.ctypes.data, size):
            continue
        mine = moves[bounds[i, 0] : bounds[i, 1]]
        if colours:
            _put_colours(pixels, mine, subtract, multiply, addresses, like)
        else:
            _put_planes(planes, mine, subtract, multiply, addresses, like)
        whole[i] = True


def _compiled(function):
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder that could be written
        return njit(nogil=True)(function)


_put_planes, _put_colours = map(_compiled, (_put_planes, _put_colours))
_read_and_put = _compiled(_read_and_put)
