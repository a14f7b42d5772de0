"""Which engine serves this process: read from what its launcher left in the environment."""

import importlib.util
import os
from collections.abc import Callable, Mapping

from hpc_astrossl.errors import InputError
from hpc_astrossl.names import ENGINES, lookup

BUILD_HOROVOD = "build it with containers/build_horovod.sh"


def installed(module: str) -> bool:
    """Whether the module can be found, without importing it."""
    return importlib.util.find_spec(module) is not None


def choose(
    name: str = "auto",
    environment: Mapping[str, str] = os.environ,
    installed: Callable[[str], bool] = installed,
) -> tuple[str, str]:
    """(engine, reason in words) for the name asked for.

    "auto" follows the launcher: horovodrun or several Slurm tasks give horovod, torchrun gives torch, else single.
    Slurm's tasks do without Horovod, too: torch.distributed serves them where it is not installed, or asked for.
    InputError when the name and the launcher contradict each other: the ranks would all do the same run.
    """
    launcher, ranks = _launcher(environment)
    if name != "auto":
        lookup(ENGINES, name, "engine")
    served = {"horovodrun": "horovod", "Slurm": "horovod", "torchrun": "torch", None: "single"}[launcher]
    chosen = served if name == "auto" else name
    if launcher == "Slurm" and chosen == "horovod" and name == "auto" and not installed("horovod"):
        return "torch", f"started by Slurm, {ranks} ranks; Horovod is not installed here, so torch.distributed"
    if chosen == "horovod" and not installed("horovod"):
        started = f"{launcher} started {ranks} ranks, and " if launcher else ""
        raise InputError(f"{started}engine horovod is not installed here; {BUILD_HOROVOD}")
    if launcher == "Slurm" and chosen == "torch":
        return chosen, f"asked for; started by Slurm, {ranks} ranks"
    if launcher and chosen != served:
        raise InputError(
            f"engine {name} was asked for, but {launcher} started this process as one of {ranks}; "
            f"set engine to auto or {served}"
        )
    if chosen == "torch" and launcher is None:
        raise InputError(
            "engine torch was asked for outside torchrun; start with: torchrun --nproc-per-node N …, or "
            "as several tasks of a Slurm step"
        )
    if launcher:
        return chosen, f"started by {launcher}, {ranks} ranks"
    return chosen, "one process, no launcher" if name == "auto" else "asked for; one process, no launcher"


def _launcher(environment: Mapping[str, str]) -> tuple[str | None, int]:
    """(launcher, ranks); an inner launcher, such as horovodrun within a Slurm step, comes first."""
    if "HOROVOD_RANK" in environment:
        return "horovodrun", int(environment["HOROVOD_SIZE"])
    if "RANK" in environment and "WORLD_SIZE" in environment:
        return "torchrun", int(environment["WORLD_SIZE"])
    if "SLURM_STEP_ID" in environment and int(environment.get("SLURM_STEP_NUM_TASKS", "1")) > 1:
        return "Slurm", int(environment["SLURM_STEP_NUM_TASKS"])
    return None, 1
