"""What Slurm says of jobs and of its site: the one door that asks, and that believes only an answer.

squeue tells of the jobs that it still knows, sacct of the rest where the site keeps accounts. submitit asks sacct
alone; many small sites have none. What neither tells is not known, which is something else than failed.
"""

import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hpc_astrossl.errors import InputError, unknown
from hpc_astrossl.launch import answers
from hpc_astrossl.launch.answers import FINAL, WAITING, WORDS, Known
from hpc_astrossl.launch.client import NoAnswer, answer, ask
from hpc_astrossl.launch.plan import Plan
from hpc_astrossl.specs.cluster import ClusterSpec
from hpc_astrossl.specs.jobs import Resources

__all__ = [
    "FINAL", "WAITING", "WORDS", "Known", "Limits", "array_limit", "check_site", "cluster_name", "confirm", "final",
    "minutes", "partitions", "same_cluster", "states",
]  # fmt: skip
SQUEUE = ("squeue", "--all", "--array", "--states=all", "--format=%i|%T|%r|%j|%o")
SINFO = ("sinfo", "--all", "--exact", "--noheader", "--format=%P|%l|%c|%m")  # each kind of node a row
SACCT = ("sacct", "--noheader", "--allocations", "--parsable2", "--format=JobID,State,Submit")
FEDERATION = "a job may start on another of its clusters, where it cannot be followed; submit on a cluster by itself"
CONFIG = ("scontrol", "show", "config")
PORTION = 200  # arrays that are asked for at once: a command line is not endless


def states() -> dict[str, Known]:
    """Every job of this user that the queue still knows, by job id, array elements apart; NoAnswer without a table."""
    return _table(ask([*SQUEUE, "--me"]))


def confirm(array: str) -> dict[str, Known] | None:
    """What squeue says when asked for that job or array alone; None when it says that there is no such job.

    Slurm's own never answers with an empty table, a site's wrapper may. NoAnswer when neither can be told, or when an
    empty table comes with an error, as where the site's list of users is away.
    """
    try:
        reply = answer([*SQUEUE, f"--jobs={array}"])
        found = _table(reply.out)
        if not found and re.search(r"\b(error|fatal):", reply.err):
            raise NoAnswer(f"squeue printed no job and: {reply.err.strip()}")
        return found
    except NoAnswer:
        raise
    except InputError as error:
        if "invalid job id" in str(error).lower():
            return None
        raise NoAnswer(str(error)) from None


def _table(text: str) -> dict[str, Known]:
    found = answers.table(text)
    if found is None:
        raise NoAnswer("squeue printed no table: no heading, or rows that are no jobs")
    return found


def final(jobs: Mapping[str, datetime | None]) -> dict[str, str]:
    """Final states from sacct of jobs that the queue has forgotten; nothing where the site keeps no accounts.

    ``jobs`` holds when each was sent: a record of long before is that of another job, whose number was given again.
    Asked for by array, in portions: thousands of elements would not fit into a command line.
    """
    wanted = set(jobs)
    if not wanted or shutil.which("sacct") is None:
        return {}
    arrays = sorted({job.partition("_")[0] for job in wanted})
    found: dict[str, answers.Ended] = {}
    for start in range(0, len(arrays), PORTION):
        try:
            found |= answers.final_states(ask([*SACCT, f"--jobs={','.join(arrays[start : start + PORTION])}"]))
        except InputError:
            break  # accounting is off or silent: the run folders and the batch scripts' own notes have to do
    return {job: found[job].state for job in wanted & found.keys() if found[job].may_be(jobs[job])}


