"""A store in the making, shared by tasks: begun once, by whichever comes first, and each shard locked while written.

``NAME.zarr.partial/`` holds ``plan.json`` (what is being made), ``selection/`` (its objects, ``ingest.plans``),
``store/`` (the Zarr group), ``manifest/`` (a record a finished shard), ``locks/`` and, at the very end, ``replaced/``,
which had the name before. A lock ends with the process that holds it, however it ends.
"""

import contextlib
import errno
import glob
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hpc_astrossl import locks
from hpc_astrossl.errors import InputError

PARTIAL = ".partial"
PLAN, SELECTION, STORE, RECORDS, LOCKS = "plan.json", "selection", "store", "manifest", "locks"
REPLACED = "replaced"
PATIENCE = 3.0  # seconds: the workers of a killed task need a moment to notice


def partial(path: Path) -> Path:
    """The folder in which the store at ``path`` is made."""
    return path.with_name(path.name + PARTIAL)


def begun(path: Path) -> int:
    """When the store in the making was begun, in nanoseconds by the clock of the file system."""
    return (partial(path) / PLAN).stat().st_mtime_ns


def selection_folder(path: Path) -> Path:
    """Where the objects are listed of the store that is made for ``path``; the folder is there once they are."""
    return partial(path) / SELECTION


def begin(path: Path, plan: dict[str, Any], fill: Callable[[Path], None]) -> None:
    """Make the partial folder of ``path`` unless it is there; ``fill`` puts the empty store into a folder.

    It is filled under a name of its own and renamed, so it appears whole, and only one of many tasks has made it.
    InputError when the one that is there was begun by another plan.
    """
    there = partial(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not there.exists():
        private = Path(tempfile.mkdtemp(dir=path.parent, prefix=_private(path)))
        try:
            private.chmod(0o777 & ~_umask())
            for name in (RECORDS, LOCKS):
                (private / name).mkdir()
            fill(private / STORE)
            (private / PLAN).write_text(json.dumps(plan, indent=1, sort_keys=True) + "\n", encoding="utf-8")
            sync_tree(private)
            private.rename(there)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):  # those: another task was faster
                raise
        finally:
            shutil.rmtree(private, ignore_errors=True)
    _compare(there, plan)


def remove(path: Path) -> None:
    """Remove what is made for the store at ``path``, and what those left behind who died before it had begun.

    It loses its name at once: of one who dies on the way no half is left that could be taken for a making.
    """
    _remove_all(path, _private(path))  # first: while the other is there, ``tidy`` comes here again
    with contextlib.suppress(OSError):  # there is none, or the folder cannot be written
        partial(path).rename(path.with_name(f"{_removed(path)}{secrets.token_hex(8)}"))
    _remove_all(path, _removed(path))


def tidy(path: Path) -> None:
    """Remove what is left of a making whose store has its name: its maker died before it had done so itself.

    A making that goes on, perhaps to replace the store, is left alone, and so is a folder of somebody else's.
    """
    try:
        left = {entry.name for entry in partial(path).iterdir()} <= {PLAN, SELECTION, RECORDS, LOCKS, REPLACED}
    except OSError:  # there is none, or no folder
        left = False
    if left:
        remove(path)
    else:
        _remove_all(path, _removed(path))


def _remove_all(path: Path, beginning: str) -> None:
    for folder in path.parent.glob(f"{glob.escape(beginning)}*"):
        shutil.rmtree(folder, ignore_errors=True)


def _private(path: Path) -> str:
    """How the names of folders begin in which a store is begun."""
    return f".{path.name}-"


def _removed(path: Path) -> str:
    """How the names of folders begin that are being removed."""
    return f"{_private(path)}removed-"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def agrees(path: Path, plan: dict[str, Any]) -> bool:
    """Whether the store in the making was begun by this plan."""
    try:
        return json.loads((partial(path) / PLAN).read_bytes()) == json.loads(json.dumps(plan))
    except (OSError, ValueError):
        return False


def _compare(there: Path, plan: dict[str, Any]) -> None:
    try:
        begun = json.loads((there / PLAN).read_bytes())
    except (OSError, ValueError):
        raise InputError(f"{there}: was not begun by this program; move it away") from None
    ours = json.loads(json.dumps(plan))
    if differ := sorted(key for key in {*begun, *ours} if begun.get(key) != ours.get(key)):
        parts = ", ".join(f"{key} ({begun.get(key)!r} there, {ours.get(key)!r} here)" for key in differ)
        raise InputError(f"{there}: a store in the making, begun from another recipe, input or program: {parts}. Go on "
                         "with what it was begun with, or remove that folder (--overwrite does)")  # fmt: skip


@contextlib.contextmanager
def locked(path: Path, name: str, *, wait: bool = False) -> Iterator[None]:
    """Hold the lock ``name`` of the store in the making; InputError when another process does (unless ``wait``)."""
    with contextlib.ExitStack() as stack:
        try:
            patience = None if wait else PATIENCE
            stack.enter_context(locks.locked(partial(path) / LOCKS / name, patience=patience))
        except locks.Held as other:
            raise InputError(f"{partial(path)}: {name} is being written by {other}; two tasks must not write one "
                             "shard. Wait for it or end it, then run this again") from None  # fmt: skip
        except FileNotFoundError:
            raise InputError(
                f"{partial(path)}: another process has finished or removed it meanwhile; run this again"
            ) from None
        yield


def sync_file(path: Path) -> None:
    """fsync a file and the folder that names it: Zarr never does, and a crash would leave empty shards."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
    sync_folder(path.parent)


def sync_tree(folder: Path) -> None:
    """fsync every file and folder below."""
    for root, _, names in os.walk(folder):
        for name in names:
            with (Path(root) / name).open("rb") as stream:
                os.fsync(stream.fileno())
        sync_folder(Path(root))


def sync_folder(folder: Path) -> None:
    """fsync a folder: the names in it are then on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
