"""Optimisers, the learning rate's fall on a plateau, and when a phase stops early."""

import inspect
import math
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn
from torch.optim.lr_scheduler import ReduceLROnPlateau

from hpc_astrossl.specs.run import PhaseSpec, TrainingSpec


def _lean(kind: type[torch.optim.Optimizer]) -> type[torch.optim.Optimizer]:
    """torch's optimiser without the guards for ``torch.compile``, which import as much as torch itself.

    The guards are decorators; what they decorate is torch's own, and does the same.
    """
    names = ("add_param_group", "state_dict", "load_state_dict", "zero_grad")
    methods = {name: inspect.unwrap(getattr(kind, name)) for name in names}
    return type(kind.__name__, (kind,), {**methods, "step": torch.no_grad()(inspect.unwrap(kind.step))})


Adam, SGD = _lean(torch.optim.Adam), _lean(torch.optim.SGD)


def optimizer(net: nn.Module, spec: PhaseSpec) -> torch.optim.Optimizer:
    """Adam with its usual betas, or SGD with Nesterov momentum; no weight decay (the paper: λ = 0).

    Fused: one pass over the memory a step instead of a dozen.
    """
    common = {"lr": spec.learning_rate, "fused": True}
    learning = [parameter for parameter in net.parameters() if parameter.requires_grad]
    if spec.optimizer == "adam":
        return Adam(learning, **common)
    return SGD(learning, momentum=spec.momentum, nesterov=spec.momentum > 0, **common)


class Plateau:
    """Multiplies the rate by ``plateau_factor`` at the ``plateau_patience``-th epoch without a better loss."""

    def __init__(self, wrapped: torch.optim.Optimizer, spec: TrainingSpec, *, constant: bool = False):
        self._scheduler = None
        if spec.plateau_patience is not None and not constant:
            # torch counts the epochs that are forgiven, the specification the epochs until it happens.
            self._scheduler = ReduceLROnPlateau(
                wrapped, factor=spec.plateau_factor, patience=spec.plateau_patience - 1, threshold=0
            )

    def step(self, loss: float) -> None:
        """Tell the validation loss of an epoch."""
        if self._scheduler:
            self._scheduler.step(loss)

    def state(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return self._scheduler.state_dict() if self._scheduler else {}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        if self._scheduler:
            self._scheduler.load_state_dict(state)


@dataclass
class Stopping:
    """Early stopping: the best validation loss of the phase, and the epochs since.

    ``last``: losses of different epochs do not compare, and the last epoch is the one to keep.
    """

    patience: int | None
    best: float = math.inf
    best_epoch: int = 0
    waited: int = 0
    last: bool = False

    def better(self, loss: float, epoch: int) -> bool:
        """Count an epoch in; whether its loss is the best of the phase."""
        if self.last or loss < self.best:
            self.best, self.best_epoch, self.waited = loss, epoch, 0
            return True
        self.waited += 1
        return False

    @property
    def exhausted(self) -> bool:
        """``patience`` epochs have passed without a better loss."""
        return self.patience is not None and self.waited >= self.patience

    def state(self) -> dict[str, Any]:
        """Plain data for a checkpoint."""
        return asdict(self)
