"""Files that appear whole or not at all: written aside, synced, renamed. Locks, and where a task leaves its note."""

import errno
import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK}


def write_aside(path: Path, data: bytes | memoryview) -> None:
    """Write ``data`` so that ``path`` is either what it was or all of it, also after a crash of the machine.

    What could not be written whole (a full disk) is removed.
    """
    aside = path.with_name(path.name + ".partial")
    try:
        with aside.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    _sync_one(path.parent)


def sync(path: Path) -> None:
    """Let a file, or a folder with all that is below it, reach the disk, so that a later crash cannot undo it."""
    for part in [path, *path.rglob("*")]:
        _sync_one(part)


def _sync_one(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def remove(path: Path) -> None:
    """Remove a file or a whole folder; nothing happens where there is none."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Hold the lock file ``path`` for the time of the block; another process that does is waited for.

    Where the file system has no locks (Lustre without -o flock, some NFS) nobody is.
    """
    with path.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX)
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
        yield


def task_note(store: str, task: int, tasks: int) -> str:
    """The file, beside the store NAME.zarr, that a task of several leaves when its part of it is done."""
    return f"{store}.tasks/{task}-of-{tasks}.json"
