"""The records that the report works on: runs that are done, runs that are not, and what could not be used."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

NOT_STARTED = "not started"


@dataclass(frozen=True, kw_only=True)
class EngineRecord:
    """What trained the run."""

    name: str
    reason: str = ""
    ranks: int = 1


@dataclass(frozen=True, kw_only=True)
class StoreRecord:
    """The store that the run read, as its attributes told it."""

    name: str
    path: str = ""
    survey: str = ""
    release: str = ""
    sha256: str | None = None  # of its manifest
    counts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class WeightsRecord:
    """Where the convolutions began; ``name`` None: from scratch."""

    name: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True)
class LeakageRecord:
    """A check before training: objects that the store shares with that of an earlier run (0, or it had not begun)."""

    run: str
    store: str = ""
    shared: int | None = 0  # None: what the run saw is not known
    compared: int = 0  # objects of that store
    radius: float = 1.0  # arcsec


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run that is done: the fields of ``result.json`` that the report uses, and its folder."""

    folder: Path
    run_id: str
    experiment: str
    set: str
    scheme: str
    seed: int
    train_size: int | None = None
    target: str
    control: str = ""
    objects: dict[str, int]
    metrics: dict[str, dict[str, Any]]
    majority_share: dict[str, float] = field(default_factory=dict)
    collapsed: bool = False
    class_names: tuple[str, ...] = ()
    bands: tuple[str, ...] = ()
    epochs: int
    best_epoch: int | None = None
    stopped: str = ""
    engine: EngineRecord
    device: str = ""
    loader: str = ""
    seconds: float = 0.0
    store: StoreRecord
    weights: WeightsRecord = WeightsRecord()
    leakage: tuple[LeakageRecord, ...] = ()
    provenance: dict[str, Any] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)  # SHA-256 by name, of those that the run has noted
    pretext: dict[str, Any] = field(default_factory=dict)  # of a pretext that shows views: kind, switches, chance

    @property
    def made_from(self) -> dict[tuple[str, str], str | None]:
        """SHA-256 of its store and of its first weights, by (kind, name); None where that was not kept."""
        found = {("store", self.store.path): self.store.sha256}
        return found | ({("weights", self.weights.name): self.weights.sha256} if self.weights.name else {})

    @property
    def certain(self) -> bool:
        """Whether it tells all that it was made from; else what it says of leaks was held against who knows what."""
        return None not in self.made_from.values()

    @property
    def slot(self) -> tuple[str, str, int | None, int]:
        """What at most one run of a study may stand for: set, scheme, training size, seed."""
        return self.set, self.scheme, self.train_size, self.seed

    @property
    def failed(self) -> bool:
        """Whether a loss is NaN or infinite: the numbers of such a run mean nothing."""
        losses = [metrics.get("loss") for metrics in self.metrics.values()]
        return any(isinstance(loss, float) and not math.isfinite(loss) for loss in losses)

    @property
    def date(self) -> str:
        """When it was done, ISO 8601; empty when it does not say."""
        return str(self.provenance.get("date", ""))

    def metric(self, split: str, name: str) -> float | None:
        """A metric of a split; None when it is missing, not a number, or not finite."""
        value = self.metrics.get(split, {}).get(name)
        usable = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        return float(value) if usable else None


@dataclass(frozen=True, kw_only=True)
class Pending:
    """A run that was planned or begun and is not done, or was skipped; ``state`` says which and why."""

    run_id: str
    set: str
    scheme: str
    seed: int
    train_size: int | None = None
    control: str = ""
    state: str = NOT_STARTED
    log: str = ""
    skipped: bool = False


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A folder or file that the report could not use."""

    name: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Study:
    """Everything an experiment's folder holds.

    ``planned`` counts runs, None without a readable ``experiment.json``; ``unplanned`` are done and not among them.
    """

    experiment: str
    folder: Path
    runs: tuple[Run, ...]
    pending: tuple[Pending, ...]
    problems: tuple[Problem, ...]
    planned: int | None
    unplanned: int = 0

    @property
    def skipped(self) -> tuple[Pending, ...]:
        """Runs that were not tried, each with its reason."""
        return tuple(one for one in self.pending if one.skipped)

    @property
    def unfinished(self) -> tuple[Pending, ...]:
        """Runs that were planned or begun and are not done."""
        return tuple(one for one in self.pending if not one.skipped)
