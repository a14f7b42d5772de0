"""Cut the objects of some shards, each field read once for all of them, and write every shard when it is full.

A portion is what one process does. It owns whole shards; a shard that is there and sound is left alone, so a portion
that was killed goes on where it was.
"""

import os
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl import provenance, store
from hpc_astrossl.cutting.badfile import DAMAGED, RecipeFault, reason_of
from hpc_astrossl.cutting.cutouts import Source, Unit, open_source
from hpc_astrossl.errors import InputError
from hpc_astrossl.objects import Objects
from hpc_astrossl.specs.recipe import Recipe

IN_MEMORY = 1 << 26  # bytes: cutouts of a field beyond this lie in a file without a name


@dataclass(frozen=True, kw_only=True)
class Target:
    """Shards of one store: ``shards`` maps their number to the objects of their rows (numbers in the portion)."""

    path: Path
    arrays: store.Arrays
    plan: dict[str, Any]
    shards: dict[int, np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Portion:
    """Objects, where their images are, and the shards that want them. Travels to another process."""

    recipe: Recipe
    folder: Path
    images: str  # rgb or bands
    objects: Objects
    targets: list[Target]

    def __len__(self) -> int:
        return sum(len(rows) for target in self.targets for rows in target.shards.values())


@dataclass(kw_only=True)
class Outcome:
    """What went wrong: ``faults`` keep shards from being written, ``notes`` were dealt with by rejecting objects."""

    faults: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


class Hashes:
    """Size and SHA-256 of files below a folder, each read once."""

    def __init__(self, folder: Path):
        self._folder, self._known = folder, {}

    def of(self, paths: list[Path]) -> dict[str, dict[str, Any]]:
        """File name -> {bytes, sha256}, sorted by name; InputError for one that cannot be read."""
        return {name: self._one(path) for name, path in sorted((self.name(path), path) for path in paths)}

    def name(self, path: Path) -> str:
        """The file's name, relative to the folder."""
        return os.path.relpath(path, self._folder)

    def _one(self, path: Path) -> dict[str, Any]:
        if path not in self._known:
            try:
                self._known[path] = {"bytes": path.stat().st_size, "sha256": provenance.sha256(path)}
            except OSError as error:
                raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        return self._known[path]


def write_shards(portion: Portion, advance: Callable[[int], None]) -> Outcome:
    """Cut and write everything in the portion that is not there yet. ``advance`` gets numbers of objects done.

    A field that cannot be read holds up the shards that need it, or, if the recipe says so, its objects are rejected;
    the others are written in any case. InputError when another process writes one of the shards.
    """
    source = open_source(portion.recipe, portion.folder, portion.objects, portion.images)
    hashes, outcome = Hashes(portion.folder), Outcome()
    rejects = (portion.recipe.images or portion.recipe.files).unreadable == "reject"
    with ExitStack() as stack:
        filling = [_Filling(target, portion, source, hashes, stack) for target in portion.targets]
        rows = np.concatenate([part.rows for part in filling])
        advance(len(portion) - len(rows))
        rows = rows if len(filling) == 1 else np.unique(rows)
        for unit in source.units(rows) if len(rows) else []:
            one = portion.targets[0]  # images of all targets are alike
            source.facts, out = {}, _allocate((len(unit.rows), *one.arrays.shape[1:]), source.dtype, one.path)
            try:
                hashes.of(source.files(unit))  # before it is read: what changes while it is read is found later
                reasons = source.cut(unit, out)
            except RecipeFault as error:  # what the recipe must settle is no fault of a file
                outcome.faults.append(str(error))
                reasons, out = np.full(len(unit.rows), "", dtype=object), None
            except InputError as error:
                (outcome.notes if rejects else outcome.faults).append(str(error))
                reason = _reason(error, unit) if rejects else ""
                reasons = np.full(len(unit.rows), reason, dtype=object)
                if not rejects:
                    out = None
            advance(sum([part.take(unit, out, reasons) for part in filling]))
    return outcome


def _reason(error: InputError, unit: Unit) -> str:
    """What the objects of a field that cannot be used are counted under: what is wrong with it, and its name."""
    reason = reason_of(error)
    return f"{'field unreadable' if reason == DAMAGED else reason}: {unit.name}"


def _allocate(shape: tuple[int, ...], dtype: np.dtype, beside: Path) -> np.ndarray:
    """Zeros; many of them in a file without a name beside the store, so that memory stays free.

    Its disk space is reserved: a full disk is an OSError here, not a bus error later.
    """
    count = int(np.prod(shape)) * dtype.itemsize
    if count <= IN_MEMORY:
        return np.zeros(shape, dtype=dtype)
    with tempfile.TemporaryFile(dir=beside.parent) as stream:
        os.posix_fallocate(stream.fileno(), 0, count)
        return np.memmap(stream, dtype=dtype, mode="r+", shape=shape)


class _Filling:
    """The shards of one target on their way: open ones with their images, blocked ones, and those still to come."""

    def __init__(self, target: Target, portion: Portion, source: Source, hashes: Hashes, stack: ExitStack):
        self._target, self._source, self._hashes, self._stack = target, source, hashes, stack
        self._writer = store.join(target.path, target.arrays, plan=target.plan)
        self._shard = np.full(len(portion.objects), -1, dtype=np.int64)  # of each object; -1: not wanted
        self._place = np.zeros(len(portion.objects), dtype=np.int64)
        self._open: dict[int, _Shard] = {}
        for number, rows in target.shards.items():
            if not self._sound(number):
                self._shard[rows], self._place[rows] = number, np.arange(len(rows))
        self.rows = np.concatenate(
            [rows for rows in target.shards.values() if self._shard[rows[0]] >= 0] or [np.empty(0, np.int64)]
        )

    def take(self, unit: Unit, images: np.ndarray | None, reasons: np.ndarray) -> int:
        """Take what is wanted of a unit; None instead of images gives up its shards. Returns the objects taken."""
        taken = 0
        for number in np.unique(self._shard[unit.rows]):
            if number < 0:
                continue
            here = np.flatnonzero(self._shard[unit.rows] == number)
            taken += len(here)
            if images is None:
                self._give_up(int(number))
            elif shard := self._opened(int(number)):
                shard.put(self._place[unit.rows[here]], images, here, reasons)
                shard.note(self._place[unit.rows[here]], here, self._source.facts)
                if shard.missing == 0:
                    self._write(int(number))
        return taken

    def _inputs(self, number: int) -> dict[str, dict[str, Any]]:
        units = self._source.units(self._target.shards[number])
        facts = self._hashes.of([path for unit in units for path in self._source.files(unit)])
        for name in (self._hashes.name(path) for unit in units for path in self._source.unverified(unit)):
            facts[name] = facts[name] | {"verified": False}
        return facts

    def _sound(self, number: int) -> bool:
        record = self._writer.record(number)
        return record is not None and self._writer.sound(record) and record.inputs == self._inputs(number)

    def _opened(self, number: int) -> "_Shard | None":
        """The open shard, locked; None when another process has written it since we looked."""
        if number not in self._open:
            lock = self._stack.enter_context(ExitStack())
            lock.enter_context(self._writer.lock(number))
            if self._sound(number):
                self._give_up(number)
                lock.close()
                return None
            count = len(self._target.shards[number])
            self._open[number] = _Shard((count, *self._target.arrays.shape[1:]), self._source.dtype, lock)
        return self._open[number]

    def _give_up(self, number: int) -> None:
        self._shard[self._target.shards[number]] = -1
        if shard := self._open.pop(number, None):
            shard.lock.close()

    def _write(self, number: int) -> None:
        shard, start = self._open.pop(number), self._writer.shards[number][0]
        useless = np.flatnonzero(shard.reasons != "")
        shard.images[useless] = 0
        rejected = tuple((start + int(place), str(shard.reasons[place])) for place in useless)
        facts = {name: values.tolist() for name, values in shard.facts.items()}
        self._writer.write_images(start, shard.images, rejected=rejected, inputs=self._inputs(number), facts=facts)
        shard.lock.close()


class _Shard:
    """The images of one shard, until it is full."""

    def __init__(self, shape: tuple[int, ...], dtype: np.dtype, lock: ExitStack):
        self.images, self.lock = np.zeros(shape, dtype=dtype), lock
        self.reasons = np.full(shape[0], "", dtype=object)
        self.missing, self.facts = shape[0], {}

    def put(self, places: np.ndarray, images: np.ndarray, here: np.ndarray, reasons: np.ndarray) -> None:
        """Put ``images[here]``, with their reasons, at ``places``."""
        self.images[places], self.reasons[places] = images[here], reasons[here]
        self.missing -= len(places)

    def note(self, places: np.ndarray, here: np.ndarray, facts: dict[str, np.ndarray]) -> None:
        """Keep what only the images tell of those rows; NaN where nothing was told."""
        for name, values in facts.items():
            kept = self.facts.setdefault(name, np.full((len(self.reasons), *values.shape[1:]), np.nan, values.dtype))
            kept[places] = values[here]
