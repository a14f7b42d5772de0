"""The door to torch.distributed: ranks started by torchrun."""

import os
from typing import Any

import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from hpc_astrossl.engines.engine import Engine, load_state, pick_device, state_bytes


class TorchDistributed(Engine):
    """Gradients averaged by torch's DistributedDataParallel (Gloo between CPUs, NCCL between GPUs)."""

    name = "torch"

    def __init__(self, *, reason: str, device: str):
        self.reason, self.local_rank = reason, int(os.environ["LOCAL_RANK"])
        self.device = pick_device(device, self.local_rank)
        on_gpu = self.device.type == "cuda"
        dist.init_process_group("nccl" if on_gpu else "gloo", device_id=self.device if on_gpu else None)
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        # Objects travel between CPUs, so that gathering results takes no GPU memory.
        self._objects = dist.new_group(backend="gloo")
        self._open = True

    def prepare(self, model: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        states = [state_bytes(optimizer)]
        dist.broadcast_object_list(states, src=0, group=self._objects)
        load_state(optimizer, states[0])
        on_gpu = self.device.type == "cuda"
        # Buffers are equal at the start. Sending them on every forward pass would hang evaluation, where ranks have
        # different numbers of batches.
        wrapped = DistributedDataParallel(model, device_ids=[self.device] if on_gpu else None, broadcast_buffers=False)
        return wrapped, optimizer

    def gather(self, value: Any) -> list[Any]:
        values: list[Any] = [None] * self.size
        dist.all_gather_object(values, value, group=self._objects)
        return values

    def barrier(self) -> None:
        dist.barrier(group=self._objects)

    def close(self) -> None:
        if self._open:
            self._open = False
            dist.destroy_process_group()
