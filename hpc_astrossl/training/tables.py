"""Final forms of a table that comes in parts: CSV, Parquet, npz, and for features a Zarr group; one part in memory.

Each keeps what it was made from: in its metadata, in the comment of an npz (a zip archive), in ``NAME.csv.json`` beside
a CSV.
"""

import csv
import json
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.files import remove, sync, write_aside
from hpc_astrossl.store import embedding
from hpc_astrossl.training.parts import Parts, written

Writer = Callable[[Path, Parts, dict[str, Any]], None]


def write_csv(path: Path, parts: Parts, about: dict[str, Any]) -> None:
    """A header, then one line an object; numbers with six significant digits."""
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        for number, columns in enumerate(parts.read()):
            if number == 0:
                writer.writerow(columns)
            writer.writerows(zip(*(_words(column) for column in columns.values()), strict=True))


def _words(column: np.ndarray) -> Iterable[Any]:
    return (f"{value:.6g}" for value in column) if column.dtype.kind == "f" else column.tolist()


def write_parquet(path: Path, parts: Parts, about: dict[str, Any]) -> None:
    """One row group a part; what the table is stands in the schema's metadata. Features are lists of fixed length."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer = None
    try:
        for columns in parts.read():
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


def write_npz(path: Path, parts: Parts, about: dict[str, Any]) -> None:
    """One array a column, for small tables: all of it is in memory at once."""
    found = list(parts.read())
    whole = {name: np.concatenate([columns[name] for columns in found]) for name in found[0]}
    with path.open("wb") as stream:  # given a name, numpy would add a suffix
        np.savez_compressed(stream, **whole)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = json.dumps(_identities(about)).encode()


def write_zarr(path: Path, parts: Parts, about: dict[str, Any]) -> None:
    """The embedding format (docs/embedding.md)."""
    embedding.write(path, parts.read(), rows=parts.total, about=about)


PREDICTIONS: dict[str, Writer] = {".csv": write_csv, ".parquet": write_parquet, ".npz": write_npz}
FEATURES: dict[str, Writer] = {".zarr": write_zarr, ".parquet": write_parquet, ".npz": write_npz}


def beside(csv: Path) -> Path:
    """Where a CSV's own description lies."""
    return csv.with_name(csv.name + ".json")


def _identities(about: dict[str, Any]) -> dict[str, Any]:
    """What tells two makings apart, in JSON; names of classes may be many, and are the run's."""
    return json.loads(json.dumps({key: value for key, value in about.items() if key != "class_names"}))


def kept(path: Path) -> dict[str, Any] | None:
    """What a table that is there was made from; None when it does not tell, or cannot be read."""
    try:
        if path.suffix == ".csv":
            return json.loads(beside(path).read_bytes())
        if path.suffix == ".zarr":
            found = dict(embedding.attributes(path))
            return {key: value for key, value in found.items() if key not in ("format", "version")}
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as archive:
                return json.loads(archive.comment)
        import pyarrow.parquet as pq

        return json.loads(pq.read_schema(path).metadata[b"about"])
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile, InputError):
        return None


def check_outs(outs: list[Path], writers: dict[str, Writer], *, about: dict[str, Any] | None) -> None:
    """InputError for a name that no writer knows, a library that is missing, or a file that is there already.

    ``about`` is given when this work has begun before: a file that is there and says that it was made from just that
    is its own, finished before it was interrupted.
    """
    for out in outs:
        if out.suffix not in writers:
            raise InputError(f"--out {out}: the name must end with one of {', '.join(writers)}")
    if any(out.suffix == ".parquet" for out in outs):
        try:
            import pyarrow  # noqa: F401
        except ModuleNotFoundError:
            others = ", ".join(suffix for suffix in writers if suffix != ".parquet")
            raise InputError(f".parquet needs pyarrow; pip install pyarrow, or choose {others}") from None
    for out in outs:
        if out.exists() and about is None:
            raise InputError(f"--out {out}: is there already; remove it first, or choose another name")
        if out.exists() and _identities(kept(out) or {}) != _identities(about):
            raise InputError(f"--out {out}: is there already, and was made from something else than this run and these "
                             "objects; remove it first, or choose another name")  # fmt: skip


def assemble(outs: list[Path], parts: Parts, writers: dict[str, Writer], about: dict[str, Any]) -> None:
    """Write every form of the table that is not there, each aside, synced and renamed, then remove the parts.

    TrainingError when the disk is full, or the like: the parts stay.
    """
    for out in outs:
        if not out.exists():
            aside = out.with_name(f".{out.name}.aside")
            with written(out):
                try:
                    writers[out.suffix](aside, parts, about)
                    sync(aside)
                    if out.suffix == ".csv":
                        write_aside(beside(out), (json.dumps(about, indent=1) + "\n").encode())
                    aside.replace(out)
                except OSError:
                    remove(aside)
                    raise
    parts.remove()
