"""The demo's grid on a real Slurm while nodes are drained and tasks killed and requeued every few seconds.

    python tests/faults/soak.py FOLDER                            # an hour, as any user; Debian's Slurm is needed
    python tests/faults/soak.py FOLDER --minutes 6 --small        # a quick look
    python tests/faults/soak.py FOLDER --truth OTHER              # numbers of an undisturbed study that is there

First the study runs undisturbed (``--cluster local``). Then it runs through Slurm, again and again in fresh folders
until the time is over; the last one ends in peace. Every run must end done, with the undisturbed numbers. Memory is
sampled of what lives long: the undisturbed submission, ``status --watch``, and a training that goes on all the time.
Exit status 1 when anything is not as it must be; figures go to benchmarks/results/faults.json.
"""

import argparse
import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
sys.path.insert(1, str(Path(__file__).resolve().parents[2]))
from launch_support import CHECKOUT, astrossl
from slurm_support import Slurm, make_small, running
from training_toys import ALL, make_run, make_store

from faults import record
from faults.memory import Memory
from hpc_astrossl import config
from hpc_astrossl.specs.run import TrainingSpec

SITE = """\
kind: slurm
partition: debug
gpus_per_node: 0
parallel: 4
attempts: 100000
retries: 100000
environment: {{PYTHONPATH: "{checkout}", OMP_NUM_THREADS: "1", ASTROSSL_CACHE: "{folder}/cache"}}
resources:
  all: {{cpus: 1, memory_gb: 2, minutes: 110}}
"""
PATIENCE = 3600  # seconds for the last study to end in peace


class Disturber:
    """One fault after another: ``rate`` seconds for every running task, on the mean; a drained node comes back."""

    def __init__(self, slurm: Slurm, seed: int, rate: float):
        self.slurm, self.rate = slurm, rate
        self.random = random.Random(seed)
        self.done: Counter = Counter()
        self.drained: dict[str, float] = {}  # node, and when it comes back

    def go_on(self, workdir: Path) -> None:
        """One fault, after a while."""
        tasks = self.slurm.processes(str(workdir))
        time.sleep(min(30.0, self.random.expovariate(max(1, len(tasks)) / self.rate)))
        for node in [node for node, until in self.drained.items() if time.monotonic() > until]:
            self.resume(node)
        kind = self.random.choices(("kill", "requeue", "drain", "announce"), (4, 3, 2, 1))[0]
        getattr(self, f"_{kind}")(workdir)

    def resume(self, node: str) -> None:
        """The node takes tasks again."""
        self._tell("resume", "scontrol", "update", f"nodename={node}", "state=resume")
        del self.drained[node]

    def rest(self) -> None:
        """No more faults: every node is back."""
        for node in list(self.drained):
            self.resume(node)

    def _kill(self, workdir: Path) -> None:
        if tasks := self.slurm.processes(str(workdir)):
            try:
                os.kill(self.random.choice(sorted(tasks)), signal.SIGKILL)
            except ProcessLookupError:
                return
            self.done["SIGKILL"] += 1

    def _requeue(self, workdir: Path) -> None:
        if jobs := self._running():
            self._tell("requeue", "scontrol", "requeue", self.random.choice(jobs))

    def _announce(self, workdir: Path) -> None:
        if jobs := self._running():
            self._tell("USR2", "scancel", "--signal=USR2", self.random.choice(jobs))

    def _drain(self, workdir: Path) -> None:
        node = self.random.choice(("n1", "n2"))
        if node not in self.drained:
            self._tell("drain", "scontrol", "update", f"nodename={node}", "state=drain", "reason=soak")
            self.drained[node] = time.monotonic() + self.random.uniform(5, 30)

    def _running(self) -> list[str]:
        return sorted(job for job, state in self.slurm.jobs().items() if state == "RUNNING")

    def _tell(self, word: str, *command: str) -> None:
        """Say it to Slurm, which may refuse: a job may have ended meanwhile."""
        environment = {**os.environ, **self.slurm.environment}
        done = subprocess.run(command, env=environment, capture_output=True, stdin=subprocess.DEVNULL)
        self.done[word if done.returncode == 0 else f"{word}, refused"] += 1


