"""Which engine is taken, and why, for every launcher and name; devices."""

import sys

import pytest
import torch

from hpc_astrossl.engines import choose, open_engine
from hpc_astrossl.engines.engine import pick_device
from hpc_astrossl.errors import InputError

HOROVODRUN = {"HOROVOD_RANK": "1", "HOROVOD_SIZE": "4"}
TORCHRUN = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0"}
SLURM = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "3"}


@pytest.mark.parametrize(
    ("name", "environment", "chosen", "reason"),
    [
        ("auto", {}, "single", "one process, no launcher"),
        ("auto", HOROVODRUN, "horovod", "started by horovodrun, 4 ranks"),
        ("auto", TORCHRUN, "torch", "started by torchrun, 2 ranks"),
        ("auto", SLURM, "horovod", "started by Slurm, 3 ranks"),
        ("auto", SLURM | HOROVODRUN, "horovod", "started by horovodrun, 4 ranks"),
        ("auto", SLURM | TORCHRUN, "torch", "started by torchrun, 2 ranks"),
        ("auto", SLURM | {"SLURM_STEP_NUM_TASKS": "1"}, "single", "one process, no launcher"),
        ("auto", {"SLURM_NTASKS": "3"}, "single", "one process, no launcher"),  # the batch script, not a step
        ("single", {}, "single", "asked for; one process, no launcher"),
        ("horovod", {}, "horovod", "asked for; one process, no launcher"),
        ("horovod", SLURM, "horovod", "started by Slurm, 3 ranks"),
        ("torch", TORCHRUN, "torch", "started by torchrun, 2 ranks"),
        ("torch", SLURM, "torch", "asked for; started by Slurm, 3 ranks"),
    ],
)
def test_choice(name, environment, chosen, reason):
    assert choose(name, environment, lambda module: True) == (chosen, reason)


@pytest.mark.parametrize(
    ("name", "environment", "words"),
    [
        ("single", HOROVODRUN, "engine single was asked for, but horovodrun started this process as one of 4; "
                               "set engine to auto or horovod"),
        ("horovod", TORCHRUN, "but torchrun started .* set engine to auto or torch"),
        ("torch", {}, "engine torch was asked for outside torchrun; start with: torchrun"),
        ("mpi", {}, "unknown engine 'mpi'; allowed: horovod, single, torch"),
    ],
)  # fmt: skip
def test_contradictions(name, environment, words):
    with pytest.raises(InputError, match=words):
        choose(name, environment, lambda module: True)


def test_horovod_not_installed():
    with pytest.raises(InputError, match=r"engine horovod is not installed here; build it with containers/build_hor"):
        choose("horovod", {}, lambda module: False)
    with pytest.raises(InputError, match="Slurm started 3 ranks, and engine horovod is not installed"):
        choose("horovod", SLURM, lambda module: False)


def test_without_horovod_slurms_ranks_are_torch_distributeds_and_it_is_said():
    words = "started by Slurm, 3 ranks; Horovod is not installed here, so torch.distributed"
    assert choose("auto", SLURM, lambda module: False) == ("torch", words)


@pytest.mark.horovod
def test_horovod_that_cannot_be_imported(monkeypatch):
    monkeypatch.setitem(sys.modules, "horovod.torch", None)
    monkeypatch.delitem(sys.modules, "hpc_astrossl.engines.horovod", raising=False)
    with pytest.raises(
        InputError, match=r"engine horovod cannot be imported here \(.*\); build it with containers/build"
    ):
        open_engine("horovod", "cpu")


def test_devices(monkeypatch):
    set_to = []
    monkeypatch.setattr(torch.cuda, "set_device", set_to.append)

    def gpus(count):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: count)

    gpus(0)
    assert pick_device("auto", 3) == pick_device("cpu", 3) == torch.device("cpu")
    with pytest.raises(InputError, match="device cuda was asked for, but torch sees no GPU here"):
        pick_device("cuda", 0)
    with pytest.raises(InputError, match="device must be auto, cpu or cuda, found 'tpu'"):
        pick_device("tpu", 0)
    gpus(4)
    assert pick_device("auto", 3) == torch.device("cuda", 3) == set_to[-1]
    assert pick_device("cpu", 3) == torch.device("cpu")
    with pytest.raises(InputError, match="rank 4 of this node has no GPU: torch sees 4"):
        pick_device("cuda", 4)
    gpus(1)
    assert pick_device("auto", 3) == torch.device("cuda", 0)
