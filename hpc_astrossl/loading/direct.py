"""Chunks that lie in files as they are in memory: read, checked and put into batches by one compiled call for several.

Threads that read wait for one another whenever they are back in Python; so they are there seldom
(docs/decisions/loading-kernel.md).
"""

from typing import NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from hpc_astrossl.loading.kernel import Into, called, compiled, put_colours, put_planes
from hpc_astrossl.store import Store, checksum
from hpc_astrossl.store.blocks import SUM

_pread = types.ExternalFunction("pread", types.intp(types.int32, types.intp, types.uintp, types.int64))


class Wanted(NamedTuple):
    """Chunks to be read: ``files`` and ``offsets`` as of ``store.Extents``, and their images' moves.

    ``bounds`` is int64 (chunks, 2), where in ``moves`` (``kernel.put``) those of a chunk begin and end.
    """

    files: np.ndarray
    offsets: np.ndarray
    bounds: np.ndarray
    moves: np.ndarray


class Room(NamedTuple):
    """Memory for one chunk of a plain store with the sum behind it, and two ways to look at its images."""

    bytes: np.ndarray
    planes: np.ndarray
    pixels: np.ndarray
    colours: bool  # pixels lie there, and not planes
    sum: int  # the address of the function that sums bytes


def room(store: Store) -> Room:
    """For the chunks of a store that ``suits``."""
    height, width, channels = store.image_shape
    rows = store.chunk_rows
    memory = np.empty(rows * height * width * channels * store.dtype.itemsize + SUM, np.uint8)
    images = memory[:-SUM].view(store.dtype)
    return Room(bytes=memory, planes=images.reshape(rows, channels, height, width),
                pixels=images.reshape(rows, height, width, channels), colours=not store.planes_first,
                sum=checksum.address())  # fmt: skip


def suits(store: Store) -> bool:
    """Whether chunks can be read so: as they are in memory, and planes, or three colours of a byte each."""
    known = store.planes_first or (store.dtype == np.uint8 and store.image_shape[2] == 3)
    return store.plain and store.encoding is None and known and checksum.address() is not None


def put_chunks(wanted: Wanted, memory: Room, into: Into) -> np.ndarray:
    """Read chunks one after the other and put the images of those whose CRC-32C is right; whether it was, bool.

    Whatever else is the matter with a chunk, it is not put either.
    """
    whole = np.zeros(len(wanted.files), bool)
    called(_read_and_put, wanted, memory, into, whole)
    return whole


@intrinsic
def _sum(typing, function, address, count):
    """What the C function at an address says of so many bytes, see ``checksum.address``."""

    def generate(context, builder, signature, arguments):
        number, pointer, size = ir.IntType(32), ir.IntType(8).as_pointer(), arguments[2].type
        kind = ir.FunctionType(number, [number, pointer, size]).as_pointer()
        called = builder.inttoptr(arguments[0], kind)
        return builder.call(called, [number(0), builder.inttoptr(arguments[1], pointer), arguments[2]])

    return types.uint32(types.intp, types.intp, types.intp), generate


@compiled
def _read_and_put(wanted, memory, into, whole):
    size = len(memory.bytes) - SUM
    found = memory.bytes[size:].view(np.uint32)
    begin = memory.bytes.ctypes.data
    for i in range(len(whole)):
        count = _pread(wanted.files[i], begin, len(memory.bytes), wanted.offsets[i])
        if count != len(memory.bytes) or found[0] != _sum(memory.sum, begin, size):
            continue
        moves = wanted.moves[wanted.bounds[i, 0] : wanted.bounds[i, 1]]
        if memory.colours:
            put_colours(memory.pixels, moves, into)
        else:
            put_planes(memory.planes, moves, into)
        whole[i] = True
