"""A Slurm task's place in its step, in Horovod's words: pure functions of the environment."""

import re
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Place:
    """A task's place in its step, in Horovod's words: "cross" counts the nodes that have this local rank."""

    rank: int
    size: int
    local_rank: int
    local_size: int
    cross_rank: int
    cross_size: int
    node: str  # differs between nodes, virtual ones too, where the host name may not
    key: str  # differs between steps and between restarts of one job


def tasks_per_node(text: str) -> list[int]:
    """Slurm's short form in full: "2(x3),1" is [2, 2, 2, 1]."""
    counts: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:\(x(\d+)\))?", part.strip())
        if match is None:
            raise ValueError(f"not a list of tasks per node: {text!r}")
        counts += [int(match[1])] * int(match[2] or 1)
    return counts


def place(environment: Mapping[str, str]) -> Place:
    """The place of the task with that environment."""
    rank, size = int(environment["SLURM_PROCID"]), int(environment["SLURM_STEP_NUM_TASKS"])
    local, node = int(environment["SLURM_LOCALID"]), int(environment["SLURM_NODEID"])
    counts = tasks_per_node(environment["SLURM_STEP_TASKS_PER_NODE"])
    if sum(counts) != size:
        raise ValueError(f"SLURM_STEP_TASKS_PER_NODE says {counts}, SLURM_STEP_NUM_TASKS {size}")
    cross = [index for index, count in enumerate(counts) if count > local]
    job, step = environment["SLURM_JOB_ID"], environment["SLURM_STEP_ID"]
    return Place(
        rank=rank, size=size, local_rank=local, local_size=counts[node],
        cross_rank=cross.index(node), cross_size=len(cross), node=environment["SLURMD_NODENAME"],
        key=f"{job}.{step}.{environment.get('SLURM_RESTART_COUNT', '0')}",
    )  # fmt: skip


def variables(place: Place, address: str, port: int) -> dict[str, str]:
    """What Horovod reads at its start."""
    return {
        "HOROVOD_RANK": str(place.rank),
        "HOROVOD_SIZE": str(place.size),
        "HOROVOD_LOCAL_RANK": str(place.local_rank),
        "HOROVOD_LOCAL_SIZE": str(place.local_size),
        "HOROVOD_CROSS_RANK": str(place.cross_rank),
        "HOROVOD_CROSS_SIZE": str(place.cross_size),
        "HOROVOD_HOSTNAME": place.node,
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": address,
        "HOROVOD_GLOO_RENDEZVOUS_PORT": str(port),
    }
