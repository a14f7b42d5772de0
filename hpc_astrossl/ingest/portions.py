"""A task's shards divided among processes, with the objects that each needs, read from the plans."""

import os
from pathlib import Path

import numpy as np

from hpc_astrossl.cutting.shards import Portion, Target
from hpc_astrossl.ingest.options import Options
from hpc_astrossl.ingest.plans import Job
from hpc_astrossl.objects import joined, subset

FIELDS = 4  # for each process at least: one at the border of two shares is read by both


def groups(due: list[Job]) -> list[list[Job]]:
    """Stores that share a pass over the fields."""
    found: dict[str, list[Job]] = {}
    for job in due:
        found.setdefault(job.name if job.recipe.files else job.images, []).append(job)
    return list(found.values())


def portions(group: list[Job], source: Path, options: Options) -> list[Portion]:
    """This task's shards of some stores, divided among processes; neighbours stay together, since they share fields.

    Of few fields there are few processes, each with several threads, so that every field is read once.
    """
    own = [options.own(len(job.shards)) for job in group]
    cores = options.workers or len(os.sched_getaffinity(0))
    count = min(cores, sum(len(shards) for shards in own))
    spec = group[0].recipe.fields
    if spec is not None and spec.resample is None:
        count = max(1, min(count, _fields(group, own, FIELDS * count) // FIELDS))
    found = []
    for worker in range(count):
        shares = [Options(task=worker + 1, tasks=count).own(len(shards)) for shards in own]
        parts = {job.name: [shards[i] for i in share] for job, shards, share in zip(group, own, shares, strict=True)}
        if any(parts.values()):
            wanted = [(job, parts[job.name]) for job in group if parts[job.name]]
            found.append(_portion(wanted, source, cores // count))
    return found


def _fields(group: list[Job], own: list[range], enough: int) -> int:
    """How many fields hold objects of those shards; no more are counted than ``enough``."""
    found: set[str] = set()
    for job, numbers in zip(group, own, strict=True):
        for number in numbers:
            found.update(np.unique(job.table.read("field", *job.shards[number])).tolist())
            if len(found) >= enough:
                return enough
    return len(found)


def _portion(parts: list[tuple[Job, list[int]]], source: Path, threads: int) -> Portion:
    """Shards of some stores with their objects, read from the plans; one that several stores want is there once."""
    objects = joined([job.objects(*job.shards[number]) for job, numbers in parts for number in numbers])
    numbers = np.concatenate([job.table.read("number", *job.shards[number])
                              for job, numbers in parts for number in numbers])  # fmt: skip
    if len(parts) == 1:  # a store alone keeps its own order
        place = np.arange(len(numbers))
    else:
        _, first, place = np.unique(numbers, return_index=True, return_inverse=True)
        objects = subset(objects, first)
    targets, done = [], 0
    for job, own in parts:
        shards = {}
        for number in own:
            start, stop = job.shards[number]
            shards[number] = place[done : done + stop - start]
            done += stop - start
        targets.append(Target(path=job.path, arrays=job.arrays, plan=job.plan, shards=shards))
    job = parts[0][0]
    return Portion(recipe=job.recipe, folder=source, images=job.images, objects=objects, targets=targets,
                   threads=threads)  # fmt: skip
