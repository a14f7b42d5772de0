"""Read columns of a FITS binary table, a block of rows at a time, so that a table larger than the memory can be read.

astropy reads the headers; the rows are fixed-width records in big-endian order, of which a block is read and the wanted
columns are kept. TSCAL, TZERO and TNULL are applied here.
"""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from hpc_astrossl.errors import InputError

BLOCK = 1 << 24  # bytes of rows at once


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The first binary table of a file: its columns, and where its rows are."""

    path: Path
    columns: fits.ColDefs
    dtype: np.dtype  # of one row
    rows: int
    start: int  # byte

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return self.columns.names


def layout(path: Path) -> Layout:
    """Find the table. InputError if there is none, if it is compressed as a table, or if the file is cut off."""
    with warnings.catch_warnings(), _opened(path) as units:
        table = next((unit for unit in units if isinstance(unit, fits.BinTableHDU)), None)
        if table is None or "ZIMAGE" in table.header:
            raise InputError(f"{path}: holds no binary table; is this an image?")
        if table.header.get("ZTABLE", False):
            raise InputError(f"{path}: a table compressed with fpack; unpack it first (funpack)")
        rows, width = table.header["NAXIS2"], table.header["NAXIS1"]
        start, size = table.fileinfo()["datLoc"], path.stat().st_size
        if size < start + rows * width:
            raise InputError(f"{path}: cut off: {size:,} bytes found, {start + rows * width:,} needed; copy it again")
        return Layout(path=path, columns=table.columns, dtype=table.columns.dtype.newbyteorder(">"), rows=rows,
                      start=start)  # fmt: skip


@contextmanager
def _opened(path: Path) -> Iterator[fits.HDUList]:
    """The units of a FITS file, their headers read. InputError names a file of which astropy makes nothing."""
    warnings.filterwarnings("ignore", category=AstropyWarning)  # headers are often untidy; lengths are compared here
    try:
        # A file that astropy opens itself stays open when its first header is damaged.
        with (
            path.open("rb") as stream,
            fits.open(stream, memmap=True, lazy_load_hdus=True, disable_image_compression=True) as units,
        ):
            yield units
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, fits.VerifyError) as error:
        raise InputError(f"{path}: damaged or not a FITS file ({' '.join(str(error).split())})") from None


def read(table: Layout, wanted: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The wanted columns (all are there): text as str arrays, numbers as float64, NaN where a value is null."""
    for name, kind in wanted.items():
        _check(table, name, kind)
    parts: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
    step = max(1, BLOCK // table.dtype.itemsize)
    with table.path.open("rb") as stream:
        stream.seek(table.start)
        for first in range(0, table.rows, step):
            block = np.fromfile(stream, dtype=table.dtype, count=min(step, table.rows - first))
            for name, kind in wanted.items():
                parts[name].append(_values(block[name], table, name, kind))
    return {name: np.concatenate(parts.pop(name)) for name in wanted} if table.rows else {}


def _check(table: Layout, name: str, kind: str) -> None:
    dtype = table.dtype[name]
    simple = dtype.shape == () and dtype.kind in "Siuf" and table.columns[name].format[-1:] not in "PQXL"
    if not simple or (kind == "number" and dtype.kind == "S"):
        expected = "text" if kind == "text" else "a number"
        raise InputError(f"{table.path}: column {name!r} has format {table.columns[name].format}; "
                         f"expected {expected} in each row")  # fmt: skip


def _values(raw: np.ndarray, table: Layout, name: str, kind: str) -> np.ndarray:
    if raw.dtype.kind == "S":
        try:
            return np.char.strip(np.char.decode(raw, "ascii"))
        except UnicodeDecodeError as error:
            raise InputError(f"{table.path}: column {name!r} holds text that is not ASCII ({error})") from None
    column = table.columns[name]
    scale, zero = column.bscale or 1, column.bzero or 0
    if kind == "text":  # an id that is a number: whole numbers stay exact
        if raw.dtype.kind == "f" or scale != 1:
            raise InputError(
                f"{table.path}: column {name!r} has format {column.format}; expected text or whole numbers"
            )
        return (raw.astype(np.int64) + int(zero)).astype(str) if zero < 2**62 else _unsigned(raw).astype(str)
    values = raw.astype(np.float64)
    if column.null is not None:
        values[raw == column.null] = np.nan
    return values * scale + zero


def _unsigned(raw: np.ndarray) -> np.ndarray:
    """64-bit whole numbers without sign, which FITS stores less 2⁶³."""
    return raw.astype(np.int64).view(np.uint64) ^ np.uint64(1 << 63)
