"""The demo through Slurm, unattended, by an unprivileged user: a node is drained, a task killed, one told to save.

    sudo python tests/slurm/study.py FOLDER [--small] [--image SIF]     # root only to start Slurm and become that user

Then the same study with ``--cluster local``: every run must give the same numbers. ``--small`` takes one seed, one size
and few epochs (some minutes on two cores); without it the demo is what ``make demo`` runs. With ``--image`` the tasks
run in that Apptainer image. Ends with a JSON of what happened, exit status 1 when anything is not as it must be.
"""

import argparse
import json
import os
import pwd
import signal
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from slurm_support import Slurm, make_small, variable  # noqa: E402

CHECKOUT = HERE.parent.parent
USER = "astrossl-test"
SITE = """\
kind: slurm
python: {python}
gpus_per_node: 0
environment: {{OMP_NUM_THREADS: "1", ASTROSSL_CACHE: "{folder}/cache"}}
resources:
  all: {{cpus: 1, memory_gb: 2, minutes: 60}}
"""


class Study:
    """One folder with a Slurm, a user's work directory for it, and one without a scheduler."""

    def __init__(self, folder: Path, small: bool, image: Path | None):
        self.folder, self.small, self.slurm = folder, small, Slurm(folder / "slurm")
        self.seen: dict[str, object] = {"small": small, "image": image and image.name}
        # The user's PYTHONPATH would follow into the image, and hide what is installed there.
        inside = f"apptainer exec --no-home --env PYTHONPATH= --bind {folder} {image} python3"
        self.python = inside if image else "/usr/bin/python3"
        self.paths = [self._readable(CHECKOUT, "checkout"), self._readable(sysconfig.get_paths()["purelib"], "site")]

    def _readable(self, path: str | Path, name: str) -> Path:
        """A place where the user may read that folder, which may lie in somebody's home."""
        place = self.folder / name
        place.mkdir(parents=True, exist_ok=True)
        if not any(place.iterdir()):
            subprocess.run(["mount", "--bind", str(path), str(place)], check=True)
        return place

    def become(self, *command: str, **variables: str) -> subprocess.CompletedProcess:
        """A command of the unprivileged user, whose interpreter is the system's."""
        environment = {
            "HOME": str(self.folder / "home"), "LANG": "C.UTF-8", "PYTHONPATH": ":".join(map(str, self.paths)),
            "ASTROSSL_CACHE": str(self.folder / "cache"), "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1",
            "APPTAINER_BIND": os.environ.get("APPTAINER_BIND", ""), **self.slurm.environment,
            "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **variables,
        }  # fmt: skip
        whole = ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", *command]
        return subprocess.run(whole, env=environment, cwd=self.folder / "home", stdout=subprocess.PIPE, text=True)

    def astrossl(self, *arguments: str) -> str:
        done = self.become("/usr/bin/python3", "-m", "hpc_astrossl", *arguments)
        print(done.stdout, end="", flush=True)
        if done.returncode:
            sys.exit(f"astrossl {' '.join(arguments)}: exit {done.returncode}")
        return done.stdout

    def prepare(self, name: str, seed: str = "0") -> Path:
        """What ``astrossl demo`` lays out, and the survey; the recipe may be made smaller."""
        out = self.folder / "home" / name
        fields = "2" if self.small else "4"
        for part in ("jobs", "preprocess", "examples"):
            self.become("mkdir", "-p", str(out))
            self.become("cp", "-r", str(self.paths[0] / part), str(out))
        self.astrossl("simulate", str(out / "survey"), "--fields", fields, "--objects", "700", "--size", "1600",
                      "--seed", seed)  # fmt: skip
        if self.small:
            make_small(out / "jobs/demo.yaml")
        return out

    def disturb(self) -> None:
        """While tasks run: drain a node, and kill one task of the other."""
        self.slurm.wait(lambda: len(self._training()) > 0, 900, "a run trains")
        node = self.slurm.ask("squeue", "--noheader", "--states=running", "--format=%N").split()[0]
        self.slurm.ask("scontrol", "update", f"nodename={node}", "state=drain", "reason=maintenance")
        process = self._training()[0]
        os.kill(process, signal.SIGKILL)
        print(f"drained {node}, killed process {process}", flush=True)
        # In an image every process of the step and the container's starter pass the signal on: it arrives twice.
        self.slurm.wait(lambda: len(set(self._training()) - {process}) > 0, 900, "another run trains")
        other = next(number for number in self._training() if number != process)
        job = variable(other, "SLURM_JOB_ID")
        self.slurm.ask("scancel", "--signal=USR2", job)
        print(f"announced the time limit to job {job}", flush=True)
        self.seen |= {"drained": node, "killed": process, "announced": job}

    def _training(self) -> list[int]:
        """Tasks whose run has an epoch behind it, by their process."""
        begun = any(self.folder.glob("home/slurm/runs/demo/*/metrics.jsonl"))
        return self.slurm.processes(str(self.folder / "home/slurm")) if begun else []

    def run(self) -> bool:
        (self.folder / "site.yaml").write_text(SITE.format(python=self.python, folder=self.folder))
        workdir, began = self.prepare("slurm"), time.monotonic()
        self.astrossl("submit", str(workdir / "jobs/demo.yaml"), "--cluster", str(self.folder / "site.yaml"),
                      "--workdir", str(workdir))  # fmt: skip
        self.disturb()
        self.slurm.settle(3600)
        self.seen["slurm_seconds"] = round(time.monotonic() - began)
        self.astrossl("status", "demo", "--workdir", str(workdir))
        asked = ("-m", "hpc_astrossl", "status", "demo", "--workdir", str(workdir), "--json")
        told = json.loads(self.become("/usr/bin/python3", *asked).stdout)
        self.seen["stages"] = told["stages"]
        self.seen["started_again"] = sum(item["starts"] > 1 for item in told["items"])
        self.seen["user"] = self.slurm.ask("squeue", "--noheader", "--states=all", "--format=%u").split()[0]
        local, began = self.prepare("local"), time.monotonic()
        self.astrossl("submit", str(local / "jobs/demo.yaml"), "--cluster", "local", "--workdir", str(local))
        self.seen["local_seconds"] = round(time.monotonic() - began)
        here, there = results(local), results(workdir)
        self.seen["runs"] = len(here)
        self.seen["same_numbers"] = sum(here[key] == there.get(key) for key in here)
        states = {state for counts in told["stages"].values() for state in counts}
        report = (workdir / "reports/demo/report.html").exists()
        return states <= {"done", "skipped"} and report and len(here) == len(there) == self.seen["same_numbers"] > 0


def results(workdir: Path) -> dict[str, dict]:
    """Metrics and epochs of each run."""
    files = workdir.glob("runs/demo/*/result.json")
    read = {path.parent.name: json.loads(path.read_text()) for path in files}
    return {key: {"metrics": one["metrics"], "epochs": one["epochs"]} for key, one in read.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--small", action="store_true")
    parser.add_argument("--image", type=Path)
    arguments = parser.parse_args()
    folder = arguments.folder.resolve()
    try:
        pwd.getpwnam(USER)
    except KeyError:
        subprocess.run(["useradd", "--no-create-home", USER], check=True)
    (folder / "home").mkdir(parents=True)
    user = pwd.getpwnam(USER)
    os.chown(folder / "home", user.pw_uid, user.pw_gid)
    study = Study(folder, arguments.small, arguments.image and arguments.image.resolve())
    subprocess.run([HERE / "start.sh", folder / "slurm"], check=True)
    try:
        good = study.run()
    finally:
        subprocess.run([HERE / "stop.sh", folder / "slurm"], check=False)
        for place in study.paths:
            subprocess.run(["umount", "--lazy", str(place)], check=False)
    print(json.dumps({"good": good, **study.seen}))
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
