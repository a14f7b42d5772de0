"""Read columns of a catalogue as arrays: text, FITS binary tables and Parquet, one file or several that agree.

Survey catalogues hold millions of rows and more than a hundred columns: only the columns asked for are kept, and they
become arrays block by block. Every fault of a file is an InputError that opens with its path.
"""

import csv
import difflib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from hpc_astrossl.errors import InputError
from hpc_astrossl.tables import fits_tables, text_tables

Wanted = Mapping[str, Literal["text", "number"]]
BLOCK = 1 << 18  # rows of a Parquet file at once
_MAGIC = {b"SIMPLE": "fits", b"PAR1": "parquet"}
_TEXT_LIKE = {"ascii", "csv"}


def files(source: Path, pattern: str) -> list[Path]:
    """The files below ``source`` that a name, or a pattern with ``*`` and ``?``, stands for, ordered by name."""
    if not any(sign in pattern for sign in "*?["):
        return [source / pattern]
    found = sorted(path for path in source.glob(pattern) if path.is_file())
    if not found:
        raise InputError(f"{source / pattern}: no file matches this pattern; the recipe expects tables "
                         "in the folder given as --source")  # fmt: skip
    return found


def read_tables(paths: Sequence[Path], wanted: Wanted, *, format: str = "ascii", names: Sequence[str] = ()):
    """``read_table`` of several files, one after the other; InputError if they do not have the same columns."""
    if len(paths) > 1:
        headers = [(path, _open(path, wanted, format, names)[0]) for path in paths]
        for path, header in headers[1:]:
            odd = sorted(set(header) ^ set(headers[0][1]))
            if odd:
                where = "only in this file" if odd[0] in header else "missing here"
                raise InputError(f"{path}: other columns than {headers[0][0].name}: {odd[0]!r} is {where}; files that "
                                 "one pattern stands for must have the same columns")  # fmt: skip
    parts = [read_table(path, wanted, format=format, names=names) for path in paths]
    return {name: np.concatenate([part.pop(name) for part in parts]) for name in wanted} if parts[1:] else parts[0]


def read_table(
    path: Path, wanted: Wanted, *, format: str = "ascii", names: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """The wanted columns of a table: text as str arrays, numbers as float64 (NaN where a field is empty).

    ``format`` is ascii, csv, fits or parquet; ``names`` are those of the first columns of a text table without a
    header. InputError for a missing file or column, a row of another length, a field that is no number, a table
    without rows.
    """
    header, table = _open(path, wanted, format, names)
    for name in wanted:
        _check_column(path, header, name)
    read = {"fits": fits_tables.read, "parquet": _read_parquet}.get(format, text_tables.read)
    try:
        columns = read(table, wanted)
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise _unreadable(path, format, error) from None
    if not columns or not len(next(iter(columns.values()))):
        raise InputError(f"{path}: the table has no rows")
    return columns


def _open(path: Path, wanted: Wanted, format: str, names: Sequence[str]) -> tuple[Sequence[str], object]:
    """Column names, and what the format's reader needs to read on."""
    try:
        _check_kind(path, format)
        if format == "fits":
            table = fits_tables.layout(path)
            return table.names, table
        if format == "parquet":
            file = parquet.ParquetFile(path)
            return file.schema_arrow.names, file
        table = text_tables.layout(path, format, names, wanted)
        return table.header, table
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; the recipe expects this table in the folder given as --source"
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error, pa.ArrowException) as error:
        raise _unreadable(path, format, error) from None


def _check_kind(path: Path, format: str) -> None:
    """Files tell what they are: a FITS file read as text would only be reported as a wrong header."""
    with path.open("rb") as stream:
        start = stream.read(6)
    kind = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), "text")
    if start.startswith(b"\x1f\x8b"):
        raise InputError(f"{path}: compressed with gzip; unpack it first (gunzip)")
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(f"{path}: text in UTF-16; save it as UTF-8")
    if kind != ("text" if format in _TEXT_LIKE else format):
        remedy = "ascii or csv" if kind == "text" else kind
        what = {"text": "neither a FITS nor a Parquet file", "fits": "a FITS file", "parquet": "a Parquet file"}[kind]
        if format in ("fits", "parquet") or kind != "text":
            raise InputError(f"{path}: is {what}, the recipe says format: {format}; say format: {remedy}")


def _unreadable(path: Path, format: str, error: Exception) -> InputError:
    kind = {"fits": "a FITS table", "parquet": "a Parquet table"}.get(format, "a text table")
    hint = "; save it as UTF-8" if isinstance(error, UnicodeDecodeError) else ""
    return InputError(f"{path}: cannot be read as {kind} ({' '.join(str(error).split())}){hint}")


def _check_column(path: Path, header: Sequence[str], name: str) -> None:
    count = list(header).count(name)
    if count > 1:
        raise InputError(f"{path}: column {name!r} stands {count} times in the header")
    if count == 0:
        near = nearest(name, header)
        hint = f"nearest: {', '.join(near)}" if near else f"it has: {', '.join(header[:20]) or 'no header'}"
        raise InputError(f"{path}: no column {name!r}; {hint}. The recipe says which column is which")


def nearest(name: str, header: Iterable[str]) -> list[str]:
    """At most four column names like ``name``, best first; case does not count."""
    lower = {other.lower(): other for other in reversed(list(header))}
    return [lower[match] for match in difflib.get_close_matches(name.lower(), lower, n=4, cutoff=0.5)]


def _read_parquet(file: parquet.ParquetFile, wanted: Wanted) -> dict[str, np.ndarray]:
    parts: dict[str, list[np.ndarray]] = {name: [] for name in wanted}
    for batch in file.iter_batches(batch_size=BLOCK, columns=list(wanted)):
        for name, kind in wanted.items():
            parts[name].append(_column(batch.column(name), name, kind))
    return {name: np.concatenate(parts.pop(name)) for name in wanted} if file.metadata.num_rows else {}


def _column(column: pa.Array, name: str, kind: str) -> np.ndarray:
    try:
        if kind == "text":
            text = text_tables.plain_text(pc.fill_null(column.cast(pa.string()), ""))
            return text.to_numpy(zero_copy_only=False).astype(str)
        return column.cast(pa.float64()).to_numpy(zero_copy_only=False)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        wrong = "text" if kind == "text" else "a number"
        raise pa.ArrowInvalid(f"column {name!r} of type {column.type}: expected {wrong}; {error}") from None
