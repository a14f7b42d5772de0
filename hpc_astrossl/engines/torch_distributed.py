"""The door to torch.distributed: ranks started by torchrun or as tasks of a Slurm step."""

import functools
import itertools
import os
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.optim import Optimizer

from hpc_astrossl.engines import slurm_rendezvous
from hpc_astrossl.engines.engine import Engine, load_state, pick_device, state_bytes
from hpc_astrossl.engines.watchdog import Watchdog


class TorchDistributed(Engine):
    """Gradients averaged one parameter after another when the optimiser steps (Gloo between CPUs, NCCL between GPUs).

    Not by DistributedDataParallel: its buckets differ between the first step and the later ones, which changes the
    order of summation, so that a resumed run would not equal one that was never stopped (docs/decisions/engines.md).
    """

    name = "torch"

    def __init__(self, *, reason: str, device: str):
        self._meeting = None if "RANK" in os.environ else slurm_rendezvous.meet_as(_Store)
        place = self._meeting.place if self._meeting else None
        self.reason, self.local_rank = reason, place.local_rank if place else int(os.environ["LOCAL_RANK"])
        self.device = pick_device(device, self.local_rank)
        on_gpu = self.device.type == "cuda"
        store, rank, size = _launched() if place is None else (_joined(self._meeting), place.rank, place.size)
        where = {"store": dist.PrefixStore(f"engine-{next(_OPENED)}", store), "rank": rank, "world_size": size}
        dist.init_process_group("nccl" if on_gpu else "gloo", device_id=self.device if on_gpu else None, **where)
        self.rank, self.size = dist.get_rank(), dist.get_world_size()
        # Objects travel between CPUs, so that gathering results takes no GPU memory.
        self._objects = dist.new_group(backend="gloo")
        self.watchdog = Watchdog(self.rank, self.size)
        self._open = True

    def prepare(self, model: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        with self.watchdog.waiting("the first weights"):
            for value in model.state_dict().values():
                dist.broadcast(value, src=0)
        states = [state_bytes(optimizer)]
        dist.broadcast_object_list(states, src=0, group=self._objects)
        load_state(optimizer, states[0])
        optimizer.register_step_pre_hook(self._average)
        return model, optimizer

    def gather(self, value: Any) -> list[Any]:
        values: list[Any] = [None] * self.size
        with self.watchdog.waiting("gathering values"):
            dist.all_gather_object(values, value, group=self._objects)
        return values

    def barrier(self) -> None:
        with self.watchdog.waiting("a barrier"):
            dist.barrier(group=self._objects)

    def close(self) -> None:
        if self._open:
            self._open = False
            dist.destroy_process_group()
            if self._meeting is not None:
                self._meeting.close()

    def _average(self, optimizer: Optimizer, *_: Any) -> None:
        """Replace every gradient by its average over ranks, where a rank without one counts as 0."""
        wanted = [one for group in optimizer.param_groups for one in group["params"] if one.requires_grad]
        for parameter in wanted:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        with self.watchdog.waiting("averaging gradients"):
            sums = [dist.all_reduce(parameter.grad, async_op=True) for parameter in wanted]
            for parameter, summed in zip(wanted, sums, strict=True):
                summed.wait()
                parameter.grad /= self.size


_OPENED = itertools.count()  # by this process: addresses of one engine are none of the next one's


@functools.cache
def _launched() -> tuple[dist.Store, int, int]:
    """(store, rank, ranks) of a launcher that says all in the environment, as torchrun does."""
    return next(dist.rendezvous("env://"))


class _Store:
    """Rank 0's store of addresses, by which the others find one another."""

    def __init__(self, here: slurm_rendezvous.Place, address: str):
        if interface := os.environ.get(slurm_rendezvous.INTERFACE):
            os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
        self.store = dist.TCPStore(address, 0, here.size, is_master=True, wait_for_workers=False)
        self.port = self.store.port

    def close(self) -> None:
        """It ends with its last reference."""
        self.store = None


def _joined(meeting: slurm_rendezvous.Meeting) -> dist.Store:
    """The store of the meeting's rank 0, seen from this rank."""
    if meeting.place.rank == 0:
        return meeting.server.store
    if interface := os.environ.get(slurm_rendezvous.INTERFACE):
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
    return dist.TCPStore(*meeting.found, meeting.place.size, is_master=False)
