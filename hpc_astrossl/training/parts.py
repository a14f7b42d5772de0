"""Work on many rows in parts: each part is a file that appears whole, so that any number of workers may share the work
and whoever comes back goes on where it was left."""

import contextlib
import hashlib
import io
import json
import shutil
import zipfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl import locks, npz
from hpc_astrossl.errors import InputError, TrainingError
from hpc_astrossl.files import write_aside
from hpc_astrossl.identity import UNKNOWN

Columns = dict[str, np.ndarray]
PLACE = ("ra", "dec")  # degrees; NaN where unknown
LEFT_OUT = ("left_out", "reason")  # the arrays of a part that tell of objects that are not in it
OF = "of"  # the array that tells which work a part is of: folders of parts may have been copied over one another


class Gone(InputError):
    """Another process has assembled the parts, and removed them."""


@dataclass(frozen=True, kw_only=True)
class Share:
    """A part that is to be made: of the rows (start, stop), in the file that ``key`` names, by whose ``turn`` it is."""

    key: str
    rows: tuple[int, int]
    turn: int


def even(total: int, size: int) -> list[Share]:
    """Shares of ``size`` rows, known by their number: of rows that never change their places."""
    starts = range(0, total, size)
    return [Share(key=f"{n:06d}", rows=(start, min(start + size, total)), turn=n) for n, start in enumerate(starts)]


class Parts:
    """Columns of the rows of ``shares``, a file each in ``folder``. ``about`` (plain data) says of what.

    A part may have less than its share: ``LEFT_OUT`` in it are the objects that could not be used, and why.
    """

    def __init__(self, folder: Path, shares: Sequence[Share], about: dict[str, Any]):
        self.folder, self.shares = folder, list(shares)
        self._done = folder.with_name(f".{folder.name}.done")  # for as long as the removing takes
        self._about = json.dumps(about, indent=1, sort_keys=True)
        self._of = hashlib.sha256(self._about.encode()).hexdigest()

    @property
    def total(self) -> int:
        """Rows that are in the parts, when all are there."""
        return sum(share.rows[1] - share.rows[0] for share in self.shares) - len(self.left_out())

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
                elif (there := found.read_text()) != self._about:
                    old = '"run"' in there and '"weights_sha256"' not in there
                    what = UNKNOWN if old else "of other work (see its about.json)"
                    raise InputError(f"{self.folder}: holds parts {what}; remove it, or choose another --out")
        except FileNotFoundError:
            raise self._gone() from None
        except OSError as error:
            raise InputError(f"{self.folder}: cannot be written ({error.strerror})") from None

    def open_parts(self) -> list[Share]:
        """The parts that are not there yet; none when all have been assembled and removed."""
        if not self.folder.exists():
            return []
        return [share for share in self.shares if not self._path(share).exists()]

    def write(self, share: Share, columns: Columns) -> None:
        """Write one part whole; an equal one that another worker wrote meanwhile is replaced by an equal one.

        TrainingError when the disk is full, or the like.
        """
        buffer, path = io.BytesIO(), self._path(share)
        np.savez(buffer, **columns, **{OF: np.array(self._of)})
        with written(path):
            write_aside(path, buffer.getbuffer())

    def read(self) -> Iterator[Columns]:
        """The parts in order, one in memory at a time. InputError names one that is damaged or of other work."""
        for share in self.shares:
            columns = self._read(share, lambda name: name not in (*LEFT_OUT, OF))
            if columns:
                yield columns

    def left_out(self) -> list[tuple[str, str]]:
        """(id, reason) of the objects that could not be used."""
        found = [self._read(share, lambda name: name in LEFT_OUT) for share in self.shares]
        columns = [[part[name].tolist() for name in LEFT_OUT] for part in found if part]
        return [pair for ids, reasons in columns for pair in zip(ids, reasons, strict=True)]

    def _read(self, share: Share, wanted: Callable[[str], bool]) -> Columns:
        try:
            with npz.opened(self._path(share)) as archive:
                if str(archive[OF]) != self._of:
                    raise InputError(f"{self._path(share)}: is of other work than about.json beside it; remove it and "
                                     "run again")  # fmt: skip
                return {name: archive[name] for name in archive.files if wanted(name)}
        except (ValueError, KeyError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise InputError(f"{self._path(share)}: damaged ({error}); remove it and run again") from None

    def finished(self, worker: int, workers: int) -> None:
        """Note that a worker has made its parts."""
        with contextlib.suppress(FileNotFoundError), written(self.folder):
            self._note(worker, workers).touch()

    def orphans(self, workers: int) -> list[Share]:
        """Open parts whose worker was done before they came up: a picture was changed or renamed meanwhile."""
        return [share for share in self.open_parts() if self._note(share.turn % workers, workers).exists()]

    def _note(self, worker: int, workers: int) -> Path:
        return self.folder / f".done-{worker}-of-{workers}"

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

    def _path(self, share: Share) -> Path:
        return self.folder / f"part-{share.key}.npz"


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """Around the writing of ``path``: a disk that is full, or the like, becomes a TrainingError."""
    try:
        yield
    except OSError as error:
        raise TrainingError(f"{path}: cannot be written ({error.strerror or error}); make room and run the same "
                            "command again: finished parts stay") from None  # fmt: skip
