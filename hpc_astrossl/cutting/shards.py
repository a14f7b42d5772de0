"""Cut the objects of some shards, each field read once for all of them, and finish every shard when it is full.

A portion is what one process does. It owns whole shards; a shard that is there and sound is left alone, so a portion
that was killed goes on where it was. Cutouts go straight to their place in the files of their shards: a field may have
any number of objects.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl import store
from hpc_astrossl.cutting import blocksums
from hpc_astrossl.cutting.badfile import DAMAGED, RecipeFault, reason_of
from hpc_astrossl.cutting.cutouts import Source, Unit, open_source
from hpc_astrossl.errors import InputError
from hpc_astrossl.objects import Objects
from hpc_astrossl.specs.recipe import Recipe
from hpc_astrossl.store.shardfile import ShardFile


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
    threads: int = 1  # that hash, cut and finish at a time

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

    def of(self, paths: list[Path], pool: ThreadPoolExecutor | None = None) -> dict[str, dict[str, Any]]:
        """File name -> {bytes, sha256}, sorted by name; InputError for one that cannot be read."""
        if pool is not None:
            list(pool.map(self._one, dict.fromkeys(paths)))
        return {name: self._one(path) for name, path in sorted((self.name(path), path) for path in paths)}

    def name(self, path: Path) -> str:
        """The file's name, relative to the folder."""
        return os.path.relpath(path, self._folder)

    def _one(self, path: Path) -> dict[str, Any]:
        if path not in self._known:
            try:
                self._known[path] = {"bytes": path.stat().st_size, "sha256": blocksums.sha256(path)}
            except OSError as error:
                raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        return self._known[path]


def write_shards(portion: Portion, advance: Callable[[int], None]) -> Outcome:
    """Cut and write everything in the portion that is not there yet. ``advance`` gets numbers of objects done.

    A field that cannot be read holds up the shards that need it, or, if the recipe says so, its objects are rejected;
    the others are written in any case. InputError when another process writes one of the shards.
    """
    source = open_source(portion.recipe, portion.folder, portion.objects, portion.images, portion.threads)
    hashes, outcome = Hashes(portion.folder), Outcome()
    rejects = (portion.recipe.images or portion.recipe.files).unreadable == "reject"
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(portion.threads))
        filling = [_Filling(target, portion, source, hashes, stack) for target in portion.targets]
        rows = np.concatenate([part.rows for part in filling])
        advance(len(portion) - len(rows))
        rows = rows if len(filling) == 1 else np.unique(rows)
        for unit in source.units(rows) if len(rows) else []:
            source.facts, into = {}, _Into([part.opened(unit) for part in filling])
            reasons: np.ndarray | None = np.full(len(unit.rows), "", dtype=object)
            try:
                hashes.of(source.files(unit), pool)  # before it is read: what changes while it is read is found later
                reasons = _cut(source, unit, into, portion.targets[0].arrays.shape[1:])
            except RecipeFault as error:  # what the recipe must settle is no fault of a file
                outcome.faults.append(str(error))
                reasons = None
            except InputError as error:
                (outcome.notes if rejects else outcome.faults).append(str(error))
                reasons = np.full(len(unit.rows), reason_of_unit(error, unit), dtype=object) if rejects else None
            advance(sum([part.take(unit, reasons) for part in filling]))
            list(pool.map(lambda one: one[0].write(one[1]), [(part, n) for part in filling for n in part.full()]))
    return outcome


def _cut(source: Source, unit: Unit, into: "_Into", row: tuple[int, ...]) -> np.ndarray:
    """Cut a unit, of images of shape ``row``; one of objects with files of their own is small, and fits in memory."""
    if source.streams:
        return source.cut(unit, into)
    out = np.zeros((len(unit.rows), *row), source.dtype)
    reasons = source.cut(unit, out)
    into.put(np.arange(len(out)), out)
    return reasons


def reason_of_unit(error: InputError, unit: Unit) -> str:
    """What the objects of a field that cannot be used are counted under: what is wrong with it, and its name."""
    reason = reason_of(error)
    return f"{'field unreadable' if reason == DAMAGED else reason}: {unit.name}"


