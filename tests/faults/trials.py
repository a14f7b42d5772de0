"""Trials of a scene: its command is killed at a point, started again, and what it leaves is held against the truth."""

import random
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from faults import victims
from faults.points import Point
from faults.prepared import Prepared
from faults.scenes import difference
from faults.victims import Ended

STOPPED = (signal.SIGTERM, signal.SIGUSR2)
CHAIN = 60  # kills in a row after which a command counts as not getting on


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
    """How many points of each kind; ``kills`` are shared out: half events, the rest bytes and moments.

    ``ends`` are the last events, one after another: the result is there, what it was made from is being removed.
    """

    kills: int = 50
    ends: int = 10
    signals: int = 10
    whole: int = 4
    chains: int = 2
    seed: int = 0


class Trials:
    """The kills of one scene."""

    def __init__(self, prepared: Prepared, plan: Plan):
        self.prepared, self.scene, self.truth = prepared, prepared.scene, prepared.truth
        kills, signals = round(plan.kills * self.scene.share), round(plan.signals * self.scene.share)
        self.plan = replace(plan, kills=kills, signals=signals)
        self.tally = Tally(self.scene.name, self.scene.same, events=prepared.events)
        self.random = random.Random(f"{self.scene.name} {plan.seed}")

    def run(self) -> Tally:
        """All of them."""
        begin = time.monotonic()
        for kind, point in self._points():
            while self._too_late(kind, point):
                point = replace(point, at=point.at * self.random.random())
        for _ in range(self.plan.chains):
            self._chain()
        self.tally.seconds = time.monotonic() - begin
        return self.tally

    def _points(self) -> Iterator[tuple[str, Point]]:
        plan = self.plan
        events = min(plan.kills // 2, self.prepared.events)
        for at in self._spread(events):
            yield "SIGKILL at an event", self._point("event", at)
        for back in range(min(plan.ends, self.prepared.events)):
            yield "SIGKILL at the end", self._point("event", self.prepared.events - back)
        torn = plan.kills // 10
        for _ in range(torn):
            yield "SIGKILL at a byte", self._point("byte", int(self.prepared.largest ** self.random.random()))
        for _ in range(plan.kills - events - torn):
            yield "SIGKILL at a moment", self._point("time", self.random.uniform(0, self.prepared.seconds))
        for number in STOPPED:
            for at in self._spread(plan.signals // 2):
                yield signal.Signals(number).name, replace(self._point("event", at), signal=number)
            for _ in range(plan.signals - plan.signals // 2):
                moment = self._point("time", self.random.uniform(0, self.prepared.seconds))
                yield signal.Signals(number).name, replace(moment, signal=number)
        for _ in range(plan.whole if self.scene.alone else 0):
            yield "SIGKILL of a whole command", self._point("whole", self.random.uniform(0, self.prepared.seconds + 3))

    def _spread(self, count: int) -> list[int]:
        """Numbers of that many of the events: the first, the last, and between them at equal distances."""
        last = self.prepared.events
        return sorted({1 + round(n * (last - 1) / max(1, count - 1)) for n in range(count)})

    def _point(self, kind: str, at: float) -> Point:
        """Rank 0 writes: what is counted in files is meant for it; a moment may be any rank's, or all ranks'."""
        either = self.prepared.ranks > 1 and kind == "time"
        return Point(kind=kind, at=at, rank=self.random.choice([*range(self.prepared.ranks), None]) if either else 0)

    def _too_late(self, kind: str, point: Point) -> bool:
        """Try a point; true, and not counted, when the command was done before it. What it left must be right, too."""
        folder = self.prepared.fresh()
        first = self.scene.command(folder, 0)
        ended = victims.run_whole(first, point) if point.kind == "whole" else victims.run(first, point)
        late = ended.well and (point.signal == signal.SIGKILL or point.kind != "event")
        self._judge("" if late else kind, folder, point, ended, attempt=1)
        return late

    def _chain(self) -> None:
        """Killed over and over: every attempt lasts up to the time of a whole one, and the work must get on."""
        folder, attempt = self.prepared.fresh(), 0
        while attempt < CHAIN:
            point = self._point("time", self.random.uniform(0, 1.1 * self.prepared.seconds))
            ended = victims.run(self.scene.command(folder, attempt), point)
            attempt += 1
            if ended.well:
                break
            fault = self.scene.half(folder, self.truth)
            self.tally.count("SIGKILL in a chain", fault and f"{point}: {fault}")
        self._judge("", folder, point, ended, attempt=attempt)

    def _judge(self, kind: str, folder: Path, point: Point, ended: Ended, attempt: int) -> None:
        """Start the command again and count what came of it."""
        late = ended.seconds - point.at if point.kind in ("time", "whole") else 0.0
        self.tally.longest_end = max(self.tally.longest_end, late)
        fault = self.scene.half(folder, self.truth) or _manners(ended, point)
        if fault is None and not ended.well:
            again = victims.run(self.scene.command(folder, attempt))
            if not again.well:
                fault = f"started again it ended with {again.statuses}: {again.said[-400:]}"
        if fault is None and (found := self.scene.prints(folder)) != self.truth:
            fault = f"another result: {difference(found, self.truth)}"
        if fault is None:
            shutil.rmtree(folder)
        if kind or fault:
            self.tally.count(kind or "no kill", fault and f"{point}: {fault} [{folder}]")


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
