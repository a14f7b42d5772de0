"""Work on many rows in parts: each part is a file that appears whole, so that any number of workers may share the work
and whoever comes back goes on where it was left."""

import contextlib
import io
import json
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl import locks
from hpc_astrossl.errors import InputError, TrainingError
from hpc_astrossl.files import write_aside

Columns = dict[str, np.ndarray]


class Gone(InputError):
    """Another process has assembled the parts, and removed them."""


class Parts:
    """Columns of ``total`` rows as files of ``size`` rows in ``folder``. ``about`` (plain data) says of what."""

    def __init__(self, folder: Path, total: int, size: int, about: dict[str, Any]):
        self.folder, self.total, self.size = folder, total, size
        self.count = -(-total // size)
        self._done = folder.with_name(f".{folder.name}.done")  # for as long as the removing takes
        self._about = json.dumps(about | {"rows": total, "part": size}, indent=1, sort_keys=True)

    @property
    def begun(self) -> bool:
        """Whether an earlier attempt has left something: parts, or parts that it was about to remove."""
        return self.folder.exists() or self._done.exists()

    def open(self) -> None:
        """Make the folder, or join those who use it; InputError when it holds parts of something else, or is Gone."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with self._lock():
                found = self.folder / "about.json"
                if not found.exists():
                    write_aside(found, self._about.encode())
                elif found.read_text() != self._about:
                    raise InputError(f"{self.folder}: holds parts of other work (see its about.json); remove it, or "
                                     "choose another --out")  # fmt: skip
        except FileNotFoundError:
            raise self._gone() from None
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be written ({error.strerror})") from None

    def rows(self, part: int) -> tuple[int, int]:
        """(start, stop) of a part."""
        return part * self.size, min((part + 1) * self.size, self.total)

    def open_parts(self) -> list[int]:
        """Numbers of the parts that are not there yet; none when all have been assembled and removed."""
        if not self.folder.exists():
            return []
        return [part for part in range(self.count) if not self._path(part).exists()]

    def write(self, part: int, columns: Columns) -> None:
        """Write one part whole; an equal one that another worker wrote meanwhile is replaced by an equal one.

        TrainingError when the disk is full, or the like.
        """
        buffer, path = io.BytesIO(), self._path(part)
        np.savez(buffer, **columns)
        with written(path):
            write_aside(path, buffer.getbuffer())

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
            except Gone:
                yield False
                return
            yield self.folder.exists() and not self.open_parts()

    def remove(self) -> None:
        """Remove the folder: what it held is in its final form. It goes at once, so that nobody finds half of it."""
        shutil.rmtree(self._done, ignore_errors=True)  # what an earlier removing has left
        with contextlib.suppress(FileNotFoundError):
            self.folder.rename(self._done)
        shutil.rmtree(self._done, ignore_errors=True)

    def working(self, worker: int, workers: int) -> contextlib.AbstractContextManager:
        """Keep another process that was started for the same share of the work waiting for the time of the block."""
        return self._alone(f".worker-{worker}-of-{workers}")

    def _lock(self) -> contextlib.AbstractContextManager:
        return self._alone(".lock")

    @contextlib.contextmanager
    def _alone(self, name: str) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locks.locked(self.folder / name))
            except FileNotFoundError:
                raise self._gone() from None
            yield

    def _gone(self) -> Gone:
        return Gone(f"{self.folder}: another process has finished or removed it meanwhile; see whether the output is "
                    "there, else run this again")  # fmt: skip

    def _path(self, part: int) -> Path:
        return self.folder / f"part-{part:06d}.npz"


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """Around the writing of ``path``: a disk that is full, or the like, becomes a TrainingError."""
    try:
        yield
    except OSError as error:
        raise TrainingError(f"{path}: cannot be written ({error.strerror or error}); make room and run the same "
                            "command again: finished parts stay") from None  # fmt: skip
