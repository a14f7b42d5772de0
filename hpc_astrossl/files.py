"""Files that appear whole or not at all: written aside, synced, renamed. And where a task leaves its note."""

import contextlib
import csv
import errno
import hashlib
import io
import itertools
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from hpc_astrossl import machine
from hpc_astrossl.errors import TrainingError

T = TypeVar("T")
PARTIAL = ".partial"
NUMBER = re.compile(r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|[-+]?(?:inf|nan)", re.ASCII)
NO_SYNC = {errno.EINVAL, errno.ENOTSUP, errno.EBADF}  # of a folder, on some network file systems
DAY = 86400  # seconds after which what another machine began to write is litter, whatever the clocks
_count = itertools.count()
_swept: set[Path] = set()


def write_aside(path: Path, data: bytes | memoryview) -> None:
    """Write ``data`` so that ``path`` is either what it was or all of it, also after a crash of the machine.

    Of several writers of one path each has a file of its own, so that the last one's is whole. What could not be
    written whole (a full disk) is removed, and so is what dead writers left in that folder.
    """

    def fill(aside: Path) -> None:
        with aside.open("xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())

    make_aside(path, fill)


def make_aside(path: Path, fill: Callable[[Path], T]) -> T:
    """Let ``fill`` make a file or a folder of the name it is given, and rename that to ``path``; what it returns."""
    aside = aside_of(path)
    sweep(path.parent)
    try:
        made = fill(aside)
        aside.replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            remove(aside)
        raise
    _sync_one(path.parent)
    return made


def aside_of(path: Path) -> Path:
    """A name beside ``path`` that no other writer has: of this machine, process and call."""
    stem = path.name.encode(errors="surrogateescape")[:100].decode(errors="replace").replace("\ufffd", "_")
    return path.with_name(f".{stem}.{_writer(os.getpid())}-{next(_count)}{PARTIAL}")


@lru_cache(maxsize=1)  # a thousand runs are submitted by one process
def _writer(pid: int) -> str:
    """This process among all of all machines, for the names of its files."""
    me = machine.process(pid)
    return f"{_machine(me)}-{pid}-{me['started']}"


def _machine(about: dict) -> str:
    return hashlib.sha256(str(about["machine"] or about["host"]).encode()).hexdigest()[:12]


def sweep(folder: Path) -> None:
    """Remove, once a process and folder, what writers left in it that died while they wrote.

    Of this machine's writers it is known who lives; of others' what is a day old goes.
    """
    if folder.absolute() in _swept:
        return
    _swept.add(folder.absolute())
    ours = _machine(machine.this_process())
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            parts = entry.name.removesuffix(PARTIAL).rpartition(".")[2].split("-")
            if not (entry.name.startswith(".") and entry.name.endswith(PARTIAL) and len(parts) == 4):
                continue
            alive = machine.runs({"pid": parts[1], "started": int(parts[2]) if parts[2].isdigit() else None})
            if not alive if parts[0] == ours else time.time() - entry.stat().st_mtime > DAY:
                remove(Path(entry.path))


@contextlib.contextmanager
def written(path: Path) -> Iterator[None]:
    """Around the writing of ``path``: a disk that is full, or the like, becomes a TrainingError that names it."""
    try:
        yield
    except OSError as error:
        raise TrainingError(f"{path}: cannot be written ({error.strerror or error}); make room, or choose another "
                            "place, and run the same command again") from None  # fmt: skip


def write_at(file: int, data: Any, offset: int) -> None:
    """Write all of ``data``, contiguous, at that place of an open file; OSError where there is no room."""
    left = memoryview(data).cast("B")
    while len(left):
        count = os.pwrite(file, left, offset)
        left, offset = left[count:], offset + count


def read_at(file: int, out: Any, offset: int) -> None:
    """Fill ``out``, contiguous, from that place of an open file on; OSError where the file ends before."""
    left = memoryview(out).cast("B")
    while len(left):  # one read of Linux gives no more than 2 GiB
        count = os.preadv(file, [left], offset)
        if not count:
            raise OSError(f"the file ends at byte {offset}")
        left, offset = left[count:], offset + count


def sync(path: Path) -> None:
    """Let a file, or a folder with all that is below it, reach the disk, so that a later crash cannot undo it."""
    for part in [path, *path.rglob("*")]:
        _sync_one(part)


def _sync_one(path: Path) -> None:
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    except OSError as error:
        if error.errno not in NO_SYNC:
            raise
    finally:
        os.close(opened)


def remove(path: Path) -> None:
    """Remove a file or a whole folder; nothing happens where there is none."""
    if path.is_dir() and not path.is_symlink():
        try:
            shutil.rmtree(path)
        except PermissionError:  # a copy of what may only be read
            for root, _, _ in os.walk(path):
                Path(root).chmod(0o700)
            shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def rows_as_csv(rows: Iterable[Iterable[Any]]) -> str:
    """Lines of a CSV that people may open in a spreadsheet: text that would be a formula there is shown as text.

    Such text begins with =, +, -, @, a tab or a line break; an apostrophe before it says so to a spreadsheet. What is a
    number is left alone. (OWASP, "CSV Injection".)
    """
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([plain_cell(cell) for cell in row] for row in rows)
    return stream.getvalue()


def plain_cell(cell: Any) -> Any:
    """A cell of a CSV, with an apostrophe before what a spreadsheet would compute."""
    return f"'{cell}" if isinstance(cell, str) and _computed(cell) else cell


def cell_text(text: str) -> str:
    """What stood in a cell before ``plain_cell``."""
    return text[1:] if text.startswith("'") and _computed(text) else text


def _computed(text: str) -> bool:
    """Whether a spreadsheet would compute it, or would but for apostrophes before it: these get one more, so that each
    text is read back as what it was."""
    bare = text.lstrip("'")
    return bare.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r", "\n")) and not NUMBER.fullmatch(bare)


def task_note(store: str, task: int, tasks: int) -> str:
    """The file, beside the store NAME.zarr, that a task of several leaves when its part of it is done."""
    return f"{store}.tasks/{task}-of-{tasks}.json"
