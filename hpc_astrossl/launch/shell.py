"""What the submitting shell says to sbatch: taken up where the cluster file is silent, named where it is not used.

Variables that begin with SBATCH_ outrank the options of a batch script, and those with SRUN_ reach the job's own srun,
so that they are never left to act unseen.
"""

from collections.abc import Mapping
from dataclasses import replace

from hpc_astrossl.errors import InputError
from hpc_astrossl.launch import queue
from hpc_astrossl.specs.cluster import ClusterSpec

# Who pays, and where: variable -> key of the cluster file, or option under its key sbatch.
KEYS = {
    "SBATCH_ACCOUNT": "account",
    "SBATCH_PARTITION": "partition",
    "SBATCH_QOS": "qos",
    "SBATCH_CONSTRAINT": "constraint",
}
OPTIONS = {"SBATCH_RESERVATION": "reservation", "SBATCH_WCKEY": "wckey", "SBATCH_HINT": "hint"}
ELSEWHERE = ("SLURM_CLUSTERS", "SBATCH_CLUSTERS")


def _here() -> str | None:
    """This cluster's name, where it tells one."""
    try:
        return queue.cluster_name()
    except InputError:
        return None


def taken_up(cluster: ClusterSpec, environment: Mapping[str, str]) -> tuple[ClusterSpec, list[str]]:
    """The cluster with the shell's own account, partition … where its file has none, and a line on each variable.

    InputError when the shell sends its jobs to another cluster, where they could not be followed.
    """
    told = []
    for name in ELSEWHERE:
        if environment.get(name) and not queue.same_cluster(environment[name], _here() or ""):
            raise InputError(
                f"{name}={environment[name]} of this shell sends jobs to another cluster, where they cannot be "
                "followed; unset it, or log in to that cluster and submit there"
            )
    for name in sorted(environment):
        value = environment[name]
        if not name.startswith(("SBATCH_", "SRUN_")) or not value:
            continue
        key, option = KEYS.get(name), OPTIONS.get(name) or KEYS.get(name)
        held = (getattr(cluster, key) if key else None) or cluster.sbatch.get(option or "")
        if option is None:
            told.append(f"{name} of this shell is not used: give the {_place(name)}")
        elif held is None:
            told.append(f"{option} {value}: from {name} of this shell, since the cluster file names none")
            cluster = _with(cluster, key, option, value)
        elif str(held) != value:
            told.append(f"{name}={value} of this shell is not used: the cluster file says {option} {held}")
    return cluster, told


def _place(name: str) -> str:
    if name.startswith("SRUN_"):
        return "variable under environment in the cluster file"
    return "option under sbatch in the cluster file"


def _with(cluster: ClusterSpec, key: str | None, option: str, value: str) -> ClusterSpec:
    return replace(cluster, **{key: value}) if key else replace(cluster, sbatch={**cluster.sbatch, option: value})
