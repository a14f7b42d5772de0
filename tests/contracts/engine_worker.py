"""One rank of the engine contract: ``engine_worker.py OUT`` trains a tiny network and writes what it saw to OUT/<rank>.

The same functions, called in one process, give the truth the ranks are held against.
"""

import os
import signal
import sys
import time
from pathlib import Path

import torch
from torch import nn

from hpc_astrossl.engines import Engine, open_engine
from hpc_astrossl.engines.engine import load_state, state_bytes

# Objects of the global batches: uneven for 2 and 3 ranks, and one that leaves all ranks but the first empty.
BATCHES = (8, 7, 1, 5)
ALL, HEAD = "all", "head"


def network(seed: int, trains: str) -> nn.Sequential:
    """A small convolutional network; with "head" its convolution is frozen."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 2))
    model[0].requires_grad_(trains == ALL)
    return model


def fresh_optimizer(model: nn.Module, kind: str) -> torch.optim.Optimizer:
    """As training makes them: Adam, or SGD with Nesterov momentum, of what is not frozen."""
    wanted = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if kind == "adam":
        return torch.optim.Adam(wanted, lr=1e-2)
    return torch.optim.SGD(wanted, lr=1e-2, momentum=0.9, nesterov=True)


def global_batch(step: int) -> torch.Tensor:
    """The images of a step, the same wherever they are made."""
    return torch.randn(BATCHES[step], 3, 8, 8, generator=torch.Generator().manual_seed(step))


def share(batch: torch.Tensor, rank: int, size: int) -> torch.Tensor:
    """A rank's contiguous part, as uneven as can be: the first rank takes what the others cannot share."""
    part = len(batch) // (size + 1)
    stop = len(batch) - part * (size - 1 - rank)
    return batch[stop - (len(batch) - part * (size - 1)) if rank == 0 else stop - part : stop]


def train(engine: Engine, model: nn.Module, optimizer: torch.optim.Optimizer, steps: range) -> None:
    """The loop that the training room runs: the loss is the sum over this rank's objects × size / objects of all."""
    for step in steps:
        batch = global_batch(step)
        mine = share(batch, engine.rank, engine.size)
        optimizer.zero_grad()
        loss = (model(mine) - 1).square().sum() * engine.size / len(batch)
        loss.backward()
        optimizer.step()


def phase(engine: Engine, trains: str, kind: str, seed: int) -> dict[str, torch.Tensor]:
    """A freshly built model trained over all batches; ranks begin with different weights. The final weights."""
    model = network(seed + engine.rank, trains)
    wrapped, optimizer = engine.prepare(model, fresh_optimizer(model, kind))
    train(engine, wrapped, optimizer, range(len(BATCHES)))
    return model.state_dict()


def resumed(engine: Engine, kind: str, seed: int, *, load_after: bool) -> dict[str, torch.Tensor]:
    """The same with a stop after two steps: a new model and optimiser go on from the saved state.

    The state is loaded by rank 0 before ``prepare``, or by every rank after it.
    """
    model = network(seed + engine.rank, ALL)
    wrapped, optimizer = engine.prepare(model, fresh_optimizer(model, kind))
    train(engine, wrapped, optimizer, range(2))
    weights, state = {name: value.clone() for name, value in model.state_dict().items()}, state_bytes(optimizer)
    model = network(seed + 50 + engine.rank, ALL)
    optimizer = fresh_optimizer(model, kind)
    if not load_after and engine.rank == 0:
        model.load_state_dict(weights)
        load_state(optimizer, state)
    wrapped, optimizer = engine.prepare(model, optimizer)
    if load_after:
        model.load_state_dict(weights)
        load_state(optimizer, state)
    train(engine, wrapped, optimizer, range(2, len(BATCHES)))
    return model.state_dict()


def everything(engine: Engine) -> dict[str, dict[str, torch.Tensor]]:
    """The phases one after another in one process, under the names that the contract's tests use."""
    return {
        "sgd": phase(engine, ALL, "sgd", seed=1),
        "adam": phase(engine, ALL, "adam", seed=2),
        "frozen": phase(engine, HEAD, "adam", seed=3),
        "resumed before": resumed(engine, "adam", seed=2, load_after=False),
        "resumed after": resumed(engine, "sgd", seed=1, load_after=True),
    }


def main(out: Path, fail: str) -> None:
    with open_engine(os.environ.get("CONTRACT_ENGINE", "auto"), "cpu") as engine:
        if fail and engine.rank == 1:
            if fail == "hang":
                time.sleep(600)
            if fail == "kill":
                (out / "killed").touch()
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("rank 1 was told to fail")
        before = time.time()
        time.sleep(0.5 * engine.rank)
        arrived = time.time()
        engine.barrier()
        found = {
            "engine": (engine.name, engine.reason, engine.rank, engine.size, engine.local_rank, str(engine.device)),
            "gathered": engine.gather({"rank": engine.rank, "text": "x" * 10 ** (engine.rank + 1)}),
            "barrier": (before, arrived, time.time()),
            "weights": everything(engine),
        }
        torch.save(found, out / str(engine.rank))


if __name__ == "__main__":
    main(Path(sys.argv[1]), os.environ.get("CONTRACT_FAIL", ""))
