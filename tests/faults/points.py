"""Where a victim dies: before its n-th change of a file, at byte n of a file, or after some seconds.

Changes of files are counted by an audit hook of Python, which the product knows nothing of: every file opened for
writing, renamed or removed, every folder made or removed, and every fsync, below one folder. Random moments alone
would rarely hit a write: most of a command's time is spent elsewhere.
"""

import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link", "os.symlink"}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


@dataclass(frozen=True, kw_only=True)
class Point:
    """One moment. ``kind``: "event" (number ``at``, from 1), "byte" (of any one file), "time" (seconds after start).

    At a "limit", another number of bytes, no file may grow on, as with a quota, and nobody is killed. ``rank`` is which
    process of several is meant, None for all of them.
    """

    kind: str
    at: float
    signal: int = signal.SIGKILL
    rank: int | None = 0

    def __str__(self) -> str:
        whom = "all ranks" if self.rank is None else f"rank {self.rank}"
        return f"{signal.Signals(self.signal).name} at {self.kind} {self.at:.6g} ({whom})"


def arm(point: Point | None, root: Path) -> Callable[[], int]:
    """In a victim: let ``point`` come true below ``root``. What is returned tells the number of changes so far.

    A point in time is the parent's to keep.
    """
    if point is not None and point.kind == "byte":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores it, and would raise OSError instead
    if point is not None and point.kind in ("byte", "limit"):
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(point.at), resource.RLIM_INFINITY))
    return _count(root, point if point is not None and point.kind == "event" else None)


def _count(root: Path, point: Point | None) -> Callable[[], int]:
    begin, seen = f"{root.resolve()}/", 0

    def change() -> None:
        nonlocal seen
        seen += 1
        if point is not None and seen == point.at:
            os.kill(os.getpid(), point.signal)

    def hook(event: str, arguments: tuple) -> None:
        if event == "open":
            path, _, flags = arguments
            ours = isinstance(path, str) and flags & _WRITING and _below(path, begin)
        else:
            # Below a folder's descriptor (shutil.rmtree) names are relative to it: of this command, so they count.
            ours = event in _CHANGES and (arguments[-1] not in (-1, None) or _below(os.fsdecode(arguments[0]), begin))
        if ours:
            change()

    def fsync(descriptor: int) -> None:
        change()
        sync(descriptor)

    sync, os.fsync = os.fsync, fsync
    sys.addaudithook(hook)
    return lambda: seen


def _below(path: str, folder: str) -> bool:
    return str(Path.cwd() / path).startswith(folder)
