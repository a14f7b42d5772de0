"""The door to astropy's FITS reader: parts of one image, held against the file's length and its DATASUM.

Tile-compressed images are decompressed tile by tile, so that only what is asked for costs time and memory.
"""

import gzip
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from hpc_astrossl.errors import InputError

_PIECE = 2880 * 4096  # bytes summed at a time; FITS data fill blocks of 2880 bytes
_FAULTS = (OSError, EOFError, ValueError, TypeError, KeyError, IndexError, zlib.error, RuntimeError, AstropyWarning,
           fits.VerifyError)  # fmt: skip


class Image:
    """An open image, (height, width) or (planes, height, width); its rows are FITS rows: the first is the lowest.

    ``tile`` (height, width) is the smallest part that can be read alone: (1, width) of an image that is not compressed.
    """

    def __init__(self, path: Path, unit: Any):
        self.path, self._unit, self.shape = path, unit, tuple(unit.shape)
        self.tile = tuple(unit.tile_shape[-2:]) if isinstance(unit, fits.CompImageHDU) else (1, self.shape[-1])

    def read(self, *part: slice) -> np.ndarray:
        """The pixels of a part, a slice for each axis: float32, NaN where there is no value. InputError if damaged."""
        with _named(self.path):
            return np.asarray(self._unit.section[part], dtype=np.float32)


@contextmanager
def open_image(path: Path, *, axes: int = 2, checksum: bool = True) -> Iterator[Image]:
    """The first image with so many axes of a FITS file, plain, tile-compressed or gzipped, to be read in parts.

    The data are held against their DATASUM, if there is one and unless told otherwise; CHECKSUM is not looked at, since
    it covers the header too, which many tools edit. InputError for a file that is missing, damaged, or holds no image.
    """
    with _named(path):
        stream = _stream(path)
    with stream:
        with _named(path):
            stored = _find(stream, path, axes)
            if checksum:
                _verify(stream, path, stored)
            stream.seek(0)
            # Tiles are taken from a file one by one, which costs more than reading a compressed file whole.
            units = fits.HDUList.fromstring(stream.read()) if stored.tiled else fits.open(stream, memmap=False)
            image = Image(path, units[stored.number])
        yield image


def read_image(path: Path, *, checksum: bool = True) -> np.ndarray:
    """The first two-dimensional image of a FITS file: float32, (height, width), row 0 being the largest y."""
    with open_image(path, checksum=checksum) as image:
        return image.read(*(slice(None),) * 2)[::-1]


def has_checksum(path: Path) -> bool:
    """True if the image's data have a DATASUM, against which they can be verified."""
    with _named(path), _stream(path) as stream, _quiet(), fits.open(stream, **_RAW) as units:
        return any("DATASUM" in unit.header for unit in units if unit.header.get("NAXIS", 0) > 0)


def missing(path: Path) -> InputError:
    """The message for an image that the catalogue needs and the folder does not have."""
    return InputError(f"{path}: no such file; objects of the catalogue lie in this field. Fetch it, or correct the "
                      "file name in the recipe")  # fmt: skip


@dataclass(frozen=True)
class _Stored:
    """Where the bytes of an image are in its file, and what they should add up to."""

    number: int  # of the header-data unit
    start: int
    length: int
    datasum: str | None
    tiled: bool  # tile-compressed


_RAW = {"memmap": False, "disable_image_compression": True}  # compressed images as the tables they are stored in


def _find(stream: IO[bytes], path: Path, axes: int) -> _Stored:
    """The first image with so many axes; InputError says how many bytes there are and how many there should be."""
    found = stream.seek(0, 2)
    stream.seek(0)
    end = 0
    for number, unit in enumerate(fits.open(stream, **_RAW)):  # closing the units would close the stream
        place = unit.fileinfo()
        end = place["datLoc"] + place["datSpan"]
        if _axes(unit) == axes:
            if found < end:
                raise InputError(f"{path}: truncated: {found:,} bytes found, {end:,} needed; fetch it again")
            _check_next(stream, path, end)
            return _Stored(number, place["datLoc"], place["datSpan"], unit.header.get("DATASUM"),
                           "ZIMAGE" in unit.header)  # fmt: skip
    if found != end:
        raise InputError(f"{path}: damaged or not a FITS file: {found:,} bytes found, its headers describe {end:,}; "
                         "fetch it again")  # fmt: skip
    raise InputError(f"{path}: holds no {({2: 'two', 3: 'three'})[axes]}-dimensional image")


def _check_next(stream: IO[bytes], path: Path, end: int) -> None:
    """InputError when neither a header nor padding follows an image: its header claims less than there is."""
    stream.seek(end)
    follows = stream.read(2880)
    if follows.strip(b"\0 ") and not follows.startswith(b"XTENSION"):
        raise InputError(f"{path}: damaged: what follows its image, at byte {end:,}, is no header, so BITPIX or a size "
                         "is wrong; fetch it again")  # fmt: skip


def _axes(unit: Any) -> int | None:
    header = unit.header
    if header.get("ZIMAGE") is True:
        return header.get("ZNAXIS")
    return header.get("NAXIS") if unit.is_image else None


def _verify(stream: IO[bytes], path: Path, stored: _Stored) -> None:
    """Hold the data against their DATASUM (FITS 4.0, appendix J): the ones' complement sum of 32-bit words."""
    if stored.datasum is None:
        return
    stream.seek(stored.start)
    total, left = 0, stored.length
    while left > 0:
        piece = stream.read(min(_PIECE, left))
        left -= len(piece)
        total += int(np.frombuffer(piece, dtype=">u4").sum(dtype=np.uint64))
    if total % 0xFFFFFFFF != int(stored.datasum) % 0xFFFFFFFF:
        raise InputError(f"{path}: damaged: its data do not add up to their DATASUM; fetch it again (or, if the "
                         "DATASUM is what is stale, set checksum=false beside bands in the recipe)")  # fmt: skip


def _stream(path: Path) -> IO[bytes]:
    stream = path.open("rb")
    if stream.read(2) != b"\x1f\x8b":
        stream.seek(0)
        return stream
    stream.close()
    return gzip.open(path)


@contextmanager
def _quiet() -> Iterator[None]:
    """Untidy headers are common and harmless; lengths and sums, of which astropy only warns, are compared here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=AstropyWarning)
        yield


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn what goes wrong in reading into an InputError that names the file."""
    try:
        with _quiet():
            yield
    except FileNotFoundError:
        raise missing(path) from None
    except InputError:
        raise
    except _FAULTS as error:
        raise InputError(f"{path}: damaged or not a FITS file ({str(error).strip()}); fetch it again") from None
