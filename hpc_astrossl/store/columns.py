"""Tables that come in parts, written as CSV, Parquet or npz: one part in memory."""

import csv
import json
import re
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl import npz
from hpc_astrossl.errors import InputError
from hpc_astrossl.files import cell_text, plain_cell
from hpc_astrossl.terminal import shown

DIGITS = re.compile(r"[-+]?\d{16,}")  # whole numbers that a float64 may not keep
NAMES = ("object_id", "class", "label")  # columns that hold names, though these may be digits
Columns = Mapping[str, np.ndarray]
Writer = Callable[[Path, Iterable[Columns], Mapping[str, Any]], None]


def write_csv(path: Path, parts: Iterable[Columns], about: Mapping[str, Any]) -> None:
    """A header, then one line an object; numbers with six significant digits."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        for number, columns in enumerate(parts):
            if number == 0:
                writer.writerow([plain_cell(name) for name in columns])
            writer.writerows(zip(*(_words(column) for column in columns.values()), strict=True))


def _words(column: np.ndarray) -> Iterable[Any]:
    return (f"{value:.6g}" for value in column) if column.dtype.kind == "f" else map(plain_cell, column.tolist())


def write_parquet(path: Path, parts: Iterable[Columns], about: Mapping[str, Any]) -> None:
    """One row group a part; what the table is stands in the schema's metadata. Features are lists of fixed length."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    try:
        for columns in parts:
            table = pa.table({name: _arrow(pa, column) for name, column in columns.items()})
            if writer is None:
                words = {str(key): str(value) for key, value in about.items()} | {"about": json.dumps(about)}
                writer = pq.ParquetWriter(path, table.schema.with_metadata(words), compression="zstd")
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def _arrow(pa, column: np.ndarray):
    if column.ndim == 1:
        return pa.array(column.tolist() if column.dtype.kind == "U" else column)
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(column).ravel()), column.shape[1])


def write_npz(path: Path, parts: Iterable[Columns], about: Mapping[str, Any]) -> None:
    """One array a column, for small tables: all of it is in memory at once."""
    found = list(parts)
    whole = {name: np.concatenate([columns[name] for columns in found]) for name in found[0]}
    with path.open("wb") as stream:  # given a name, numpy would add a suffix
        np.savez_compressed(stream, **whole)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = json.dumps(identities(about)).encode()


def identities(about: Mapping[str, Any]) -> dict[str, Any]:
    """What tells two makings apart, in JSON; names of classes may be many, and are the run's."""
    return json.loads(json.dumps({key: value for key, value in about.items() if key != "class_names"}))


WRITERS: dict[str, Writer] = {".csv": write_csv, ".parquet": write_parquet, ".npz": write_npz}


def check_suffix(out: Path, writers: Mapping[str, Any]) -> None:
    """InputError for a name that no writer knows, or whose library is missing."""
    if out.suffix not in writers:
        raise InputError(f"--out {out}: the name must end with one of {', '.join(writers)}")
    if out.suffix == ".parquet":
        try:
            import pyarrow  # noqa: F401
        except ModuleNotFoundError:
            others = ", ".join(suffix for suffix in writers if suffix != ".parquet")
            raise InputError(f".parquet needs pyarrow; pip install pyarrow, or choose {others}") from None


def read_table(path: Path) -> dict[str, np.ndarray]:
    """Columns of a table that has ``object_id``: CSV, Parquet or npz; numbers as float64, anything else as text.

    Columns of lists are left out. InputError when it cannot be read, or has no ``object_id``.
    """
    if path.suffix not in READERS:
        raise InputError(f"{path}: a table ends with one of {', '.join(READERS)}")
    try:
        found = READERS[path.suffix](path)
    except ModuleNotFoundError:
        raise InputError(f"{path}: .parquet needs pyarrow; pip install pyarrow, or give .csv") from None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, ValueError, KeyError, csv.Error, zipfile.BadZipFile, EOFError) as error:
        raise InputError(f"{path}: cannot be read as {path.suffix[1:]} ({error})") from None
    if "object_id" not in found:
        raise InputError(f"{path}: no column object_id; it has {shown(', '.join(found)) or 'none'}")
    told = path.suffix == ".csv"  # whether what is a number is told by the words alone
    return {name: column.astype(str) if name in NAMES else _plain(column, told) for name, column in found.items()
            if column.ndim == 1}  # fmt: skip


def _plain(column: np.ndarray, told: bool) -> np.ndarray:
    """Numbers where every value that is not empty is one (of text: where words tell that alone), else text."""
    if column.dtype.kind in "bifu":
        made = column.astype(np.float64)
        return column.astype(str) if column.dtype.kind in "iu" and (made.astype(column.dtype) != column).any() else made
    words = column.astype(str)
    if not told or any(DIGITS.fullmatch(word) for word in words.tolist()):
        return words
    try:
        return np.array([float(word) if word else np.nan for word in words.tolist()])
    except ValueError:
        return words


def _read_csv(path: Path) -> dict[str, np.ndarray]:
    with path.open(newline="", encoding="utf-8-sig") as stream:
        rows = csv.reader(stream, strict=True)
        head, lines = [cell_text(name) for name in next(rows, [])], []
        for line in rows:
            if line and len(line) != len(head):
                raise ValueError(f"line {rows.line_num} has {len(line)} values, the first line {len(head)}")
            lines += [[cell_text(cell) for cell in line]] if line else []
    if twice := [name for name in head if head.count(name) > 1]:
        raise ValueError(f"two columns {shown(twice[0])}")
    return {name: np.array([line[place] for line in lines], dtype=str) for place, name in enumerate(head)}


def _read_parquet(path: Path) -> dict[str, np.ndarray]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table, found = pq.read_table(path), {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_nested(column.type):
            continue
        number = pa.types.is_floating(column.type) or pa.types.is_integer(column.type)
        values = column.to_pylist()
        if name == "object_id" and None in values:
            raise ValueError(f"row {values.index(None) + 1} has no object_id")
        missing = np.nan if number else ""
        found[name] = np.array([missing if one is None else one for one in values], dtype=None if number else str)
    return found


def about_parquet(path: Path) -> dict[str, Any]:
    """What ``write_parquet`` was told of a table; empty where pyarrow is not installed.

    OSError, ValueError or KeyError when it is something else.
    """
    try:
        import pyarrow.parquet as pq
    except ModuleNotFoundError:
        return {}
    found = json.loads((pq.read_schema(path).metadata or {})[b"about"])
    return found if isinstance(found, dict) else {}


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with npz.opened(path) as archive:
        return dict(archive)


READERS: dict[str, Callable[[Path], dict[str, np.ndarray]]] = {
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".npz": _read_npz,
}
