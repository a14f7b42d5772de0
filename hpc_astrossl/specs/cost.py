"""What a run costs at most, from rates that were measured: seconds, and GPU-hours of a whole grid. No torch here.

Convolutions cost in proportion to the pixels of an image (VGG16 has no other layer that depends on them); a head costs
the same for every image. A phase is counted with all its epochs: early stopping only makes it cheaper.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from hpc_astrossl.specs.run import RunSpec, require


@dataclass(frozen=True, kw_only=True)
class Rates:
    """Images a second of one device at ``side`` × ``side`` pixels; measure them with benchmarks/training.py."""

    train: float  # forwards, backwards and the optimiser, everything trained
    encode: float  # forwards only
    head: float = 50_000.0  # features a second through a head's step
    side: int = 64

    def __post_init__(self):
        for name in ("train", "encode", "head", "side"):
            require(getattr(self, name) > 0, f"rate {name} must be positive, found {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class Objects:
    """How many objects a store holds for training and validation, and the side of their images in pixels."""

    train: int
    validation: int
    side: int


def run_seconds(run: RunSpec, objects: Objects, rates: Rates, *, encoded: bool = False) -> float:
    """Seconds that a resolved run takes at most; ``encoded``: its frozen features are on disk already."""
    area = (objects.side / rates.side) ** 2
    train = objects.train if run.data.train_size is None else min(run.data.train_size, objects.train)
    seconds = 0.0
    for index, phase in enumerate(run.phases):
        if phase.trains == "head":
            if index == 0 and not encoded:
                seconds += (train * run.data.feature_views + objects.validation) * area / rates.encode
            seconds += phase.epochs * (train + objects.validation / 3) / rates.head
        else:
            seconds += phase.epochs * area * (train / rates.train + objects.validation / rates.encode)
    return seconds


def grid_hours(runs: Iterable[RunSpec], objects: Mapping[str, Objects], rates: Rates) -> float:
    """Hours of one device for all runs at most; ``objects`` by store path.

    Runs share frozen features: an object's are computed once for a store, kind of weights and scaling.
    """
    seconds, encoded = 0.0, {}
    for run in runs:
        known, here = objects[run.data.store], run.phases[0].trains == "head"
        seconds += run_seconds(run, known, rates, encoded=here)
        if here:
            key = (run.data.store, run.weights, run.data.scaling, run.data.feature_views)
            size = known.train if run.data.train_size is None else min(run.data.train_size, known.train)
            encoded[key] = max(encoded.get(key, 0), size)
    for (store, *_, views), size in encoded.items():
        known = objects[store]
        images = size * views + known.validation
        seconds += images * (known.side / rates.side) ** 2 / rates.encode
    return seconds / 3600
