"""What a Slurm site is like, asked of it, held against its cluster file: ``astrossl doctor --cluster NAME``."""

import getpass
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hpc_astrossl.errors import InputError
from hpc_astrossl.launch import client, queue, shell
from hpc_astrossl.launch.plan import Item, Plan, Stage
from hpc_astrossl.specs.cluster import ClusterSpec
from hpc_astrossl.specs.jobs import resources_of

COMMANDS = ("sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
PROBE = "probe"
LIMITS = ("DefMemPerNode", "DefMemPerCPU", "DefMemPerGPU", "MaxMemPerNode", "MaxMemPerCPU")


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One line: ``works`` is None for a plain fact; ``advice`` what to put into the cluster file, or what to do."""

    name: str
    works: bool | None
    detail: str
    advice: str = ""


def examine(cluster: ClusterSpec) -> Iterator[Fact]:
    """Every fact, in the order of the cluster file's keys. Asks, and submits nothing."""
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        yield Fact(name="commands", works=False, detail=f"not here: {', '.join(missing)}",
                   advice="run this on the cluster's login node")  # fmt: skip
        return
    try:
        began = time.monotonic()
        version = client.ask(["sinfo", "--version"]).strip()
        queue.states()
        config = _pairs(client.ask(["scontrol", "show", "config"]))
        took = time.monotonic() - began
        yield Fact(
            name="Slurm", works=True, detail=f"{version}, cluster {config.get('ClusterName')}, answers in {took:.1f} s"
        )
        cluster, told = shell.taken_up(cluster, os.environ)
        yield from (Fact(name="shell", works=None, detail=line) for line in told)
        yield from _partitions(cluster)
        yield from _memory(cluster, config)
        yield _arrays(cluster, config)
        yield _requeue(config)
        yield from _accounts(cluster, config)
        yield _federation()
        yield _test_only(cluster)
    except InputError as error:
        yield Fact(name="Slurm", works=False, detail=str(error), advice="mend that, then run this again")


def _partitions(cluster: ClusterSpec) -> Iterator[Fact]:
    names = [name.strip() for name in (cluster.partition or "").split(",") if name.strip()]
    rows = [
        [part.strip() for part in line.split("|")]
        for line in client.ask(["sinfo", "--all", "--noheader", "--format=%P|%a|%l|%D|%c|%m|%G"]).splitlines()
        if line.count("|") == 6
    ]
    there = sorted({row[0].rstrip("*") for row in rows})
    default = next((row[0].rstrip("*") for row in rows if row[0].endswith("*")), None)
    for name in [name for name in names if name not in there]:
        yield Fact(name="partition", works=False, detail=f"{name}: not among {', '.join(there)}",
                   advice="correct partition in the cluster file")  # fmt: skip
    if not names and default is None:
        advice = f"partition: {there[0] if there else 'NAME'}, unless constraint and qos choose it here"
        yield Fact(name="partition", works=None, detail=f"no default; there are {', '.join(there)}", advice=advice)
    for name in names or [default]:
        for row in [row for row in rows if row[0].rstrip("*") == name]:
            _, up, limit, nodes, cpus, memory, gres = row
            yield Fact(name=f"partition {name}", works=up == "up",
                       detail=f"{up}, {nodes} nodes of {cpus} CPUs, {_gigabytes(memory)}, GRES {gres}, limit {limit}",
                       advice="" if up == "up" else "take a partition that is up")  # fmt: skip
            yield from _gpus(cluster, gres)


def _gpus(cluster: ClusterSpec, gres: str) -> Iterator[Fact]:
    """``gres`` as sinfo has it: gpu:a100:4(S:0-1),shard:8."""
    kinds = re.findall(r"\bgpu(?::([A-Za-z][\w.-]*))?:(\d+)", gres)
    if not kinds:
        if cluster.gpus_per_node != 0:
            yield Fact(name="GPUs", works=None, detail="none in this partition", advice="gpus_per_node: 0")
        return
    most = max(int(number) for _, number in kinds)
    types = ", ".join(sorted({kind for kind, _ in kinds if kind}))
    advice = "" if cluster.gpus_per_node == most else f"gpus_per_node: {most}"
    if len({kind for kind, _ in kinds}) > 1 and ":" not in cluster.gpus:
        advice += f"{'; ' if advice else ''}to choose a type: gpus: gpus-per-node:{kinds[0][0]}"
    yield Fact(name="GPUs", works=True, detail=f"{most} a node{f' ({types})' if types else ''}", advice=advice)


def _memory(cluster: ClusterSpec, config: Mapping[str, str]) -> Iterator[Fact]:
    counted = "MEMORY" in config.get("SelectTypeParameters", "").upper()
    limits = [f"{key} {config[key]}" for key in LIMITS if config.get(key, "UNLIMITED") != "UNLIMITED"]
    detail = f"{'handed out by the scheduler' if counted else 'not handed out by the scheduler'}; " + (
        ", ".join(limits) or "no limits set"
    )
    advice = (
        "" if counted or cluster.memory == "none" else "memory: none, or leave it: what is asked for is not held to"
    )
    yield Fact(name="memory", works=None, detail=detail, advice=advice)


def _arrays(cluster: ClusterSpec, config: Mapping[str, str]) -> Fact:
    size = int(config.get("MaxArraySize", "0") or 0)
    limit = queue.array_limit(cluster)
    detail = f"MaxArraySize {size}: " + ("no arrays, each task is a job" if size < 2 else f"{limit} elements an array")
    advice = f"max_array: {max(1, size)}" if limit < cluster.max_array else ""
    return Fact(name="arrays", works=size >= 2, detail=detail, advice=advice)


def _requeue(config: Mapping[str, str]) -> Fact:
    default = "jobs are requeued by default" if config.get("JobRequeue") == "1" else "every job asks for it"
    preempted = config.get("PreemptMode", "OFF")
    detail = f"requeueing: {default}; preempted jobs: {preempted}; KillWait {config.get('KillWait', 'not told')}"
    lost = "CANCEL" in preempted.upper()
    return Fact(name="requeue", works=None, detail=detail,
                advice="preempted jobs end here: submit again, what is done stays done" if lost else "")  # fmt: skip


def _accounts(cluster: ClusterSpec, config: Mapping[str, str]) -> Iterator[Fact]:
    kept = "none" not in config.get("AccountingStorageType", "none")
    works = shutil.which("sacct") is not None and client.run(["sacct", "--noheader", "--format=JobID"]).status == 0
    yield Fact(name="accounting", works=works, detail="sacct answers" if works else "sacct does not answer",
               advice="" if works else "none needed: run folders and batch scripts note how tasks ended")  # fmt: skip
    if not kept or shutil.which("sacctmgr") is None:
        return
    command = ["sacctmgr", "--noheader", "--parsable2", "show", "associations", f"user={getpass.getuser()}"]
    reply = client.run([*command, "format=Account,Partition,QOS"])
    rows = [line.split("|") for line in reply.out.splitlines() if line.count("|") == 2] if reply.status == 0 else []
    accounts, levels = (
        sorted({row[0] for row in rows}),
        sorted({one for row in rows for one in row[2].split(",") if one}),
    )
    enforced = config.get("AccountingStorageEnforce", "none")
    if accounts and cluster.account not in accounts:
        named = f"the cluster file says {cluster.account}" if cluster.account else "the cluster file names none"
        yield Fact(name="account", works=None, detail=f"yours: {', '.join(accounts)}; {named}",
                   advice=f"account: {accounts[0]}" if len(accounts) > 1 or cluster.account else "")  # fmt: skip
    if levels:
        yield Fact(name="QOS", works=cluster.qos in (None, *levels), detail=f"yours: {', '.join(levels)} ({enforced})",
                   advice="" if cluster.qos in (None, *levels) else f"qos: {levels[0]}")  # fmt: skip


def _federation() -> Fact:
    told = queue.federation()
    if told is None:
        return Fact(name="federation", works=None, detail="none")
    return Fact(name="federation", works=False, detail=f"this cluster belongs to {told}", advice=queue.FEDERATION)


def _test_only(cluster: ClusterSpec) -> Fact:
    """Whether the site would take a task of this cluster file; sbatch --test-only sends nothing."""
    from hpc_astrossl.launch import executors

    need = resources_of("scratch", cluster.resources)
    if cluster.gpus_per_node == 0:
        need = replace(need, gpus=0)
    stage = Stage(name=PROBE, items=(Item(key=PROBE, command=(), produces=PROBE),), resources=need)
    try:
        queue.check_site(Plan(experiment=PROBE, stages=(stage,)), cluster)
    except InputError as error:
        return Fact(name="a job", works=False, detail=str(error))
    with tempfile.TemporaryDirectory() as folder:
        options = executors.slurm_options(PROBE, stage, cluster, Path(folder), after="", arrays=1)
        script = Path(folder, "probe.sh")
        script.write_text(executors.script(1, Path(folder), options))
        command = ["sbatch", "--test-only", str(script)]
        reply = client.run(command, executors.outside_of_jobs(os.environ))
    words = " ".join((reply.err + reply.out).split())
    wanted = f"{need.cpus} CPUs, {need.memory_gb or 'no'} GB, {need.minutes} min"
    return Fact(name="a job", works=reply.status == 0, detail=f"{wanted}: {words or 'no answer'}",
                advice="" if reply.status == 0 else _remedy(words))  # fmt: skip


def _remedy(words: str) -> str:
    """What to change, by the site's words."""
    hints = {
        r"mem": "memory: cpu or none (memory_gb: null in resources)",
        r"account": "account: one of yours",
        r"partition": "partition: one that you may use",
        r"qos": "qos: one of yours",
        r"gres|gpu": "gpus: gpu or gpu:TYPE (GRES), or gpus-per-task",
        r"time|limit": "minutes in resources",
    }
    found = next((advice for pattern, advice in hints.items() if re.search(pattern, words, re.IGNORECASE)), None)
    return f"in the cluster file, {found or 'what these words ask for, under sbatch: too'}"


def _gigabytes(megabytes: str) -> str:
    number = megabytes.rstrip("+")
    if not number.isdigit() or int(number) < 2:
        return "memory not told"
    return f"{int(number) / 1024:.0f}{'+' if megabytes.endswith('+') else ''} GB"


def _pairs(text: str) -> dict[str, str]:
    """The lines ``Key = value`` of scontrol show config."""
    return dict(re.findall(r"^(\w+)\s*=[ \t]*(.*?)[ \t]*$", text, re.MULTILINE))
