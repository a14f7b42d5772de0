"""The door to astropy's FITS reader: parts of one image, held against the file's length and its DATASUM.

Tile-compressed images are decompressed tile by tile, so that only what is asked for costs time and memory.
"""

import io
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from astropy.io import fits

from hpc_astrossl.cutting import asinh, blocksums, containers
from hpc_astrossl.cutting.badfile import TRUNCATED, BadFile
from hpc_astrossl.cutting.fitsfaults import named
from hpc_astrossl.cutting.fitsheaders import Header, Headers
from hpc_astrossl.cutting.fitsunits import RAW, Stored, choose, opened
from hpc_astrossl.errors import InputError

_MOST_KNOWN, _MOST_TEXTS = 1 << 17, 1 << 12
_WHOLE = 0.05  # a float of a mask that is so near a whole number is one
AT_A_TIME = 1024  # rows, about, that who reads many windows holds


class Image:
    """An open image, (height, width) or (planes, height, width); its rows are FITS rows: the first is the lowest.

    ``tile`` (height, width) is the smallest part that can be read alone: (1, width) of an image that is not compressed.
    """

    def __init__(self, path: Path, stream: IO[bytes], units: Any, stored: Stored, axes: int, dtype: np.dtype):
        unit, self.dtype = units[stored.number], dtype
        self._axes = stored.axes(axes)
        self.path, self._unit, self._full = path, unit, tuple(unit.shape)
        self.shape = tuple(unit.shape[axis] for axis in self._axes)
        sides = (1,) * (len(self.shape) - 1) + self.shape[-1:]
        if isinstance(unit, fits.CompImageHDU):
            sides = tuple(unit.tile_shape[axis] for axis in self._axes)
        self.tile, self._sides = sides[-2:], sides
        self.headers = Headers(path=path, shape=self.shape, image=unit.header, primary=units[0].header)
        self._scaling = asinh.scaling(self.headers, path)
        self._place = _place_of_rows(stream, stored, self)
        self._packed = stored.end if stored.tiled else 0
        self._steps = _steps_of_tiles(stream, stored, self.shape, sides) if self._scaling is None else None

    @property
    def held(self) -> int:
        """Bytes of memory that reading it takes, about: of a compressed file, all of it and a part that is unpacked."""
        return self._packed + (AT_A_TIME if self._packed else AT_A_TIME // 8) * self.shape[-1] * 4

    @property
    def quantised(self) -> bool:
        """Whether its numbers were rounded by a compression that does not keep zeros."""
        return self._steps is not None

    def steps(self, rows: np.ndarray, columns: np.ndarray, plane: int = 0) -> np.ndarray | None:
        """By which steps the pixels of M parts were rounded, (M, height, width): float32, 0 for not at all; None if no
        pixel of the image was. ``rows`` are (M, height), ``columns`` (M, width)."""
        if self._steps is None:
            return None
        steps = self._steps if self._steps.ndim == 2 else self._steps[plane // self._sides[0]]
        return steps[(rows // self.tile[0])[:, :, None], (columns // self.tile[1])[:, None, :]]

    @property
    def plain(self) -> bool:
        """Whether the file holds rows of float32 as they are, which ``fill`` reads."""
        return self._place is not None

    def fill(self, start: int, out: np.ndarray) -> None:
        """Read whole rows from ``start`` on into ``out``, float32 (rows, width): as ``read`` gives them."""
        file, first = self._place
        data, offset = memoryview(out).cast("B"), first + start * out[:1].nbytes
        while len(data):
            try:
                count = os.preadv(file, [data], offset)
            except OSError as error:
                raise BadFile(f"{self.path}: cannot be read ({error.strerror}); fetch it again") from None
            if not count:
                raise BadFile(f"{self.path}: truncated: it ends at byte {offset}; fetch it again", TRUNCATED)
            data, offset = data[count:], offset + count
        out.byteswap(inplace=True)

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


def _steps_of_tiles(
    stream: IO[bytes], stored: Stored, shape: tuple[int, ...], sides: tuple[int, ...]
) -> np.ndarray | None:
    """The quantisation step (ZSCALE) of every tile of a compressed image, an axis for each of the image's; None if
    there is none, or zeros were kept (SUBTRACTIVE_DITHER_2)."""
    if not stored.tiled or not stored.kind.startswith("float"):
        return None
    stream.seek(0)
    unit = fits.open(stream, lazy_load_hdus=True, **RAW)[stored.number]  # not closed, as the stream would be
    tiles = [-(-length // side) for length, side in zip(shape, sides, strict=True)]
    found = np.full(int(np.prod(tiles)), unit.header.get("ZSCALE", 0.0), dtype=np.float32)
    if "ZSCALE" in unit.columns.names:
        found[:] = unit.data["ZSCALE"]
    kept = unit.header.get("ZQUANTIZ") == "SUBTRACTIVE_DITHER_2"
    return found.reshape(tiles) if not kept and (found > 0).any() else None


def _place_of_rows(stream: IO[bytes], stored: Stored, image: Image) -> tuple[int, int] | None:
    """(descriptor, offset) of the first row, where rows lie in the file as float32 that need nothing done to them."""
    header = image.headers.image
    as_they_are = (header.get("BSCALE", 1), header.get("BZERO", 0)) == (1, 0) and image._scaling is None
    if stored.tiled or stored.kind != "float32" or image.dtype != np.float32 or not as_they_are:
        return None
    if len(image.shape) != 2 or not isinstance(stream, io.BufferedReader):
        return None
    return stream.fileno(), stored.start


def bits(found: np.ndarray) -> np.ndarray:
    """A mask's numbers as int64; -1, which has every bit, for a float that is none: NaN, or a fraction as resampling
    leaves it, but for what a lossy compression changes."""
    if found.dtype.kind == "f":
        whole = np.round(found)
        with np.errstate(invalid="ignore"):
            number = (np.abs(found - whole) < _WHOLE) & (np.abs(whole) < 2.0**63)
        return np.where(number, whole, -1).astype(np.int64)
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
            stored, units = opened(stream, path, axes, hdu)
            _remember(key, stored)
            if checksum:
                blocksums.verify(stream, path, stored)
            if stored.tiled:  # taken one by one from the file, tiles cost more than reading all of it
                stream.seek(0)
                units = fits.HDUList.fromstring(stream.read())
            image = Image(path, stream, units, stored, axes, np.dtype(dtype))
        yield image


def read_headers(path: Path, *, axes: int = 2, hdu: int | str | None = None) -> Headers:
    """The headers of the image that ``open_image`` would open, and its shape; its pixels are not looked at."""
    with named(path):
        key = _key(path, axes, hdu)
        if key in _TEXTS:
            shape, *texts = _TEXTS[key]
            image, primary = map(Header.fromstring, texts)
            return Headers(path=path, shape=shape, image=image, primary=primary)
        with containers.open_fits(path) as stream:
            stored, units = opened(stream, path, axes, hdu)
            if stored.tiled:
                stream.seek(0)
                units = fits.open(stream, memmap=False)
            shape = tuple(stored.shape[axis] for axis in stored.axes(axes))
            found = Headers(path=path, shape=shape, image=units[stored.number].header, primary=units[0].header)
        if not isinstance(stream, io.BufferedReader):
            if len(_TEXTS) >= _MOST_TEXTS:
                _TEXTS.clear()
            _TEXTS[key] = shape, found.image.tostring(), found.primary.tostring()
        return found


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


_TEXTS: dict[tuple, tuple] = {}  # shape and headers of packed files, each of which costs an unpacking
_SUMMED: dict[tuple, bool] = {}  # of files that were opened in this process


def _key(path: Path, axes: int, hdu: int | str | None) -> tuple:
    return *blocksums.stamp(path), axes, hdu


def _remember(key: tuple, stored: Stored) -> None:
    if len(_SUMMED) > _MOST_KNOWN:
        _SUMMED.clear()
    _SUMMED[key] = stored.datasum is not None
