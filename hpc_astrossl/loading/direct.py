"""Chunks that lie in files as they are in memory: read, checked and put into batches by one compiled call for several.

Threads that read wait for one another whenever they are back in Python; so they are there seldom
(docs/decisions/loading-kernel.md).
"""

from typing import NamedTuple

import numpy as np

from hpc_astrossl.loading.kernel import Into, called, read_and_put_colours, read_and_put_planes
from hpc_astrossl.store import Store, checksum
from hpc_astrossl.store.blocks import SUM


class Wanted(NamedTuple):
    """Chunks to be read: ``files`` and ``offsets`` as of ``store.Extents``, and their images' moves.

    ``bounds`` is int64 (chunks, 2), where in ``moves`` (``kernel.put``) those of a chunk begin and end.
    """

    files: np.ndarray
    offsets: np.ndarray
    bounds: np.ndarray
    moves: np.ndarray


class Room(NamedTuple):
    """Memory for one chunk of a plain store, its images and the sum behind them."""

    bytes: np.ndarray
    images: np.ndarray  # (images, channels, height, width), or (images, height, width, 3) of colours
    sum: np.ndarray  # uint32 (1,)
    function: int  # where the one is that sums bytes
    colours: bool


def room(store: Store) -> Room:
    """For the chunks of a store that ``suits``."""
    height, width, channels = store.image_shape
    shape = (channels, height, width) if store.planes_first else store.image_shape
    size = store.chunk_rows * height * width * channels * store.dtype.itemsize
    memory = np.empty(size + SUM, np.uint8)
    return Room(bytes=memory, images=memory[:size].view(store.dtype).reshape(-1, *shape),
                sum=memory[size:].view(np.uint32), function=checksum.address(),
                colours=not store.planes_first)  # fmt: skip


def suits(store: Store) -> bool:
    """Whether chunks can be read so: as they are in memory, and planes, or three colours of a byte each."""
    known = store.planes_first or (store.dtype == np.uint8 and store.image_shape[2] == 3)
    return store.plain and store.encoding is None and known and checksum.address() is not None


def put_chunks(wanted: Wanted, memory: Room, into: Into) -> np.ndarray:
    """Read chunks one after the other and put the images of those whose CRC-32C is right; whether it was, bool.

    Whatever else is the matter with a chunk, it is not put either.
    """
    whole = np.zeros(len(wanted.files), bool)
    called(read_and_put_colours if memory.colours else read_and_put_planes, wanted, memory, into, whole)
    return whole