LIMITED = ("minutes", "cpus", "memory_mb")


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that a job may have where it goes; None where there is no limit, or none is told."""

    minutes: int | None = None
    cpus: int | None = None
    memory_mb: int | None = None


def check_site(plan: Plan, cluster: ClusterSpec) -> None:
    """InputError for a missing image, or a stage that the partition would never start (where sinfo can tell)."""
    if cluster.kind != "slurm":
        return
    _check_image(cluster)
    if shutil.which("sinfo") is None:
        return
    name = ",".join(cluster.partitions) or None
    if (told := federation()) is not None:
        raise InputError(f"this cluster belongs to the federation {told}: {FEDERATION}")
    offers = partitions(name)
    where = f"partition {name}" if name else "the default partition"
    most = Limits(**{limit: _most([getattr(one, limit) for one in offers]) for limit in LIMITED}) if offers else None
    for stage in plan.stages:
        beyond = [_excess(stage.resources, one, where, qos=bool(cluster.qos)) for one in offers]
        if offers and all(beyond):
            told = _excess(stage.resources, most, where, qos=bool(cluster.qos))
            raise InputError(
                f"stage {stage.name} asks for {told or 'what no one kind of node has: ' + '; '.join(beyond)}; "
                "change resources in the recipe or the cluster file, or take another partition"
            )


def _excess(need: Resources, limits: Limits, where: str, *, qos: bool) -> str | None:
    """What a task asks for beyond the limits, in words; None when it fits."""
    memory = None if need.memory_gb is None else need.memory_gb * need.per_node
    for what, wanted, allowed in (
        ("minutes", need.minutes, None if qos else limits.minutes),  # a QOS may lift a partition's
        ("cpus × ranks", need.cpus * need.per_node, limits.cpus),
        ("memory_gb × ranks", memory, limits.memory_mb and limits.memory_mb / 1024),
    ):
        if allowed is not None and wanted is not None and wanted > allowed:
            return f"{what} {wanted:g}, and {where} allows at most {allowed:g}"
    return None


def configuration() -> str | None:
    """What scontrol tells of the site; None where there is none, or where it is not for users. NoAnswer when silent."""
    if shutil.which("scontrol") is None:
        return None
    try:
        return ask(CONFIG)
    except NoAnswer:
        raise
    except InputError:
        return None


def cluster_name() -> str | None:
    """The name of the cluster whose Slurm answers here; None where it is not told. NoAnswer when it is silent."""
    text = configuration()
    if text is None:
        return None
    told = re.search(r"^ClusterName[ \t]*=[ \t]*(\S.*?)[ \t\r]*\n", text, re.MULTILINE)  # blanks may stand within
    if told is None:
        raise NoAnswer("scontrol show config told no ClusterName; try again when Slurm answers whole")
    return told[1]


def same_cluster(one: str, other: str) -> bool:
    """Whether two names are those of one cluster; Slurm writes all of them in small letters."""
    return one.casefold() == other.casefold()


def federation() -> str | None:
    """The name of the federation that this cluster belongs to; None outside of one, and where Slurm does not say."""
    if shutil.which("scontrol") is None:
        return None
    try:
        found = re.search(r"^Federation:\s*(\S+)", ask(["scontrol", "show", "federation"]), re.MULTILINE)
    except InputError:
        return None
    return found[1] if found else None


def _check_image(cluster: ClusterSpec) -> None:
    """The container image that the interpreter's command names must be there, as seen from here."""
    for word in shlex.split(cluster.python or ""):
        if word.endswith((".sif", ".simg")) and not Path(word).exists():
            raise InputError(
                f"python of the cluster file names the image {word}, which does not exist; build it (docs/hpc.md) or "
                "correct the path"
            )


def partitions(name: str | None) -> list[Limits]:
    """What a partition or several ("a,b") offer, hidden ones too: one of each kind of node, where sinfo can tell.

    Without a name those of the default partition, and none where the site has no default.
    """
    try:
        told = ask(SINFO)
    except NoAnswer:
        raise
    except InputError:
        return []  # it is not for users here: sbatch has the last word
    lines = [answers.plain(line).split("|") for line in told.splitlines()]
    parts = [[part.strip() for part in line] for line in lines if len(line) == 4]
    there = {row[0].rstrip("*") for row in parts}
    wanted = [one.strip() for one in name.split(",")] if name else []
    for one in wanted:
        if parts and one not in there:
            raise unknown("partition", one, there)
    found = [row for row in parts if (row[0].rstrip("*") in wanted if wanted else row[0].endswith("*"))]
    return [
        Limits(
            minutes=minutes(row[1]),
            cpus=_number(row[2]),
            memory_mb=_number(row[3], least=2),  # 1 MB: the site does not say what its nodes have
        )
        for row in found
    ]


def _number(text: str, *, least: int = 1) -> int | None:
    """A number of sinfo's; None for "64+", which is the least of several nodes, and when none is told."""
    return int(text) if re.fullmatch(r"\d+", text) and int(text) >= least else None


def _most(numbers: Sequence[int | None]) -> int | None:
    return None if None in numbers else max(numbers)


def minutes(text: str) -> int | None:
    """Slurm's form of a duration, D-HH:MM:SS with the front left out, in whole minutes; None for "infinite"."""
    match = re.fullmatch(r"(?:(\d+)-)?(?:(\d+):)?(\d+):(\d+)", text)
    if match is None:
        return None
    days, hours, whole, _ = (int(part or 0) for part in match.groups())
    return (days * 24 + hours) * 60 + whole


def array_limit(cluster: ClusterSpec, *, lenient: bool = False) -> int:
    """The most elements that one array may have: the cluster file's number, or the site's when that is smaller.

    MaxArraySize is the largest index and one more; where it is 0 or 1 each task is a job of its own. ``lenient``: the
    cluster file's number when Slurm does not answer. An answer without MaxArraySize is none: it was cut short.
    """
    try:
        told = configuration()
        if told is None:
            return cluster.max_array
        sizes = re.findall(r"^MaxArraySize\s*=\s*(\d+)[ \t\r]*\n", told, re.MULTILINE)
        if not sizes:
            raise NoAnswer("scontrol show config told no MaxArraySize; try again when Slurm answers whole")
    except InputError:
        if not lenient:
            raise
        return cluster.max_array
    sizes += re.findall(r"\bmax_array_tasks=(\d+)", told)
    return max(1, min([cluster.max_array, *map(int, sizes)]))
