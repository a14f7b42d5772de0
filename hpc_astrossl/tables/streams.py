"""Files as they lie, or unpacked on the way: packings are known by their first bytes, here for tables and images alike.

gzip, bzip2, xz and Zstandard are undone; others are named with the command that undoes them.
"""

import bz2
import gzip
import io
import lzma
import os
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from hpc_astrossl.errors import InputError

PACKINGS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"\x28\xb5\x2f\xfd": "zstd"}
_NAMED = {  # what is not read: what it is, and the command that undoes it
    b"\x1f\x9d": ("compressed with compress (.Z)", "gzip -d {}  (or uncompress {})"),
    b"\x1f\xa0": ("compressed with compress -H (.Z)", "gzip -d {}"),
    b"\x1f\x1e": ("compressed with pack (.z)", "gzip -d {}"),
    b"PK\x03\x04": ("a zip archive", "unzip {}"),
    b"7z\xbc\xaf\x27\x1c": ("a 7z archive", "7z x {}"),
    b"Rar!": ("a RAR archive", "unrar x {}"),
    b"\x04\x22\x4d\x18": ("compressed with lz4", "lz4 -d {}"),
    b"LZIP": ("compressed with lzip", "lzip -d {}"),
    b"\x89LZO": ("compressed with lzop", "lzop -d {}"),
    b"\x5d\0\0": ("compressed with lzma", "xz -d --format=lzma {}"),
}
FAULTS = (OSError, EOFError, zlib.error, lzma.LZMAError, pa.ArrowException)  # a packed file that is damaged or cut off


def packing(path: Path) -> str | None:
    """gzip, bzip2, xz or zstd, by the first bytes of a file; None for one that is not packed. InputError, with the
    command that unpacks it, for a packing that is not read. OSError if the file cannot be read."""
    with path.open("rb") as stream:
        start = stream.read(8)
    if (found := unread(start)) is not None:
        what, command = found
        sheet = "; a spreadsheet: save it as CSV" if start.startswith(b"PK") else ""
        raise InputError(f"{path}: is {what}; unpack it first: {command.replace('{}', path.name)}{sheet}")
    return kind_of(start)


def kind_of(start: bytes) -> str | None:
    """gzip, bzip2, xz or zstd, by how a file begins."""
    return next((name for magic, name in PACKINGS.items() if start.startswith(magic)), None)


def unread(start: bytes) -> tuple[str, str] | None:
    """(what it is, the command that unpacks it, with {} for the file) of a packing that is not undone here."""
    return next((found for magic, found in _NAMED.items() if start.startswith(magic)), None)


def undone(packed: BinaryIO, kind: str) -> BinaryIO:
    """What is in an open packed file, to be read from the beginning on. Raises what FAULTS lists."""
    if kind == "zstd":
        return io.BufferedReader(_Zstd(packed), 1 << 20)
    return {"gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}[kind](packed, "rb")


class _Zstd(io.RawIOBase):
    """A Zstandard file as bytes, one after the other."""

    def __init__(self, packed: BinaryIO):
        self._stream = pa.CompressedInputStream(pa.PythonFile(packed, "r"), "zstd")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        if not self.closed:
            self._stream.close()
        super().close()


def unpacked(path: Path) -> BinaryIO:
    """The file's bytes, unpacked on the way, to be read from the beginning on. Raises what FAULTS lists."""
    kind = packing(path)
    if kind == "zstd":
        return undone(path.open("rb"), kind)
    return {None: open, "gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open}[kind](path, "rb")


def skip(stream: BinaryIO, count: int) -> BinaryIO:
    """The stream, ``count`` bytes further on than its beginning, where it is."""
    while count > 0 and (block := stream.read(min(count, 1 << 20))):
        count -= len(block)
    return stream


def seekable(path: Path) -> BinaryIO:
    """The file, or, if it is packed, what is in it as a file without a name, which takes the disk space of both."""
    if packing(path) is None:
        return path.open("rb")
    with tempfile.TemporaryFile() as whole, unpacked(path) as stream:
        shutil.copyfileobj(stream, whole, 1 << 20)
        whole.flush()
        again = os.fdopen(os.dup(whole.fileno()), "rb")  # astropy refuses to read what is open for writing
    again.seek(0)
    return again
