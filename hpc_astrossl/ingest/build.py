"""From a recipe and a source folder to stores: plan, cut and write one's own shards, finish what is complete."""

import contextlib
import errno
import json
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpc_astrossl import identity, provenance
from hpc_astrossl import store as stores
from hpc_astrossl.cutting import workers
from hpc_astrossl.cutting.cutouts import open_source
from hpc_astrossl.cutting.locate import asked, locate
from hpc_astrossl.cutting.progress import Progress
from hpc_astrossl.cutting.shards import Hashes
from hpc_astrossl.errors import InputError, unknown
from hpc_astrossl.files import aside_of, remove, sweep, task_note, write_aside
from hpc_astrossl.ingest import board, lease, plans, scales
from hpc_astrossl.ingest.finishing import NothingLeft, finish
from hpc_astrossl.ingest.looks import Looks, lookers
from hpc_astrossl.ingest.options import Options
from hpc_astrossl.ingest.planning import Draft, drafts, remarks, summary
from hpc_astrossl.ingest.plans import Job
from hpc_astrossl.ingest.portions import groups, portions
from hpc_astrossl.objects import Objects
from hpc_astrossl.selection.catalogue import read_objects
from hpc_astrossl.selection.select import select
from hpc_astrossl.selection.workspace import GB, Growing, Workspace
from hpc_astrossl.specs.recipe import Recipe

_OUT_OF_REACH = {errno.EACCES, errno.EDQUOT, errno.EEXIST, errno.EFBIG, errno.ENOSPC, errno.ENOTDIR, errno.EROFS}


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


def build(recipe: Recipe, source: Path, out: Path, options: Options | None = None,
          progress: Progress | None = None) -> list[Made]:  # fmt: skip
    """Make the stores of a recipe as ``out/<name>.zarr``, or this task's shards of them; each appears when complete.

    A store that is there, made by the same recipe from the same inputs, is left as it is; another one is replaced
    only with ``overwrite``. Shards that an earlier attempt finished stay. InputError says what is wrong with recipe,
    source or an existing store; when it names fields that cannot be read, all shards without them are written.
    """
    progress, options = progress or Progress(), options or Options()
    if options.only is not None and options.only not in recipe.stores:
        raise unknown("store", options.only, recipe.stores)
    if not source.is_dir():
        raise InputError(f"{source}: no such folder; --source is the folder that holds {recipe.catalogue.file}")
    names = [name for name in recipe.stores if options.only in (None, name)]
    jobs, made = _planned(recipe, names, (source, out), options, progress)
    due = list(jobs.values())
    try:
        faults = _write(due, source, options, progress)
        made |= {job.name: _end(job, progress) for job in due}
        _stop_for(faults, recipe)
    except BaseException as error:
        _clear([job.path for job in due], options)
        if isinstance(error, NothingLeft) and options.tasks == 1:
            stores.abandon(error.store)
        raise _told(error, out) from None
    for name in names:
        lease.tidy(out, name)
    for job in due if options.tasks > 1 else []:
        _leave_note(job.path, options, {"plan": job.plan}, len(job.shards))
    return [made[name] for name in names]


def _told(error: BaseException, out: Path) -> BaseException:
    """The error to raise: that the folder of the stores cannot be written is the user's to mend."""
    if isinstance(error, OSError) and error.errno in _OUT_OF_REACH:
        return InputError(f"{out}: cannot be written ({error.strerror})")
    return error


def _planned(recipe: Recipe, names: list[str], places: tuple[Path, Path], options: Options,
             progress: Progress) -> tuple[dict[str, Job], dict[str, Made]]:  # fmt: skip
    """(the plans of the stores that are to be made, those that are there): from disk if one was left there, else made
    and left there, by one task for all of them."""
    source, out = places
    key = plans.key_of(recipe, source)
    made = {name: done for name in names if (done := _finished(out / f"{name}.zarr", key, options))}
    wanted = [name for name in names if name not in made]
    if not (jobs := _found(recipe, wanted, places, key, options)) and wanted:
        helping = board.Helper(recipe, source, out / wanted[0], key)
        with lease.selecting(out, wanted[0], key, options.tasks, helping.help if options.tasks > 1 else None):
            jobs = _found(recipe, wanted, places, key, options)
            if not jobs:
                with _workspace(out, wanted[0], options, progress) as space:
                    drafts, standing = _select(recipe, wanted, places, (options, space, key), progress)
                    made |= standing
                    _save(drafts, key, options, out)
                    wanted = [draft.name for draft in drafts]
                jobs = {name: plans.load(recipe, name, places, key) for name in wanted}
    if lost := [name for name in wanted if jobs.get(name) is None]:
        raise InputError(f"{out / lost[0]}.zarr: its tables or images change while it is planned, or another process "
                         "has finished it meanwhile; run this again")  # fmt: skip
    for done in made.values() if options.tasks > 1 else []:
        _leave_note(done.path, options, {"digest": done.info.provenance["digest"]}, 0)
    return jobs, made


