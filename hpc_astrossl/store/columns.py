"""Tables that come in parts, written as CSV, Parquet or npz: one part in memory."""

import csv
import json
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl.errors import InputError

Columns = Mapping[str, np.ndarray]
Writer = Callable[[Path, Iterable[Columns], Mapping[str, Any]], None]


def write_csv(path: Path, parts: Iterable[Columns], about: Mapping[str, Any]) -> None:
    """A header, then one line an object; numbers with six significant digits."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        for number, columns in enumerate(parts):
            if number == 0:
                writer.writerow(columns)
            writer.writerows(zip(*(_words(column) for column in columns.values()), strict=True))


def _words(column: np.ndarray) -> Iterable[Any]:
    return (f"{value:.6g}" for value in column) if column.dtype.kind == "f" else column.tolist()


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
