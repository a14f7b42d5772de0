"""Commands that are to be killed: forked from a warmed-up parent, or started whole.

Importing torch takes seconds; a child forked from a process that has imported it takes none, so that hundreds of
points can be tried. The parent itself opens no store and starts no thread. Some commands are started whole as well.
"""

import contextlib
import importlib
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from faults.points import Point, arm
from hpc_astrossl import cli

CHECKOUT = Path(__file__).resolve().parents[2]
PATIENCE = 180.0  # seconds for a command; then it counts as hung
LAUNCHER = 10.0  # seconds that ranks have to notice that one has ended; then they are killed, as every launcher does
WARM = (
    "torch", "zarr", "hpc_astrossl.ingest", "hpc_astrossl.cutting.progress", "hpc_astrossl.specs.recipe",
    "hpc_astrossl.training.run", "hpc_astrossl.training.together", "hpc_astrossl.training.apply",
    "hpc_astrossl.report.page", "hpc_astrossl.loading.vectorised", "hpc_astrossl.loading.dali", "sklearn.manifold",
    "hpc_astrossl.targets.classes", "hpc_astrossl.targets.magnitudes", "torch._dynamo", "torch.distributed",
    "pyarrow.parquet", "astropy.io.fits", "horovod.torch",
)  # fmt: skip


def warm_up() -> None:
    """Import what the commands import, and stay one thread: a fork keeps no other."""
    os.environ |= {"OMP_NUM_THREADS": "1", "MPLBACKEND": "agg", "PYTHONPATH": f"{CHECKOUT}/tests:{CHECKOUT}"}
    for name in WARM:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(name)
    threads = [thread.name for thread in threading.enumerate()]
    if len(threads) > 1:
        raise RuntimeError(f"the parent of the victims has begun threads: {threads}")


@dataclass(frozen=True, kw_only=True)
class Command:
    """``astrossl`` with arguments in a work directory; one process for each environment in ``ranks``."""

    arguments: tuple[str, ...]
    cwd: Path
    ranks: Sequence[dict[str, str]] = field(default=({},))
    together: bool = True  # the ranks are one launch's: when one has ended badly, the others are ended, too
    setup: str = ""  # module:function, called in each process before the command: makes the work small


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How the processes of a command ended: their statuses (negative: by that signal), seconds, changes of files."""

    statuses: tuple[int, ...]
    seconds: float
    changes: int
    said: str

    @property
    def well(self) -> bool:
        """Whether every process ended with status 0."""
        return not any(self.statuses)


def run(command: Command, point: Point | None = None) -> Ended:
    """Run a command in forked children until all have ended, with ``point`` coming true on the way."""
    begin = time.monotonic()
    reading, writing = os.pipe()
    children = [_fork(command, rank, point if point and point.rank in (rank, None) else None, writing)
                for rank in range(len(command.ranks))]  # fmt: skip
    os.close(writing)
    if point and point.kind == "time":
        _strike(children, point, begin)
    statuses = _statuses(children, begin + PATIENCE, LAUNCHER if command.together else PATIENCE)
    seconds = time.monotonic() - begin
    with open(reading, encoding="ascii") as stream:
        changes = [int(line) for line in stream]
    said = "".join(_log(command, rank).read_text(errors="replace") for rank in range(len(children)))
    return Ended(statuses=statuses, seconds=seconds, changes=max(changes, default=0), said=said)


def run_whole(command: Command, point: Point) -> Ended:
    """The same with an interpreter of its own, killed with everything that it started; a point in time only."""
    begin = time.monotonic()
    whole = [sys.executable, "-m", "faults.whole", command.setup, *command.arguments]
    with _log(command, 0).open("w") as log:
        process = subprocess.Popen(whole, cwd=command.cwd, stdout=log, stderr=log, env=os.environ | command.ranks[0],
                                   start_new_session=True)  # fmt: skip
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(point.at)
        if process.poll() is None:
            os.killpg(process.pid, point.signal)
        status = process.wait(PATIENCE)
    said = _log(command, 0).read_text(errors="replace")
    return Ended(statuses=(status,), seconds=time.monotonic() - begin, changes=0, said=said)


def call(setup: str) -> None:
    """Call what ``module:function`` names; nothing for an empty string."""
    if setup:
        module, _, name = setup.partition(":")
        getattr(importlib.import_module(module), name)()


def in_child(work: Callable[[], None], setup: str) -> None:
    """Do something in a process of its own: what it opens and starts does not stay in the parent of the victims."""
    child = os.fork()
    if child == 0:
        _end(lambda: call(setup) or work() or 0)
    if status := os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        raise RuntimeError(f"preparing ended with {status}; see above")


def _fork(command: Command, rank: int, point: Point | None, counts: int) -> int:
    _log(command, rank).write_bytes(b"")
    child = os.fork()
    if child == 0:
        _be(command, rank, point, counts)
    os.setpgid(child, child)  # here as well as there: whoever comes first
    return child


def _be(command: Command, rank: int, point: Point | None, counts: int) -> NoReturn:
    """In the child: the command, with its output in a log."""
    os.setpgid(0, 0)
    output = os.open(_log(command, rank), os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.environ |= command.ranks[rank]
    os.chdir(command.cwd)

    def work() -> int:
        time.sleep(float(os.environ.pop("FAULTS_DELAY", "0")))
        call(command.setup)
        changes = arm(point, command.cwd)
        status = cli.main(list(command.arguments))
        os.write(counts, f"{changes()}\n".encode())
        return status

    _end(work)


def _end(work: Callable[[], int]) -> NoReturn:
    """End this child with the status of ``work``; nothing of the parent's is unwound."""
    status = 1
    try:
        status = work()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def _strike(children: list[int], point: Point, begin: float) -> None:
    """Wait for the moment and send the signal to the process group of the ranks that are meant."""
    time.sleep(max(0.0, begin + point.at - time.monotonic()))
    for rank, child in enumerate(children):
        if point.rank in (rank, None):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child, point.signal)


def _statuses(children: list[int], until: float, grace: float) -> tuple[int, ...]:
    """How each child ended: 124 for all when they had to be killed after ``until`` without one having ended.

    ``grace`` is how many seconds the others have when one has failed.
    """
    found: dict[int, int] = {}
    hung = False
    while len(found) < len(children):
        for child in set(children) - set(found):
            pid, status = os.waitpid(child, os.WNOHANG)
            if pid:
                found[child] = os.waitstatus_to_exitcode(status)
                if found[child]:
                    until = min(until, time.monotonic() + grace)
            elif time.monotonic() > until:
                hung = hung or not found
                os.killpg(child, signal.SIGKILL)
        time.sleep(0.002)
    return tuple(124 if hung else found[child] for child in children)


def _log(command: Command, rank: int) -> Path:
    """Beside the work directory: what is written there is not the command's doing."""
    return command.cwd.with_name(f"{command.cwd.name}.{rank}.log")
