"""What submitit leaves to its users on Slurm, one function a gap, each held by a test on a real Slurm.

=====================  ==============================================================================================
``arrays``             it never splits an array at the site's MaxArraySize, which caps the index
``SBATCH``             jobs are requeued only where the site's default says so; dependents of a failed job wait for ever
``srun_arguments``     since Slurm 22.05 srun does not inherit --cpus-per-task; a dead rank leaves the others waiting;
                       a job sent with --export=NONE hands its step nothing, not even submitit's own variable
``once``               under Apptainer each signal arrives twice: from the step, and from the container's starter
``timed_out``          short or early signals: a time limit is taken for a preemption, or the other way round
``requeue``            an image holds no scontrol, or Slurm does not answer it, so a task cannot requeue itself
``hold_rank``          the ranks that only wait for rank 0 to requeue would end the job before it has
``last_lines``         a task killed from outside (SIGKILL, lost peer) ends for good, although its state is saved
``queue.states``       without accounting (sacct) it waits for ever on a job that died: see launch/queue.py
=====================  ==============================================================================================
"""

import os
import shlex
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from hpc_astrossl.launch.answers import AT_WORK, FINAL, WAITING
from hpc_astrossl.specs.jobs import Resources

DELAY = "ASTROSSL_SIGNAL_DELAY"  # seconds before the time limit at which the task is told; set in the batch script
EARLY = 60  # seconds: Slurm may send a signal up to a minute before it is due
START = 60  # seconds that an interpreter or a container may take until submitit's clock begins
HOLD = 60  # seconds: KillWait is 30 by default
# What a job can be while its batch script runs, or is being ended, and in which of these states nobody has ended it.
STATES = "|".join(sorted({"COMPLETING", *AT_WORK, *FINAL, *WAITING}))
ALIVE = "|".join(sorted(AT_WORK))
MARKS = {".ends", ".kills", ".requeue", ".failed", ".cancelled", ".lost"}  # what a job leaves beside its log
# Exit statuses of srun whose cause lies outside the task: SIGABRT (Horovod ends so when a peer is gone), SIGKILL (out
# of memory, an operator), SIGUSR2 (told to save before it listened), SIGTERM (to the other ranks of a dead one), SIGBUS
# and SIGSEGV (a mapped file that a file system has lost).
KILLED = (134, 135, 137, 139, 140, 143)
# A shell that setup or BASH_ENV made strict would end the script with srun, before its end could be noted.
LENIENT = ("set +o errexit +o nounset +o pipefail; trap - ERR",)
SBATCH = {"requeue": True, "kill-on-invalid-dep": "yes"}


def arrays(works: list[Any], limit: int) -> Iterator[list[Any]]:
    """The works in arrays of at most ``limit`` elements, the indices of each beginning at 0."""
    size = max(1, limit)  # a site whose MaxArraySize is 0 or 1 has no arrays: each task is a job
    for start in range(0, len(works), size):
        yield works[start : start + size]


def srun_arguments(need: Resources) -> list[str]:
    """Each rank has its CPUs and the script's environment, and the end of one rank is the end of the step."""
    return [f"--cpus-per-task={need.cpus}", "--export=ALL", "--kill-on-bad-exit=1"]


def mend(environment: Any, handler: Any) -> None:
    """Of a task on a Slurm node: close the gaps that lie in submitit's own classes.

    ``environment`` is its SlurmJobEnvironment, ``handler`` its SignalHandler.
    """
    handler.has_timed_out = lambda self: timed_out(time.time() - self._start_time, self._delayed._timeout_min * 60)
    environment._requeue = requeue(environment._requeue)
    once(environment._usr_sig())


def once(number: int) -> None:
    """Let the present handler of that signal run at the first one only."""
    first, seen = signal.getsignal(number), []

    def react(*arguments):
        if not seen:
            seen.append(number)
            first(*arguments)

    if callable(first):
        signal.signal(number, react)


def timed_out(ran: float, limit: float) -> bool:
    """Whether the signal that came after ``ran`` seconds announces the time limit, not a preemption."""
    return ran >= limit - float(os.environ.get(DELAY, "0")) - EARLY - START