class _Into:
    """Cutouts of a unit on their way to the files of all shards that want them."""

    def __init__(self, wanted: list["_Wanted"]):
        self._wanted = wanted

    def put(self, rows: np.ndarray, images: np.ndarray) -> None:
        for one in self._wanted:
            numbers = one.numbers[rows]
            for number in np.unique(numbers[numbers >= 0]).tolist():
                here = np.flatnonzero(numbers == number)
                one.files[number].put(one.places[rows[here]], images[here])

    def put_planes(self, rows: np.ndarray, channel: int, planes: np.ndarray) -> None:
        for one in self._wanted:
            places = zip(one.numbers[rows].tolist(), one.places[rows].tolist(), planes, strict=True)
            for number, place, some in places:
                if number >= 0:
                    one.files[number].put_planes(place, channel, some)


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """What a target wants of a unit: of each row the number of its shard (−1: none) and its place there, and the files
    of those shards."""

    numbers: np.ndarray
    places: np.ndarray
    files: dict[int, ShardFile]


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

    def opened(self, unit: Unit) -> _Wanted:
        """What of the unit is wanted; the files of its shards are open, and locked."""
        numbers = np.unique(self._shard[unit.rows])
        shards = {number: self._opened(number) for number in numbers[numbers >= 0].tolist()}
        return _Wanted(numbers=self._shard[unit.rows], places=self._place[unit.rows],
                       files={number: shard.file for number, shard in shards.items() if shard})  # fmt: skip

    def take(self, unit: Unit, reasons: np.ndarray | None) -> int:
        """Take down what became of a unit; None instead of reasons gives up its shards. Returns the objects taken."""
        numbers = self._shard[unit.rows]
        for number in np.unique(numbers[numbers >= 0]).tolist():
            if reasons is None:
                self._give_up(number)
            elif shard := self._open.get(number):
                here = np.flatnonzero(numbers == number)
                shard.take(self._place[unit.rows[here]], here, reasons, self._source.facts)
        return int((numbers >= 0).sum())

    def full(self) -> list[int]:
        """The open shards to which nothing is to be added."""
        return [number for number, shard in self._open.items() if shard.missing == 0]

    def write(self, number: int) -> None:
        """Finish a full shard."""
        shard, start = self._open.pop(number), self._writer.shards[number][0]
        useless = np.flatnonzero(shard.reasons != "")
        rejected = tuple((start + int(place), str(shard.reasons[place])) for place in useless)
        self._writer.end_shard(number, shard.file, rejected=rejected, inputs=self._inputs(number), facts=shard.facts)
        shard.held.close()

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
            held = self._stack.enter_context(ExitStack())
            held.enter_context(self._writer.lock(number))
            if self._sound(number):
                self._give_up(number)
                held.close()
                return None
            file = held.enter_context(self._writer.begin_shard(number))
            self._open[number] = _Shard(len(self._target.shards[number]), file, held)
        return self._open[number]

    def _give_up(self, number: int) -> None:
        self._shard[self._target.shards[number]] = -1
        if shard := self._open.pop(number, None):
            shard.file.give_up()
            shard.held.close()


class _Shard:
    """What is known of the rows of one shard, until it is full."""

    def __init__(self, rows: int, file: ShardFile, held: ExitStack):
        self.file, self.held = file, held
        self.reasons = np.full(rows, "", dtype=object)
        self.missing, self.facts = rows, {}

    def take(self, places: np.ndarray, here: np.ndarray, reasons: np.ndarray, facts: dict[str, np.ndarray]) -> None:
        """Take down reasons, and what only the images tell, of rows ``here`` of a unit; NaN where nothing is told."""
        self.reasons[places] = reasons[here]
        self.missing -= len(places)
        for name, values in facts.items():
            kept = self.facts.setdefault(name, np.full((len(self.reasons), *values.shape[1:]), np.nan, values.dtype))
            kept[places] = values[here]
