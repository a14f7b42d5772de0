"""Whole chunks of the images, decoded straight into memory that is used again.

A chunk is a stretch of a shard's file: the shard's index tells where, one read brings it, its CRC-32C is compared, and
the codec libraries of zarr decompress it to where the pixels are wanted, all without Python's lock. That is
a small part of what zarr-python takes for a chunk, and half of TensorStore's time (docs/loading.md). zarr-python is
the specification, and what reads arrays that are laid out otherwise than docs/store-format.md says.
"""

import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import zarr
from numcodecs import blosc, zstd

from hpc_astrossl.store.checksum import crc32c

Look = Callable[[str | None, int | None], None]  # told of each file (name, descriptor) before it is read
OPEN = 64  # files of shards that stay open
INDEX = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
PLANES_FIRST = (0, 3, 1, 2)  # the order of a chunk's axes in its file where channels come first
SUM = 4  # bytes of a CRC-32C
ABSENT = 2**64 - 1  # in a shard's index: no such chunk


@dataclass(frozen=True, kw_only=True)
class Extents:
    """Where the bytes of chunks begin: descriptors of files that stay open with this, and offsets, int64 (chunks,).

    A chunk that is not where it should be has the descriptor -1.
    """

    files: np.ndarray
    offsets: np.ndarray
    shards: list["Shard"]


class Blocks:
    """Reads the chunks of one array into memory; any number of threads may do so at a time.

    ``look`` may raise an error for a file that must not be read (``seal.Seal.look``). ``sums`` are the checksums that
    the chunks had when the store was made, uint32 (chunks,): a sound chunk of another store is refused.
    """

    def __init__(self, path: Path, array: zarr.Array, look: Look | None = None, sums: np.ndarray | None = None):
        self._look, self._sums = look, sums
        self._array, self._rows, self._chunk = array, array.shape[0], array.chunks
        self._layout = Layout.of(array)
        self._shard = lru_cache(OPEN)(lambda number: self._opened(path, number))
        self._packed = threading.local()

    def _opened(self, path: Path, number: int) -> "Shard":
        """The shard's file, opened; only then is it looked at, so that it cannot be exchanged in between."""
        name, first = self._layout.name(number), number * self._layout.chunks
        sums = None if self._sums is None else self._sums[first : first + self._layout.chunks]
        shard = Shard(path / "c" / name, self._layout.chunks, sums)
        if self._look:
            self._look(f"images/c/{name}", shard.file)
        return shard

    @property
    def direct(self) -> bool:
        """Whether chunks are read here, and not by zarr-python."""
        return self._layout is not None

    @property
    def planes_first(self) -> bool:
        """Whether a chunk lies in its file as (rows, channels, height, width)."""
        return self.direct and self._layout.order == PLANES_FIRST

    @property
    def plain(self) -> bool:
        """Whether a chunk's file holds its pixels as they are, and their CRC-32C behind them."""
        return self.direct and self._layout.codec is None

    def extents(self, chunks: Sequence[int]) -> Extents:
        """Of chunks that are stored as they are, for a reader that will compare their sums."""
        found, shards = np.full((2, len(chunks)), -1), []
        size = int(np.prod(self._chunk)) * self._array.dtype.itemsize
        for number, index in enumerate(chunks):
            shard, place = divmod(index, self._layout.chunks)
            try:
                shards.append(self._shard(shard))
                if shards[-1].length(place) == size and shards[-1].own(place):
                    found[:, number] = shards[-1].file, shards[-1].offset(place)
            except (ValueError, OSError):
                continue
        return Extents(files=found[0], offsets=found[1], shards=shards)

    def room(self, rows: int) -> np.ndarray:
        """Memory for so many rows, laid out as a chunk is in its file, which spares ``read`` a copy."""
        shape, dtype = (rows, *self._chunk[1:]), self._array.dtype
        if not self.planes_first:
            return np.empty(shape, dtype)
        lain = np.empty([shape[axis] for axis in PLANES_FIRST], dtype)
        return lain.transpose(np.argsort(PLANES_FIRST))

    def read(self, index: int, out: np.ndarray) -> np.ndarray:
        """Read chunk ``index`` into the first rows of ``out``; those there are.

        A damaged one is a ValueError, RuntimeError or OSError.
        """
        start = index * self._chunk[0]
        out = out[: self._rows - start]
        if self.direct:
            self._decode(index, out)
        else:
            out[...] = self._array[start : start + len(out)]
            if self._look:
                self._look(None, None)
        return out

    def _decode(self, index: int, out: np.ndarray) -> None:
        """The last chunk is stored with all its rows, and has fewer."""
        number, place = divmod(index, self._layout.chunks)
        shard, codec = self._shard(number), self._layout.codec
        whole = out
        if out.shape != self._chunk or not out.transpose(self._layout.order).flags.c_contiguous:
            whole = self.room(self._chunk[0])
        pixels = whole.transpose(self._layout.order).reshape(-1).view(np.uint8)
        if codec is None:
            _expect(shard.length(place), pixels)
            shard.fill(place, pixels)
        else:
            packed = self._room(shard.length(place))
            shard.fill(place, packed)
            _expect(codec.size(packed), pixels)
            codec.decompress(packed, pixels)
        if whole is not out:
            out[...] = whole[: len(out)]

    def _room(self, length: int) -> np.ndarray:
        """Memory for so many packed bytes, which the thread uses again."""
        memory = self._packed
        if len(getattr(memory, "bytes", "")) < length:
            memory.bytes = np.empty(length, np.uint8)
        return memory.bytes[:length]


