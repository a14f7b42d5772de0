"""What a Slurm site is like, asked of it, held against its cluster file: ``astrossl doctor --cluster NAME``."""

import getpass
import math
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hpc_astrossl.errors import InputError
from hpc_astrossl.launch import client, queue, shell, wants
from hpc_astrossl.launch.plan import Item, Plan, Stage
from hpc_astrossl.specs.cluster import ClusterSpec
from hpc_astrossl.specs.jobs import Resources, resources_of

COMMANDS = ("sbatch", "srun", "squeue", "scontrol", "scancel", "sinfo")
PROBE = "probe"
LIMITS = ("DefMemPerNode", "DefMemPerCPU", "DefMemPerGPU", "MaxMemPerNode", "MaxMemPerCPU")


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One line: ``works`` is None for a plain fact; ``put`` is a line for the cluster file, ``why`` words on it, or on
    what else to do."""

    name: str
    works: bool | None
    detail: str
    why: str = ""
    put: str = ""

    @property
    def advice(self) -> str:
        """The line for the cluster file, the words behind it as a comment; the words alone where there is none."""
        return "  # ".join(part for part in (self.put, self.why) if part)


def examine(cluster: ClusterSpec) -> Iterator[Fact]:
    """Every fact, in the order of the cluster file's keys. Asks, and submits nothing."""
    missing = [name for name in COMMANDS if shutil.which(name) is None]
    if missing:
        yield Fact(name="commands", works=False, detail=f"not here: {', '.join(missing)}",
                   why="run this on the cluster's login node")  # fmt: skip
        return
    try:
        began = time.monotonic()
        version = _version(client.ask(["sinfo", "--version"]))
        queue.states()
        config = _pairs(queue.configuration() or "")
        took = time.monotonic() - began
        yield Fact(
            name="Slurm", works=True, detail=f"{version}, cluster {config.get('ClusterName')}, answers in {took:.1f} s"
        )
        if not config:
            yield Fact(name="configuration", works=None, detail="scontrol show config is not for users here",
                       why="set max_array to what the site says, 1 where it has no arrays")  # fmt: skip
        cluster, told = shell.taken_up(cluster, os.environ)
        yield from (Fact(name="shell", works=None, detail=line) for line in told)
        yield from _partitions(cluster)
        if config:
            yield from _memory(cluster, config)
            yield _arrays(cluster, config)
            yield _requeue(config)
        yield from _accounts(cluster, config)
        yield _federation()
        yield _test_only(cluster)
    except InputError as error:
        yield Fact(name="Slurm", works=False, detail=str(error), why="mend that, then run this again")


def _version(text: str) -> str:
    """Slurm's own line among those that a site's wrapper may add."""
    found = re.search(r"^\s*(slurm\S* \S+)", text, re.MULTILINE | re.IGNORECASE)
    return found[1] if found else " ".join(text.split())


def _partitions(cluster: ClusterSpec) -> Iterator[Fact]:
    names = list(cluster.partitions)
    rows = [
        [part.strip() for part in line.split("|")]
        for line in client.ask(["sinfo", "--all", "--noheader", "--format=%P|%a|%l|%D|%c|%m|%G"]).splitlines()
        if line.count("|") == 6
    ]
    there = sorted({row[0].rstrip("*") for row in rows})
    default = next((row[0].rstrip("*") for row in rows if row[0].endswith("*")), None)
    for name in [name for name in names if name not in there]:
        yield Fact(name="partition", works=False, detail=f"{name}: not among {', '.join(there)}",
                   put=f"partition: {_instead(names, there)}", why="one or several of these")  # fmt: skip
    if not names and default is None:
        yield Fact(name="partition", works=None, detail=f"no default; there are {', '.join(there)}",
                   put=f"partition: {there[0] if there else 'NAME'}",
                   why="unless constraint and qos choose it here")  # fmt: skip
    chosen = [row for row in rows if row[0].rstrip("*") in (names or [default])]
    for row in chosen:
        name, up, limit, nodes, cpus, memory, gres = row
        yield Fact(name=f"partition {name.rstrip('*')}", works=up == "up",
                   detail=f"{up}, {nodes} nodes of {cpus} CPUs, {_gigabytes(memory)}, GRES {gres}, limit {limit}",
                   why="" if up == "up" else "take a partition that is up")  # fmt: skip
    if chosen:
        yield from _gpus(cluster, [row[-1] for row in chosen])


