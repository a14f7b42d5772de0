"""The door to astropy's FITS reader: parts of one image, held against the file's length and its DATASUM.

Tile-compressed images are decompressed tile by tile, so that only what is asked for costs time and memory.
"""

import lzma
import warnings
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from hpc_astrossl.cutting import asinh, containers
from hpc_astrossl.cutting.badfile import NO_FILE, BadFile
from hpc_astrossl.cutting.fitsunits import Stored, choose
from hpc_astrossl.errors import InputError

Header = fits.Header
_MOST_KNOWN = 1 << 17
_PIECE = 2880 * 4096  # bytes summed at a time; FITS data fill blocks of 2880 bytes
_FAULTS = (OSError, EOFError, ValueError, TypeError, KeyError, IndexError, zlib.error, lzma.LZMAError, RuntimeError,
           ImportError, AstropyWarning, fits.VerifyError)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Headers:
    """What the headers of an image tell: its ``shape`` without axes of length one, its own and the primary header."""

    path: Path
    shape: tuple[int, ...]
    image: Header
    primary: Header


class Image:
    """An open image, (height, width) or (planes, height, width); its rows are FITS rows: the first is the lowest.

    ``tile`` (height, width) is the smallest part that can be read alone: (1, width) of an image that is not compressed.
    """

    def __init__(self, path: Path, units: Any, stored: Stored, axes: int, dtype: np.dtype):
        unit, self.dtype = units[stored.number], dtype
        self._axes = stored.axes(axes)
        self.path, self._unit, self._full = path, unit, tuple(unit.shape)
        self.shape = tuple(unit.shape[axis] for axis in self._axes)
        self.tile = (1, self.shape[-1])
        if isinstance(unit, fits.CompImageHDU):
            self.tile = tuple(unit.tile_shape[axis] for axis in self._axes[-2:])
        self.headers = Headers(path=path, shape=self.shape, image=unit.header, primary=units[0].header)
        self._scaling = asinh.scaling(self.headers.image, path)

    def read(self, *part: slice) -> np.ndarray:
        """The pixels of a part, a slice for each axis: float32, NaN where there is no value, linear in flux.

        Of a mask, opened as int64: its bits, all of them where there is no value. InputError if damaged.
        """
        index = [slice(0, 1)] * len(self._full)
        for axis, one in zip(self._axes, part, strict=True):
            index[axis] = one
        with named(self.path), np.errstate(over="ignore"):  # beyond float32 is infinite, so without a value
            found = self._unit.section[tuple(index)]
            found = found.reshape([found.shape[axis] for axis in self._axes])
            if self.dtype == np.int64:
                return bits(found)
            return np.asarray(found if self._scaling is None else self._scaling.linear(found), dtype=np.float32)


def bits(found: np.ndarray) -> np.ndarray:
    """A mask's numbers as int64; -1, which has every bit, for a float without a value."""
    if found.dtype.kind == "f":
        return np.where(np.isfinite(found), found, -1).astype(np.int64)
    return found.astype(np.int64)


@contextmanager
def open_image(
    path: Path, *, axes: int = 2, checksum: bool = True, hdu: int | str | None = None, dtype: type = np.float32
) -> Iterator[Image]:
    """The image ``hdu`` (None: the only one with so many axes) of a FITS file, to be read in parts.

    Plain, tile-compressed, or packed by gzip, bzip2 or xz, whatever its name is. The data are held against their
    DATASUM, if there is one and unless told otherwise; CHECKSUM is not looked at, since it covers the header too, which
    many tools edit. InputError (BadFile) for a file that is missing, damaged or foreign, or holds no such image.
    """
    with named(path):
        stream, key = containers.open_fits(path), _key(path, axes, hdu)
    with stream:
        with named(path):
            stored = choose(stream, path, axes, hdu)
            _remember(key, stored)
            if checksum:
                _verify(stream, path, stored)
            stream.seek(0)
            # Tiles are taken from a file one by one, which costs more than reading a compressed file whole.
            units = fits.HDUList.fromstring(stream.read()) if stored.tiled else fits.open(stream, memmap=False)
            image = Image(path, units, stored, axes, np.dtype(dtype))
        yield image


def read_headers(path: Path, *, axes: int = 2, hdu: int | str | None = None) -> Headers:
    """The headers of the image that ``open_image`` would open, and its shape; its pixels are not looked at."""
    with named(path), containers.open_fits(path) as stream:
        stored = choose(stream, path, axes, hdu)
        stream.seek(0)
        units = fits.open(stream, memmap=False)
        shape = tuple(stored.shape[axis] for axis in stored.axes(axes))
        return Headers(path=path, shape=shape, image=units[stored.number].header, primary=units[0].header)


def read_image(path: Path, *, checksum: bool = True, hdu: int | str | None = None) -> np.ndarray:
    """A two-dimensional image of a FITS file: float32, (height, width), row 0 being the largest y."""
    with open_image(path, checksum=checksum, hdu=hdu) as image:
        return image.read(*(slice(None),) * 2)[::-1]


def has_checksum(path: Path, *, axes: int = 2, hdu: int | str | None = None) -> bool:
    """True if the image's data have a DATASUM, against which they can be verified; known once it has been opened."""
    with named(path):
        key = _key(path, axes, hdu)
        if key not in _SUMMED:
            with containers.open_fits(path) as stream:
                _remember(key, choose(stream, path, axes, hdu))
        return _SUMMED[key]


def unverified(paths: Iterable[Path], *, axes: int = 2, hdu: int | str | None = None) -> list[Path]:
    """Those whose data carry no DATASUM; what cannot be read is no input, so it is not among them."""
    found = []
    for path in paths:
        try:
            if not has_checksum(path, axes=axes, hdu=hdu):
                found.append(path)
        except InputError:
            continue
    return found


_SUMMED: dict[tuple, bool] = {}  # of files that were opened in this process


def _key(path: Path, axes: int, hdu: int | str | None) -> tuple:
    about = path.stat()
    return str(path), about.st_size, about.st_mtime_ns, axes, hdu


def _remember(key: tuple, stored: Stored) -> None:
    if len(_SUMMED) > _MOST_KNOWN:
        _SUMMED.clear()
    _SUMMED[key] = stored.datasum is not None


def missing(path: Path) -> BadFile:
    """The message for an image that the catalogue needs and the folder does not have."""
    return BadFile(f"{path}: no such file; objects of the catalogue lie in this field. Fetch it, correct the file name "
                   "in the recipe, or set fields.unreadable=reject", NO_FILE)  # fmt: skip


def _verify(stream: IO[bytes], path: Path, stored: Stored) -> None:
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
        raise BadFile(f"{path}: damaged: its data do not add up to their DATASUM; fetch it again (or, if the "
                      "DATASUM is what is stale, set checksum=false beside bands in the recipe)")  # fmt: skip


@contextmanager
def _quiet() -> Iterator[None]:
    """Untidy headers are common and harmless; lengths and sums, of which astropy only warns, are compared here."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=AstropyWarning)
        yield


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Turn what goes wrong in reading into an InputError that names the file."""
    try:
        with _quiet():
            yield
    except FileNotFoundError:
        raise missing(path) from None
    except InputError:
        raise
    except MemoryError as error:
        raise BadFile(f"{path}: needs more memory than there is ({str(error).strip()})") from None
    except _FAULTS as error:
        raise BadFile(f"{path}: damaged or not a FITS file ({str(error).strip()}); fetch it again") from None