def _found(recipe: Recipe, names: list[str], places: tuple[Path, Path], key: str, options: Options) -> dict[str, Job]:
    """The plans that are on disk, if all are. A store that has its name is looked at anew."""
    if options.overwrite or any((places[1] / f"{name}.zarr").exists() for name in names):
        return {}
    found = {name: plans.load(recipe, name, places, key) for name in names}
    return found if None not in found.values() else {}


def _finished(path: Path, key: str, options: Options) -> Made | None:
    """The store that is there, if other tasks have just finished it and this one has no shard of it."""
    facts = plans.noted(path, key) if options.tasks > 1 and path.exists() else None
    if facts is None or options.own(facts["shards"]):
        return None
    info = stores.open_store(path).info
    if info.provenance.get("digest") != facts["digest"]:
        return None
    return Made(path=path, info=info, fresh=False, shards=facts["shards"], of_shards=facts["shards"])


@contextlib.contextmanager
def _workspace(out: Path, name: str, options: Options, progress: Progress) -> Iterator[Workspace]:
    """Where a selection works. Its files go with it, and if it is killed, with the next process that writes there."""
    sweep(out)
    folder = aside_of(board.workspace(out / name))
    try:
        yield Workspace(memory=int(options.memory_gb * GB), folder=folder, say=progress.say)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise InputError(
            f"{out}: no room for the columns of the catalogue ({error.strerror}), which are kept "
            "here while objects are selected; make room, or allow more memory: --memory-gb"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            remove(folder)


def _select(recipe: Recipe, names: list[str], places: tuple[Path, Path], how: tuple[Options, Workspace, str],
            progress: Progress) -> tuple[list[Draft], dict[str, Made]]:  # fmt: skip
    """(drafts of the stores to be made, the stores that are there and are what would be made)."""
    (source, out), (options, space, key) = places, how
    objects = read_objects(recipe, source, space)
    kind = f" ({objects.kind})" if objects.kind else ""
    progress.say(f"read {recipe.catalogue.file}: {len(objects):,} objects{kind}")
    for note in objects.notes:
        progress.say(note)
    objects = _located(recipe, source, objects, space)
    threads = lookers(recipe, options.workers or len(os.sched_getaffinity(0)), int(options.memory_gb * GB))
    shared = board.Board(space.folder, key, threads).answers if options.tasks > 1 else None
    looks = Looks(recipe, source, objects, threads, shared)
    looks.seen |= asked(recipe, source, objects)
    selections = select(recipe, objects, source, looks, space)
    found = drafts(recipe, (source, out), objects, {name: selections[name] for name in names}, looks.seen, space)
    made = {draft.name: standing for draft in found if (standing := _standing(draft, options))}
    for remark in dict.fromkeys(line for draft in found if draft.name not in made for line in remarks(draft)):
        progress.say(remark)
    due = [draft for draft in found if draft.name not in made]
    for draft in due:
        scales.ahead(draft)
    return due, made


def _located(recipe: Recipe, source: Path, objects: Objects, space: Workspace) -> Objects:
    """The objects with their pixels by their fields' headers, where the recipe wants them found so."""
    grown = Growing(space, names=["field"])
    for block in locate(recipe, source, objects, space.say):
        grown.append(block)
    return replace(objects, **grown.columns())


def _save(found: list[Draft], key: str, options: Options, out: Path) -> None:
    """Leave the plans on disk, in the stores that begin with them."""
    try:
        for draft in found:
            plans.save(draft, key, replace=options.overwrite)
            if options.tasks > 1:
                plans.note(draft, key)
    except BaseException as error:
        _clear([draft.path for draft in found], options)
        raise _told(error, out) from None


def _leave_note(path: Path, options: Options, facts: dict[str, Any], shards: int) -> None:
    """Say beside the store that this task's part is done, for those who wait for it."""
    file = path.parent / task_note(path.stem, options.task, options.tasks)
    file.parent.mkdir(parents=True, exist_ok=True)
    facts = facts | {"shards": list(options.own(shards)), "ended": provenance.now(), "host": socket.gethostname()}
    write_aside(file, (json.dumps(facts, indent=1) + "\n").encode())


def _standing(draft: Draft, options: Options) -> Made | None:
    """The store that is there already, if it is what the draft would make; None if it must be made.

    A process alone reads all images and compares their hashes; one task of several those of its own shards.
    """
    path, source = draft.path, draft.folder
    if not path.exists():
        return None
    if options.overwrite:
        if not (path / "zarr.json").is_file():
            raise InputError(f"{path}: is no Zarr group, so --overwrite will not remove it; move it away")
        return None
    try:
        info = stores.open_store(path).info
    except InputError as error:
        raise InputError(f"{error}. To replace it say --overwrite") from None
    same = info.provenance.get("digest") == draft.digest
    made_from = info.provenance.get("inputs", {})
    if same and options.tasks == 1:
        same = made_from["images"] == summary(Hashes(source).of(draft.files))
    elif same and "shards" in made_from:  # stores of 0.1.0 have none
        cutter, hashes = open_source(draft.recipe, source, draft.objects, draft.images), Hashes(source)
        for number in options.own(len(draft.shards)):
            files = [file for unit in cutter.units(draft.shards[number]) for file in cutter.files(unit)]
            same = same and summary(hashes.of(files))["digest"] == made_from["shards"][number]
    if not same:
        what = "made by another recipe or from other inputs"
        if "shards" not in made_from:
            what = f"{identity.UNKNOWN}: whether recipe and inputs are the same cannot be told"
        raise InputError(f"{path}: already there, {what}; say --overwrite to replace it, or choose another --out")
    stores.tidy(path)
    return Made(path=path, info=info, fresh=False)


def _write(due: list[Job], source: Path, options: Options, progress: Progress) -> list[str]:
    """This task's shards; returns what kept some of them from being written. Stores with the same images share a pass
    over the fields."""
    faults = []
    for group in groups(due):
        for job in group:
            if options.own(len(job.shards)):
                stores.join(job.path, job.arrays, plan=job.plan)
        shared = portions(group, source, options)
        if shared:
            outcome = workers.run(shared, progress)
            faults += outcome.faults
            for note in dict.fromkeys(outcome.notes):
                progress.say(f"rejected: {note}")
    return list(dict.fromkeys(faults))


def _stop_for(faults: list[str], recipe: Recipe) -> None:
    if faults:
        key = "fields" if recipe.fields else "files" if recipe.files else "cutouts"
        spec = getattr(recipe, key)
        one = getattr(spec, "array", None) is not None  # file for all: nothing to leave out
        reject = "" if one or spec.unreadable == "reject" else f", or set {key}.unreadable=reject"
        raise InputError(f"{'; '.join(faults)}. Shards that need none of this are written and stay: mend it and run "
                         f"the same command again{reject}")  # fmt: skip


def _end(job: Job, progress: Progress) -> Made:
    """Finish the store if all its shards are there."""
    there, count = len(stores.records(job.path)), len(job.shards)
    if not there and job.path.exists():  # another task has finished it meanwhile
        return Made(path=job.path, info=stores.open_store(job.path).info, shards=count, of_shards=count)
    if there < count:
        return Made(path=job.path, info=None, shards=there, of_shards=count)
    shards = "its only shard is" if count == 1 else f"all {count:,} shards are"
    progress.say(f"{job.path}: {shards} there, finishing it")
    return Made(path=job.path, info=finish(job, progress.say), shards=count, of_shards=count)


def _clear(paths: list[Path], options: Options) -> None:
    """Remove what one process alone has begun in vain: stores in the making without a single finished shard."""
    for path in paths if options.tasks == 1 else []:
        if not stores.records(path):
            stores.abandon(path)
