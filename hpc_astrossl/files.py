"""Files that appear whole or not at all: written aside, synced, renamed."""

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
