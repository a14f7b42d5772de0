"""The state of a network as ranks compare it, and as a checkpoint holds it."""

from typing import Any

import torch
from torch import Tensor, nn

from hpc_astrossl.errors import TrainingError


def fingerprint(net: nn.Module) -> list[int]:
    """A number a parameter that changes with any bit of it."""
    sums = [
        tensor.detach().reshape(-1).view(torch.int32).sum(dtype=torch.int64) for tensor in net.state_dict().values()
    ]
    return torch.stack(sums).tolist()


def agree(engine, value: Any, what: str) -> None:
    """TrainingError unless ``value`` is the same on every rank: ranks that differ train different networks."""
    if engine.size > 1:
        told = engine.gather(value)
        if odd := [rank for rank, other in enumerate(told) if other != told[0]]:
            raise TrainingError(
                f"{what}: rank {', '.join(map(str, odd))} of {engine.size} differs from rank 0; the ranks' libraries "
                "or hardware are not alike, or a collective was lost. Run the same command again, on nodes of one kind"
            )


def copied(tree: Any) -> Any:
    """``tree`` of dicts, lists and plain values with every tensor copied to the CPU: a view would be saved whole."""
    if isinstance(tree, Tensor):
        return tree.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
    if isinstance(tree, dict):
        return {key: copied(value) for key, value in tree.items()}
    return [copied(value) for value in tree] if isinstance(tree, list) else tree
