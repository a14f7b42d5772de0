"""What the page shows besides what was found: columns of other tables, and a ranked list of what to label next.

``classify`` writes both, and says of which embedding they are: those of another one are refused.
"""

import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.explore.layout import MOST
from hpc_astrossl.identity import both, sha256
from hpc_astrossl.ids import folded
from hpc_astrossl.store.columns import about_parquet, read_table
from hpc_astrossl.store.embedding import open_embedding
from hpc_astrossl.terminal import shown

CLASSES = "astrossl-classes"  # the format of classify's records
CHANGED = "changed"


@dataclass(frozen=True, kw_only=True)
class Extra:
    """What is asked for: ``tables`` to colour by, a ranked list ``upnext``, the ``map``'s method."""

    tables: tuple[str, ...] = ()
    upnext: str | None = None
    map: str = "auto"
    most: int = MOST


@dataclass(frozen=True, kw_only=True)
class Given:
    """By the embedding's rows: ``columns`` as (name, file, values), rows of the list, and what to say of them."""

    columns: Sequence[tuple[str, str, np.ndarray]] = ()
    upnext: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    notes: Sequence[str] = ()


def load(extra: Extra, ids: np.ndarray, embedding: Path, *, anyway: bool = False) -> Given:
    """Read the tables and the list. InputError when they fit no object, or (not so ``anyway``) another embedding."""
    ids, columns = folded(ids), list[tuple[str, str, np.ndarray]]()
    notes: list[str] = []
    files = [*extra.tables, *([extra.upnext] if extra.upnext is not None else [])]
    _hold([Path(name) for name in files], embedding, anyway)
    order = np.argsort(ids, kind="stable") if files else np.empty(0, dtype=np.int64)
    for name in extra.tables:
        table = read_table(Path(name))
        rows = _rows(table.pop("object_id"), ids, order, name)
        notes += _missing(rows, name)
        for key, values in table.items():
            text = values.dtype.kind == "U"
            made = np.full(len(ids), "", dtype=values.dtype) if text else np.full(len(ids), np.nan)
            made[rows[rows >= 0]] = values[rows >= 0]
            columns.append((key, Path(name).name, made))
    if extra.upnext is None:
        return Given(columns=columns, notes=notes)
    rows = _ranked(extra.upnext, ids, order)
    if not len(rows):
        notes.append(f"{Path(extra.upnext).name}: nothing is left to label.")
    return Given(columns=columns, upnext=rows[rows >= 0], notes=[*notes, *_missing(rows, extra.upnext)])


def _ranked(name: str, ids: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Rows of a list of what to label next, by rank."""
    table = read_table(Path(name))
    rank = table.get("rank")
    if rank is None:
        raise InputError(f"{name}: no column rank; --next takes the next.csv that classify writes")
    if rank.dtype.kind != "f" or not np.isfinite(rank).all():
        raise InputError(f"{name}: a rank in it is no number; --next takes the next.csv that classify writes")
    if not len(rank):  # classify leaves it so where all objects are labelled
        return np.empty(0, dtype=np.int64)
    rows = _rows(table["object_id"], ids, order, name)
    return rows[np.argsort(rank, kind="stable")]


def _missing(rows: np.ndarray, name: str) -> list[str]:
    count = int((rows < 0).sum())
    return [f"{Path(name).name}: {count:,} of its {len(rows):,} objects are not in the embedding."] if count else []


def _rows(wanted: np.ndarray, ids: np.ndarray, order: np.ndarray, name: str) -> np.ndarray:
    """Rows of these objects, −1 for one that is not there."""
    if not len(wanted):
        raise InputError(f"{name}: no objects in it; leave it out, or give a table with a row for each object")
    wanted = folded(wanted)
    distinct, counts = np.unique(wanted, return_counts=True)
    if len(distinct) < len(wanted):
        raise InputError(
            f"{name}: {shown(distinct[counts.argmax()])} is there {counts.max()} times; leave one row for each object"
        )
    place = np.minimum(np.searchsorted(ids, wanted, sorter=order), len(ids) - 1)
    rows = np.where(ids[order[place]] == wanted, order[place], -1)
    if (rows < 0).all():
        raise InputError(f"{name}: none of its {len(wanted):,} objects is in the embedding; ids there look like "
                         f"{shown(ids[0])}, here like {shown(wanted[0])}: is it of another embedding?")  # fmt: skip
    return rows


def _hold(files: Sequence[Path], embedding: Path, anyway: bool) -> None:
    """InputError for a file that tells that it was made of another embedding."""
    told = {file: identity for file in files if (identity := made_of(file))}
    if not told or anyway:
        return
    now = open_embedding(embedding).identity
    for file, identity in told.items():
        if identity == CHANGED:
            raise InputError(f"{file}: is not as classify has written it: it was edited, or is of another embedding; "
                             "make it again with astrossl classify, or add --anyway to take it as it is")  # fmt: skip
        if identity != now:
            raise InputError(f"{file}: was made of another embedding than {embedding} ({both(identity, now)}); make it "
                             "again with astrossl classify, or add --anyway")  # fmt: skip


def made_of(file: Path) -> str | None:
    """SHA-256 of the embedding that classify made a file of; None when nothing tells, CHANGED where the record beside
    it tells of another file of that name."""
    try:
        if file.suffix == ".parquet":
            found = about_parquet(file).get("embedding_sha256")
        elif file.suffix == ".npz":
            with zipfile.ZipFile(file) as archive:
                found = _mapping(json.loads(archive.comment)).get("embedding_sha256")
        else:
            records = (_mapping(_json(record)) for record in sorted(file.parent.glob("*.json")))
            records = [one for one in records if one.get("format") == CLASSES]
            listed = [one for one in records if file.name in _mapping(one.get("files"))]
            now = sha256(file)
            own = [one for one in listed if one["files"][file.name] in (None, now)]
            if listed and not own:
                return CHANGED
            found = next((_mapping(one.get("embedding")).get("sha256") for one in own), None)
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile):
        return None
    return found if isinstance(found, str) else None


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None


def _mapping(found: Any) -> Mapping[str, Any]:
    return found if isinstance(found, dict) else {}
