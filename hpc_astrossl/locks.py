"""One at a time: flock where the file system has it, else a lease, a file with the holder's heartbeat in it.

No clock is compared with another's: whoever wants a lease watches whether it changes, for as long as its holder
promised to be heard, by a clock of his own that only he reads. A lease that is silent for so long is taken over by
creating the next one of its number exclusively, which one of many can do; its holder, should he wake up, finds it lost
when he writes next. A process of this machine that is gone leaves a lease that is free at once.
"""

import contextlib
import errno
import fcntl
import json
import os
import re
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hpc_astrossl import files, machine, provenance
from hpc_astrossl.errors import InputError, TrainingError

NO_LOCKS = {errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK, errno.EINVAL}
GONE = {errno.ENOENT, errno.ENOTDIR, errno.ESTALE}  # the last as NFS says it of what another node has removed
SILENCE = "ASTROSSL_LOCK_SECONDS"  # after which a lease counts as left behind
BEATS = 10  # within that time
MOUNTS = Path("/proc/self/mountinfo")
POLL = 0.1  # seconds
MOMENT = 1.0  # seconds: what one look at a heartbeat counts for, at most
LOCAL = {"nolock", "local_lock=flock", "local_lock=all", "localflock"}  # options by which each node locks for itself


class Held(Exception):
    """Another process holds the lock; the message says which."""


class Lock:
    """A lock that is held. With flock there is nothing to watch: it ends with its process, not before."""

    def check(self) -> None:
        """TrainingError when another process has taken it over."""


class Lease(Lock):
    """A lease that is held, and kept alive by a thread until ``release``."""

    def __init__(self, path: Path, number: int, text: "Heartbeat"):
        self._base, self._file, self._number = path, lease_file(path, number), number
        self._text, self._over, self._lost = text, threading.Event(), False
        self._thread = threading.Thread(target=self._beat, name=f"lease of {path}", daemon=True)
        self._thread.start()

    def check(self) -> None:
        if self._lost or not self._ours():
            raise TrainingError(f"{self._base}: this process was silent for so long that another took over its work; "
                                "it stops here")  # fmt: skip

    def release(self) -> None:
        """Give it back."""
        self._over.set()
        self._thread.join()
        if self._ours():
            self._file.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._over.wait(self._text.silence / BEATS):
            with contextlib.suppress(OSError):  # a file system that is away for a while
                if not self._ours():
                    self._lost = True
                    return
                self._text.write(self._file)

    def _ours(self) -> bool:
        found = read(self._file)
        return found is not None and self._text.token in found and not lease_file(self._base, self._number + 1).exists()


class Heartbeat:
    """What is in a lease: who holds it, and a number that grows for as long as he lives."""

    def __init__(self) -> None:
        self.silence, self.token, self._number = silence(), secrets.token_hex(8), 0

    def line(self) -> bytes:
        """The text: of one length, so that it is written over in place."""
        about = {"token": self.token, **machine.this_process(), "silence": self.silence,
                 "time": provenance.now(), "beat": f"{self._number:09d}"}  # fmt: skip
        self._number += 1
        return json.dumps(about).encode() + b"\n"

    def create(self, file: Path) -> bool:
        """Make the file exclusively; whether it is ours. It appears whole."""
        aside = files.aside_of(file)
        aside.write_bytes(self.line())
        try:
            os.link(aside, file)
            return True
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK):
                raise
            return self._create_plainly(file)  # a file system without links
        finally:
            aside.unlink(missing_ok=True)

    def _create_plainly(self, file: Path) -> bool:
        with contextlib.suppress(FileExistsError), file.open("xb") as stream:
            stream.write(self.line())
            return True
        return False

    def write(self, file: Path) -> None:
        """Beat once more; OSError when the file is gone: it is never made anew."""
        opened = os.open(file, os.O_WRONLY)
        try:
            os.pwrite(opened, self.line(), 0)
            os.fsync(opened)
        finally:
            os.close(opened)


@contextlib.contextmanager
def beating(file: Path) -> Iterator[None]:
    """Keep a heartbeat in ``file`` for the time of the block; where it cannot be written there is none."""
    text, over = Heartbeat(), threading.Event()

    def beat() -> None:
        while not over.wait(text.silence / BEATS):
            with contextlib.suppress(OSError):
                text.write(file)

    thread = threading.Thread(target=beat, name=f"heartbeat {file}", daemon=True)
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text.line())
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        with contextlib.suppress(OSError):
            file.unlink(missing_ok=True)


def silence() -> float:
    """Seconds of ``$ASTROSSL_LOCK_SECONDS``, 30 when it is not set; InputError for anything else than 1..3600."""
    words = os.environ.get(SILENCE) or "30"
    try:
        seconds = float(words)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 3600:
        raise InputError(f"${SILENCE} is {words!r}; expected seconds between 1 and 3600")
    return seconds


def read(file: Path) -> str | None:
    """What a heartbeat says now, None when it is not there. It is opened, which asks an NFS server anew."""
    try:
        return file.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        if error.errno not in GONE:
            raise
        return None


