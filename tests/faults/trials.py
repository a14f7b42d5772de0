"""A scene is a command with its input; a trial kills it at a point, starts it again, and looks at what is left."""

import hashlib
import random
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from faults import victims
from faults.points import Point
from faults.victims import Command, Ended

Prints = dict[str, Any]  # of the files of a result, by path: a digest, or what may be compared of it
STOPPED = (signal.SIGTERM, signal.SIGUSR2)
CHAIN = 60  # kills in a row after which a command counts as not getting on


@dataclass(kw_only=True)
class Scene:
    """``make`` lays out the input in an empty folder; ``command`` is run there; ``prints`` reads what it left.

    ``whole`` reads only what looks finished, whenever it is called: at every moment that must be a part of the truth.
    """

    name: str
    make: Callable[[Path], None]
    command: Callable[[Path, int], Command]  # (folder, attempt)
    prints: Callable[[Path], Prints]
    whole: Callable[[Path], Prints]
    same: str = "byte-identical"
    launchable: bool = True  # as a command of its own, without a launcher of ranks
    share: float = 1.0  # of the plan's kills and signals


@dataclass
class Tally:
    """What came of a scene's trials, by kind of point; ``lost`` in words."""

    scene: str
    same: str
    tried: dict[str, int] = field(default_factory=dict)
    survived: dict[str, int] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    events: int = 0
    seconds: float = 0.0
    longest_end: float = 0.0  # seconds until every process had ended after the point

    def count(self, kind: str, fault: str | None) -> None:
        """One more point of that kind, survived without a ``fault``."""
        self.tried[kind] = self.tried.get(kind, 0) + 1
        self.survived[kind] = self.survived.get(kind, 0) + (fault is None)
        if fault:
            self.lost.append(f"{kind}, {fault}")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How many points of each kind; ``kills`` are shared out: half events, the rest bytes and moments."""

    kills: int = 50
    signals: int = 10
    whole: int = 4
    chains: int = 2
    seed: int = 0


class Trials:
    """The trials of one scene, in folders below ``work``."""

    def __init__(self, scene: Scene, work: Path, plan: Plan):
        self.scene, self.work = scene, work
        kills, signals = round(plan.kills * scene.share), round(plan.signals * scene.share)
        self.plan = replace(plan, kills=kills, signals=signals)
        self.tally = Tally(scene.name, scene.same)
        self.random = random.Random(f"{scene.name} {plan.seed}")
        self.template = work / "template"
        self.number = 0

    def run(self) -> Tally:
        """All of them."""
        begin = time.monotonic()
        self.template.mkdir(parents=True)
        victims.in_child(lambda: self.scene.make(self.template), self.scene.command(self.template, 0).setup)
        self._undisturbed()
        for kind, point in self._points():
            while self._too_late(kind, point):
                point = replace(point, at=point.at * self.random.random())
        for _ in range(self.plan.chains):
            self._chain()
        self.tally.seconds = time.monotonic() - begin
        return self.tally

    def _undisturbed(self) -> None:
        """What the result is without a fault, in how many events and seconds."""
        folder = self._folder()
        ended = victims.run(self.scene.command(folder, 0))
        if not ended.well:
            raise RuntimeError(f"{self.scene.name}: fails undisturbed: {ended.statuses}\n{ended.said}")
        self.truth, self.seconds = self.scene.prints(folder), ended.seconds
        self.tally.events = ended.changes
        given = {path.relative_to(self.template) for path in self.template.rglob("*")}
        made = [path for path in folder.rglob("*") if path.is_file() and path.relative_to(folder) not in given]
        self.largest = max(path.stat().st_size for path in made)
        self.ranks = len(self.scene.command(folder, 0).ranks)
        if self.scene.whole(folder) == {}:
            raise RuntimeError(f"{self.scene.name}: nothing looks finished in the end")
        shutil.rmtree(folder)

    def _points(self) -> Iterator[tuple[str, Point]]:
        plan = self.plan
        events = min(plan.kills // 2, self.tally.events)
        for at in self._spread(events):
            yield "SIGKILL at an event", self._point("event", at)
        torn = plan.kills // 10
        for _ in range(torn):
            yield "SIGKILL at a byte", self._point("byte", int(self.largest ** self.random.random()))
        for _ in range(plan.kills - events - torn):
            yield "SIGKILL at a moment", self._point("time", self.random.uniform(0, self.seconds))
        for number in STOPPED:
            for at in self._spread(plan.signals // 2):
                yield signal.Signals(number).name, replace(self._point("event", at), signal=number)
            for _ in range(plan.signals - plan.signals // 2):
                moment = self._point("time", self.random.uniform(0, self.seconds))
                yield signal.Signals(number).name, replace(moment, signal=number)
        for _ in range(plan.whole if self.scene.launchable else 0):
            yield "SIGKILL of a whole command", self._point("whole", self.random.uniform(0, self.seconds + 3))

    def _spread(self, count: int) -> list[int]:
        """Numbers of that many of the events: the first, the last, and between them at equal distances."""
        last = self.tally.events
        return sorted({1 + round(n * (last - 1) / max(1, count - 1)) for n in range(count)})

    def _point(self, kind: str, at: float) -> Point:
        """Rank 0 writes: what is counted in files is meant for it; a moment may be any rank's, or all ranks'."""
        either = self.ranks > 1 and kind == "time"
        return Point(kind=kind, at=at, rank=self.random.choice([*range(self.ranks), None]) if either else 0)

    def _too_late(self, kind: str, point: Point) -> bool:
        """Try a point; true, and not counted, when the command was done before it. What it left must be right, too."""
        folder = self._folder()
        first = self.scene.command(folder, 0)
        ended = victims.run_whole(first, point) if point.kind == "whole" else victims.run(first, point)
        late = ended.well and (point.signal == signal.SIGKILL or point.kind != "event")
        self._judge("" if late else kind, folder, point, ended, attempt=1)
        return late

    def _chain(self) -> None:
        """Killed over and over: every attempt lasts up to the time of a whole one, and the work must get on."""
        folder, attempt = self._folder(), 0
        while attempt < CHAIN:
            point = self._point("time", self.random.uniform(0, 1.1 * self.seconds))
            ended = victims.run(self.scene.command(folder, attempt), point)
            attempt += 1
            if ended.well:
                break
            fault = self._half(folder)
            self.tally.count("SIGKILL in a chain", fault and f"{point}: {fault}")
        self._judge("", folder, point, ended, attempt=attempt)

    def _judge(self, kind: str, folder: Path, point: Point, ended: Ended, attempt: int) -> None:
        """Start the command again and count what came of it."""
        late = ended.seconds - point.at if point.kind in ("time", "whole") else 0.0
        self.tally.longest_end = max(self.tally.longest_end, late)
        fault = self._half(folder) or _manners(ended, point)
        if fault is None and not ended.well:
            again = victims.run(self.scene.command(folder, attempt))
            if not again.well:
                fault = f"started again it ended with {again.statuses}: {again.said[-400:]}"
        if fault is None and (found := self.scene.prints(folder)) != self.truth:
            fault = f"another result: {_difference(found, self.truth)}"
        if fault is None:
            shutil.rmtree(folder)
        if kind or fault:
            self.tally.count(kind or "no kill", fault and f"{point}: {fault} [{folder}]")

    def _half(self, folder: Path) -> str | None:
        """Whether something that looks finished is not."""
        found = self.scene.whole(folder)
        wrong = {name: value for name, value in found.items() if self.truth.get(name) != value}
        return f"looks finished and is not: {_difference(wrong, self.truth, only=wrong)}" if wrong else None

    def _folder(self) -> Path:
        self.number += 1
        return Path(shutil.copytree(self.template, self.work / f"{self.number:04d}", symlinks=True))


def _manners(ended: Ended, point: Point) -> str | None:
    """A process may end by the signal, save and say "to be continued" (75), or notice that its peer is lost."""
    allowed = {0, -point.signal, 75}
    if len(ended.statuses) > 1:  # 69: its peer was lost; Horovod may abort; at last the launcher kills
        allowed |= {69, -signal.SIGABRT, -signal.SIGKILL}
    if 124 in ended.statuses:
        return f"hung after the fault: {ended.statuses}: {ended.said[-400:]}"
    if point.signal != signal.SIGKILL and not set(ended.statuses) <= allowed:
        return f"ended with {ended.statuses}: {ended.said[-400:]}"
    return None


def _difference(found: Prints, truth: Prints, only: Prints | None = None) -> str:
    names = sorted(only if only is not None else {*found, *truth})
    return ", ".join(name for name in names if found.get(name) != truth.get(name))[:400]


def digests(folder: Path, *, but: Callable[[str], bool] = lambda name: False) -> Prints:
    """SHA-256 of every file below, by its path, those whose path is ``but`` apart."""
    found = {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}
    return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in found.items() if not but(name)}