def _instead(names: list[str], there: list[str]) -> str:
    """The partitions named that there are, else the first of all."""
    return ",".join(name for name in names if name in there) or (there[0] if there else "NAME")


def kinds_of(gres: str, device: str = "gpu") -> list[tuple[str, int]]:
    """Type ("" without one) and number of each kind of GPU in sinfo's words: gpu:a100:4(S:0-1),gpu:2080ti:2,shard:8."""
    found = []
    for one in re.sub(r"\([^)]*\)", "", gres).split(","):
        name, *rest = one.strip().removeprefix("gres/").split(":")
        if name == device:
            number = rest.pop() if rest and rest[-1].isdigit() else "1"
            found.append((rest[0] if rest else "", int(number)))
    return found


def _gpus(cluster: ClusterSpec, told: list[str]) -> Iterator[Fact]:
    """``told`` is what sinfo says of the nodes of all partitions in question."""
    device = wants.gres_name(cluster) or "gpu"
    found = [kinds_of(gres, device) for gres in told]
    kinds = [kind for node in found for kind in node]
    if not kinds:
        if cluster.gpus_per_node != 0:
            yield Fact(name="GPUs", works=None, detail="none in this partition", put="gpus_per_node: 0")
        return
    types, chosen = sorted({kind for kind, _ in kinds if kind}), cluster.gpus.partition(":")[2]
    if chosen and types and chosen not in types:
        yield Fact(name="GPU types", works=False, detail=f"{chosen}: not among {', '.join(types)}",
                   put=f"gpus: {cluster.gpus.partition(':')[0]}:{types[0]}")  # fmt: skip
        return
    most = max(sum(number for kind, number in node if chosen in ("", kind)) for node in found)
    some = "" if all(found) else "; some nodes have none"
    yield Fact(name="GPUs", works=True, detail=f"{most} a node{' (' + ', '.join(types) + ')' if types else ''}{some}",
               put="" if cluster.gpus_per_node == most else f"gpus_per_node: {most}")  # fmt: skip
    if len(types) > 1 and ":" not in cluster.gpus:
        yield Fact(name="GPU types", works=None, detail=", ".join(types),
                   put=f"gpus: {cluster.gpus}:{types[0]}", why="where one type is to be chosen")  # fmt: skip


def _memory(cluster: ClusterSpec, config: Mapping[str, str]) -> Iterator[Fact]:
    counted = "MEMORY" in config.get("SelectTypeParameters", "").upper()
    limits = [f"{key} {config[key]}" for key in LIMITS if config.get(key, "UNLIMITED") != "UNLIMITED"]
    detail = f"{'handed out by the scheduler' if counted else 'not handed out by the scheduler'}; " + (
        ", ".join(limits) or "no limits set"
    )
    fits = counted or cluster.memory == "none"
    yield Fact(name="memory", works=None, detail=detail, put="" if fits else "memory: none",
               why="" if fits else "or leave it: what is asked for is not held to")  # fmt: skip


def _arrays(cluster: ClusterSpec, config: Mapping[str, str]) -> Fact:
    size = int(re.match(r"\d*", config.get("MaxArraySize", ""))[0] or 0)
    limit = queue.array_limit(cluster)
    detail = f"MaxArraySize {size}: " + ("no arrays, each task is a job" if size < 2 else f"{limit} elements an array")
    put = f"max_array: {limit}" if limit < cluster.max_array else ""
    return Fact(name="arrays", works=size >= 2, detail=detail, put=put)


def _requeue(config: Mapping[str, str]) -> Fact:
    default = "jobs are requeued by default" if config.get("JobRequeue") == "1" else "every job asks for it"
    preempted = config.get("PreemptMode", "OFF")
    detail = f"requeueing: {default}; preempted jobs: {preempted}; KillWait {config.get('KillWait', 'not told')}"
    lost = "CANCEL" in preempted.upper()
    return Fact(name="requeue", works=None, detail=detail,
                why="preempted jobs end here: submit again, what is done stays done" if lost else "")  # fmt: skip


