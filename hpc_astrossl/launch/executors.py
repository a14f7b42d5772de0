"""The only door to submitit: processes on this machine, Slurm arrays, and the text of their batch scripts.

What submitit leaves to its users is supplied here: ``--cpus-per-task`` and ``--kill-on-bad-exit`` for srun, requeueing
whatever the site's default (also from a container without a Slurm client), one reaction to a signal that arrives
twice, and the end of jobs whose dependency can no longer be met.
"""

import logging
import os
import shlex
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from submitit import JobEnvironment, LocalExecutor, LocalJob, SlurmExecutor
from submitit.core.utils import DelayedSubmission, FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmJobEnvironment

from hpc_astrossl.errors import InputError
from hpc_astrossl.launch.grid import Stage
from hpc_astrossl.specs.cluster import ClusterSpec

YEAR = 365 * 24 * 60  # minutes: on this machine nothing is stopped for its duration
THROTTLE = 64  # array elements at once, where the cluster file says nothing
logging.getLogger("submitit").setLevel(logging.ERROR)


def again(task: Callable[[], int]) -> DelayedSubmission:
    """submitit's order to run the task once more."""
    return DelayedSubmission(task)


def mend_signals() -> None:
    """Of a task on a Slurm node: react once to a signal that comes twice, and requeue without a Slurm client.

    Under Apptainer each signal reaches Python twice, from the step and from the container's starter. Where the image
    has no scontrol, a file asks the batch script to requeue the job (see ``_requeue_lines``).
    """
    if shutil.which("scontrol") is None:
        SlurmJobEnvironment._requeue = lambda self, countdown: _marker(self).touch()
    kind = SlurmJobEnvironment._usr_sig()
    first, seen = signal.getsignal(kind), []

    def once(number, frame):
        if not seen:
            seen.append(number)
            first(number, frame)

    if callable(first):
        signal.signal(kind, once)


def start_local(
    task: Callable[[], int], logs: Path, stage: Stage, cluster: ClusterSpec, gpus: Sequence[int] = ()
) -> LocalJob:
    """Start a task as processes of this machine; returns at once. ``gpus`` are the numbers of its GPUs."""
    logs.mkdir(parents=True, exist_ok=True)
    executor = LocalExecutor(logs, python=cluster.python)
    executor.update_parameters(
        timeout_min=YEAR, gpus_per_node=len(gpus), visible_gpus=tuple(gpus), stderr_to_stdout=True
    )
    variables = {**_threads(stage), **cluster.environment}
    with _variables(variables), _errors_to(logs / "controllers.log"):
        return executor.submit(task)


def submit_array(tasks: Sequence[Callable[[], int]], logs: Path, options: dict) -> list[str]:
    """Send one array (of one task: a plain job) to Slurm; the job ids in the order of the tasks.

    InputError with Slurm's own words when sbatch refuses.
    """
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise InputError("sbatch is not on this machine; submit from the cluster's login node, or try --dry-run")
    logs.mkdir(parents=True, exist_ok=True)
    try:
        executor = SlurmExecutor(logs, python=options["python"], max_num_timeout=options["attempts"])
        executor.update_parameters(**options["parameters"])
        with _variables({}, without=("SLURM_", "SBATCH_"), but=("SLURM_CONF",)):
            jobs = executor.submit_array(tasks)
    except (FailedJobError, FailedSubmissionError) as error:
        raise InputError(f"sbatch refused the job: {' '.join(str(error).split())}") from None
    return [job.job_id for job in jobs]


def script(count: int, logs: Path, options: dict) -> str:
    """The batch script that ``submit_array`` would send for that many tasks, without a Slurm client."""
    executor = _ScriptWriter(logs, python=options["python"], max_num_timeout=options["attempts"])
    executor.update_parameters(**options["parameters"])
    if count > 1:
        executor.parameters["map_count"] = count
    return executor._make_submission_file_text(executor._submitit_command_str, "") + "\n"


def slurm_options(name: str, stage: Stage, cluster: ClusterSpec, logs: Path, *, after: str, arrays: int) -> dict:
    """How a stage is submitted: interpreter, attempts and submitit's parameters.

    ``after`` is the dependency in Slurm's words, or empty; ``arrays`` the number of arrays that share the throttle.
    """
    need = stage.resources
    parameters = {
        "job_name": name,
        "time": need.minutes,
        "nodes": 1,
        "ntasks_per_node": 1,
        "cpus_per_task": need.cpus,
        "mem": f"{round(need.memory_gb * 1024)}M",
        "gpus_per_node": need.gpus or None,
        "partition": cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "constraint": cluster.constraint,
        "dependency": after or None,
        "array_parallelism": max(1, (cluster.parallel or THROTTLE) // arrays),
        "signal_delay_s": min(cluster.signal_delay, need.minutes * 30),
        "stderr_to_stdout": True,
        "setup": [*cluster.setup, *_exports({**_threads(stage), **cluster.environment})],
        "teardown": _requeue_lines(logs),
        "srun_args": [f"--cpus-per-task={need.cpus}", "--kill-on-bad-exit=1"],
        "additional_parameters": {"requeue": True, "kill-on-invalid-dep": "yes", **cluster.sbatch},
    }
    return {"python": cluster.python, "attempts": cluster.attempts, "parameters": parameters}


class _ScriptWriter(SlurmExecutor):
    """Writes scripts on machines without srun."""

    @classmethod
    def affinity(cls) -> int:
        return 1


def _threads(stage: Stage) -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(stage.resources.cpus)}


def _exports(variables: dict[str, str]) -> list[str]:
    return [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]


def _marker(environment: JobEnvironment) -> Path:
    return environment.paths.folder / f"{environment.job_id}.requeue"


def _requeue_lines(logs: Path) -> list[str]:
    """The end of the batch script: requeue when the task asked for it, and pass on srun's exit status."""
    return [
        "status=$?",
        "job=${SLURM_ARRAY_JOB_ID:+${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID}",
        f"marker={shlex.quote(str(logs))}/${{job:-$SLURM_JOB_ID}}.requeue",
        'if [ -e "$marker" ]; then rm "$marker"; scontrol requeue "$SLURM_JOB_ID"; fi',
        "exit $status",
    ]


@contextmanager
def _variables(values: dict[str, str], without: tuple[str, ...] = (), but: tuple[str, ...] = ()) -> Iterator[None]:
    """The process environment with those variables, and without the ones of an enclosing Slurm job."""
    before = dict(os.environ)
    for name in before:
        if without and name.startswith(without) and name not in but:
            del os.environ[name]
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _errors_to(path: Path) -> Iterator[None]:
    """Standard error of the processes started meanwhile goes to that file: a Ctrl-C ends them without noise."""
    sys.stderr.flush()
    kept = os.dup(2)
    with path.open("a") as stream:
        os.dup2(stream.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
