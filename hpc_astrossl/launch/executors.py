"""The only door to submitit: processes on this machine, Slurm arrays, and the text of their batch scripts.

What submitit leaves to its users on Slurm comes from ``launch.gaps``.
"""

import logging
import os
import re
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from submitit import JobEnvironment, LocalExecutor, LocalJob, SlurmExecutor
from submitit.core.job_environment import SignalHandler
from submitit.core.utils import DelayedSubmission, JobPaths
from submitit.slurm.slurm import SlurmJobEnvironment

from hpc_astrossl.launch import client, gaps, wants
from hpc_astrossl.launch.ledger import OURS
from hpc_astrossl.launch.plan import Stage
from hpc_astrossl.specs.cluster import SINGLE, ClusterSpec

YEAR = 365 * 24 * 60  # minutes: on this machine nothing is stopped for its duration
CONNECTION = {"SLURM_CONF", "SLURM_CONF_SERVER", "SLURM_JWT", "SLURM_SACK_KEY", "SLURM_SACK_JWKS"}  # to Slurm itself
# Where a site's module says that Slurm is; its wrappers may read it. No job sets such a variable.
INSTALLED = re.compile(r"SLURM_(\w+_)?(ROOT|HOME|PATH|PREFIX|BIN|BINDIR|LIB|LIBDIR|INSTALL\w*|VERSION)")
# By which torchrun and horovodrun tell a process that it is one of several ranks: a task with them waits for the rest.
RANKS = re.compile(
    r"((LOCAL|GROUP|ROLE)_)?(RANK|WORLD_SIZE)|MASTER_(ADDR|PORT)|TORCHELASTIC_\w+|"
    r"HOROVOD_(RANK|SIZE|HOSTNAME|LOCAL_\w+|CROSS_\w+|GLOO_RENDEZVOUS_\w+)"
)
DEVICES = {"CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "GPU_DEVICE_ORDINAL", "ZE_AFFINITY_MASK"}
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
    variables = {**_alone(os.environ), **_threads(stage), **cluster.variables}
    with _environment(variables), _errors_to(logs / "controllers.log"):
        return executor.submit(task)


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """An array before Slurm has it: file names in the folder of the logs, of its batch script and a pickle a task."""

    script: str
    pickles: tuple[str, ...]


def wrap(tasks: Sequence[Callable[[], int]], logs: Path, options: dict) -> Parcel:
    """Write what an array (of one task: a plain job) consists of."""
    logs.mkdir(OURS, parents=True, exist_ok=True)
    pickles = []
    for task in tasks:
        delayed = DelayedSubmission(task)
        delayed.set_timeout(options["parameters"]["time"], options["attempts"])
        pickles.append(f"{uuid.uuid4().hex}.pkl")
        delayed.dump(logs / pickles[-1])
    name = f".submission_file_{uuid.uuid4().hex}.sh"
    (logs / name).write_text(script(len(tasks), logs, options))
    return Parcel(script=name, pickles=tuple(pickles))


def sbatch(path: Path) -> client.Reply:
    """How sbatch ended when given that script, out of reach of the variables of an enclosing job.

    InputError when this machine cannot submit.
    """
    if shutil.which("sbatch") is None:
        raise client.NoAnswer("sbatch is not on this machine; submit from the cluster's login node, or try --dry-run")
    return client.run(["sbatch", str(path)], outside_of_jobs(os.environ))


def deliver(name: str, pickles: Sequence[str], logs: Path, job: str) -> list[str]:
    """Give an array's files the names by which its tasks look for them; the ids of its jobs, in order."""
    jobs = [job] if len(pickles) == 1 else [f"{job}_{number}" for number in range(len(pickles))]
    with suppress(FileNotFoundError):
        gaps.forget(logs, job, (logs / name).stat().st_mtime)
    for one, pickle in zip(jobs, pickles, strict=True):
        with suppress(FileNotFoundError):  # delivered before, by a process that was ended in the midst of it
            JobPaths(logs, one).move_temporary_file(logs / pickle, "submitted_pickle")
    if not (logs / name).is_symlink():
        JobPaths(logs, jobs[0]).move_temporary_file(logs / name, "submission_file", keep_as_symlink=True)
    return jobs


def outside_of_jobs(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without an enclosing Slurm job's variables and the shell's own defaults for sbatch and srun.

    Nor does it make a task one of several ranks, or show it an enclosing job's GPUs.
    """
    devices = DEVICES if "SLURM_JOB_ID" in environment else set()
    return {
        name: value
        for name, value in _unranked(client.clean(environment)).items()
        if name not in devices
        and (
            not name.startswith(("SLURM_", "SLURMD_", "SBATCH_", "SRUN_"))
            or name in CONNECTION
            or INSTALLED.fullmatch(name)
        )
    }


def _unranked(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what makes a process one of several ranks under a launcher."""
    return {name: value for name, value in environment.items() if not RANKS.fullmatch(name)}


def _alone(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment of a task on this machine, which is no rank and no Slurm step, wherever it is sent from."""
    return {name: value for name, value in _unranked(environment).items() if not name.startswith("SLURM_")}


def script(count: int, logs: Path, options: dict) -> str:
    """The batch script of an array of that many tasks; no Slurm client is needed."""
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
    wants.check_left_out(need, cluster)
    parameters = {
        "job_name": name,
        "time": need.minutes,
        "nodes": need.nodes,
        "ntasks_per_node": need.per_node,
        "cpus_per_task": need.cpus,
        "partition": ",".join(cluster.partitions) or None,
        "account": cluster.account,
        "qos": cluster.qos,
        "constraint": cluster.constraint,
        "dependency": after or None,
        "array_parallelism": max(1, (cluster.parallel or THROTTLE) // arrays),
        "signal_delay_s": delay,
        "stderr_to_stdout": True,
        "setup": [*cluster.setup, *gaps.exports(variables), *gaps.LENIENT],
        "teardown": gaps.last_lines(logs, cluster.retries),
        "srun_args": gaps.srun_arguments(need),
        "wckey": None,  # submitit's own is unknown to sites that keep accounts by it
        "additional_parameters": wants.additional(need, cluster, gaps.SBATCH),
    }
    parameters |= {option.replace("-", "_"): None for option in SINGLE if cluster.sbatch.get(option) is False}
    return {"python": cluster.python, "attempts": cluster.attempts, "parameters": parameters}


class _ScriptWriter(SlurmExecutor):
    """Writes scripts on machines without srun."""

    @classmethod
    def affinity(cls) -> int:
        return 1


def _threads(stage: Stage) -> dict[str, str]:
    return {"OMP_NUM_THREADS": str(stage.resources.cpus)}


@contextmanager
def _environment(values: dict[str, str]) -> Iterator[None]:
    """Those variables, and no others, are the process environment."""
    before = dict(os.environ)
    os.environ.clear()
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
