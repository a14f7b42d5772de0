"""A plan as Slurm arrays: one array a stage, split at the site's limit, throttled, each waiting for what it needs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hpc_astrossl.errors import InputError
from hpc_astrossl.launch import executors
from hpc_astrossl.launch.grid import Item, Plan, Stage, Work, pack
from hpc_astrossl.launch.ledger import Entry, Ledger
from hpc_astrossl.launch.prepare import chunks, write_task
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
    jobs = {key: entry.job for key, entry in alive.items() if entry.kind == "slurm"}
    for key, entry in alive.items():
        if entry.kind != "slurm" and any(key in item.needs for items in todo.values() for item in items):
            raise InputError(
                f"{key} is being made by astrossl submit on {entry.host} (process {entry.pid}), which Slurm cannot "
                "wait for; run this again when it has ended"
            )
    for stage in plan.stages:
        arrays = list(chunks(pack(stage, todo[stage.name]), cluster.max_array))
        for works in arrays:
            after = dependency(stage, works, jobs)
            name = f"{plan.experiment}.{stage.name}"
            options = executors.slurm_options(name, stage, cluster, ledger.logs, after=after, arrays=len(arrays))
            text = executors.script(len(works), ledger.logs, options)
            if dry_run:
                ids = [f"<{stage.name}>"] * len(works)
            else:
                tasks = [Task(str(write_task(work, ledger, workdir))) for work in works]
                ids = executors.submit_array(tasks, ledger.logs, options)
                ledger.add([_entry(work, job) for work, job in zip(works, ids, strict=True)])
            jobs.update({item.key: job for work, job in zip(works, ids, strict=True) for item in work.items})
            yield Sent(stage=stage.name, works=works, jobs=ids, after=after, script=text)


def dependency(stage: Stage, works: list[Work], jobs: Mapping[str, str]) -> str:
    """What the array waits for, in Slurm's words: the success of the jobs that make its needs.

    A stage that starts regardless waits for the end of whole arrays, which keeps the list short.
    """
    needed = [jobs[key] for work in works for item in work.items for key in item.needs if key in jobs]
    if stage.regardless:
        needed = [job.partition("_")[0] for job in needed]
    word = "afterany" if stage.regardless else "afterok"
    return ":".join([word, *dict.fromkeys(needed)]) if needed else ""


def _entry(work: Work, job: str) -> Entry:
    return Entry(kind="slurm", stage=work.stage, task=work.name, items=tuple(item.key for item in work.items), job=job)
