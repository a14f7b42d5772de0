"""Read columns of a FITS table, binary or ASCII, a block of rows at a time, so that a table larger than the memory can
be read.

astropy reads the headers; the rows are fixed-width records, of which a block is read and the wanted columns are kept.
TSCAL, TZERO and TNULL are applied here, to whole numbers as whole numbers (FITS standard 4.0, sections 7.2 and 7.3).
"""

import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from hpc_astrossl.errors import InputError
from hpc_astrossl.tables import streams, texts
from hpc_astrossl.tables.values import EXPECTED, Unfit, Wanted, convert, element, example, pick

BLOCK = 1 << 24  # bytes of rows at once
TABLES = (fits.BinTableHDU, fits.TableHDU)
_WIDTH = re.compile(r"[AIFED](\d+)")


@dataclass(frozen=True, kw_only=True)
class Layout:
    """One table of a file: its columns, and where its rows are. ``text`` for an ASCII table."""

    path: Path
    columns: fits.ColDefs
    dtype: np.dtype  # of one row
    rows: int
    start: int  # byte
    text: bool = False

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return self.columns.names


def layout(path: Path, wanted: Wanted, hdu: int | str | None = None) -> Layout:
    """Find the table that has all wanted columns, or the one that ``hdu`` names (a number from 0, or EXTNAME).

    InputError if there is none or more than one, if it is compressed as a table, or if the file is cut off.
    """
    with warnings.catch_warnings(), streams.seekable(path) as stream, _opened(path, stream) as units:
        tables = [(number, unit) for number, unit in enumerate(units) if isinstance(unit, TABLES)
                  and not isinstance(unit, fits.CompImageHDU) and "ZIMAGE" not in unit.header]  # fmt: skip
        table = _chosen(path, (tables, len(units)), wanted, hdu)
        if table.header.get("ZTABLE", False):
            raise InputError(f"{path}: a table compressed with fpack; unpack it first (funpack)")
        rows, width = table.header["NAXIS2"], table.header["NAXIS1"]
        start, size = table.fileinfo()["datLoc"], stream.seek(0, 2)
        if size < start + rows * width:
            raise InputError(f"{path}: cut off: {size:,} bytes found, {start + rows * width:,} needed; copy it again")
        text = isinstance(table, fits.TableHDU)
        dtype = _fields(path, table.columns, width) if text else table.columns.dtype.newbyteorder(">")
        return Layout(path=path, columns=table.columns, dtype=dtype, rows=rows, start=start, text=text)


def _chosen(path: Path, found: tuple[list, int], wanted: Wanted, hdu: int | str | None) -> fits.BinTableHDU:
    tables, count = found
    listed = ", ".join(f"{number} ({unit.name or 'no name'})" for number, unit in tables) or "none"
    if hdu is not None:
        fitting = [pair for pair in tables if hdu in (pair[0], pair[1].name) or str(hdu).upper() == pair[1].name]
        if not fitting:
            raise InputError(f"{path}: no table at hdu {hdu!r}; its tables are: {listed}")
    else:
        fitting = [pair for pair in tables if _has(pair[1].columns.names, wanted)]
    if len(fitting) > 1:
        these = ", ".join(f"{number} ({unit.name or 'no name'})" for number, unit in fitting)
        what = "are called so" if hdu is not None else "have the wanted columns"
        raise InputError(f"{path}: {len(fitting)} tables {what}: hdu {these}; give the number of one as hdu")
    if fitting:
        return fitting[0][1]
    packed = [pair for pair in tables if pair[1].header.get("ZTABLE", False)]
    if packed:
        return packed[0][1]
    if not tables:
        raise InputError(f"{path}: holds no table in its {count} units; is this an image?")
    return max(tables, key=lambda pair: sum(_has(pair[1].columns.names, {name: "text"}) for name in wanted))[1]


def _has(names: list[str], wanted: Wanted) -> bool:
    return all(element(name, names)[0] in names for name in wanted)


@contextmanager
def _opened(path: Path, stream: BinaryIO) -> Iterator[fits.HDUList]:
    """The units of a FITS file, their headers read. InputError names a file of which astropy makes nothing."""
    warnings.filterwarnings("ignore", category=AstropyWarning)  # headers are often untidy; lengths are compared here
    try:
        # A file that astropy opens itself stays open when its first header is damaged.
        with fits.open(stream, memmap=True, lazy_load_hdus=True, disable_image_compression=True) as units:
            yield units
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, fits.VerifyError) as error:
        raise InputError(f"{path}: damaged or not a FITS file ({' '.join(str(error).split())})") from None


