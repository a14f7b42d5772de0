"""What every engine gives: this rank's place and device, models that learn together, values gathered from all ranks."""

import io
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Self

import torch
from torch import nn
from torch.optim import Optimizer

from hpc_astrossl.errors import InputError


class Engine(ABC):
    """``rank`` of ``size`` processes, ``local_rank`` on its node; ``reason`` says in words why this engine was taken.

    A context manager: it is closed on leaving.
    """

    name: ClassVar[str]
    reason: str
    rank: int
    size: int
    local_rank: int
    device: torch.device

    @abstractmethod
    def prepare(self, model: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        """The model and optimiser to train with, equal on all ranks; gradients become the average over ranks.

        Once for each freshly built model, which must be on ``device``. Rank 0's parameters, buffers and optimiser
        state go to all ranks; a checkpoint may be loaded before (on rank 0 is enough) or after (on every rank).
        Freeze before, not after. The same run with as many ranks gives the same weights, bit by bit.
        ``optimizer.step`` is collective: every rank takes every step, one with an empty batch too.
        """

    @abstractmethod
    def gather(self, value: Any) -> list[Any]:
        """The picklable ``value`` of every rank, in rank order, on every rank. Collective."""

    @abstractmethod
    def barrier(self) -> None:
        """Wait until every rank is here. Collective."""

    @abstractmethod
    def close(self) -> None:
        """Leave the group of ranks; closing twice does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def pick_device(device: str, local_rank: int) -> torch.device:
    """The device of a rank: "auto" is its GPU when there is one. InputError when "cuda" cannot be had."""
    if device not in ("auto", "cpu", "cuda"):
        raise InputError(f"device must be auto, cpu or cuda, found {device!r}")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "cpu" or (device == "auto" and count == 0):
        return torch.device("cpu")
    if count == 0:
        raise InputError("device cuda was asked for, but torch sees no GPU here; set device to auto or cpu")
    # A scheduler that gives each task its own GPU shows one GPU to every rank.
    index = 0 if count == 1 else local_rank
    if index >= count:
        raise InputError(f"rank {local_rank} of this node has no GPU: torch sees {count}; start one rank a GPU")
    chosen = torch.device("cuda", index)
    torch.cuda.set_device(chosen)
    return chosen


def state_bytes(optimizer: Optimizer) -> bytes:
    """The optimiser's state as bytes."""
    stream = io.BytesIO()
    torch.save(optimizer.state_dict(), stream)
    return stream.getvalue()


def load_state(optimizer: Optimizer, state: bytes) -> None:
    """Load what ``state_bytes`` wrote; the optimiser moves it to its parameters' device."""
    optimizer.load_state_dict(torch.load(io.BytesIO(state), map_location="cpu", weights_only=True))
