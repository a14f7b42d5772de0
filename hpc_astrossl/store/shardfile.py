"""The file of one shard, filled in any order: pixels go straight to their place, and are looked at once, at the end.

A chunk is then read back while its pages are still in memory: its rows' moments and hashes, its CRC-32C and the SHA-256
of the file are taken from the same megabyte. So a writer needs no memory for the shards it has open, however many a
field has. What zarr-python writes for such an array is the specification, byte for byte.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_astrossl.files import read_at, write_at
from hpc_astrossl.store.blocks import ABSENT, PLANES_FIRST, SUM
from hpc_astrossl.store.checksum import crc32c
from hpc_astrossl.store.statistics import moments


@dataclass(frozen=True, kw_only=True)
class Form:
    """How a shard lies in its file: ``chunks`` of ``chunk`` rows, each row an image of ``shape``, (height, width,
    channels) or (bytes,). ``pack`` compresses a chunk's bytes; None leaves them as they are."""

    chunk: int
    chunks: int
    shape: tuple[int, ...]
    dtype: np.dtype
    planes_first: bool
    pack: Callable[[np.ndarray], bytes] | None

    @property
    def row(self) -> int:
        """Bytes of a row."""
        return int(np.prod(self.shape)) * self.dtype.itemsize

    @property
    def stored(self) -> tuple[int, ...]:
        """Shape of an image as it lies in the file."""
        return tuple(self.shape[axis - 1] for axis in PLANES_FIRST[1:]) if self.planes_first else self.shape

    def place(self, row: int) -> int:
        """Where a row begins; of chunks that are not compressed, their sums lie between."""
        return row * self.row + (row // self.chunk * SUM if self.pack is None else 0)


@dataclass(frozen=True, kw_only=True)
class Sums:
    """What was seen of a finished file: its size and SHA-256, a key of each row's pixels, and each row's moments.

    ``keys`` is uint8 (rows, 8): equal pictures have equal ones, and others hardly ever; ``moments`` are those of
    ``statistics.moments``, float64 (rows, channels, 2), None of files that are kept as delivered.
    """

    bytes: int
    sha256: str
    keys: np.ndarray
    moments: np.ndarray | None


class ShardFile:
    """A file of ``rows`` rows, all zero at first. Any number of threads may put different rows or planes."""

    def __init__(self, path: Path, rows: int, form: Form):
        self._path, self._rows, self._form = path, rows, form
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o666)
        self._raw = self._file if form.pack is None else _nameless(path.parent)
        self._used = -(-rows // form.chunk)
        os.ftruncate(self._raw, form.place(self._used * form.chunk))

    def put(self, places: np.ndarray, images: np.ndarray) -> None:
        """Images, (k, *shape), at rows ``places``."""
        images = images.transpose(PLANES_FIRST) if self._form.planes_first else images
        cuts = np.flatnonzero((np.diff(places) != 1) | (places[1:] % self._form.chunk == 0)) + 1
        for first, last in zip([0, *cuts.tolist()], [*cuts.tolist(), len(places)], strict=True):
            if last > first:
                write_at(self._raw, np.ascontiguousarray(images[first:last]), self._form.place(int(places[first])))

    def put_planes(self, place: int, channel: int, planes: np.ndarray) -> None:
        """Channels of the row ``place`` from ``channel`` on, contiguous (n, height, width); where planes come first."""
        write_at(self._raw, planes, self._form.place(place) + channel * planes[0].nbytes)

    def finish(self, useless: np.ndarray) -> Sums:
        """Zero the rows ``useless``, put sums and index into the file, and sync it."""
        form, end, sha = self._form, 0, hashlib.sha256()
        index = np.full((form.chunks, 2), ABSENT, dtype="<u8")
        chunk = np.empty((form.chunk, *form.stored), form.dtype)
        keys, told = [], []
        for number in range(self._used):
            first = number * form.chunk
            read_at(self._raw, chunk, form.place(first))
            here = useless[(useless >= first) & (useless < first + form.chunk)] - first
            chunk[here] = 0
            rows = chunk[: self._rows - first]
            told.append(moments(rows, form.planes_first) if len(form.shape) == 3 else np.zeros((len(rows), 1, 0)))
            keys += [_key(*both) for both in zip(rows, told[-1], strict=True)]
            data = chunk.reshape(-1).view(np.uint8)
            packed = data if form.pack is None else np.frombuffer(form.pack(data), np.uint8)
            check = np.array([crc32c(packed)], "<u4").view(np.uint8)
            if form.pack is not None or len(here):
                write_at(self._file, packed, end)
            write_at(self._file, check, end + len(packed))
            sha.update(packed)
            sha.update(check)
            index[number] = end, len(packed) + SUM
            end += len(packed) + SUM
        tail = index.reshape(-1).view(np.uint8)
        tail = np.concatenate([tail, np.array([crc32c(tail)], "<u4").view(np.uint8)])
        write_at(self._file, tail, end)
        sha.update(tail)
        os.fsync(self._file)
        return Sums(bytes=end + len(tail), sha256=sha.hexdigest(), keys=np.array(keys, "<u4").view(np.uint8),
                    moments=np.concatenate(told) if len(form.shape) == 3 else None)  # fmt: skip

    def __enter__(self) -> "ShardFile":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def close(self) -> None:
        """Let the file go, whether it is finished or not."""
        for file in {self._file, self._raw} - {-1}:
            os.close(file)
        self._file = self._raw = -1

    def give_up(self) -> None:
        """Remove a file that will not be finished."""
        self.close()
        self._path.unlink(missing_ok=True)


def _key(row: np.ndarray, told: np.ndarray) -> tuple[int, int]:
    return crc32c(row.reshape(-1).view(np.uint8)), crc32c(told.reshape(-1).view(np.uint8))


def _nameless(folder: Path) -> int:
    with tempfile.TemporaryFile(dir=folder) as stream:
        return os.dup(stream.fileno())
