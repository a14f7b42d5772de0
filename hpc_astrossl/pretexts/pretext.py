"""What a pretext is: views of an image, outputs, a loss, and what changes between epochs; with the manners of a target.

A kind says these four and nothing else; what is here holds for all. Images are float32 (B, channels, height, width) as
the loader scaled them, views (B, V, channels, h, w), raw outputs one row an object, truth int64 (N, 1).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from hpc_astrossl import config
from hpc_astrossl.loading import Batch
from hpc_astrossl.names import PRETEXTS, resolve
from hpc_astrossl.specs import pretexts as switches
from hpc_astrossl.specs.run import RunSpec
from hpc_astrossl.store import RowSet, Store

Columns = dict[str, np.ndarray]
Shape = tuple[int, int, int]


class Gathers(Protocol):
    """What a loss over the global batch needs of an engine."""

    rank: int
    size: int

    def gather(self, value: Any) -> list[Any]: ...


@dataclass(frozen=True, kw_only=True)
class Renewal:
    """What a pretext may use at the beginning of an epoch, the same on every rank.

    ``rows`` are by split; ``truth`` (N, 1) is to be changed in place; ``features(rows)`` gives those of unaugmented
    images by ``net`` as it is now, (rows that can be read, float32 (M, D)), and is collective.
    """

    epoch: int
    rows: Mapping[str, RowSet]
    truth: Tensor
    net: nn.Module
    optimizer: torch.optim.Optimizer
    features: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class Pretext:
    """One kind, for one store's images: it gives ``outputs``, ``seen``, ``losses`` and ``metrics`` at least.

    ``switches`` is its dataclass of specs/pretexts.py.
    """

    headline: ClassVar[str] = "accuracy"
    outputs: ClassVar[int]  # of the head for what it sees at a time
    views: ClassVar[int] = 1
    joined: ClassVar[bool] = False  # the head sees all views of an object side by side, not one after another
    comparable: ClassVar[bool] = True  # validation losses of two epochs say which was better; else the last is kept
    chance: ClassVar[float | None] = None  # the headline metric of guessing

    def __init__(self, run: RunSpec, shape: Shape):
        self.run, self.kind, self.seed = run, run.data.target, run.seed
        self.image_shape = shape
        self.switches = config.parse(run.pretext, switches.KINDS[self.kind], "pretext")
        self.engine: Gathers | None = None  # while it trains
        self.about: dict[str, Any] = {}  # what else the result should say of it
        self.told: dict[str, float] = {}  # of the epoch under way, for its record

    @property
    def shape(self) -> Shape:
        """(height, width, channels) of a view."""
        return self.image_shape

    # The four points.
    def seen(self, images: Tensor, rows: np.ndarray, epoch: int) -> Tensor:
        """Views (B, V, channels, h, w) of images; what is drawn is a function of (seed, epoch, row)."""
        raise NotImplementedError

    def raw(self, net: Any, views: Tensor, keep: Tensor | None) -> Tensor:
        """Raw outputs, (B, …), of views: the head on each, or on all of an object; dropout is alike for all of them."""
        features = net.encode(views.flatten(0, 1))
        if self.joined:
            return net.head(features.reshape(len(views), self.views * features.shape[1]), keep)
        keep = keep if keep is None or self.views == 1 else keep.repeat_interleave(self.views, dim=0)
        return net.head(features, keep).reshape(len(views), self.views * self.outputs)

    def losses(self, raw: Tensor, truth: Tensor) -> Tensor:
        """One loss an object, (B,). Raw outputs that ask for gradients are this rank's part of a global batch."""
        raise NotImplementedError

    def renew(self, now: Renewal) -> None:
        """The beginning of an epoch: change the truth, or the head."""

    def stepped(self, net: nn.Module, done: float) -> None:
        """After a step of the optimiser; ``done`` is the part of all steps that lies behind, 0 to 1."""

    # What it adds to a network and to a checkpoint.
    def extend(self, net: Any, generator: torch.Generator) -> None:
        """Add modules to a freshly begun network, drawn from ``generator``."""

    def state(self) -> dict[str, Any]:
        """Tensors and plain data that an epoch goes on with and that (seed, epoch, row) do not give."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""

    # The manners of a target (hpc_astrossl/targets).
    def columns(self, store: Store) -> Columns:
        """The store's columns."""
        return store.table

    def usable(self, table: Columns) -> np.ndarray:
        """Every object: nothing about it need be known."""
        return np.ones(len(table["split"]), dtype=bool)

    def strata(self, table: Columns) -> np.ndarray:
        """One stratum."""
        return np.zeros(len(table["split"]), dtype=np.int64)

    def truth(self, table: Columns) -> np.ndarray:
        """Zeros, int64 (N, 1), until ``renew`` says otherwise."""
        return np.zeros((len(table["split"]), 1), dtype=np.int64)

    def prepare(self, truth: Iterable[np.ndarray]) -> None:
        """Nothing to learn from zeros."""

    def first_output(self, truth: Iterable[np.ndarray]) -> np.ndarray:
        """Zeros."""
        return np.zeros(self.outputs, dtype=np.float32)

    def answer(self, raw: Tensor) -> Tensor:
        """What ``predictions.npz`` keeps: the raw outputs."""
        return raw

    def metrics(self, answer: np.ndarray, truth: np.ndarray, losses: np.ndarray) -> dict[str, Any]:
        """Numbers over unique objects; ``loss`` and the headline among them."""
        raise NotImplementedError

    def uncertainty(self, table: Columns, rows: np.ndarray) -> Columns:
        """Nothing."""
        return {}

    def shares(self, answers: dict[str, np.ndarray], truths: dict[str, np.ndarray]) -> dict[str, Any]:
        """``pretext``: its kind and switches, the headline metric and that of guessing, what the last epoch told."""
        about = {"kind": self.kind, "switches": self.run.pretext, "headline": self.headline, "chance": self.chance,
                 **self.about}  # fmt: skip
        return {"pretext": about | {"last_epoch": self.told}}

    def batch(self, batch: Batch, epoch: int) -> Batch:
        """A loader's batch with views in the place of its images."""
        return replace(batch, images=self.seen(batch.images, batch.rows, epoch))


def scored(right: np.ndarray, losses: np.ndarray, chance: float) -> dict[str, float]:
    """Loss and accuracy of shares of right answers by object, (N,), beside guessing.

    ``accuracy_error`` is the standard error over objects: answers about one object are not independent. ``leak`` is how
    far the accuracy is above chance, in standard errors of guessing once an object, which are the larger ones.
    """
    accuracy, error = float(right.mean()), float(right.std(ddof=1) / np.sqrt(len(right))) if len(right) > 1 else 0.0
    found = {"loss": float(losses.mean(dtype=np.float64)), "accuracy": accuracy, "accuracy_error": error}
    return found | {"chance": chance, "leak": float((accuracy - chance) / np.sqrt(chance * (1 - chance) / len(right)))}


def open_pretext(run: RunSpec, shape: Shape) -> Pretext:
    """The pretext of a resolved run, for images of ``shape``; InputError when it cannot be shown such images."""
    return resolve(PRETEXTS, run.data.target, "pretext")(run, shape)
