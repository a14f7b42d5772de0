"""What runs on a compute node: astrossl command lines, one after another, in one process.

What travels there is one string, the path of a YAML file ``{workdir, commands}``. State lives in the run folders and
is always resumed, so that ``checkpoint`` only says "again". What happened is appended to a ``.jsonl`` beside the YAML:
the status of a run can then be told without the scheduler.
"""

import contextlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpc_astrossl import config, locks, names, provenance
from hpc_astrossl.errors import EXIT_CONTINUE, EXIT_DONE, EXIT_FAULT, EXIT_INPUT, EXIT_PEER
from hpc_astrossl.launch import gaps
from hpc_astrossl.specs.run import require


class TaskFailed(Exception):
    """At least one command of a task ended with a status other than 0; the message names each, a line apiece."""


class PeersLost(TaskFailed):
    """The only fault was that other ranks had ended."""


class ToBeContinued(Exception):
    """A command was asked to stop, and has saved its state."""


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """A task's YAML. ``workdir`` is absolute; the commands run there."""

    workdir: str
    commands: tuple[tuple[str, ...], ...]

    def __post_init__(self):
        require(Path(self.workdir).is_absolute(), f"workdir must be an absolute path, found {self.workdir!r}")
        require(all(self.commands), "a command must have at least a verb")


class Task:
    """A callable for submitit; its pickle holds the path and nothing else."""

    def __init__(self, path: str):
        self.path = str(path)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Unpickled on a node before submitit listens: a signal must find what answers it imported, and not half so."""
        from hpc_astrossl.launch import executors  # noqa: F401

        self.__dict__ |= state

    def __call__(self) -> int:
        """Run every command, also after one that failed; the number of commands run.

        Raises TaskFailed at the end when any failed, and ToBeContinued at once when a command stopped.
        """
        if os.environ.get("SUBMITIT_EXECUTOR") != "slurm":
            with locks.beating(Path(self.path).with_suffix(".beat")):
                return self._run_commands()
        from hpc_astrossl.launch import executors

        executors.mend()
        try:
            return self._run_commands()
        except ToBeContinued:
            raise
        except PeersLost:  # how the other rank ended decides whether the task starts again
            raise
        except Exception:
            executors.mark_failed()  # it has words for its end: not killed from outside, and not started again
            raise

    def _run_commands(self) -> int:
        spec = config.load(self.path, TaskSpec)
        os.chdir(spec.workdir)
        command_line = names.resolve(names.ENTRY, "astrossl", "entry")
        failures, statuses = [], set()
        with _signals() as heard:
            for number, command in enumerate(spec.commands):
                self._note(number, "start")
                status, reason = run(command_line, command)
                self._note(number, "end", status=status, reason=reason)
                if status == EXIT_CONTINUE:
                    if signal.SIGUSR2 in heard():
                        signal.raise_signal(signal.SIGUSR2)  # its state is saved: now submitit's handler requeues
                        gaps.hold_rank()
                    raise ToBeContinued(f"astrossl {' '.join(command)}: {reason or 'interrupted, to be continued'}")
                if status != EXIT_DONE:
                    statuses.add(status)
                    failures.append(f"astrossl {' '.join(command)}: exit {status}: {reason}")
        if failures:
            raise (PeersLost if statuses == {EXIT_PEER} else TaskFailed)("\n".join(failures))
        return len(spec.commands)

    def checkpoint(self):
        """What submitit queues after a time limit or a preemption: the same task."""
        from hpc_astrossl.launch.executors import again

        return again(Task(self.path))

    def _note(self, command: int, event: str, **more: Any) -> None:
        if os.environ.get("SLURM_PROCID", "0") == "0":  # one rank speaks for all
            note(self.path, command, event, **more)


def events_file(task: Path | str) -> Path:
    """Where the task of that YAML notes what happened."""
    return Path(task).with_suffix(".jsonl")


def note(task: Path | str, command: int, event: str, **more: Any) -> None:
    """Append what happened to a command of that task: event "start", or "end" with ``status`` and ``reason``."""
    line = {"time": provenance.now(), "command": command, "event": event, **more}
    with events_file(task).open("a", encoding="utf-8") as stream:
        stream.write(json.dumps(line, ensure_ascii=False) + "\n")


def run(command_line: Callable[[list[str]], int], command: tuple[str, ...]) -> tuple[int, str | None]:
    """Exit status of one command line, and the last line it wrote to standard error when that status is not 0."""
    print(f"+ astrossl {' '.join(command)}", flush=True)
    with redirect_stderr(_LastLine(sys.stderr)) as heard:
        try:
            status = command_line(list(command))
        except SystemExit as end:  # argparse's; submitit's own way out (-1, 144) is not ours to swallow
            if end.code not in (None, EXIT_DONE, EXIT_FAULT, EXIT_INPUT):
                raise
            status = end.code or EXIT_DONE
        except Exception as error:
            if _is_timeout(error):
                raise
            traceback.print_exc()
            status = EXIT_FAULT
    return status, heard.last if status != EXIT_DONE else None


@contextlib.contextmanager
def _signals() -> Iterator[Callable[[], bytes]]:
    """Note signals for the time of the block, whoever handles them; yields a function that tells their numbers.

    A run replaces submitit's handlers by its own while it trains, and only says that it was stopped, not by what.
    """
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def heard() -> bytes:
        with contextlib.suppress(BlockingIOError):
            return os.read(reading, 4096)
        return b""

    try:
        yield heard
    finally:
        signal.set_wakeup_fd(before)
        os.close(reading)
        os.close(writing)


def _is_timeout(error: Exception) -> bool:
    """Whether submitit's signal handler gave up on the task (too many time limits) in the midst of a command."""
    return any(kind.__name__ == "UncompletedJobError" for kind in type(error).__mro__)


class _LastLine:
    """A stream that passes everything on and remembers the last line that was not blank."""

    def __init__(self, stream):
        self._stream, self._open, self.last = stream, "", None

    def write(self, text: str) -> int:
        *whole, self._open = (self._open + text).replace("\r", "\n").split("\n")
        for line in [*whole, self._open]:
            if line.strip():
                self.last = line.strip()
        return self._stream.write(text)

    def __getattr__(self, name: str):
        return getattr(self._stream, name)