def _expect(size: int, pixels: np.ndarray) -> None:
    if size != pixels.nbytes:  # fewer would leave what the memory held before
        raise ValueError(f"it holds {size} bytes of pixels, expected {pixels.nbytes}")


@dataclass(frozen=True, kw_only=True)
class Codec:
    """A compression: how many bytes packed ones stand for, and how they become those."""

    size: Callable[[np.ndarray], int]
    decompress: Callable[[np.ndarray, np.ndarray], object]  # (packed, where to)


def _zstd_size(packed: np.ndarray) -> int:
    """By the frame's header, RFC 8878 section 3.1.1.1; writers of whole chunks state it."""
    flags = int(packed[4])
    alone = flags >> 5 & 1
    width = (alone, 2, 4, 8)[flags >> 6]
    start = 6 - alone + (0, 1, 2, 4)[flags & 3]
    return int.from_bytes(packed[start : start + width].tobytes(), "little") + 256 * (width == 2)


CODECS = {
    (): None,  # pixels as they are
    ("blosc",): Codec(size=lambda packed: int(packed[4:8].view("<u4")[0]), decompress=blosc.decompress),
    ("zstd",): Codec(size=_zstd_size, decompress=zstd.decompress),
}


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How an array lies in files, shard by shard along its first axis."""

    chunks: int  # in a shard
    order: tuple[int, ...]  # of a chunk's axes in the file
    codec: Codec | None

    @classmethod
    def of(cls, array: zarr.Array) -> "Layout | None":
        """None for a layout or a compression that is none of this package's."""
        metadata, rest = array.metadata.to_dict(), array.shape[1:]
        if array.shards is None or not array.shards[1:] == array.chunks[1:] == rest or not array.dtype.isnative:
            return None
        sharding = metadata["codecs"][0]["configuration"]
        order, codecs = (*range(array.ndim),), [*sharding["codecs"]]
        if codecs[0]["name"] == "transpose":
            order = tuple(codecs.pop(0)["configuration"]["order"])
        plain, *packing, check = codecs
        names = tuple(codec["name"] for codec in packing)
        if (
            metadata["chunk_key_encoding"] != {"name": "default", "configuration": {"separator": "/"}}
            or [*sharding["index_codecs"]] != INDEX
            or sharding["index_location"] != "end"
            or plain["name"] != "bytes"
            or plain.get("configuration", INDEX[0]["configuration"]) != INDEX[0]["configuration"]
            or names not in CODECS
            or check["name"] != "crc32c"
            or order not in ((*range(array.ndim),), PLANES_FIRST)
        ):
            return None
        return cls(chunks=array.shards[0] // array.chunks[0], order=order, codec=CODECS[names])

    def name(self, shard: int) -> str:
        """Of the shard's file, below ``c``."""
        return "/".join([str(shard), *["0"] * (len(self.order) - 1)])


class Shard:
    """An open file of chunks, closed when nobody reads it any more."""

    def __init__(self, path: Path, chunks: int, sums: np.ndarray | None = None):
        self.file, self._sums = os.open(path, os.O_RDONLY), sums
        self._own = np.zeros(chunks, bool)
        self._size = os.fstat(self.file).st_size
        index = np.empty(16 * chunks, np.uint8)
        self._fill(index, max(0, self._size - len(index) - SUM))
        self._index = index.view("<u8").reshape(chunks, 2)

    def __del__(self):
        if hasattr(self, "file"):
            os.close(self.file)

    def length(self, place: int) -> int:
        """Bytes of a chunk, its sum aside; ValueError when it is not there."""
        offset, length = map(int, self._index[place])
        if length < SUM or offset + length > self._size:  # never written: both are the largest number
            raise ValueError("the shard's file holds no such chunk")
        return length - SUM

    def holds(self, place: int) -> bool:
        """Whether a chunk was written there."""
        return int(self._index[place, 1]) != ABSENT

    def offset(self, place: int) -> int:
        """Where a chunk begins."""
        return int(self._index[place, 0])

    def sum(self, place: int) -> int:
        """The checksum that stands behind a chunk."""
        return int.from_bytes(os.pread(self.file, SUM, self.offset(place) + self.length(place)), "little")

    def own(self, place: int) -> bool:
        """Whether the chunk is the one that the store was made with, by its sum; looked at once."""
        if self._sums is not None and not self._own[place]:
            self._own[place] = self.sum(place) == self._sums[place]
        return self._sums is None or bool(self._own[place])

    def fill(self, place: int, out: np.ndarray) -> None:
        """Read the bytes of a chunk, which ``out`` has the length of; ValueError when they are damaged, or others."""
        found = self._fill(out, self.offset(place))
        if self._sums is not None and found != self._sums[place]:
            raise ValueError("it is sound, but not what the store was made with: its file was exchanged")

    def _fill(self, out: np.ndarray, offset: int) -> int:
        """Read the bytes from ``offset`` on, behind which their sum stands; the sum."""
        found, filled, whole = np.empty(SUM, np.uint8), 0, len(out) + SUM
        while filled < whole:
            rest = [part for part in (out[filled:], found[max(0, filled - len(out)) :]) if len(part)]
            count = os.preadv(self.file, rest, offset + filled)
            if not count:
                raise ValueError("the shard's file is too short")
            filled += count
        if (told := int(found.view("<u4")[0])) != crc32c(out):
            raise ValueError("its checksum is not that of its bytes")
        return told


def sums_of(path: Path, chunks: int) -> np.ndarray:
    """The checksums of the chunks that a shard's file holds, in their order, uint32."""
    shard = Shard(path, chunks)
    return np.array([shard.sum(place) for place in range(chunks) if shard.holds(place)], dtype="<u4")