def requeue(inside: Callable[[Any, int], None]) -> Callable[[Any, int], None]:
    """submitit's way to requeue the job, else that of the batch script, which runs on the host (see ``last_lines``)."""

    def ask(environment: Any, countdown: int) -> None:
        try:
            if shutil.which("scontrol") is not None:
                return inside(environment, countdown)
        except (OSError, subprocess.SubprocessError):
            pass  # Slurm did not answer: the batch script asks more than once
        return mark(environment.paths.folder, environment.job_id, "requeue")

    return ask


def hold_rank() -> None:
    """Of a rank other than 0 that has saved: wait to be ended by the requeueing of the whole job."""
    if os.environ.get("SLURM_PROCID", "0") != "0":
        time.sleep(HOLD)


def mark(logs: Path, job: str, word: str) -> None:
    """Leave a sign for the batch script: "requeue", or "failed" for a fault that starting again would not mend."""
    (Path(logs) / f"{job}.{word}").touch()


def forget(logs: Path, job: str, before: float) -> None:
    """Remove the signs that an earlier job of that number left: numbers begin anew where a Slurm is set up anew.

    ``before`` is a time of the file system's, after which the job was sent.
    """
    for path in (*Path(logs).glob(f"{job}.*"), *Path(logs).glob(f"{job}_*.*")):
        if path.suffix in MARKS and path.stat().st_mtime < before:
            path.unlink(missing_ok=True)


def last_lines(logs: Path, retries: int) -> list[str]:
    """The end of the batch script: note how srun ended, start again if that is wanted or worth it, pass it on.

    It is wanted when the task left a sign, and worth it ``retries`` times when it was killed from outside and the job
    itself was not cancelled. A Slurm that does not answer is asked again, and forbids nothing. A job that could not be
    requeued leaves a sign of that.
    """
    return [
        "status=$?",
        "job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}",
        "job=${job:-$SLURM_JOB_ID}",  # an element's own number may be that of the whole array
        f"at={shlex.quote(str(logs))}/$job",
        'echo "$status $SLURM_JOB_NODELIST" >> "$at.ends"',
        # The submitting shell's own filters; grep before 3.6 may be told to colour what it finds.
        'unset "${!SQUEUE_@}" "${!SCONTROL_@}" SLURM_CLUSTERS GREP_OPTIONS',
        "export LC_ALL=C",  # to grep and sed a byte that is no UTF-8 is one like any other
        "again=",
        'if [ -e "$at.requeue" ]; then again=1; fi',
        f"case $status in {'|'.join(map(str, KILLED))})",
        '    if [ ! -e "$at.failed" ]; then echo "$status" >> "$at.kills"; fi',
        f'    if [ ! -e "$at.failed" ] && [ "$(wc -l < "$at.kills")" -le {retries} ]; then',
        "        for pause in 5 10 0; do",
        '            state=$(timeout 60 squeue --all --noheader --jobs="$job" --format=%T 2> /dev/null |',
        r"                sed -E 's/\x1b\[[0-9;]*m//g; s/^[[:space:]]+|[[:space:]]+$//g' |",
        f"                grep -axE '{STATES}' | tail -n 1)",  # whatever else a site's wrapper prints
        '            [ -n "$state" ] || state=$(timeout 60 scontrol show job "$job" 2> /dev/null |',
        r"                sed -n 's/^ *JobState=\([A-Z_]*\).*/\1/p' | head -n 1)",
        '            if [ -n "$state" ]; then break; fi',
        "            sleep $pause",
        "        done",
        f"        case ${{state:-RUNNING}} in {ALIVE}) again=1 ;; esac",
        "    fi ;;",
        "esac",
        'if [ -e "$at.cancelled" ]; then again=; fi',
        'rm -f "$at.requeue" "$at.failed"',
        'if [ -n "$again" ]; then',
        '    for pause in 5 15 0; do timeout 60 scontrol requeue "$job" && exit "$status"; sleep $pause; done',
        '    touch "$at.lost"',
        "fi",
        "exit $status",
    ]


def exports(variables: dict[str, str]) -> list[str]:
    """Shell lines that set those variables to exactly those values."""
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
