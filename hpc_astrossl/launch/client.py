"""How Slurm's commands are run: without the caller's own filters, within a limit of time, an answer told from none."""

import errno
import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from hpc_astrossl.errors import InputError
from hpc_astrossl.launch.answers import uncoloured

PATIENCE = 60  # seconds for an answer
OWN_PATIENCE = "ASTROSSL_SLURM_PATIENCE"  # the variable that sets another number
PAUSES = (1, 3)  # seconds before a question is asked again
# Status of a shell that knows no such command. A wrapper may give our words to one more shell, as ssh does on its other
# end: there the bars of our formats are pipes.
NOT_FOUND = 127
LINGER = 5  # seconds in which the output of a command that has ended may still come
# Variables that change what these commands print or do. What is asked here must mean the same in every shell.
FILTERS = ("SQUEUE_", "SINFO_", "SACCT_", "SCANCEL_", "SCONTROL_", "SPRIO_")
SHAPES = {"SLURM_TIME_FORMAT", "SLURM_CLUSTERS", "SLURM_BITSTR_LEN"}
# Words of a Slurm that was not reached, or fell silent half-way: they say nothing of what was asked.
SILENT = re.compile(
    "timed out|time out|unable to contact|connection refused|connect failure|connection failure|can't be reached|"
    "zero bytes|negative bytes|insane message|transport endpoint|temporar(y|ily)|try again|unexpected message|"
    "not responding|in standby|broken pipe|connection reset|(send|receive|shutdown) failure|interrupted system call|"
    "input/output error|no route to host|network is unreachable|host is down|name or service not known|"
    "rate.?limit|too many (requests|queries|rpcs|calls)|too (often|frequently)|slow down|throttl",
    re.IGNORECASE,
)

# Words of a Slurm that understood a question and refused it: asking again brings nothing else.
REFUSED = re.compile(
    "invalid|unrecogni|unknown|not permitted|denied|disabled|could not establish|no such|does not exist|usage:",
    re.IGNORECASE,
)


class NoAnswer(InputError):
    """Slurm did not answer; what was asked is not known."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """How a command ended: ``status`` None when it was ended here, its time being over."""

    status: int | None
    out: str
    err: str

    @property
    def words(self) -> str:
        """What it says went wrong, on one line."""
        text = " ".join((self.err or self.out).split())
        return text if self.status is not None else f"no answer within {patience():g} s{': ' if text else ''}{text}"

    @property
    def silent(self) -> bool:
        """Whether it failed for want of an answer: what it was to do may have been done all the same."""
        if self.status == 0:
            return False
        text = self.err + self.out
        return self.status is None or self.status < 0 or not text.strip() or bool(SILENT.search(text))

    @property
    def refused(self) -> bool:
        """Whether Slurm understood what was asked, and will not."""
        return bool(self.status) and not self.silent and bool(REFUSED.search(self.err + self.out))


def patience() -> float:
    """Seconds that a command may take; InputError when the variable that sets them holds no number."""
    given = os.environ.get(OWN_PATIENCE, "")
    try:
        seconds = float(given or PATIENCE)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise InputError(f"{OWN_PATIENCE} must be a positive number of seconds, found {given!r}")
    return seconds


def clean(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what would filter or reshape an answer."""
    kept = {name: value for name, value in environment.items() if not name.startswith(FILTERS) and name not in SHAPES}
    return {**kept, "SLURM_BITSTR_LEN": "0"}  # else long lists of array elements end in dots


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Reply:
    """Run a command to its end or to the end of one's patience; NoAnswer when it is not on this machine.

    Output that is not UTF-8 loses no more than the bytes in question, and colours are taken out of it. What runs too
    long is ended with its children.
    """
    limit = patience()
    try:
        process = _start(list(command), clean(os.environ) if environment is None else dict(environment))
    except (FileNotFoundError, PermissionError):
        raise NoAnswer(
            f"{command[0]} is not on this machine, so the jobs of this experiment cannot be asked for; run this on the "
            "cluster's login node"
        ) from None
    try:
        out, err = _collect(process, limit)
        status = process.returncode
    finally:
        if process.returncode is None:  # late, or interrupted
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        process.stdout.close()
        process.stderr.close()
    return Reply(status=status, out=_text(out), err=_text(err))


def _text(output: bytes) -> str:
    """What a command printed, as it would be read on a terminal: colours are none of its words."""
    return uncoloured(output.decode(errors="replace"))


def _start(command: list[str], environment: Mapping[str, str]) -> subprocess.Popen:
    """The command at work; a wrapper whose first line names no shell is read by sh, as shells themselves do."""
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # The first of that name on the path: Popen by itself would pass over such a wrapper, to the next one.
    whole = [shutil.which(command[0]) or command[0], *command[1:]]
    try:
        return subprocess.Popen(whole, **pipes, env=environment, start_new_session=True)
    except OSError as error:
        if error.errno != errno.ENOEXEC:
            raise
    return subprocess.Popen(["/bin/sh", *whole], **pipes, env=environment, start_new_session=True)


def _collect(process: subprocess.Popen, limit: float) -> tuple[bytes, bytes]:
    """What a command prints until it ends, or until ``limit`` seconds have passed.

    A process that it leaves behind may hold its output open: it is given ``LINGER`` seconds to say more.
    """
    end = time.monotonic() + limit
    while True:
        left = end - time.monotonic()
        try:
            return process.communicate(timeout=max(0.0, min(0.2, left)))
        except subprocess.TimeoutExpired as late:
            if left <= 0:
                return late.stdout or b"", late.stderr or b""
            if process.returncode is None and process.poll() is not None:
                end = time.monotonic() + LINGER


def ask(command: Sequence[str]) -> str:
    """What a command prints that only asks, see ``answer``."""
    return answer(command).out


def answer(command: Sequence[str]) -> Reply:
    """How a command ended that only asks: asked again after a failure; NoAnswer in the end.

    A question that Slurm understood and refused is an InputError, and asked once. Text that ends within a line was cut
    short: what is missing of it would pass for jobs that are gone.
    """
    for pause in (*PAUSES, None):
        reply = run(command)
        if reply.status == NOT_FOUND:
            reply = run([shlex.quote(word) for word in command])
        if reply.status == 0 and (reply.out.endswith("\n") or not reply.out):
            return reply
        if reply.status is None or reply.refused or pause is None:
            break
        time.sleep(pause)
    if reply.status is None:
        raise NoAnswer(f"{command[0]} gave no answer within {patience():g} s; try again when Slurm does")
    if reply.status == 0:
        raise NoAnswer(f"{command[0]} was cut short: its answer ends within a line; try again when it answers whole")
    raise (InputError if reply.refused else NoAnswer)(f"{command[0]} failed: {reply.words}")
