"""Each engine keeps the contract with real ranks, and Horovod also as tasks of an (imitated) Slurm step."""

import sys
from pathlib import Path

import pytest
from contracts import engine_worker
from contracts.engine import EngineContract, RanksContract


@pytest.mark.horovod
class TestHorovodrun(RanksContract):
    name, ranks, local_ranks, reason = "horovod", 2, [0, 1], "started by horovodrun, 2 ranks"
    told = "Process name: 1"

    @classmethod
    def commands(cls, worker):
        return [([str(Path(sys.executable).parent / "horovodrun"), "-np", "2", "--gloo", *worker], {})]


class TestTorchrun(RanksContract):
    name, ranks, local_ranks, reason = "torch", 3, [0, 1, 2], "started by torchrun, 3 ranks"
    told = "Signal 9 (SIGKILL)"

    @classmethod
    def commands(cls, worker):
        torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3"]
        return [([*torchrun, *worker[1:]], {})]


class SlurmTasks(RanksContract):
    """Three tasks on two nodes, two on the first: plain processes with the environment that Slurm would give them."""

    ranks, local_ranks = 3, [0, 1, 0]

    @classmethod
    def commands(cls, worker):
        step = {"SLURM_JOB_ID": "71", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "3",
                "SLURM_STEP_TASKS_PER_NODE": "2,1"}  # fmt: skip
        return [
            (
                worker,
                step
                | {
                    "SLURM_PROCID": str(rank),
                    "SLURM_LOCALID": str(local),
                    "SLURM_NODEID": str(node),
                    "SLURMD_NODENAME": f"node{node}",
                },
            )
            for rank, (node, local) in enumerate([(0, 0), (0, 1), (1, 0)])
        ]


@pytest.mark.horovod
class TestSlurmTasks(SlurmTasks):
    name, reason = "horovod", "started by Slurm, 3 ranks"
    told = "A rank has ended"


class TestSlurmTasksOfTorch(SlurmTasks):
    """The same tasks without Horovod: what ``engine: torch`` and machines that cannot build it take."""

    name, reason = "torch", "asked for; started by Slurm, 3 ranks"
    told = "Connection closed by peer"

    @classmethod
    def commands(cls, worker):
        return [(command, extra | {"CONTRACT_ENGINE": "torch"}) for command, extra in super().commands(worker)]


class TestSingle(EngineContract):
    name, ranks, local_ranks, reason = "single", 1, [0], "one process, no launcher"

    @classmethod
    def start(cls, folder):
        engine_worker.main(folder, fail="")
        return [0], ""
