"""A real Slurm for the tests: two virtual nodes on this machine, started once a session, and what is asked of it."""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from launch_support import CHECKOUT, astrossl

SLURM = os.environ.get("SLURM")  # the installation to test, see tests/slurm/start.sh; unset: the one on the PATH
PATH = ":".join([*((f"{SLURM}/bin", f"{SLURM}/sbin") if SLURM else ()), os.environ["PATH"], "/usr/sbin", "/sbin"])
PROGRAMS = ("slurmctld", "slurmd", "munged", "sbatch", "squeue", "scontrol")
PATIENCE = 3  # on a machine that has other work, too; what is waited for ends the waiting
LESS = {"seeds: [0, 1]": "seeds: [0]", "sizes: [64, 256]": "sizes: [64]", "epochs: 16": "epochs: 2",
        "epochs: 40": "epochs: 10", "epochs: 4}": "epochs: 1}", "epochs: 3}": "epochs: 1}"}  # fmt: skip
SITE = """\
kind: slurm
partition: debug
gpus_per_node: 0
signal_delay: 30
environment: {PYTHONPATH: "%s", OMP_NUM_THREADS: "1"}
resources:
  all: {cpus: 1, memory_gb: 1, minutes: 5}
"""


@dataclass(frozen=True)
class Slurm:
    """A running Slurm; every question goes to it, not to one of this machine's own."""

    folder: Path

    @property
    def environment(self) -> dict[str, str]:
        """What a process needs to talk to it."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": PATH}

    def ask(self, *command: str) -> str:
        """What a Slurm command prints."""
        environment = {**os.environ, **self.environment}
        done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        assert done.returncode == 0, command
        return done.stdout

    def astrossl(self, *arguments: str, cwd: Path) -> subprocess.CompletedProcess:
        """The command line of this checkout, on the "login node"."""
        return astrossl(*arguments, cwd=cwd, **self.environment)

    def jobs(self) -> dict[str, str]:
        """State by job id of everything the queue still knows."""
        lines = self.ask("squeue", "--all", "--noheader", "--array", "--states=all", "--format=%i|%T").split()
        return dict(line.split("|") for line in lines)

    def processes(self, word: str) -> list[int]:
        """The Python processes of tasks with that word in their command line."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                command, variables = (folder / "cmdline").read_bytes(), (folder / "environ").read_bytes()
            except (FileNotFoundError, ProcessLookupError, PermissionError):
                continue
            ours = b"submitit.core._submit" in command and word.encode() in command
            if ours and b"python" in command.split(b"\0")[0] and b"SLURM_PROCID=" in variables:
                found.append(int(folder.name))
        return found

    def cut(self, node: str) -> None:
        """A power cut of a node: its daemon, its steps and their tasks are gone at once, and Slurm is told so."""
        doomed = [int((self.folder / f"slurmd.{node}.pid").read_text())]
        ours = f"SLURM_CONF={self.folder / 'slurm.conf'}".encode()
        for folder in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError, PermissionError):
                variables = (folder / "environ").read_bytes().split(b"\0")
                if ours in variables and f"SLURMD_NODENAME={node}".encode() in variables:
                    doomed.append(int(folder.name))
        # A step's daemon is known by its tasks: newer ones overwrite their own environment.
        above = [one for process in doomed[1:] for one in _ancestors(process) if _name(one) == "slurmstepd"]
        for process in dict.fromkeys([*above, *doomed]):  # a step's daemon first: it would tell how its task ended
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self.ask("scontrol", "update", f"nodename={node}", "state=down", "reason=power")

    def mend(self, node: str) -> None:
        """The node comes back."""
        self.ask("slurmd", "-N", node)
        self.wait(lambda: "down" not in self.ask("sinfo", "--noheader", "--format=%T"), 60, f"{node} is back")

    def wait(self, what: Callable[[], bool], seconds: float, saying: str) -> None:
        """Until ``what`` holds; fails with the state of the queue when it does not in ``seconds`` × PATIENCE."""
        seconds *= PATIENCE
        end = time.monotonic() + seconds
        while not what():
            if time.monotonic() > end:
                pytest.fail(f"after {seconds} s still not: {saying}; queue: {self.ask('squeue', '--states=all')}")
            time.sleep(0.3)

    def settle(self, seconds: float = 120) -> None:
        """Until nothing is queued or running."""
        done = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"}
        self.wait(lambda: set(self.jobs().values()) <= done, seconds, "everything has ended")


def _ancestors(process: int) -> list[int]:
    """The parent of a process, the parent's, and so on."""
    found: list[int] = []
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while process > 1:
            process = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[1])
            found.append(process)
    return found


def _name(process: int) -> str:
    try:
        return Path(f"/proc/{process}/comm").read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def variable(process: int, name: str) -> str:
    """A variable of a process' environment."""
    pairs = (pair.partition("=") for pair in Path(f"/proc/{process}/environ").read_text().split("\0"))
    return next(value for key, _, value in pairs if key == name)


@contextmanager
def running(folder: Path) -> Iterator[Slurm]:
    """A Slurm of its own in that folder; the test skips, visibly, where the packages are missing."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if missing and SLURM:
        pytest.fail(f"SLURM={SLURM}: {', '.join(missing)} are neither in its bin and sbin nor on the PATH")
    if missing:
        pytest.skip(f"no Slurm here ({', '.join(missing)} missing): run tests/slurm/install.sh as root on Debian")
    started = subprocess.run([CHECKOUT / "tests/slurm/start.sh", folder], capture_output=True, text=True)
    try:
        assert started.returncode == 0, started.stdout + started.stderr
        yield Slurm(folder)
    finally:
        subprocess.run([CHECKOUT / "tests/slurm/stop.sh", folder], check=False)


def site(workdir: Path, **changes: object) -> str:
    """A cluster file for that Slurm in the work directory; its name."""
    import yaml

    from hpc_astrossl import config

    text = config.merge(yaml.safe_load(SITE % CHECKOUT), changes)
    (workdir / "site.yaml").write_text(yaml.safe_dump(text))
    return "site.yaml"


def make_small(recipe: Path) -> None:
    """Make minutes of the demo's study: one seed, one size, few epochs."""
    text = recipe.read_text()
    for old, new in LESS.items():
        assert old in text, old
        text = text.replace(old, new)
    recipe.write_text(text)
