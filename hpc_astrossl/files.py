"""Files that appear whole or not at all: written aside, synced, renamed. And where a task leaves its note."""

import os
from pathlib import Path


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
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def task_note(store: str, task: int, tasks: int) -> str:
    """The file, beside the store NAME.zarr, that a task of several leaves when its part of it is done."""
    return f"{store}.tasks/{task}-of-{tasks}.json"
