"""The files of a table, and the end of those that an earlier report left."""

from collections.abc import Iterable
from pathlib import Path

from hpc_astrossl.files import write_aside
from hpc_astrossl.report.base.latex import to_latex
from hpc_astrossl.report.base.tables import Table, to_csv, to_markdown

FORMATS = {"csv": to_csv, "tex": to_latex, "md": to_markdown}


def write(table: Table, folder: Path) -> None:
    """Write ``<name>.csv``, ``<name>.tex`` and ``<name>.md`` below ``folder``."""
    for suffix, make in FORMATS.items():
        write_aside(folder / f"{table.name}.{suffix}", make(table).encode())


def remove_stale(folder: Path, names: Iterable[str], suffixes: Iterable[str]) -> None:
    """Remove the files of every name that has one of each suffix and is not among ``names``.

    What has not all of them was not written by a report, and stays.
    """
    first, *others = suffixes
    known = set(names)
    for path in sorted(folder.glob(f"*.{first}")):
        files = [path, *(path.with_name(f"{path.stem}.{suffix}") for suffix in others)]
        if path.stem not in known and all(file.is_file() for file in files):
            for file in files:
                file.unlink()
