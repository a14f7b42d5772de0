"""A plan as Slurm arrays: one array a stage, split at the site's limit, throttled, each waiting for what it needs."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hpc_astrossl.errors import InputError
from hpc_astrossl.launch import executors, gaps
from hpc_astrossl.launch.ledger import Entry, Ledger
from hpc_astrossl.launch.plan import Item, Plan, Stage, Work, pack
from hpc_astrossl.launch.prepare import write_task
from hpc_astrossl.launch.queue import array_limit, cluster_name
from hpc_astrossl.launch.sending import Sending
from hpc_astrossl.launch.task import Task
from hpc_astrossl.specs.cluster import ClusterSpec


@dataclass(frozen=True, kw_only=True)
class Sent:
    """An array that was submitted, or (dry run) would be: its works, job ids, dependency and batch script."""

    stage: str
    works: list[Work]
    jobs: list[str]
    after: str
    script: str


def submit(
    plan: Plan,
    todo: Mapping[str, list[Item]],
    alive: Mapping[str, Entry],
    *,
    cluster: ClusterSpec,
    ledger: Ledger,
    workdir: Path,
    dry_run: bool = False,
) -> Iterator[Sent]:
    """Submit the items of ``todo``, stage by stage, and yield each array; a dry run writes and sends nothing.

    ``alive`` are the entries of items that are queued or running already: new arrays wait for those too.
    """
    if {"%", "\\"} & set(str(workdir)) or not str(workdir).isprintable():
        raise InputError(
            f"work directory {str(workdir)!r}: Slurm gives % and \\ meanings of their own in the paths of logs, "
            "and would take a line break for the path's end; rename it"
        )
    jobs = {key: entry.job for key, entry in alive.items() if entry.kind == "slurm"}
    for key, entry in alive.items():
        if entry.kind != "slurm" and any(key in item.needs for items in todo.values() for item in items):
            raise InputError(
                f"{key} is being made by astrossl submit on {entry.host} (process {entry.pid}), which Slurm cannot "
                "wait for; run this again when it has ended"
            )
    limit = array_limit(cluster, lenient=dry_run)
    sending, here = Sending(ledger), None if dry_run else _here()
    whole: set[str] = set()  # arrays sent here, of which every element is in ``jobs``
    for stage in plan.stages:
        arrays = list(gaps.arrays(pack(stage, todo[stage.name]), limit))
        for works in arrays:
            after = dependency(stage, works, jobs, whole)
            name = f"{plan.experiment}.{stage.name}"
            options = executors.slurm_options(name, stage, cluster, ledger.logs, after=after, arrays=len(arrays))
            text = executors.script(len(works), ledger.logs, options)
            if dry_run:
                ids = [f"<{stage.name}>"] * len(works)
            else:
                tasks = [Task(str(write_task(work, ledger, workdir))) for work in works]
                parcel = executors.wrap(tasks, ledger.logs, options)
                ids = sending.send(parcel, [_entry(work, here) for work in works])
            whole.update(job.partition("_")[0] for job in ids)
            jobs.update({item.key: job for work, job in zip(works, ids, strict=True) for item in work.items})
            yield Sent(stage=stage.name, works=works, jobs=ids, after=after, script=text)


def dependency(stage: Stage, works: list[Work], jobs: Mapping[str, str], whole: Collection[str] = ()) -> str:
    """What the array waits for, in Slurm's words: the success of the jobs that make its needs.

    An array among ``whole`` is named as such when every element of it is needed, which keeps the list short. A stage
    that starts regardless waits for the end of whole arrays.
    """
    needed = {jobs[key]: None for work in works for item in work.items for key in item.needs if key in jobs}
    unneeded = {_array(job) for job in jobs.values() if job not in needed}

    def named(job: str) -> str:
        array = _array(job)
        return array if stage.regardless or (array in whole and array not in unneeded) else job

    words = dict.fromkeys(named(job) for job in needed)
    return ":".join(["afterany" if stage.regardless else "afterok", *words]) if words else ""


def _array(job: str) -> str:
    return job.partition("_")[0]


def _entry(work: Work, cluster: str | None) -> Entry:
    keys = tuple(item.key for item in work.items)
    return Entry(kind="slurm", stage=work.stage, task=work.name, items=keys, commands=work.makers, cluster=cluster)


def _here() -> str | None:
    """The name of this cluster, where it tells one."""
    try:
        return cluster_name()
    except InputError:
        return None
