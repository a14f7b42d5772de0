"""What submitit leaves to its users on Slurm, one function a gap, each held by a test on a real Slurm.

=====================  ==============================================================================================
``arrays``             it never splits an array at the site's MaxArraySize, which caps the index
``SBATCH``             jobs are requeued only where the site's default says so; dependents of a failed job wait for ever
``srun_arguments``     since Slurm 22.05 srun does not inherit --cpus-per-task; a dead rank leaves the others waiting
``once``               under Apptainer each signal arrives twice: from the step, and from the container's starter
``timed_out``          short or early signals: a time limit is taken for a preemption, or the other way round
``requeue_outside``    an image holds no scontrol, so a task cannot requeue itself
``hold_rank``          the ranks that only wait for rank 0 to requeue would end the job before it has
``last_lines``         a task killed from outside (SIGKILL, lost peer) ends for good, although its state is saved
``queue.states``       without accounting (sacct) it waits for ever on a job that died: see launch/queue.py
=====================  ==============================================================================================
"""

import os
import shlex
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpc_astrossl.specs.jobs import Resources

DELAY = "ASTROSSL_SIGNAL_DELAY"  # seconds before the time limit at which the task is told; set in the batch script
EARLY = 60  # seconds: Slurm may send a signal up to a minute before it is due
START = 60  # seconds that an interpreter or a container may take until submitit's clock begins
HOLD = 60  # seconds: KillWait is 30 by default
# Exit statuses of srun whose cause lies outside the task: SIGABRT (Horovod ends so when a peer is gone), SIGKILL (out
# of memory, an operator), SIGUSR2 (told to save before it listened), SIGTERM (to the other ranks of a dead one).
KILLED = (134, 137, 140, 143)
SBATCH = {"requeue": True, "kill-on-invalid-dep": "yes"}


def arrays(works: list[Any], limit: int) -> Iterator[list[Any]]:
    """The works in arrays of at most ``limit`` elements, the indices of each beginning at 0."""
    for start in range(0, len(works), limit):
        yield works[start : start + limit]


def srun_arguments(need: Resources) -> list[str]:
    """Each rank has its CPUs, and the end of one rank is the end of the step."""
    return [f"--cpus-per-task={need.cpus}", "--kill-on-bad-exit=1"]


def mend(environment: Any, handler: Any) -> None:
    """Of a task on a Slurm node: close the gaps that lie in submitit's own classes.

    ``environment`` is its SlurmJobEnvironment, ``handler`` its SignalHandler.
    """
    handler.has_timed_out = lambda self: timed_out(time.time() - self._start_time, self._delayed._timeout_min * 60)
    if shutil.which("scontrol") is None:
        environment._requeue = requeue_outside
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


def requeue_outside(environment: Any, _countdown: int) -> None:
    """Ask the batch script, which runs on the host, to requeue the job (see ``last_lines``)."""
    mark(environment.paths.folder, environment.job_id, "requeue")


def hold_rank() -> None:
    """Of a rank other than 0 that has saved: wait to be ended by the requeueing of the whole job."""
    if os.environ.get("SLURM_PROCID", "0") != "0":
        time.sleep(HOLD)


def mark(logs: Path, job: str, word: str) -> None:
    """Leave a sign for the batch script: "requeue", or "failed" for a fault that starting again would not mend."""
    (Path(logs) / f"{job}.{word}").touch()


def last_lines(logs: Path, retries: int) -> list[str]:
    """The end of the batch script: note how srun ended, start again if that is wanted or worth it, pass it on.

    It is wanted when the task left a sign, and worth it ``retries`` times when it was killed from outside and the job
    itself was not cancelled.
    """
    return [
        "status=$?",
        "job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}",
        "job=${job:-$SLURM_JOB_ID}",  # an element's own number may be that of the whole array
        f"at={shlex.quote(str(logs))}/$job",
        'echo "$status $SLURM_JOB_NODELIST" >> "$at.ends"',
        "again=",
        'if [ -e "$at.requeue" ]; then again=1; fi',
        f"case $status in {'|'.join(map(str, KILLED))})",
        '    if [ ! -e "$at.failed" ]; then echo "$status" >> "$at.kills"; fi',
        f'    if [ ! -e "$at.failed" ] && [ "$(wc -l < "$at.kills")" -le {retries} ] &&',
        '        [ "$(squeue --noheader --jobs="$job" --format=%T)" = RUNNING ]; then again=1; fi ;;',
        "esac",
        'rm -f "$at.requeue" "$at.failed"',
        'if [ -n "$again" ]; then scontrol requeue "$job"; fi',
        "exit $status",
    ]


def exports(variables: dict[str, str]) -> list[str]:
    """Shell lines that set those variables to exactly those values."""
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
