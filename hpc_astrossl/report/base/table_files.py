"""The files of a table, and the end of those that an earlier report left."""

import re
from collections.abc import Iterable
from html import unescape
from pathlib import Path
from urllib.parse import unquote

from hpc_astrossl.files import write_aside
from hpc_astrossl.report.base.latex import to_latex
from hpc_astrossl.report.base.tables import Table, to_csv, to_markdown

FORMATS = {"csv": to_csv, "tex": to_latex, "md": to_markdown}


def write(table: Table, folder: Path) -> None:
    """Write ``<name>.csv``, ``<name>.tex`` and ``<name>.md`` below ``folder``."""
    for suffix, make in FORMATS.items():
        write_aside(folder / f"{table.name}.{suffix}", make(table).encode())


def remove_stale(out: Path, folder: str, suffixes: Iterable[str], *, before: str, now: str) -> None:
    """Remove the files in ``folder`` to which the page of ``before`` links and that of ``now`` does not; no others.

    It is done before the new page is written: when it is killed in between, the next report finds the same to remove.
    """
    first, *others = suffixes
    link = re.compile(rf'href="{folder}/([^"/]+)\.{first}"')
    for quoted in sorted(set(link.findall(before)) - set(link.findall(now))):
        for suffix in (first, *others):
            (out / folder / f"{unquote(unescape(quoted))}.{suffix}").unlink(missing_ok=True)