class Soak:
    """The studies below one folder."""

    def __init__(self, folder: Path, small: bool, truth: Path | None):
        self.folder, self.small, self.memory = folder, small, Memory()
        if truth is None:
            fields = "2" if small else "4"
            done = astrossl("simulate", "survey", "--fields", fields, "--objects", "700", "--size", "1600", cwd=folder)
            assert done.returncode == 0, done.stderr
        else:
            (folder / "survey").symlink_to((truth / "survey").resolve())
        (folder / "site.yaml").write_text(SITE.format(checkout=CHECKOUT, folder=folder))

    def prepare(self, name: str) -> Path:
        """What ``astrossl demo`` lays out, and the survey."""
        out = self.folder / name
        for part in ("jobs", "preprocess", "examples"):
            shutil.copytree(CHECKOUT / part, out / part)
        if self.small:
            make_small(out / "jobs/demo.yaml")
        (out / "survey").symlink_to(self.folder / "survey")
        return out

    def truth(self) -> Path:
        """The study undisturbed, on this machine."""
        out = self.prepare("truth")
        process = self._background(out, "submit", "jobs/demo.yaml", "--cluster", "local")
        with self.memory.of("undisturbed submit, local", process):
            assert process.wait() == 0, "the undisturbed study failed"
        return out

    def steady(self) -> subprocess.Popen:
        """A training that ends long after the soak."""
        out = self.folder / "steady"
        make_store(out / "toy", objects=240)
        long = dataclasses.replace(ALL, epochs=100_000)
        patient = TrainingSpec(patience=None, plateau_patience=None)
        (out / "run.yaml").write_text(config.dump(make_run(long, training=patient)))
        return self._background(out, "train", "run.yaml")

    def disturbed(self, slurm: Slurm, number: int, disturber: Disturber, until: float) -> Path:
        """The study through Slurm, disturbed until it has ended or the time is over."""
        out = self.prepare(f"study{number}")
        submitted = slurm.astrossl("submit", "jobs/demo.yaml", "--cluster", str(self.folder / "site.yaml"), cwd=out)
        assert submitted.returncode == 0, submitted.stderr
        watcher = self._background(out, "status", "demo", "--watch", **slurm.environment)
        with self.memory.of(f"status --watch {number}", watcher):
            while time.monotonic() < until and not settled(slurm):
                disturber.go_on(out)
            disturber.rest()
            slurm.wait(lambda: settled(slurm), PATIENCE, "the study has ended")
        return out

    def _background(self, out: Path, *arguments: str, **more: str) -> subprocess.Popen:
        variables = {"PYTHONPATH": str(CHECKOUT), "OMP_NUM_THREADS": "1", "ASTROSSL_CACHE": str(self.folder / "cache")}
        with (out / f"{arguments[0]}.log").open("w") as log:
            return subprocess.Popen([sys.executable, "-m", "hpc_astrossl", *arguments], cwd=out, stdout=log, stderr=log,
                                    env={**os.environ, **variables, **more})  # fmt: skip


def settled(slurm: Slurm) -> bool:
    """Whether nothing is queued or running."""
    return set(slurm.jobs().values()) <= {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"}


def numbers(workdir: Path) -> dict[str, dict]:
    """Metrics and epochs of each run."""
    files = {path.parent.name: json.loads(path.read_text()) for path in workdir.glob("runs/demo/*/result.json")}
    return {key: {name: one[name] for name in ("metrics", "epochs", "best_epoch")} for key, one in files.items()}


def judge(slurm: Slurm, workdir: Path, truth: dict[str, dict]) -> dict:
    """What a disturbed study came to."""
    told = json.loads(slurm.astrossl("status", "demo", "--json", cwd=workdir).stdout)
    states = Counter(state for counts in told["stages"].values() for state, n in counts.items() for _ in range(n))
    found = numbers(workdir)
    return {
        "states": dict(states),
        "runs": len(truth),
        "same_numbers": sum(found.get(key) == value for key, value in truth.items()),
        "started_again": sum(item["starts"] - 1 for item in told["items"] if item["starts"]),
        "report": (workdir / "reports/demo/report.html").exists(),
    }


def good(study: dict) -> bool:
    """Whether everything is done, with the numbers of no disturbance."""
    return (
        set(study["states"]) <= {"done", "skipped"} and study["same_numbers"] == study["runs"] > 0 and study["report"]
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="is made, and must not be there")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--rate", type=float, default=20, help="seconds between faults for each running task")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--small", action="store_true", help="two fields, one seed, one size, fewer epochs")
    parser.add_argument(
        "--truth",
        type=Path,
        help="work directory of an undisturbed study of this size and version, the folder truth of another soak",
    )
    arguments = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # so that Slurm is ended, too
    folder = arguments.folder.resolve()
    folder.mkdir(parents=True)
    soak = Soak(folder, arguments.small, arguments.truth)
    truth = numbers(arguments.truth or soak.truth())
    studies, begin = [], time.monotonic()
    steady = soak.steady()
    with running(folder / "slurm") as slurm, soak.memory.of("a training all the time", steady):
        disturber = Disturber(slurm, arguments.seed, arguments.rate)
        while (left := begin + 60 * arguments.minutes - time.monotonic()) > 0:
            workdir = soak.disturbed(slurm, len(studies), disturber, time.monotonic() + left)
            studies.append(judge(slurm, workdir, truth))
            print(json.dumps(studies[-1]), flush=True)
    memory = soak.memory.summary()
    fine = all(good(study) for study in studies) and all(one["flat"] for one in memory.values())
    outcome = {"good": fine, "minutes": round((time.monotonic() - begin) / 60, 1), "small": arguments.small,
               "seed": arguments.seed, "rate": arguments.rate, "faults": dict(disturber.done), "studies": studies,
               "memory": memory}  # fmt: skip
    record.keep("soak", f"{arguments.minutes:g} minutes", outcome)
    print(json.dumps(outcome, indent=1))
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