def _accounts(cluster: ClusterSpec, config: Mapping[str, str]) -> Iterator[Fact]:
    kept = "none" not in config.get("AccountingStorageType", "none")
    works = shutil.which("sacct") is not None and client.run(["sacct", "--noheader", "--format=JobID"]).status == 0
    yield Fact(name="accounting", works=works, detail="sacct answers" if works else "sacct does not answer",
               why="" if works else "none needed: run folders and batch scripts note how tasks ended")  # fmt: skip
    if not kept or shutil.which("sacctmgr") is None:
        return
    command = ["sacctmgr", "--noheader", "--parsable2", "show", "associations", f"user={_user()}"]
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
                   put=f"account: {accounts[0]}" if len(accounts) > 1 or cluster.account else "")  # fmt: skip
    if levels:
        yield Fact(name="QOS", works=cluster.qos in (None, *levels), detail=f"yours: {', '.join(levels)} ({enforced})",
                   put="" if cluster.qos in (None, *levels) else f"qos: {levels[0]}")  # fmt: skip


def _user() -> str:
    """This user's name; the number where the system has no name for it, as in a container."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _federation() -> Fact:
    told = queue.federation()
    if told is None:
        return Fact(name="federation", works=None, detail="none")
    return Fact(name="federation", works=False, detail=f"this cluster belongs to {told}", why=queue.FEDERATION)


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
        put = _fitting(need, cluster)
        return Fact(name="a job", works=False, detail=str(error), put=put,
                    why="in place of what stands there" if put else "")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        options = executors.slurm_options(PROBE, stage, cluster, Path(folder), after="", arrays=1)
        script = Path(folder, "probe.sh")
        script.write_text(executors.script(1, Path(folder), options))
        command = ["sbatch", "--test-only", str(script)]
        reply = client.run(command, executors.outside_of_jobs(os.environ))
    words = " ".join((reply.err + reply.out).split())
    wanted = f"{need.cpus} CPUs, {need.memory_gb or 'no'} GB, {need.minutes} min"
    put, why = ("", "") if reply.status == 0 else _remedy(words)
    return Fact(name="a job", works=reply.status == 0, detail=f"{wanted}: {words or 'no answer'}", put=put, why=why)


def _fitting(need: Resources, cluster: ClusterSpec) -> str:
    """The line that brings a task within the limits of a kind of node; empty where that is not what is wrong."""
    try:
        offers = queue.partitions(",".join(cluster.partitions) or None)
    except InputError:
        return ""
    most = max(offers, key=lambda one: (one.cpus or math.inf, one.memory_mb or math.inf), default=queue.Limits())
    limits = {
        "cpus": most.cpus and max(1, most.cpus // need.per_node),
        "memory_gb": most.memory_mb and max(1, most.memory_mb // 1024 // need.per_node),
        "minutes": most.minutes,
    }
    less = {name: limit for name, limit in limits.items() if limit and (getattr(need, name) or 0) > limit}
    return f"resources: {{all: {{{', '.join(f'{name}: {limit}' for name, limit in less.items())}}}}}" if less else ""


def _remedy(words: str) -> tuple[str, str]:
    """What to put into the cluster file, by the site's words, and what to put there may be else."""
    hints = {
        r"mem": ("memory: none", "or cpu, or gpu, as these words have it"),
        r"account": ("account: NAME", "one of yours"),
        r"partition": ("partition: NAME", "one that you may use"),
        r"qos": ("qos: NAME", "one of yours"),
        r"gres|gpu": ("gpus: gpu", "a GRES, or with its type gpu:TYPE; or gpus-per-task"),
        r"time|limit": ("resources: {all: {minutes: 60}}", "as few as these words allow"),
    }
    found = (hint for pattern, hint in hints.items() if re.search(pattern, words, re.IGNORECASE))
    return next(found, ("", "what these words ask for goes into the cluster file, under sbatch: too"))


def _gigabytes(megabytes: str) -> str:
    number = megabytes.rstrip("+")
    if not number.isdigit() or int(number) < 2:
        return "memory not told"
    return f"{int(number) / 1024:.0f}{'+' if megabytes.endswith('+') else ''} GB"


def _pairs(text: str) -> dict[str, str]:
    """The lines ``Key = value`` of scontrol show config."""
    return dict(re.findall(r"^(\w+)\s*=[ \t]*(.*?)[ \t]*$", text, re.MULTILINE))