def read(table: Layout, wanted: Wanted) -> Iterator[dict[str, np.ndarray]]:
    """Blocks of the wanted columns (all are there): names and labels as str arrays, numbers as float64, NaN where one
    is null."""
    step = max(1, BLOCK // max(1, table.dtype.itemsize))
    with streams.seekable(table.path) as stream:
        stream.seek(table.start)
        for first in range(0, table.rows, step):
            block = np.fromfile(stream, dtype=table.dtype, count=min(step, table.rows - first))
            yield {name: _column(block, table, name, kind) for name, kind in wanted.items()}


def _column(block: np.ndarray, table: Layout, name: str, kind: str) -> np.ndarray:
    base, index = element(name, table.names)
    try:
        if table.text:
            return _of_text(block[base], table.columns[base], kind)
        _check_form(table.columns[base], kind)
        column = table.columns[base]
        raw = pick(_bits(block[base], column) if "X" in column.format else block[base], base, index)
        found = convert(*_values(raw, table.columns[base]), kind)
        if kind == "text" and raw.dtype.kind == "S":
            texts.check_names(found)
        return found
    except Unfit as error:
        wide = table.rows == 1 and block.dtype[base].shape
        hint = "; a column-oriented table (colfits) is rewritten by stilts tpipe ifmt=colfits-plus ofmt=fits" if wide \
            else ""  # fmt: skip
        raise InputError(f"{table.path}: column {base!r} has format {table.columns[base].format}: {error}{hint}") \
            from None  # fmt: skip


def _check_form(column: fits.Column, kind: str) -> None:
    if any(letter in column.format for letter in "PQCM"):
        raise Unfit(f"expected {EXPECTED[kind]} in each row")


def _bits(raw: np.ndarray, column: fits.Column) -> np.ndarray:
    """A column of bits, one number each: the first is the highest bit of the first byte."""
    count = int(column.format.partition("X")[0] or 1)
    return np.unpackbits(np.ascontiguousarray(raw.reshape(len(raw), -1)), axis=1)[:, :count]


def _values(raw: np.ndarray, column: fits.Column) -> tuple[np.ndarray, np.ndarray | None]:
    """(values, where they are null) of one column: whole numbers stay whole."""
    if raw.dtype.kind == "S":
        return raw, None
    if "L" in column.format:
        return _booleans(raw)
    null = raw == column.null if column.null is not None and raw.dtype.kind in "iu" else None
    scale, zero = column.bscale or 1, column.bzero or 0
    if raw.dtype.kind == "f" or scale != 1 or zero != int(zero) or abs(zero) > 2**63:
        return raw.astype(np.float64) * scale + zero if (scale, zero) != (1, 0) else raw, null
    if zero == 2**63 and raw.dtype.itemsize == 8:
        return _unsigned(raw), null
    return (raw.astype(np.int64) + int(zero) if zero else raw), null


def _booleans(raw: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """T and F; a null byte is neither. Unfit for any other byte."""
    if not np.isin(raw, [ord("T"), ord("F"), 0]).all():
        raise Unfit("holds bytes that are neither T nor F nor null")
    return raw == ord("T"), raw == 0


def _unsigned(raw: np.ndarray) -> np.ndarray:
    """64-bit whole numbers without sign, which FITS stores less 2⁶³."""
    return raw.astype(np.int64).view(np.uint64) ^ np.uint64(1 << 63)


def _fields(path: Path, columns: fits.ColDefs, width: int) -> np.dtype:
    """One row of an ASCII table: bytes at the columns' places (TBCOL, from 1)."""
    places = [(column.start or 1) - 1 for column in columns]
    widths = [int(_WIDTH.match(column.format)[1]) for column in columns]
    if any(place + length > width for place, length in zip(places, widths, strict=True)):
        raise InputError(f"{path}: damaged: a column of its ASCII table lies beyond the row of {width} bytes")
    return np.dtype({"names": list(columns.names), "formats": [f"S{length}" for length in widths], "offsets": places,
                     "itemsize": width})  # fmt: skip


def _of_text(raw: np.ndarray, column: fits.Column, kind: str) -> np.ndarray:
    """A column of an ASCII table. Unfit for numbers without the decimal point that their format promises."""
    texts_ = [value.decode("latin-1").strip() for value in raw.tolist()]
    nulls = {"", str(column.null or "").strip()}
    letter, scaled = column.format[0], (column.bscale or 1, column.bzero or 0) != (1, 0)
    if letter == "A":
        return convert(raw, np.array([text in nulls for text in texts_], dtype=bool), kind)
    texts_ = ["" if text in nulls else text.upper().replace("D", "E") for text in texts_]
    if kind == "text" and (letter != "I" or scaled):
        raise Unfit("holds floating-point numbers, which cannot tell long ids apart; expected text or whole numbers")
    wrong = next((text for text in texts_ if text and not texts.NUMBER.fullmatch(text)), None)
    if wrong is not None:
        raise Unfit(f"found {wrong!r}, expected a number")
    if (
        not column.format.endswith(".0")
        and letter != "I"
        and any(text and not set(text) & set(".N") for text in texts_)
    ):
        raise Unfit(f"holds numbers without a decimal point{example(raw)}")
    if kind != "number" and not scaled:
        return np.array([str(int(text)) if text and letter == "I" else text for text in texts_], dtype=str)
    found = texts.numbers(texts_, {""}) * (column.bscale or 1) + (column.bzero or 0)
    return found if kind == "number" else convert(found, None, kind)
