"""What Slurm says of jobs: squeue for those it still knows, sacct for the rest where the site keeps accounts.

submitit asks sacct alone; many small sites have none. InputError with the remedy when there is no answer.
"""

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from hpc_astrossl.errors import InputError, unknown
from hpc_astrossl.launch.plan import Plan
from hpc_astrossl.specs.cluster import ClusterSpec

FINAL = {
    "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "PREEMPTED",
    "REVOKED",
}  # fmt: skip
# Slurm's final states in words; a state that is not here speaks for itself.
WORDS = {
    "TIMEOUT": "it reached its time limit before it could save: raise minutes or signal_delay, then submit again",
    "OUT_OF_MEMORY": "it needed more memory than it was given: raise memory_gb, then submit again",
    "NODE_FAIL": "its node failed: submit again",
    "BOOT_FAIL": "its node did not start: submit again",
    "PREEMPTED": "it was preempted: submit again",
    "CANCELLED": "it was cancelled, or what it depends on failed",
}
WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
USUAL = {
    "None",
    "Priority",
    "Resources",
    "Dependency",
    "JobArrayTaskLimit",
    "BeginTime",
}  # reasons to wait that pass by themselves
PATIENCE = 60  # seconds for an answer


@dataclass(frozen=True, kw_only=True)
class Known:
    """What squeue says of a job."""

    state: str
    reason: str = "None"


def states() -> dict[str, Known]:
    """Every job of this user that the queue still knows, by job id, array elements apart."""
    command = ["squeue", "--noheader", "--array", "--me", "--states=all", "--format=%i|%T|%r"]
    fields = (line.strip().split("|", 2) for line in _ask(command).splitlines() if line.count("|") >= 2)
    return {job: Known(state=state, reason=reason) for job, state, reason in fields}


def final(jobs: Iterable[str]) -> dict[str, str]:
    """Final states from sacct of jobs that the queue has forgotten; nothing where the site keeps no accounts."""
    wanted = sorted(set(jobs))
    if not wanted or shutil.which("sacct") is None:
        return {}
    command = ["sacct", "--noheader", "--allocations", "--parsable2", "--format=JobID,State"]
    try:
        answer = _ask([*command, f"--jobs={','.join(wanted)}"])
    except InputError:
        return {}  # accounting is off: the run folders and the batch scripts' own notes have to do
    found = (line.split("|", 1) for line in answer.splitlines() if "|" in line)
    return {job: state.split()[0] for job, state in found}


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a partition allows a job; None where it sets no limit."""

    minutes: int | None
    cpus: int
    memory_mb: int


def check_site(plan: Plan, cluster: ClusterSpec) -> None:
    """InputError for a missing image, or a stage that the partition would never start (where sinfo can tell)."""
    if cluster.kind != "slurm":
        return
    _check_image(cluster)
    if shutil.which("sinfo") is None:
        return
    limits = partition(cluster.partition)
    where = f"partition {cluster.partition}" if cluster.partition else "the default partition"
    for stage in plan.stages:
        need = stage.resources
        for name, wanted, allowed in (
            ("minutes", need.minutes, limits.minutes),
            ("cpus × ranks", need.cpus * need.per_node, limits.cpus),
            ("memory_gb × ranks", need.memory_gb * need.per_node, limits.memory_mb / 1024),
        ):
            if allowed is not None and wanted > allowed:
                raise InputError(
                    f"stage {stage.name} asks for {name} {wanted:g}, and {where} allows at most {allowed:g}; change "
                    "resources in the recipe or the cluster file, or take another partition"
                )


def _check_image(cluster: ClusterSpec) -> None:
    """The container image that the interpreter's command names must be there, as seen from here."""
    for word in shlex.split(cluster.python or ""):
        if word.endswith((".sif", ".simg")) and not Path(word).exists():
            raise InputError(
                f"python of the cluster file names the image {word}, which does not exist; build it (docs/hpc.md) or "
                "correct the path"
            )


def partition(name: str | None) -> Limits:
    """The limits of a partition, the default one without a name; the most that any of its nodes offers."""
    lines = [line.split("|") for line in _ask(["sinfo", "--noheader", "--format=%P|%l|%c|%m"]).split()]
    rows = [row for row in lines if (row[0].rstrip("*") == name if name else row[0].endswith("*"))]
    if not rows:
        raise unknown("partition", name, {row[0].rstrip("*") for row in lines})
    times = [minutes(row[1]) for row in rows]
    return Limits(
        minutes=None if None in times else max(times),
        cpus=max(int(row[2].rstrip("+")) for row in rows),
        memory_mb=max(int(row[3].rstrip("+")) for row in rows),
    )


def minutes(text: str) -> int | None:
    """Slurm's form of a duration, D-HH:MM:SS with the front left out, in whole minutes; None for "infinite"."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if match is None:
        return None
    days, hours, whole, _ = (int(part or 0) for part in match.groups())
    return (days * 24 + hours) * 60 + whole


def array_limit(cluster: ClusterSpec) -> int:
    """The most elements that one array may have: the cluster file's number, or the site's when that is smaller."""
    if shutil.which("scontrol") is None:
        return cluster.max_array
    match = re.search(r"^MaxArraySize\s*=\s*(\d+)", _ask(["scontrol", "show", "config"]), re.MULTILINE)
    return min(cluster.max_array, int(match[1])) if match else cluster.max_array


def _ask(command: list[str]) -> str:
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except FileNotFoundError:
        raise InputError(
            f"{command[0]} is not on this machine, so the jobs of this experiment cannot be asked for; run this on the "
            "cluster's login node"
        ) from None
    except subprocess.TimeoutExpired:
        raise InputError(f"{command[0]} gave no answer within {PATIENCE} s; try again when Slurm does") from None
    if answer.returncode:
        raise InputError(f"{command[0]} failed: {' '.join(answer.stderr.split())}")
    return answer.stdout
