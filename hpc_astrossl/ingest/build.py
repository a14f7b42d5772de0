"""From a recipe and a source folder to stores: plan, cut and write one's own shards, finish what is complete."""

import errno
import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_astrossl import provenance
from hpc_astrossl import store as stores
from hpc_astrossl.cutting import workers
from hpc_astrossl.cutting.cutouts import open_source
from hpc_astrossl.cutting.locate import locate
from hpc_astrossl.cutting.progress import Progress
from hpc_astrossl.cutting.shards import Hashes, Portion, Target
from hpc_astrossl.errors import InputError, unknown
from hpc_astrossl.files import task_note, write_aside
from hpc_astrossl.ingest.finishing import finish
from hpc_astrossl.ingest.planning import Edges, Job, plan_jobs, summary
from hpc_astrossl.objects import Objects, subset
from hpc_astrossl.selection.catalogue import read_objects
from hpc_astrossl.selection.select import select
from hpc_astrossl.specs.recipe import Recipe

_OUT_OF_REACH = {errno.EACCES, errno.EDQUOT, errno.EEXIST, errno.EFBIG, errno.ENOSPC, errno.ENOTDIR, errno.EROFS}


@dataclass(frozen=True, kw_only=True)
class Options:
    """What of the work is done here, and how: store ``only``, part ``task`` of ``tasks`` (from 1), so many processes.

    ``workers`` None means the cores that this process may use.
    """

    only: str | None = None
    task: int = 1
    tasks: int = 1
    workers: int | None = None
    overwrite: bool = False

    def __post_init__(self):
        if not 1 <= self.task <= self.tasks:
            raise InputError(f"task {self.task}/{self.tasks}: expected I/N with 1 ≤ I ≤ N")
        if self.workers is not None and self.workers < 1:
            raise InputError(f"workers must be at least 1, found {self.workers}")
        if self.overwrite and self.tasks > 1:
            raise InputError("--overwrite is for one process: a task that comes late would remove what others made. "
                             "Remove the old store, then start the tasks")  # fmt: skip

    def own(self, count: int) -> range:
        """Which of ``count`` shards this task writes: one after another, every shard by exactly one task."""
        return range(count * (self.task - 1) // self.tasks, count * self.task // self.tasks)


@dataclass(frozen=True, kw_only=True)
class Made:
    """A store: ``info`` once it is there, else ``shards`` of ``of_shards`` are, and other tasks have the rest.

    ``fresh`` is False when it was there before and nothing had to be done.
    """

    path: Path
    info: stores.StoreInfo | None
    fresh: bool = True
    shards: int = 0
    of_shards: int = 0


def build(recipe: Recipe, source: Path, out: Path, options: Options = Options(),
          progress: Progress | None = None) -> list[Made]:  # fmt: skip
    """Make the stores of a recipe as ``out/<name>.zarr``, or this task's shards of them; each appears when complete.

    A store that is there, made by the same recipe from the same inputs, is left as it is; another one is replaced
    only with ``overwrite``. Shards that an earlier attempt finished stay. InputError says what is wrong with recipe,
    source or an existing store; when it names fields that cannot be read, all shards without them are written.
    """
    progress = progress or Progress()
    if options.only is not None and options.only not in recipe.stores:
        raise unknown("store", options.only, recipe.stores)
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; --source is the folder that holds {recipe.catalogue.file}")
    objects = read_objects(recipe, source)
    kind = f" ({objects.kind})" if objects.kind else ""
    progress.say(f"read {recipe.catalogue.file}: {len(objects):,} objects{kind}")
    for note in objects.notes:
        progress.say(note)
    objects = locate(recipe, source, objects, progress.say)
    selections = select(recipe, objects, source, Edges(recipe, source, objects))
    chosen = {name: selections[name] for name in recipe.stores if options.only in (None, name)}
    jobs = plan_jobs(recipe, source, out, objects, chosen)
    made = {job.name: standing for job in jobs if (standing := _standing(job, source, objects, options))}
    due = [job for job in jobs if job.name not in made]
    try:
        faults = _write(due, source, objects, options, progress)
        made |= {job.name: _end(job, objects, progress) for job in due}
        _stop_for(faults)
    except BaseException as error:
        _clear(due, options)
        if not isinstance(error, OSError) or error.errno not in _OUT_OF_REACH:
            raise
        raise InputError(f"{out}: cannot be written ({error.strerror})") from None
    for job in jobs if options.tasks > 1 else []:
        _leave_note(job, options)
    return [made[job.name] for job in jobs]


def _leave_note(job: Job, options: Options) -> None:
    """Say beside the store that this task's part is done, for those who wait for it."""
    path = job.path.parent / task_note(job.name, options.task, options.tasks)
    path.parent.mkdir(parents=True, exist_ok=True)
    own = list(options.own(len(job.shards)))
    facts = {"plan": job.plan, "shards": own, "ended": provenance.now(), "host": socket.gethostname()}
    write_aside(path, (json.dumps(facts, indent=1) + "\n").encode())


def _standing(job: Job, source: Path, objects: Objects, options: Options) -> Made | None:
    """The store that is there already, if it is what the job would make; None if the job must run.

    A process alone reads all images and compares their hashes; one task of several those of its own shards.
    """
    if not job.path.exists():
        return None
    if options.overwrite:
        if not (job.path / "zarr.json").is_file():
            raise InputError(f"{job.path}: is no Zarr group, so --overwrite will not remove it; move it away")
        return None
    try:
        info = stores.open_store(job.path).info
    except InputError as error:
        raise InputError(f"{error}. To replace it say --overwrite") from None
    same = info.provenance.get("digest") == job.digest
    made_from = info.provenance.get("inputs", {})
    if same and options.tasks == 1:
        same = made_from["images"] == summary(Hashes(source).of(job.files))
    elif same and "shards" in made_from:  # stores of 0.1.0 have none
        cutter, hashes = open_source(job.recipe, source, objects, job.images), Hashes(source)
        for number in options.own(len(job.shards)):
            files = [path for unit in cutter.units(job.shards[number]) for path in cutter.files(unit)]
            same = same and summary(hashes.of(files))["digest"] == made_from["shards"][number]
    if not same:
        raise InputError(f"{job.path}: already there, made by another recipe or from other inputs; "
                         "say --overwrite to replace it, or choose another --out")  # fmt: skip
    stores.tidy(job.path)
    return Made(path=job.path, info=info, fresh=False)


def _write(due: list[Job], source: Path, objects: Objects, options: Options, progress: Progress) -> list[str]:
    """This task's shards; returns what kept some of them from being written. Stores with the same images share a pass
    over the fields."""
    faults = []
    for group in _groups(due):
        for job in group:
            if options.own(len(job.shards)):
                stores.join(job.path, job.arrays, plan=job.plan, replace=options.overwrite)
        portions = _portions(group, source, objects, options)
        if portions:
            outcome = workers.run(portions, progress)
            faults += outcome.faults
            for note in dict.fromkeys(outcome.notes):
                progress.say(f"rejected: {note}")
    return list(dict.fromkeys(faults))


def _stop_for(faults: list[str]) -> None:
    if faults:
        raise InputError(f"{'; '.join(faults)}. Shards that need none of this are written and stay: mend it and run "
                         "the same command again, or set fields (or files).unreadable=reject")  # fmt: skip


def _groups(due: list[Job]) -> list[list[Job]]:
    groups: dict[str, list[Job]] = {}
    for job in due:
        groups.setdefault(job.name if job.recipe.files else job.images, []).append(job)
    return list(groups.values())


def _portions(group: list[Job], source: Path, objects: Objects, options: Options) -> list[Portion]:
    """This task's shards of some stores, divided among processes; neighbours stay together, since they share fields."""
    own = [options.own(len(job.shards)) for job in group]
    cores = options.workers or len(os.sched_getaffinity(0))
    count = min(cores, sum(len(shards) for shards in own))
    portions = []
    for worker in range(count):
        shares = [Options(task=worker + 1, tasks=count).own(len(shards)) for shards in own]
        parts = {job.name: [shards[i] for i in share] for job, shards, share in zip(group, own, shares, strict=True)}
        if any(parts.values()):
            portions.append(_portion([(job, parts[job.name]) for job in group if parts[job.name]], source, objects))
    return portions


def _portion(parts: list[tuple[Job, list[int]]], source: Path, objects: Objects) -> Portion:
    shards = {(job.name, number): job.shards[number] for job, numbers in parts for number in numbers}
    rows = np.concatenate(list(shards.values()))
    rows = rows if len(parts) == 1 else np.unique(rows)  # a store alone keeps its own order
    order = np.argsort(rows)
    local = {key: order[np.searchsorted(rows, wanted, sorter=order)] for key, wanted in shards.items()}
    targets = [
        Target(path=job.path, arrays=job.arrays, plan=job.plan,
               shards={number: local[job.name, number] for number in numbers})
        for job, numbers in parts
    ]  # fmt: skip
    job = parts[0][0]
    return Portion(recipe=job.recipe, folder=source, images=job.images, objects=subset(objects, rows), targets=targets)


def _end(job: Job, objects: Objects, progress: Progress) -> Made:
    """Finish the store if all its shards are there."""
    there, count = len(stores.records(job.path)), len(job.shards)
    if not there and job.path.exists():  # another task has finished it meanwhile
        return Made(path=job.path, info=stores.open_store(job.path).info, shards=count, of_shards=count)
    if there < count:
        return Made(path=job.path, info=None, shards=there, of_shards=count)
    progress.say(f"all {count} shards of {job.path} are there: finishing it")
    return Made(path=job.path, info=finish(job, objects, progress.say), shards=count, of_shards=count)


def _clear(due: list[Job], options: Options) -> None:
    """Remove what one process alone has begun in vain: a store in the making without a single finished shard."""
    for job in due if options.tasks == 1 else []:
        if not stores.records(job.path):
            stores.abandon(job.path)
