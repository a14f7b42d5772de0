"""``.npz`` archives of others, or damaged ones: what an array claims is looked at before memory is asked for."""

import contextlib
import zipfile
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np

SURE = 64 << 20  # bytes that any archive may claim
RATIO = 200  # bytes in memory for one in the file: text and features stay below 50


@contextlib.contextmanager
def opened(path: Path) -> Iterator[np.lib.npyio.NpzFile]:
    """The archive, to read arrays from; errors as of ``check``, and those of numpy and zipfile."""
    with path.open("rb") as stream:
        check(stream)
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as arrays:
            yield arrays


def check(path: Path | BinaryIO, names: Collection[str] | None = None) -> None:
    """ValueError when an array (of ``names``, or of all) claims far more memory than such a file holds.

    Deflate makes a thousandth of zeros: a small file may claim to be gigabytes, and be right.
    """
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            name = member.filename.removesuffix(".npy")
            if names is not None and name not in names:
                continue
            claimed = max(member.file_size, claims(archive, member))
            if claimed > SURE and claimed > RATIO * max(1, member.compress_size):
                raise ValueError(
                    f"{name} claims {claimed / 1e9:.1f} GB, in {member.compress_size / 1e6:.1f} MB of file"
                )


def claims(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Bytes that the header of an array asks for."""
    shape, kind = header(archive, member)
    return int(np.prod(shape, dtype=object)) * kind.itemsize if shape else kind.itemsize


def header(archive: zipfile.ZipFile, member: zipfile.ZipInfo | str) -> tuple[tuple[int, ...], np.dtype]:
    """(shape, type) of an array, without its data."""
    with archive.open(member) as stream:
        shape, _, kind = read_header(stream)
    return shape, kind


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """(shape, whether the first axis changes fastest, type) of an array; the stream then stands before its data."""
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return read(stream)
