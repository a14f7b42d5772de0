"""The only door to submitit: processes on this machine, Slurm arrays, and the text of their batch scripts.

What submitit leaves to its users on Slurm comes from ``launch.gaps``.
"""

import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from submitit import JobEnvironment, LocalExecutor, LocalJob, SlurmExecutor
from submitit.core.job_environment import SignalHandler
from submitit.core.utils import DelayedSubmission, FailedJobError, FailedSubmissionError
from submitit.slurm.slurm import SlurmJobEnvironment

from hpc_astrossl.errors import InputError
from hpc_astrossl.launch import gaps
from hpc_astrossl.launch.ledger import OURS
from hpc_astrossl.launch.plan import Stage
from hpc_astrossl.specs.cluster import ClusterSpec

YEAR = 365 * 24 * 60  # minutes: on this machine nothing is stopped for its duration
THROTTLE = 64  # array elements at once, where the cluster file says nothing
logging.getLogger("submitit").setLevel(logging.ERROR)


def again(task: Callable[[], int]) -> DelayedSubmission:
    """submitit's order to run the task once more."""
    return DelayedSubmission(task)


def mend() -> None:
    """Of a task on a Slurm node, before its work: close submitit's gaps in this process."""
    gaps.mend(SlurmJobEnvironment, SignalHandler)


def mark_failed() -> None:
    """Tell the batch script of this Slurm task that starting again would not help."""
    environment = JobEnvironment()
    gaps.mark(environment.paths.folder, environment.job_id, "failed")


def start_local(
    task: Callable[[], int], logs: Path, stage: Stage, cluster: ClusterSpec, gpus: Sequence[int] = ()
) -> LocalJob:
    """Start a task as processes of this machine; returns at once. ``gpus`` are the numbers of its GPUs."""
    logs.mkdir(OURS, parents=True, exist_ok=True)
    executor = LocalExecutor(logs, python=cluster.python)
    executor.update_parameters(
        timeout_min=YEAR, gpus_per_node=len(gpus), visible_gpus=tuple(gpus), stderr_to_stdout=True
    )
    variables = {**_threads(stage), **cluster.variables}
    with _variables(variables), _errors_to(logs / "controllers.log"):
        return executor.submit(task)


def submit_array(tasks: Sequence[Callable[[], int]], logs: Path, options: dict) -> list[str]:
    """Send one array (of one task: a plain job) to Slurm; the job ids in the order of the tasks.

    InputError with Slurm's own words when sbatch refuses.
    """
    if shutil.which("sbatch") is None or shutil.which("srun") is None:
        raise InputError("sbatch is not on this machine; submit from the cluster's login node, or try --dry-run")
    logs.mkdir(OURS, parents=True, exist_ok=True)
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
    delay = min(cluster.signal_delay, need.minutes * 30)
    variables = {**_threads(stage), **cluster.variables, gaps.DELAY: str(delay)}
    parameters = {
        "job_name": name,
        "time": need.minutes,
        "nodes": need.nodes,
        "ntasks_per_node": need.per_node,
        "cpus_per_task": need.cpus,
        "mem": f"{round(need.memory_gb * need.per_node * 1024)}M",
        "gpus_per_node": need.gpus or None,
        "partition": cluster.partition,
        "account": cluster.account,
        "qos": cluster.qos,
        "constraint": cluster.constraint,
        "dependency": after or None,
        "array_parallelism": max(1, (cluster.parallel or THROTTLE) // arrays),
        "signal_delay_s": delay,
        "stderr_to_stdout": True,
        "setup": [*cluster.setup, *gaps.exports(variables)],
        "teardown": gaps.last_lines(logs, cluster.retries),
        "srun_args": gaps.srun_arguments(need),
        "additional_parameters": {**gaps.SBATCH, **cluster.sbatch},
    }
    return {"python": cluster.python, "attempts": cluster.attempts, "parameters": parameters}


class _ScriptWriter(SlurmExecutor):
    """Writes scripts on machines without srun."""

    @classmethod
    def affinity(cls) -> int:
        return 1


def _threads(stage: Stage) -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(stage.resources.cpus)}


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