class Watch:
    """Watches heartbeats: which have changed, and which were silent for as long as their writers promised to be heard.

    Time counts only while they can be read: where the file system hangs, their writers hang as well.
    """

    def __init__(self) -> None:
        self._first: dict[Path, str] = {}
        self._seen: dict[Path, tuple[float, float]] = {}  # seconds watched, and the moment of the last look

    def state(self, file: Path) -> str:
        """ "gone" (no file, or its process has ended, or it was silent), "lives", or "unsure" until more is seen."""
        text = read(file)
        if text is None:
            return "gone"
        about = _parsed(text)
        if machine.here(about):
            return "lives" if machine.runs(about) else "gone"
        first, now = self._first.get(file), time.monotonic()
        if first is None or _parsed(first).get("token") != about.get("token"):
            self._first[file], self._seen[file] = text, (0.0, now)
            return "unsure"
        if text != first:
            return "lives"
        watched, last = self._seen[file]
        watched += min(now - last, MOMENT)
        self._seen[file] = watched, now
        return "gone" if watched > _promised(about) else "unsure"


def _parsed(text: str) -> dict:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _promised(about: dict) -> float:
    """Seconds of silence after which the writer may be taken for dead."""
    theirs = about.get("silence")
    usable = isinstance(theirs, int | float) and not isinstance(theirs, bool) and 1 <= theirs <= 3600
    return float(theirs) if usable else silence()


def words(text: str | None) -> str:
    """Who wrote a heartbeat, for messages."""
    about = _parsed(text or "")
    return f"process {about.get('pid', '?')} on {about.get('host', '?')}"


def lease_file(path: Path, number: int) -> Path:
    """The file of a lease; of several the one with the highest number counts."""
    return path.with_name(f"{path.name}.lease{number}")


def _numbers(path: Path) -> list[int]:
    shape = re.compile(re.escape(path.name) + r"\.lease(\d{1,9})")
    return sorted(int(found[1]) for entry in path.parent.iterdir() if (found := shape.fullmatch(entry.name)))


@contextlib.contextmanager
def locked(path: Path, *, patience: float | None = None, stop: Callable[[], bool] = bool) -> Iterator[Lock]:
    """Hold the lock file ``path`` for the time of the block; gives the lock.

    Another process that does is waited for: without end, or for ``patience`` seconds, then Held is raised. ``stop``
    ends the waiting, and Held is raised. OSError when the folder cannot be written.
    """
    while True:
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            if not (_has_locks(path) and _flocked(opened, patience, stop)):
                break
            if _replaced(opened, path):
                continue
            with contextlib.suppress(OSError):  # a full disk
                os.pwrite(opened, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), 0)
            try:
                yield Lock()
            finally:
                with contextlib.suppress(OSError):  # of a file that another node has removed
                    os.ftruncate(opened, 0)
            return
        finally:
            os.close(opened)
    lease = _leased(path, patience, stop)
    try:
        yield lease
    finally:
        lease.release()


def _replaced(opened: int, path: Path) -> bool:
    """Whether the file that was locked is no more the one of that name: its holder removed it when he was done, so that
    others may hold another by now. Where its whole folder has gone there is nothing left to hold."""
    try:
        return not os.path.samestat(os.fstat(opened), path.stat(follow_symlinks=False))
    except OSError:
        return path.parent.is_dir()


def _flocked(opened: int, patience: float | None, stop: Callable[[], bool]) -> bool:
    """Wait for flock; False where the file system has none."""
    end = None if patience is None else time.monotonic() + patience
    while True:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError as error:
            if error.errno in NO_LOCKS:
                return False
            if error.errno in GONE:  # the file, not the lock: ``_replaced`` finds it so
                return True
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
        if stop() or (end is not None and time.monotonic() > end):
            note = os.pread(opened, 200, 0).decode(errors="replace").partition("\n")[0]
            raise Held(note or "another process")
        time.sleep(POLL)


def _leased(path: Path, patience: float | None, stop: Callable[[], bool]) -> Lease:
    """Wait for the lease. Whether its holder lives is always found out, which may take longer than ``patience``."""
    end, watch = None if patience is None else time.monotonic() + patience, Watch()
    while True:
        numbers = _numbers(path)
        state = watch.state(lease_file(path, numbers[-1])) if numbers else "gone"
        if state == "gone" and (lease := _take(path, numbers)):
            return lease
        if stop() or (state == "lives" and end is not None and time.monotonic() > end):
            raise Held(words(read(lease_file(path, numbers[-1])) if numbers else None))
        time.sleep(POLL)


def _take(path: Path, numbers: list[int]) -> Lease | None:
    """Create the next lease. None when another was faster, or the one before was given back meanwhile.

    Looked at once more when ours is there: were the one before given back in between, somebody might have begun
    again with number 1.
    """
    text, number = Heartbeat(), (numbers[-1] if numbers else 0) + 1
    file = lease_file(path, number)
    if not text.create(file):
        return None
    now = _numbers(path)
    if now[-1:] != [number] or (numbers and numbers[-1] not in now):
        file.unlink(missing_ok=True)
        return None
    for older in now[:-1]:
        lease_file(path, older).unlink(missing_ok=True)
    return Lease(path, number, text)


def _has_locks(path: Path) -> bool:
    """Whether flock there, if it works, keeps out other nodes: mounts may say that each node locks for itself."""
    try:
        mounts = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return True
    place, best, options = os.path.realpath(path.parent), "", ""
    for line in mounts:
        before, _, after = line.partition(" - ")
        point = before.split(" ")[4].replace("\\040", " ")
        if len(point) >= len(best) and (place + "/").startswith(point.rstrip("/") + "/"):
            best, options = point, f"{before.split(' ')[5]},{after.split(' ')[-1]}"
    return not LOCAL & set(options.split(","))
