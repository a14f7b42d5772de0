"""Final forms of a table that comes in parts: CSV, Parquet, npz, and for features a Zarr group; one part in memory.

Each keeps what it was made from: in its metadata, in the comment of an npz (a zip archive), in ``NAME.csv.json`` beside
a CSV.
"""

import json
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hpc_astrossl.errors import InputError
from hpc_astrossl.files import make_aside, sync, write_aside
from hpc_astrossl.store import columns, embedding
from hpc_astrossl.store.columns import Columns, Writer, check_suffix, identities
from hpc_astrossl.training.parts import PLACE, Parts, written


def write_zarr(path: Path, parts: Iterable[Columns], about: Mapping[str, Any]) -> None:
    """The embedding format (docs/embedding.md)."""
    attributes = dict(about)
    embedding.write(path, parts, rows=attributes.pop("rows"), about=attributes)


PREDICTIONS: dict[str, Writer] = columns.WRITERS
FEATURES: dict[str, Writer] = {
    ".zarr": write_zarr,
    ".parquet": columns.write_parquet,
    ".npz": columns.write_npz,
}


def beside(csv: Path) -> Path:
    """Where a CSV's own description lies."""
    return csv.with_name(csv.name + ".json")


def kept(path: Path) -> dict[str, Any] | None:
    """What a table that is there was made from; None when it does not tell, or cannot be read."""
    try:
        if path.suffix == ".csv":
            return json.loads(beside(path).read_bytes())
        if path.suffix == ".zarr":
            found = dict(embedding.attributes(path))
            return {key: value for key, value in found.items() if key not in embedding.OWN}
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
        check_suffix(out, writers)
        if out.exists() and about is None:
            raise InputError(f"--out {out}: is there already; remove it first, or choose another name")
        if out.exists() and identities(kept(out) or {}) != identities(about):
            raise InputError(f"--out {out}: is there already, and was made from something else than this run and these "
                             "objects; remove it first, or choose another name")  # fmt: skip
        if out.suffix == ".csv" and not out.exists() and beside(out).exists() and "verb" not in (kept(out) or {}):
            raise InputError(f"--out {out}: {beside(out)} is there already, and tells of no table; remove it first, or "
                             "choose another name")  # fmt: skip


def _columns(parts: Parts, suffix: str) -> Iterator[Columns]:
    """The parts; where objects are is told in Parquet, which goes on to other catalogues."""
    for part in parts.read():
        yield {name: values for name, values in part.items() if suffix == ".parquet" or name not in PLACE}


def assemble(outs: list[Path], parts: Parts, writers: dict[str, Writer], about: dict[str, Any]) -> None:
    """Write every form of the table that is not there, each aside, synced and renamed, then remove the parts.

    TrainingError when the disk is full, or the like: the parts stay.
    """
    for out in outs:
        if not out.exists():
            rows = {"rows": parts.total} if out.suffix == ".zarr" else {}

            def fill(aside: Path, out: Path = out, rows: dict[str, int] = rows) -> None:
                writers[out.suffix](aside, _columns(parts, out.suffix), about | rows)
                sync(aside)
                if out.suffix == ".csv":
                    write_aside(beside(out), (json.dumps(about, indent=1) + "\n").encode())

            with written(out):
                make_aside(out, fill)
    parts.remove()
