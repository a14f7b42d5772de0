"""Arrays of numbers in .npy and .npz files: mapped, once their headers are held against the bytes that are there."""

import shutil
import tempfile
import zipfile
from pathlib import Path
from typing import IO

import numpy as np

from hpc_astrossl import npz
from hpc_astrossl.errors import InputError, unknown

PIECE = 1 << 20
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")  # how a .npz file begins; an empty one
_AXES = (3, 4)  # of an array of images


def open_array(path: Path, name: str | None = None) -> np.ndarray:
    """The array of a .npy file, mapped from it; of a .npz file the one called ``name`` (None: the only one with the
    axes of images), unpacked into a file without a name in the temporary folder and mapped from there.

    InputError for what is no array of real numbers, holds other bytes than its header says, or must be chosen.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file; correct cutouts.array or --source")
    try:
        with path.open("rb") as stream:
            packed = stream.read(4) in _ZIP
            if not packed and name is not None:
                raise InputError(f"{path}: holds one array without a name; leave cutouts.array_name out")
            stream.seek(0)
            return _of_archive(path, name) if packed else _mapped(stream, path, path.stat().st_size)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise InputError(f"{path}: cannot be read as an array of numbers ({error}); write it again with numpy.save") \
            from None  # fmt: skip


def _mapped(stream: IO[bytes], path: Path, length: int) -> np.ndarray:
    """The array that begins a stream of ``length`` bytes, and must fill it."""
    shape, fortran, kind = npz.read_header(stream)
    if kind.kind not in "fiu":
        raise InputError(f"{path}: holds values of type {kind}, no real numbers; save the pixels alone, as numbers")
    size, offset = int(np.prod(shape, dtype=object)), stream.tell()
    there = length - offset
    if min(shape, default=0) < 0 or size * kind.itemsize > there:
        raise InputError(f"{path}: truncated: its header says {words(shape)} of {kind}, {size * kind.itemsize:,} "
                         f"bytes, the file has {there:,}; copy or write it again")  # fmt: skip
    if size * kind.itemsize < there:
        raise InputError(f"{path}: {there - size * kind.itemsize:,} bytes follow its array of {words(shape)}: more "
                         "than one array in a .npy file is not read; save them as one, or as .npz")  # fmt: skip
    if size == 0:
        return np.zeros(shape, dtype=kind)
    return np.memmap(stream, kind, mode="r", offset=offset, shape=shape, order="F" if fortran else "C")


def _of_archive(path: Path, name: str | None) -> np.ndarray:
    with zipfile.ZipFile(path) as archive:
        arrays = [entry.removesuffix(".npy") for entry in archive.namelist() if entry.endswith(".npy")]
        if name is None:
            name = _only(path, archive, arrays)
        if name not in arrays:
            raise unknown(f"array in {path.name} (cutouts.array_name)", name, arrays)
        npz.check(path, {name})
        with tempfile.TemporaryFile() as whole:  # a map outlives it
            with archive.open(f"{name}.npy") as inside:  # which holds the bytes against their CRC
                _copy(inside, whole)
            length = whole.tell()
            whole.seek(0)
            return _mapped(whole, path, length)


def _only(path: Path, archive: zipfile.ZipFile, arrays: list[str]) -> str:
    """The only array with the axes of images."""
    shapes = {one: npz.header(archive, f"{one}.npy")[0] for one in arrays}
    images = [one for one, shape in shapes.items() if len(shape) in _AXES]
    if len(images) != 1:
        there = ", ".join(f"{one} ({words(shape)})" for one, shape in shapes.items()) or "no array"
        raise InputError(f"{path}: {len(images) or 'none'} of its arrays may be the cutouts, with three or four axes; "
                         f"it holds {there}; name one: cutouts.array_name")  # fmt: skip
    return images[0]


def _copy(inside: IO[bytes], out: IO[bytes]) -> None:
    while piece := inside.read(PIECE):
        try:
            out.write(piece)
        except OSError as error:
            free = shutil.disk_usage(tempfile.gettempdir()).free
            raise InputError(f"{tempfile.gettempdir()}: cannot hold the unpacked array ({error.strerror}, {free:,} "
                             "bytes free); set TMPDIR to a folder with room, or save it as .npy") from None  # fmt: skip
    out.flush()


def words(shape: tuple[int, ...]) -> str:
    """A shape for a message."""
    return " × ".join(map(str, shape)) or "one number"
