"""A store's own list of its files, and the records of shards from which it grows. No Zarr here: a login node reads it.

Zarr reads a shard of zero bytes, or a missing one, as zeros, without a word. So every file is listed with its size
and SHA-256: a shard counts as written when its record is there and the file is what the record says.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hpc_astrossl import provenance
from hpc_astrossl.errors import InputError
from hpc_astrossl.files import write_aside

PIXELS = 10  # bytes of the hash of one row's pixels: among 10⁹ rows, two by chance with a probability below 10⁻⁶
SUMS = "images/sums"  # checksums of all chunks of images, in their order, uint32
MANIFEST = "images/manifest.json"  # beside the shards: in the group's own folder, Zarr would warn of a foreign file


@dataclass(frozen=True, kw_only=True)
class Record:
    """A shard that is on the disk: its file, rows (start, stop), size and hash.

    ``rejected`` lists (row, reason) of rows whose pixels are of no use; ``inputs`` maps each image file that was read
    to its {bytes, sha256}; ``facts`` holds columns that only the pixels tell, by name, and ``moments`` mean and squared
    deviations of each row and channel, both as ``store.packed`` packs them; ``keys`` are eight bytes of each row's
    pixels, one behind the other, in hexadecimal digits: equal pictures have equal ones.
    """

    file: str
    rows: tuple[int, int]
    bytes: int
    sha256: str
    rejected: tuple[tuple[int, str], ...] = ()
    inputs: dict[str, dict[str, Any]] = field(default_factory=dict)
    facts: dict[str, dict[str, Any]] = field(default_factory=dict)
    moments: dict[str, Any] | None = None
    keys: str = ""


def write_record(path: Path, record: Record) -> None:
    """Make the record appear, whole and synced."""
    write_aside(path, json.dumps(asdict(record), ensure_ascii=False).encode())


def read_record(path: Path) -> Record | None:
    """The record, or None when it is not there; one that cannot be read counts as not there."""
    try:
        data = json.loads(path.read_bytes())
        rows, rejected = tuple(data["rows"]), tuple((row, reason) for row, reason in data["rejected"])
        return Record(**data | {"rows": rows, "rejected": rejected})
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def holds(folder: Path, record: Record) -> bool:
    """Whether the shard's file below ``folder`` is, byte for byte, what its record says."""
    path = folder / record.file
    return path.is_file() and path.stat().st_size == record.bytes and provenance.sha256(path) == record.sha256


def files(folder: Path) -> list[str]:
    """Every file below, as a path relative to ``folder``, sorted; the manifest itself apart."""
    return sorted(name for name, _ in _entries(folder))


def stats(folder: Path) -> dict[str, os.stat_result]:
    """Size, time and inode of every file below, by its path relative to ``folder``; the manifest itself apart."""
    found = {}
    for name, entry in _entries(folder):
        with contextlib.suppress(FileNotFoundError):  # gone meanwhile, or a link to nothing: as if it were not there
            found[name] = entry.stat()
    return found


def _entries(folder: Path | str, inside: str = "") -> Iterator[tuple[str, os.DirEntry]]:
    """(path relative to the store, entry) of every file below; no Path each, since there may be ten thousand."""
    with contextlib.suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            name = inside + entry.name
            if not entry.is_dir():
                if name != MANIFEST:
                    yield name, entry
            elif not entry.is_symlink():
                yield from _entries(entry.path, f"{name}/")


def write_manifest(folder: Path, records: list[Record]) -> None:
    """List every file of a complete store; those of ``records`` are known, the others are measured."""
    known = {record.file: record for record in records}
    listed = {}
    for name in files(folder):
        if record := known.get(name):
            listed[name] = {"bytes": record.bytes, "sha256": record.sha256, "rows": list(record.rows)}
        else:
            listed[name] = {"bytes": (folder / name).stat().st_size, "sha256": provenance.sha256(folder / name)}
    write_aside(folder / MANIFEST, (json.dumps({"files": listed}, indent=1) + "\n").encode())


def read_manifest(folder: Path) -> dict[str, dict[str, Any]]:
    """File -> {bytes, sha256, rows of a shard}; InputError when it is missing or damaged."""
    try:
        listed = json.loads((folder / MANIFEST).read_bytes())["files"]
        for name, facts in listed.items():
            if not (type(facts["bytes"]) is int and isinstance(facts["sha256"], str) and _is_range(facts.get("rows"))):
                raise ValueError(f"of {name} it says {facts}")
        return listed
    except FileNotFoundError:
        raise InputError(f"{folder}: has no {MANIFEST}, so its files cannot be held against it; "
                         "make the store again with astrossl preprocess") from None  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OSError) as error:
        raise InputError(f"{folder / MANIFEST}: damaged ({error}); make the store again") from None


def _is_range(rows: Any) -> bool:
    """Whether that is the (start, stop) of a shard's rows, or of a file that has none."""
    return rows is None or (isinstance(rows, list) and len(rows) == 2 and all(type(row) is int for row in rows))


def faults(folder: Path, *, deep: bool = False, present: dict[str, os.stat_result] | None = None,
           listed: dict[str, dict[str, Any]] | None = None) -> list[str]:  # fmt: skip
    """What is missing, cut short, foreign or (deep) altered among the files of a store, in words.

    ``present`` is what ``stats`` tells, and ``listed`` what ``read_manifest`` does, if that was asked already.
    """
    listed, found = read_manifest(folder) if listed is None else listed, []
    present = stats(folder) if present is None else present
    for name, facts in listed.items():
        rows = f" (rows {facts['rows'][0]}..{facts['rows'][1] - 1})" if facts.get("rows") else ""
        if name not in present:
            found.append(f"{name}{rows}: missing")
        elif (size := present[name].st_size) != facts["bytes"]:
            found.append(f"{name}{rows}: {size:,} bytes, the manifest says {facts['bytes']:,}")
        elif deep and provenance.sha256(folder / name) != facts["sha256"]:
            found.append(f"{name}{rows}: altered, its SHA-256 is not the manifest's")
    found += [f"{name}: foreign file, not in the manifest" for name in sorted(present.keys() - listed)]
    return found
