"""The candidates that read a catalogue's columns, each with the library's own plain way: table library × format."""

import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path


def astropy_text(path: Path, columns: Sequence[str], delimiter: str) -> int:
    """astropy's C reader."""
    from astropy.table import Table

    format = {",": "ascii.fast_csv", " ": "ascii.fast_commented_header"}[delimiter]
    return len(Table.read(path, format=format, include_names=list(columns)))


def astropy_fits(path: Path, columns: Sequence[str]) -> int:
    """Columns of a memory-mapped table, copied."""
    import numpy as np
    from astropy.io import fits

    with fits.open(path, memmap=True) as units:
        return len({name: np.array(units[1].data[name]) for name in columns}[columns[0]])


def pyarrow_text(path: Path, columns: Sequence[str], delimiter: str) -> int:
    """Arrow's reader; it has no word for a header behind '#', so the names are given."""
    from pyarrow import csv

    with path.open() as stream:
        names = [name.strip('"') for name in stream.readline().lstrip("# ").strip().split(delimiter)]
    table = csv.read_csv(
        path,
        read_options=csv.ReadOptions(column_names=names, skip_rows=1),
        parse_options=csv.ParseOptions(delimiter=delimiter),
        convert_options=csv.ConvertOptions(include_columns=list(columns)),
    )
    return len(table)


def pyarrow_parquet(path: Path, columns: Sequence[str]) -> int:
    """Columns of a Parquet file."""
    from pyarrow import parquet

    return len(parquet.read_table(path, columns=list(columns)))


def polars_text(path: Path, columns: Sequence[str], delimiter: str) -> int:
    """A lazy scan."""
    import polars

    with path.open() as stream:
        names = [name.strip('"') for name in stream.readline().lstrip("# ").strip().split(delimiter)]
    frame = polars.scan_csv(path, separator=delimiter, has_header=False, skip_rows=1, new_columns=names)
    return len(frame.select(columns).collect())


def polars_parquet(path: Path, columns: Sequence[str]) -> int:
    """A lazy scan."""
    import polars

    return len(polars.scan_parquet(path).select(columns).collect())


def ours(path: Path, columns: Sequence[str], delimiter: str = "") -> int:
    """``hpc_astrossl.tables.tables``: whichever library it chose, with its checks, as arrays."""
    from hpc_astrossl.tables.tables import read_table

    format = {".cat": "ascii", ".csv": "csv", ".fits": "fits", ".parquet": "parquet"}[path.suffix]
    table = read_table(path, {name: "text" if name == "ID" else "number" for name in columns}, format=format)
    return len(table["ID"])


TEXT: dict[str, Callable] = {"astropy": astropy_text, "pyarrow": pyarrow_text, "polars": polars_text, "ours": ours}
READERS: dict[str, dict[str, Callable]] = {
    "cat": TEXT,
    "csv": TEXT,
    "fits": {"astropy": astropy_fits, "ours": ours},
    "parquet": {"pyarrow": pyarrow_parquet, "polars": polars_parquet, "ours": ours},
}


def installed(kind: str) -> list[str]:
    """The readers of a format whose library is here."""
    return [name for name in READERS[kind] if name == "ours" or importlib.util.find_spec(name)]


def read(reader: str, path: Path, columns: Sequence[str]) -> int:
    """Read ``columns`` of ``path`` with the library named; the number of rows."""
    kind = path.suffix.removeprefix(".")
    delimiter = {"cat": [" "], "csv": [","]}.get(kind, [])
    return READERS[kind][reader](path, columns, *delimiter)


if __name__ == "__main__":
    sys.exit("run benchmarks/catalogue.py")
