"""The door to Horovod: ranks started by horovodrun or as tasks of a Slurm step."""

import faulthandler
import os
from typing import Any

from torch import nn
from torch.optim import Optimizer

from hpc_astrossl.engines import slurm_rendezvous
from hpc_astrossl.engines.choice import BUILD_HOROVOD
from hpc_astrossl.engines.engine import Engine, load_state, pick_device, state_bytes
from hpc_astrossl.engines.watchdog import Watchdog
from hpc_astrossl.errors import InputError

try:
    import horovod.torch as hvd
except ImportError as error:
    raise InputError(f"engine horovod cannot be imported here ({error}); {BUILD_HOROVOD}") from None

# How long Gloo waits for the slowest rank to start: importing torch from a busy file system takes longer than 30 s.
START_SECONDS, LEAST_START = "HOROVOD_GLOO_TIMEOUT_SECONDS", 120
# Set before Horovod starts, unless the user has.
DEFAULTS = {
    # Seconds: a rank that stops taking part is reported, then ends the run rather than hang it for ever.
    "HOROVOD_STALL_CHECK_TIME_SECONDS": "120",
    "HOROVOD_STALL_SHUTDOWN_TIME_SECONDS": "1800",
    # Fusing gathers whichever gradients are ready into one sum, whose order then depends on timing: from three ranks
    # on, the same run would not give the same weights twice (docs/decisions/engines.md).
    "HOROVOD_FUSION_THRESHOLD": "0",
}


class Horovod(Engine):
    """Gradients averaged by Horovod (Gloo between CPUs, NCCL between GPUs where Horovod was built with it)."""

    name = "horovod"

    def __init__(self, *, reason: str, device: str):
        for key, value in DEFAULTS.items():
            os.environ.setdefault(key, value)
        if float(os.environ.get(START_SECONDS, 0)) < LEAST_START:  # horovodrun sets 30
            os.environ[START_SECONDS] = str(LEAST_START)
        faulthandler.enable()  # an error in Horovod's C++ aborts the process (status 134) without a word otherwise
        self._meeting = slurm_rendezvous.meet()
        if not hvd.is_initialized():
            hvd.init()
        self.reason, self.rank, self.size, self.local_rank = reason, hvd.rank(), hvd.size(), hvd.local_rank()
        self.device = pick_device(device, self.local_rank)
        self.watchdog = Watchdog(self.rank, self.size)
        self._open = True

    def prepare(self, model: nn.Module, optimizer: Optimizer) -> tuple[nn.Module, Optimizer]:
        with self.watchdog.waiting("the first weights"):
            hvd.broadcast_parameters(model.state_dict(), root_rank=0)
        # Not hvd.broadcast_optimizer_state: on a fresh optimiser it takes a step on zero gradients, which counts in
        # Adam's bias correction. And the wrapped optimiser is a new one without state: what was there moves over.
        state = hvd.broadcast_object(state_bytes(optimizer), root_rank=0, name="optimizer")
        wrapped = hvd.DistributedOptimizer(optimizer, named_parameters=model.named_parameters(), op=hvd.Average)
        load_state(wrapped, state)
        step = wrapped.step

        def watched(*arguments, **named):
            with self.watchdog.waiting("averaging gradients"):
                return step(*arguments, **named)

        wrapped.step = watched
        return model, wrapped

    def gather(self, value: Any) -> list[Any]:
        with self.watchdog.waiting("gathering values"):
            return hvd.allgather_object(value, name="gather")

    def barrier(self) -> None:
        with self.watchdog.waiting("a barrier"):
            hvd.barrier()

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Leave the group of ranks, unless all is well and the next run of this process needs it.

        horovodrun's server keeps the addresses of a group that has left, and the next one would look for itself there;
        what is not left ends with the process. In a Slurm step each group has a server of its own.
        """
        if kind is None and self._meeting is None:
            self._open = False
        else:
            self.close()

    def close(self) -> None:
        if self._open:
            self._open = False
            hvd.shutdown()
            if self._meeting is not None:
                self._meeting.close()
