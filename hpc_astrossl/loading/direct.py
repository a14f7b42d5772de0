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
    """Memory for one chunk of a plain store with the sum behind it, and its images, of the one kind or the other."""

    bytes: np.ndarray
    planes: np.ndarray | None  # (images, channels, height, width)
    colours: np.ndarray | None  # (images, height, width, 3)


def room(store: Store) -> Room:
    """For the chunks of a store that ``suits``."""
    height, width, channels = store.image_shape
    rows = store.chunk_rows
    memory = np.empty(rows * height * width * channels * store.dtype.itemsize + SUM, np.uint8)
    images = memory[:-SUM].view(store.dtype)
    if store.planes_first:
        return Room(memory, planes=images.reshape(rows, channels, height, width), colours=None)
    return Room(memory, planes=None, colours=images.reshape(rows, height, width, channels))


def suits(store: Store) -> bool:
    """Whether chunks can be read so: as they are in memory, and planes, or three colours of a byte each."""
    known = store.planes_first or (store.dtype == np.uint8 and store.image_shape[2] == 3)
    return store.plain and store.encoding is None and known and checksum.address() is not None


def put_chunks(wanted: Wanted, memory: Room, into: Into) -> np.ndarray:
    """Read chunks one after the other and put the images of those whose CRC-32C is right; whether it was, bool.

    Whatever else is the matter with a chunk, it is not put either.
    """
    whole = np.zeros(len(wanted.files), bool)
    called(_read_and_put, wanted, *memory, checksum.address(), into, whole)
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
def _read_and_put(wanted, memory, planes, colours, function, into, whole):
    """What is None is an argument of its own, so that numba leaves out what it is not needed for."""
    size = len(memory) - SUM
    found = memory[size:].view(np.uint32)
    begin = memory.ctypes.data
    for i in range(len(whole)):
        count = _pread(wanted.files[i], begin, len(memory), wanted.offsets[i])
        if count != len(memory) or found[0] != _sum(function, begin, size):
            continue
        moves = wanted.moves[wanted.bounds[i, 0] : wanted.bounds[i, 1]]
        if planes is not None:
            put_planes(planes, moves, into)
        if colours is not None:
            put_colours(colours, moves, into)
        whole[i] = True
