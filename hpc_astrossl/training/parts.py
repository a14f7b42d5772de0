"""Work on many rows in parts: each part is a file that appears whole, so that any number of workers may share the work
and whoever comes back goes on where it was left."""

import contextlib
import fcntl
import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.files import write_aside

Columns = dict[str, np.ndarray]


class Parts:
    """Columns of ``total`` rows as files of ``size`` rows in ``folder``. ``about`` (plain data) says of what.

    InputError when the folder holds parts of something else.
    """

    def __init__(self, folder: Path, total: int, size: int, about: dict[str, Any]):
        self.folder, self.total, self.size = folder, total, size
        self.count = -(-total // size)
        text = json.dumps(about | {"rows": total, "part": size}, indent=1, sort_keys=True)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with self._lock():
                found = folder / "about.json"
                if not found.exists():
                    write_aside(found, text.encode())
                elif found.read_text() != text:
                    raise InputError(f"{folder}: holds parts of other work (see its about.json); remove it, or choose "
                                     "another --out")  # fmt: skip
        except OSError as error:
            raise InputError(f"{folder}: cannot be written ({error.strerror})") from None

    def rows(self, part: int) -> tuple[int, int]:
        """(start, stop) of a part."""
        return part * self.size, min((part + 1) * self.size, self.total)

    def open_parts(self) -> list[int]:
        """Numbers of the parts that are not there yet."""
        return [part for part in range(self.count) if not self._path(part).exists()]

    def write(self, part: int, columns: Columns) -> None:
        """Write one part whole; an equal one that another worker wrote meanwhile is replaced by an equal one."""
        buffer = io.BytesIO()
        np.savez(buffer, **columns)
        write_aside(self._path(part), buffer.getbuffer())

    def read(self) -> Iterator[Columns]:
        """The parts in order, one in memory at a time. InputError names a damaged one."""
        for part in range(self.count):
            try:
                with np.load(self._path(part), allow_pickle=False) as archive:
                    yield {name: archive[name] for name in archive.files}
            except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
                raise InputError(f"{self._path(part)}: damaged ({error}); remove it and run again") from None

    @contextlib.contextmanager
    def assembling(self) -> Iterator[bool]:
        """Hold the folder for oneself; gives whether every part is there and nobody has assembled them before."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(self._lock())
            except FileNotFoundError:  # assembled and removed by another worker
                yield False
                return
            yield self.folder.exists() and not self.open_parts()

    def remove(self) -> None:
        """Remove the folder: what it held is in its final form."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _lock(self) -> contextlib.AbstractContextManager:
        return _locked(self.folder / ".lock")

    def _path(self, part: int) -> Path:
        return self.folder / f"part-{part:06d}.npz"


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("a") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield
