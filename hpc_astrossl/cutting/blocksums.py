"""A file's SHA-256 and its DATASUM: words of FITS blocks are added up while it is hashed, and kept until asked for."""

import hashlib
import io
import threading
from collections.abc import Hashable
from pathlib import Path
from typing import IO, Any

import numpy as np

from hpc_astrossl.cutting import containers
from hpc_astrossl.cutting.badfile import BadFile
from hpc_astrossl.cutting.fitsunits import Stored

BLOCK = 2880  # bytes of a block: headers and data of FITS fill whole ones
_PIECE = BLOCK * 256  # bytes summed at a time, which the processor's cache holds
MOST = 1 << 26  # bytes that are kept, of 23 GB of files
_EACH = 256  # bytes, about, that an entry takes beside its sums


class BlockSums:
    """The latest sums, as long as there is room. Threads hash files side by side, so that each call is alone."""

    def __init__(self, most: int = MOST):
        self._most, self._bytes, self._lock = most, 0, threading.Lock()
        self._known: dict[Hashable, np.ndarray] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, stamp: Hashable) -> np.ndarray | None:
        """The sums of the file of that stamp, None when they are not known any more."""
        return self._known.get(stamp)

    def put(self, stamp: Hashable, sums: np.ndarray) -> None:
        """Keep them, and let the oldest go where there is no room."""
        with self._lock:
            self._drop(stamp)
            self._known[stamp] = sums
            self._bytes += sums.nbytes + _EACH
            while self._bytes > self._most and self._known:
                self._drop(next(iter(self._known)))

    def _drop(self, stamp: Hashable) -> None:
        if (old := self._known.pop(stamp, None)) is not None:
            self._bytes -= old.nbytes + _EACH


_SUMS = BlockSums()  # of files that were hashed in this process


def verify(stream: IO[bytes], path: Path, stored: Stored) -> None:
    """Hold the data against their DATASUM (FITS 4.0, appendix J): the ones' complement sum of 32-bit words."""
    if stored.datasum is None:
        return
    blocks = slice(stored.start // BLOCK, stored.end // BLOCK)
    known = _SUMS.get(stamp(path)) if isinstance(stream, io.BufferedReader) else None
    total = int(known[blocks].sum()) if known is not None else _summed(stream, stored)
    if total % 0xFFFFFFFF != int(stored.datasum) % 0xFFFFFFFF:
        raise BadFile(f"{path}: damaged: its data do not add up to their DATASUM; fetch it again (or, if the "
                      "DATASUM is what is stale, set checksum=false beside bands in the recipe)")  # fmt: skip


def _summed(stream: IO[bytes], stored: Stored) -> int:
    stream.seek(stored.start)
    total, left = 0, stored.length
    while left > 0:
        piece = stream.read(min(_PIECE, left))
        left -= len(piece)
        total += int(np.frombuffer(piece, dtype=">u4").sum(dtype=np.uint64))
    return total


def _words(data: Any) -> np.ndarray:
    """The sum of the words of each block of FITS, uint64; no word is lost, since 720 of them stay far below 2⁶⁴."""
    return np.frombuffer(data, dtype=">u4").reshape(-1, BLOCK // 4).sum(axis=1, dtype=np.uint64)


def sha256(path: Path) -> str:
    """The file's SHA-256. Of a FITS file the words of every block are added up on the way, while they are in the cache,
    so that ``open_image`` need not read it once more for its DATASUM. OSError if it cannot be read."""
    digest, sums, memory, known_as = hashlib.sha256(), [], memoryview(bytearray(_PIECE)), stamp(path)
    with path.open("rb", buffering=0) as stream:
        while count := stream.readinto(memory):
            digest.update(memory[:count])
            if sums is not None:
                foreign = count % BLOCK or not (sums or memory[: len(containers.FITS)] == containers.FITS)
                sums = None if foreign else [*sums, _words(memory[:count])]
    if sums:
        _SUMS.put(known_as, np.concatenate(sums))
    return digest.hexdigest()


def stamp(path: Path) -> tuple:
    """What tells a file from another at its place: name, size, time of the last change."""
    about = path.stat()
    return str(path), about.st_size, about.st_mtime_ns
