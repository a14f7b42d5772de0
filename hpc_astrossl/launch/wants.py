"""Options of sbatch on which sites differ: how memory and GPUs are asked for, and what a cluster file adds."""

import re
from collections.abc import Mapping
from math import ceil

from hpc_astrossl.errors import InputError
from hpc_astrossl.specs.cluster import SINGLE, ClusterSpec
from hpc_astrossl.specs.jobs import Resources

MEMORY = {"mem", "mem-per-cpu", "mem-per-gpu"}
GPUS = {"gpus", "gpus-per-node", "gpus-per-task", "gpus-per-socket"}
TRES = {"tres-per-task", "tres-per-node", "tres-per-job", "tres-per-socket"}
SHARES = ("gpu", "mps", "shard")  # GRES that stand for GPUs, or for parts of one
GRES = {"gres", *TRES}  # lists of resources, GPUs among them or not


def additional(need: Resources, cluster: ClusterSpec, always: Mapping[str, object]) -> dict[str, object]:
    """Options by their long names: ours, then the cluster file's own, which stand instead of ours of the same purpose.

    An option given there as false is left out, one given as true stands without a value. GRES of other kinds (a node's
    disk) are asked for beside the GPUs.
    """
    own = {name: value for name, value in cluster.sbatch.items() if name != "partition"}  # stands among the others
    ours = {name: value for name, value in always.items() if not own.get(f"no-{name}")}
    if not any(name in MEMORY or (name in TRES and _names(value, "mem")) for name, value in own.items()):
        ours |= memory(need, cluster)
    kinds = {*SHARES, gres_name(cluster) or "gpu"}
    if not any(
        name in GPUS or (name in GRES and (value is False or any(_names(value, kind) for kind in kinds)))
        for name, value in own.items()
    ):
        ours |= gpus(need, cluster)
    if isinstance(own.get("gres"), str) and "gres" in ours:
        own["gres"] = f"{ours['gres']},{own['gres']}"
    return {name: value for name, value in (ours | own).items() if value is not False}


def check_left_out(need: Resources, cluster: ClusterSpec) -> None:
    """InputError when a task wants more than the one that Slurm gives where an option is left out."""
    for option, wanted in zip(SINGLE, (need.nodes, need.per_node, need.cpus), strict=True):
        if cluster.sbatch.get(option) is False and wanted > 1:
            raise InputError(
                f"sbatch: {option}: false of the cluster file leaves Slurm's default, 1, and a task wants {wanted}; "
                "give it resources of one, or remove that line"
            )


def _names(value: object, kind: str) -> bool:
    """Whether a list of resources ("gpu:a100:1", "cpu=2,gres/gpu:1") has that kind."""
    found = [re.split("[:=]", re.sub("^gres[/:]", "", one.strip()))[0] for one in str(value).split(",")]
    return kind in found


def memory(need: Resources, cluster: ClusterSpec) -> dict[str, str]:
    """The memory of a task in MB, asked for in the way of the site; nothing where no memory is to be asked for.

    A task without GPUs asks by CPU where the others ask by GPU.
    """
    if need.memory_gb is None or cluster.memory == "none":
        return {}
    each = need.memory_gb * 1024  # of a rank
    if cluster.memory == "node":
        return {"mem": f"{round(each * need.per_node)}M"}
    if cluster.memory == "gpu" and need.gpus:
        return {"mem-per-gpu": f"{ceil(each * need.per_node / need.gpus)}M"}
    return {"mem-per-cpu": f"{ceil(each / need.cpus)}M"}


def gpus(need: Resources, cluster: ClusterSpec) -> dict[str, str]:
    """The GPUs of a task, asked for in the way of the site; nothing for a task without."""
    if not need.gpus:
        return {}
    option, _, kind = cluster.gpus.partition(":")
    gres = gres_name(cluster)
    numbers = {
        option: need.gpus,  # of a GRES, which is counted by node
        "gpus-per-node": need.gpus,
        "gpus-per-task": need.gpus // need.per_node,
        "gpus": need.gpus * need.nodes,
    }
    wanted = f"{kind}:{numbers[option]}" if kind else str(numbers[option])
    return {"gres": f"{gres}:{wanted}"} if gres else {option: wanted}


def gres_name(cluster: ClusterSpec) -> str | None:
    """The name of the GRES by which the site hands out GPUs; None where an option of its own asks for them."""
    option = cluster.gpus.partition(":")[0]
    return None if option.startswith("gpus") else option.removeprefix("gres/")
