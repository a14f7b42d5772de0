"""``.npz`` archives of others, or damaged ones: what an array claims is looked at before memory is asked for.

And columns of any length in one: written as they come, and read in stretches.
"""

import contextlib
import zipfile
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, BinaryIO

import numpy as np

SURE = 64 << 20  # bytes that any archive may claim
RATIO = 200  # bytes in memory for one in the file: text and features stay below 50
PASSED = 1 << 24  # bytes that are unpacked at a time to come to what is behind them
FAULTS = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error)  # what damage may raise


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


@dataclass(frozen=True, kw_only=True)
class Column:
    """An array of one axis, of so many ``rows`` of type ``kind``, as parts that come one after the other."""

    kind: np.dtype
    rows: int
    parts: Iterable[np.ndarray]


def write(path: Path, columns: Mapping[str, Column]) -> None:
    """A new archive of columns, byte by byte what ``np.savez_compressed`` makes of them; one part is in memory."""
    with zipfile.ZipFile(path, "x", zipfile.ZIP_DEFLATED) as archive:
        for name, column in columns.items():
            about = {"descr": column.kind.str, "fortran_order": False, "shape": (column.rows,)}
            with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array_header_1_0(stream, about)
                for part in column.parts:
                    stream.write(part.astype(column.kind, copy=False).tobytes())


class Stretches(Mapping):
    """Columns of an archive, by name, with the manners of a store's table: of each no more is read than is asked for,
    one stretch after the other.

    FAULTS when it does not hold columns of one length; what cannot be read later raises what ``damage`` makes of it.
    """

    def __init__(self, path: Path, names: Collection[str], damage: Callable[[Exception], Exception]):
        check(path)
        self._archive, self._damage = zipfile.ZipFile(path), damage
        self._open: dict[str, tuple[IO[bytes], int]] = {}  # by column, before which row its stream stands
        shapes, kinds = zip(*(header(self._archive, f"{name}.npy") for name in names), strict=True)
        if len(set(shapes)) > 1 or len(shapes[0]) != 1 or any(kind.hasobject for kind in kinds):
            raise ValueError("it does not hold columns of one length")
        self._rows, self._kinds = shapes[0][0], dict(zip(names, kinds, strict=True))

    def rows(self, name: str) -> int:
        """The length of a column."""
        return self._rows

    def part(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows of a column."""
        try:
            return self._part(name, start, min(stop, self._rows))
        except FAULTS as error:
            raise self._damage(error) from None

    def _part(self, name: str, start: int, stop: int) -> np.ndarray:
        stream, at = self._open.pop(name, (None, 0))
        if stream is None or at > start:
            stream, at = self._archive.open(f"{name}.npy"), 0
            read_header(stream)
        each = self._kinds[name].itemsize
        left = (start - at) * each
        while left:
            left -= len(_read(stream, min(left, PASSED)))
        data = _read(stream, (stop - start) * each)
        self._open[name] = stream, stop
        return np.frombuffer(data, self._kinds[name])

    def __getitem__(self, name: str) -> np.ndarray:
        return self.part(name, 0, self._rows)

    def __iter__(self) -> Iterator[str]:
        return iter(self._kinds)

    def __len__(self) -> int:
        return len(self._kinds)


def _read(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError("an array ends before its last row")
    return data
