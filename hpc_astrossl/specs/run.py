"""One training run, pretext or downstream, as it stands in ``config.yaml`` of its run folder.

Paths are relative to the work directory, so that a run has the same id on every machine. A field whose metadata
says ``identity: False`` (where and how fast, not what) is no part of the id.
"""

import re
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from hpc_astrossl import config
from hpc_astrossl.errors import InputError, unknown
from hpc_astrossl.specs.backbones import BACKBONES

NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]*"
PLACE = {"identity": False}
LATER = {"identity": "changed"}  # keys younger than the first runs: at their default they leave the run id alone


def require(condition: bool, message: str) -> None:
    """Raise InputError(message) unless the condition holds; for ``__post_init__`` of specs."""
    if not condition:
        raise InputError(message)


def require_name(what: str, value: str) -> None:
    """InputError unless the value can be the name of a file or folder: no path, nothing that a shell would read."""
    require(
        re.fullmatch(NAME, value) is not None,
        f"{what} must begin with a letter or digit, then letters, digits, '_', '-' or '.'; found {value!r}",
    )


@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """What is read and how it reaches the network.

    A ``control`` takes away what a network should learn from: the centre of every cutout, or the true labels.
    """

    store: str
    target: str = "classes"
    train_size: int | None = None  # objects of the training split; None: all of them
    batch_size: int = 32  # of the whole step, over all ranks
    flips: bool = True
    turns: bool = False  # 90° turns
    rotation: float = field(default=0.0, metadata=LATER)  # turned by up to so many degrees, both ways
    shift: float = field(default=0.0, metadata=LATER)  # moved by up to so many pixels, each way
    # auto: caffe for VGG16's ImageNet weights, imagenet for those of other backbones, else unit; standard and asinh
    # are for fluxes (docs/loading.md)
    scaling: Literal["auto", "unit", "caffe", "imagenet", "none", "standard", "asinh"] = "auto"
    # Images that cannot be read: stop, or leave them out and count them.
    corrupt: Literal["stop", "skip"] = field(default="stop", metadata=LATER)
    bands: tuple[str, ...] = field(default=(), metadata=LATER)  # magnitudes (or properties) to predict; empty: all
    missing: Literal["mask", "drop"] = field(default="mask", metadata=LATER)  # a magnitude, or the object without it
    class_weights: Literal["none", "inverse"] = field(default="none", metadata=LATER)  # inverse frequency in the loss
    feature_views: Literal[1, 4, 8] = field(default=1, metadata=LATER)  # of frozen features: 4 flips, 8 with turns
    control: Literal["none", "masked-centre", "shuffled-labels"] = field(default="none", metadata=LATER)
    resident_mb: int = field(default=4096, metadata=PLACE)  # a split up to this size stays in memory
    keep_features: bool = field(default=True, metadata=PLACE)  # frozen features stay in WORKDIR/features for other runs

    def __post_init__(self):
        require(self.batch_size >= 1, f"batch_size must be at least 1, found {self.batch_size}")
        require(
            self.train_size is None or self.train_size >= 1,
            f"train_size must be at least 1, or null for the whole training split, found {self.train_size}",
        )
        require(0 <= self.rotation <= 180, f"rotation must be 0 to 180 degrees, found {self.rotation}")
        require(self.shift >= 0, f"shift must not be negative, found {self.shift}")
        require(self.resident_mb >= 0, f"resident_mb must not be negative, found {self.resident_mb}")


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A network's convolutions, VGG16's by default, and the top that the paper puts on them."""

    backbone: str = field(default="vgg16", metadata=LATER)  # one of specs/backbones.py
    # Of networks with batch normalisation: by fixed statistics, or by each batch's, on one rank alone.
    norm: Literal["frozen", "batch"] = field(default="frozen", metadata=LATER)
    sobel: bool = field(default=False, metadata=LATER)  # show the network gradients in the place of colours
    hidden: int = 2048
    dropout: float = 0.5
    max_norm: float | None = 2.0  # of each hidden unit's incoming weights; null: no constraint
    pooling: Literal["average", "flatten"] = "average"
    # Of the convolutions; weights, head and losses are float32 always. auto: bfloat16 on GPUs that have it.
    precision: Literal["auto", "float32", "bfloat16"] = field(default="auto", metadata=LATER)

    def __post_init__(self):
        if self.backbone not in BACKBONES:
            raise unknown("backbone", self.backbone, BACKBONES)
        has = BACKBONES[self.backbone].norm
        require(has == "batch" or self.norm == "frozen",
                f"norm {self.norm}: {self.backbone} has no batch normalisation; leave norm out")  # fmt: skip
        require(self.backbone == "vgg16" or self.pooling == "average",
                f"pooling {self.pooling}: {self.backbone} averages its last map; leave pooling out")  # fmt: skip
        require(self.hidden >= 1, f"hidden must be at least 1, found {self.hidden}")
        require(0 <= self.dropout < 1, f"dropout must be in [0, 1), found {self.dropout}")
        require(self.max_norm is None or self.max_norm > 0, f"max_norm must be positive, found {self.max_norm}")


@dataclass(frozen=True, kw_only=True)
class PhaseSpec:
    """A stretch of training with one optimiser: the head alone on frozen convolutions, or everything."""

    trains: Literal["head", "all"]
    optimizer: Literal["adam", "sgd"]
    learning_rate: float
    epochs: int
    momentum: float = 0.9  # sgd only, Nesterov

    def __post_init__(self):
        require(self.learning_rate > 0, f"learning_rate must be positive, found {self.learning_rate}")
        require(self.epochs >= 1, f"epochs must be at least 1, found {self.epochs}")
        require(0 <= self.momentum < 1, f"momentum must be in [0, 1), found {self.momentum}")


@dataclass(frozen=True, kw_only=True)
class TrainingSpec:
    """When a phase stops early and when its learning rate falls."""

    patience: int | None = 10  # epochs without a better validation loss; null: never stop early
    plateau_patience: int | None = 5  # epochs until the rate is multiplied by plateau_factor; null: constant
    plateau_factor: float = 0.1
    checkpoint_minutes: float = field(default=10.0, metadata=PLACE)  # within an epoch; after each one anyway

    def __post_init__(self):
        require(self.patience is None or self.patience >= 1, f"patience must be at least 1, found {self.patience}")
        require(
            self.plateau_patience is None or self.plateau_patience >= 1,
            f"plateau_patience must be at least 1, found {self.plateau_patience}",
        )
        require(
            self.checkpoint_minutes >= 0, f"checkpoint_minutes must not be negative, found {self.checkpoint_minutes}"
        )
        require(0 < self.plateau_factor < 1, f"plateau_factor must be in (0, 1), found {self.plateau_factor}")


@dataclass(frozen=True, kw_only=True)
class RunSpec:
    """One run. ``names.resolved`` fills what the scheme decides (phases, scaling)."""

    experiment: str
    set: str  # the labelled set (SG, EF-4, …), "pretext", or the name of one of several pretexts
    scheme: str
    seed: int
    data: DataSpec
    weights: str | None = None  # null (from scratch), a name in the weights cache, or run:<run id>
    model: ModelSpec = ModelSpec()
    pretext: dict[str, Any] = field(default_factory=dict, metadata=LATER)  # switches of its kind, data.target
    phases: tuple[PhaseSpec, ...] = ()  # empty: the scheme's own
    training: TrainingSpec = TrainingSpec()
    engine: str = field(default="auto", metadata=PLACE)
    device: Literal["auto", "cpu", "cuda"] = field(default="auto", metadata=PLACE)
    threads: int | None = field(default=None, metadata=PLACE)  # CPU threads a rank; null: as many as there are

    def __post_init__(self):
        for name in ("experiment", "set", "scheme"):
            require_name(name, getattr(self, name))
        if self.weights is not None:
            require_name("weights", self.weights.removeprefix("run:"))
        require(self.seed >= 0, f"seed must not be negative, found {self.seed}")

    @cached_property
    def run_id(self) -> str:
        """Readable part and short hash, ``SG_features-magnitudes_n100_s0-1f2e3d4c``. Of a resolved spec only."""
        size = "all" if self.data.train_size is None else str(self.data.train_size)
        return f"{self.set}_{self.scheme}_n{size}_s{self.seed}-{config.digest(self)}"
