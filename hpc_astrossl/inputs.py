"""The image files of a store as they were when it was made: noted beside it, for ``plan`` and ``status``.

Those read no pixels. They ask for sizes and times, and hash what has another time: a file that was touched, or copied
with its folder, is the same. No numpy here.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hpc_astrossl import identity
from hpc_astrossl.files import write_aside
from hpc_astrossl.specs.images import SUFFIXES

LOOKS = 20_000  # files that are asked for, at most: of more, every n-th
HASHED = 256 << 20  # bytes that are hashed, at most
DIGITS = 16  # of a SHA-256
Files = Mapping[str, Mapping[str, Any]]  # by names below a source, the sizes and hashes that were read
Times = Mapping[str, int | None]  # when each was changed last, in nanoseconds; None where it is not there


def note_file(store: Path) -> Path:
    """Where it is noted, among the notes of tasks."""
    return store.with_name(f"{store.stem}.tasks") / "inputs.json"


def times(source: Path, files: Iterable[str]) -> Times:
    """When each file was changed last."""
    return {name: _time(source / name) for name in files}


def replaced(source: Path, files: Files, times: Times, since: int) -> str | None:
    """The first file that was changed after ``since`` and holds something else than was read; None: none did."""
    late = (name for name, time in times.items() if time is not None and time >= since)
    return next((name for name in late if identity.sha256(source / name) not in (None, files[name]["sha256"])), None)


def note(store: Path, source: Path, files: Files, times: Times, *, tree: bool, since: int) -> None:
    """Note the files with what was read of them, and their times of before that.

    Of a ``tree`` of folders, whose names are the catalogue, also which images it holds. A file of a time later than
    ``since`` may have been replaced since it was read: its time is not believed.
    """
    known = {}
    for name, facts in sorted(files.items()):
        time = times[name]
        known[name] = [facts["bytes"], facts["sha256"][:DIGITS], time if time and time < since else 0]
    about = {"store": identity.of_store(store), "files": known, "tree": _tree(source) if tree else None}
    path = note_file(store)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, json.dumps(about, ensure_ascii=False).encode())


def difference(store: Path, source: Path) -> str | None:
    """Which image is another now, has gone or has come since the store was made, in words; None: none, or not noted."""
    about = _read(store)
    if about is None or not source.is_dir():
        return None
    names = sorted(about["files"])
    left = HASHED
    for name in names[:: -(-len(names) // LOOKS) or 1]:
        size, digest, time = about["files"][name]
        try:
            facts = (source / name).stat()
        except OSError:
            return f"was made from {name}, which is not there any more"
        if facts.st_size != size:
            return f"was made from another {name} ({size:,} bytes then, {facts.st_size:,} now)"
        if _latest(facts) != time and left >= size:
            left -= size
            if (now := identity.sha256(source / name)) and now[:DIGITS] != digest:
                return f"was made from another {name} ({identity.both(digest, now)})"
    return _other_tree(about["tree"], source)


def _other_tree(tree: Mapping[str, Any] | None, source: Path) -> str | None:
    """An image that has come into a tree of folders, or one of its folders."""
    if tree is None or all(_time(source / folder) == time for folder, time in tree["folders"].items()):
        return None
    known, now = set(tree["images"]), set(_tree(source)["images"])
    if new := sorted(now - known):
        return f"was made without {new[0]}" + (f" and {len(new) - 1:,} more" if new[1:] else "")
    if gone := sorted(known - now):
        return f"was made when {gone[0]} was there, which is not any more"
    return None


def _tree(source: Path) -> dict[str, Any]:
    """The images below a folder, links to folders followed, and the times of all folders."""
    images, folders = [], {}
    for folder, names in _walk(source):
        inside = os.path.relpath(folder, source)
        folders[inside] = _time(folder)
        images += [name if inside == "." else f"{inside}/{name}" for name in names]
    return {"folders": folders, "images": sorted(images)}


def _walk(source: Path) -> Iterator[tuple[Path, list[str]]]:
    seen: set[tuple[int, int]] = set()
    for root, below, names in os.walk(source, followlinks=True):
        facts = Path(root).stat()
        if (facts.st_dev, facts.st_ino) in seen:
            below.clear()
            continue
        seen.add((facts.st_dev, facts.st_ino))
        below[:] = sorted(name for name in below if not name.startswith("."))
        yield Path(root), [name for name in names if name[0] != "." and Path(name).suffix.lower() in SUFFIXES]


def _time(path: Path) -> int | None:
    try:
        return _latest(path.stat())
    except OSError:
        return None


def _latest(facts: os.stat_result) -> int:
    """When a file was changed last, in nanoseconds; who sets its time back, as copies do, changes it at that moment."""
    return max(facts.st_mtime_ns, facts.st_ctime_ns)


def _read(store: Path) -> dict[str, Any] | None:
    """What was noted of the store that lies there now."""
    try:
        about = json.loads(note_file(store).read_bytes())
        sound = about["store"] is not None and about["store"] == identity.of_store(store)
        sound = sound and all(len(facts) == 3 for facts in about["files"].values())
        return about if sound and (about["tree"] is None or {"folders", "images"} <= {*about["tree"]}) else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
