"""One process: nothing to agree on."""

from typing import Any

from torch import nn
from torch.optim import Optimizer

from hpc_astrossl.engines.engine import Engine, pick_device


class Single(Engine):
    """The engine of one process."""

    name = "single"

    def __init__(self, *, reason: str, device: str):
        self.reason, self.rank, self.size, self.local_rank = reason, 0, 1, 0
        self.device = pick_device(device, 0)

    def prepare(self, model: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        return model, optimizer

    def gather(self, value: Any) -> list[Any]:
        return [value]

    def barrier(self) -> None:
        """Nothing to wait for."""

    def close(self) -> None:
        """Nothing to leave."""
