"""What every engine must do, with real ranks: average gradients whatever the split, gather, wait, resume, end."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from contracts import engine_worker
from hpc_astrossl.engines import open_engine

WORKER = Path(engine_worker.__file__)
REPOSITORY = WORKER.parent.parent.parent
SECONDS = 120  # for the slowest start on a busy machine
GRACE = 45  # seconds for the others to end by themselves when one rank has failed
# The sum of a batch's gradients is taken in another order on several ranks: float32 rounding, a few steps of it.
TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}


def run(commands: list[tuple[list[str], dict[str, str]]], folder: Path) -> tuple[list[int], str]:
    """Run (command, environment) pairs together; their exit statuses and all they printed. Killed when late."""
    log = folder / "log"
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("SLURM", "HOROVOD"))}
    inherited |= {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error"}
    with log.open("w") as stream:
        processes = [
            subprocess.Popen(
                command, env=inherited | extra, cwd=folder, stdout=stream, stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            for command, extra in commands
        ]  # fmt: skip
        try:
            end = time.monotonic() + SECONDS
            while any(process.poll() is None for process in processes) and time.monotonic() < end:
                if any(process.poll() for process in processes):  # srun --kill-on-bad-exit=1 ends the rest, if later
                    end = min(end, time.monotonic() + GRACE)
                time.sleep(0.05)
        finally:
            for process in processes:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
    return [process.returncode for process in processes], log.read_text()


class EngineContract:
    """Subclass as Test… with the attributes below and ``start``."""

    name: str
    ranks: int
    local_ranks: list[int]
    reason: str

    @classmethod
    def start(cls, folder: Path) -> tuple[list[int], str]:
        """Run ``engine_worker`` with OUT ``folder`` on all ranks: the exit statuses and all that was printed."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def seen(cls, tmp_path_factory) -> list[dict]:
        """What each rank wrote."""
        folder = tmp_path_factory.mktemp("ranks")
        statuses, log = cls.start(folder)
        assert set(statuses) == {0}, log
        return [torch.load(folder / str(rank), weights_only=True) for rank in range(cls.ranks)]

    @pytest.fixture(scope="class")
    @classmethod
    def truth(cls) -> dict[str, dict[str, torch.Tensor]]:
        """The same training in this process alone."""
        with open_engine("single", "cpu") as engine:
            return engine_worker.everything(engine)

    def test_says_what_it_is(self, seen):
        for rank, found in enumerate(seen):
            assert found["engine"] == (self.name, self.reason, rank, self.ranks, self.local_ranks[rank], "cpu")

    @pytest.mark.parametrize("phase", ["sgd", "adam", "frozen", "resumed before", "resumed after"])
    def test_trains_as_one_process_does(self, seen, truth, phase):
        for found in seen:
            for name, value in truth[phase].items():
                torch.testing.assert_close(found["weights"][phase][name], value, **TOLERANCE)

    @pytest.mark.parametrize("phase", ["sgd", "adam", "frozen", "resumed before", "resumed after"])
    def test_all_ranks_end_with_the_very_same_weights(self, seen, phase):
        for found in seen[1:]:
            for name, value in seen[0]["weights"][phase].items():
                assert torch.equal(found["weights"][phase][name], value)

    def test_resuming_changes_nothing(self, seen):
        for resumed, whole in (("resumed before", "adam"), ("resumed after", "sgd")):
            for name, value in seen[0]["weights"][whole].items():
                assert torch.equal(seen[0]["weights"][resumed][name], value)

    def test_gathers_values_of_any_size_in_rank_order(self, seen):
        wanted = [{"rank": rank, "text": "x" * 10 ** (rank + 1)} for rank in range(self.ranks)]
        assert all(found["gathered"] == wanted for found in seen)

    def test_nobody_passes_the_barrier_before_all_are_there(self, seen):
        last = max(found["barrier"][1] for found in seen)
        assert all(found["barrier"][2] >= last for found in seen)


class RanksContract(EngineContract):
    """Of an engine with several ranks: subclass with ``commands`` too; ``told`` is what the log says of a dead rank."""

    told: str

    @classmethod
    def commands(cls, worker: list[str]) -> list[tuple[list[str], dict[str, str]]]:
        """How the ranks of ``worker``, a command, are started: (command, environment) pairs to run together."""
        raise NotImplementedError

    @classmethod
    def start(cls, folder: Path, **environment: str) -> tuple[list[int], str]:
        worker = [sys.executable, str(WORKER), str(folder)]
        return run([(command, extra | environment) for command, extra in cls.commands(worker)], folder)

    @pytest.mark.slow
    def test_a_rank_that_fails_ends_the_others(self, tmp_path):
        statuses, log = self.start(tmp_path, CONTRACT_FAIL="raise")
        assert 0 not in statuses
        assert "rank 1 was told to fail" in log

    @pytest.mark.slow
    def test_a_rank_that_is_killed_ends_the_others_within_a_minute(self, tmp_path):
        begin = time.monotonic()
        statuses, log = self.start(tmp_path, CONTRACT_FAIL="kill")
        assert 0 not in statuses
        assert (tmp_path / "killed").exists()
        assert time.time() - (tmp_path / "killed").stat().st_mtime < 60, f"began {time.monotonic() - begin:.0f} s ago"
        assert self.told in log

    @pytest.mark.slow
    def test_a_rank_that_hangs_ends_the_others(self, tmp_path):
        statuses, log = self.start(tmp_path, CONTRACT_FAIL="hang", ASTROSSL_HANG_SECONDS="3")
        assert 0 not in statuses
        assert re.search(r"rank \d of \d: waited 3 s for the other ranks \(.*\) and gives up", log)
