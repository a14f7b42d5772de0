"""A study on a real Slurm whose commands fail, stall or lie at random, on the login node and on the nodes.

Whoever submits does what people do: submits, looks, submits again, until all is done; now and then a task is killed.
The numbers are then those of the same study without Slurm, and at no moment had Slurm two living jobs for one run.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path

from launch_support import astrossl
from slurm_support import PATH, PROGRAMS, Slurm, site
from training_toys import make_store

from faults.trials import Tally

NAME = "a study on a Slurm that fails, stalls and lies"
SECONDS = 600  # as long new rounds begin
ROUND = 1200  # seconds in which a round must end
RECIPE = """\
experiment: toys
sets:
  toy: {store: stores/toy.zarr}
schemes: [scratch]
seeds: [0, 1, 2, 3]
overrides:
  all:
    data: {batch_size: 8}
    model: {hidden: 16}
    training: {patience: null}
    phases:
      - {trains: head, optimizer: adam, learning_rate: 1e-3, epochs: 8}
report: false
"""
# Two calls of three are obeyed and answered. Of the rest a part is obeyed all the same, a part is not. An old answer is
# one of the last five minutes, as a site's wrapper keeps it (launch/state.py: KEPT).
SHIM = """\
#!/bin/bash
cd {folder}
number=$(flock calls.lock bash -c 'n=$(($(cat calls 2> /dev/null) + 1)); echo $n > calls; echo $n')
cd - > /dev/null
note() {{ echo "{name} $how" >> {folder}/what; }}
RANDOM=$(({seed} + number * 7919))
: $RANDOM
asks= kept={folder}/kept.{name}.$(echo "$*" | md5sum | cut -c 1-16)
case "{name} $1" in squeue*|sinfo*|sacct*|"scontrol show") asks=1 ;; esac
case $((RANDOM % 20)) in
    0) how="fails unheard"; echo "slurm error: Unable to contact slurm controller (connect failure)" >&2; status=1 ;;
    1) how="fails after it obeyed"; {real} "$@" > /dev/null 2>&1
       echo "slurm error: Socket timed out on send/recv operation" >&2; status=1 ;;
    2) how="stalls unheard"; note; sleep 20; exit 1 ;;
    3) how="stalls after it obeyed"; note; {real} "$@" > /dev/null 2>&1; sleep 20; exit 0 ;;
    4) how="lies: nothing, exit 0"; {real} "$@" > /dev/null 2>&1; status=0 ;;
    5) how="lies: half of it, after a banner"; echo "Your job 17 of 500. Welcome"
       {real} "$@" > {folder}/out.$$ 2> /dev/null
       head -c $(($(stat -c %s {folder}/out.$$) / 2)) {folder}/out.$$; rm -f {folder}/out.$$; status=0 ;;
    6|7) [ -n "$asks" ] && [ -n "$(find "$kept" -mmin -5 2> /dev/null)" ] || exec {real} "$@"
       how="lies: an old answer"; cat "$kept"; status=0 ;;
    *) [ -n "$asks" ] || exec {real} "$@"
       {real} "$@" > "$kept.$$"; status=$?
       cat "$kept.$$"
       if [ $status = 0 ]; then mv "$kept.$$" "$kept"; else rm "$kept.$$"; fi
       exit $status ;;
esac
note
exit $status
"""


def there() -> bool:
    """Whether this machine has a Slurm to start."""
    return all(shutil.which(name, path=PATH) for name in PROGRAMS)


def run(folder: Path, *, seed: int, seconds: float = SECONDS) -> Tally:
    """Rounds of the study until the time is over; each is a point, and so is each call that was tampered with."""
    tally, begin = Tally(NAME, "the numbers of a run without Slurm; one living job a run"), time.monotonic()
    here = Path(__file__).resolve().parents[1] / "slurm"
    folder.mkdir(parents=True)
    truth = _results(_alone(folder / "alone"))
    subprocess.run([here / "start.sh", folder / "slurm"], check=True, stdout=subprocess.DEVNULL)
    try:
        begin = time.monotonic()
        while not tally.tried or time.monotonic() - begin < seconds:
            one = _Round(folder / f"round{sum(tally.tried.values())}", Slurm(folder / "slurm"), seed)
            tally.count("rounds", one.play(truth))
            seed += 1
            tally.events += one.tampered
    finally:
        subprocess.run([here / "stop.sh", folder / "slurm"], check=False)
    tally.seconds = time.monotonic() - begin
    return tally


def _alone(workdir: Path) -> Path:
    """The study on this machine, without Slurm."""
    _lay_out(workdir)
    done = astrossl("submit", "toys.yaml", "--cluster", "local", cwd=workdir)
    assert done.returncode == 0, done.stderr
    return workdir


def _lay_out(workdir: Path) -> None:
    make_store(workdir / "stores/toy.zarr")
    (workdir / "toys.yaml").write_text(RECIPE)


def _results(workdir: Path) -> dict[str, dict]:
    read = {path.parent.name: json.loads(path.read_text()) for path in workdir.glob("runs/toys/*/result.json")}
    return {key: {"metrics": one["metrics"], "epochs": one["epochs"]} for key, one in read.items()}


class _Round:
    """One study from its first submission to its last result."""

    def __init__(self, workdir: Path, slurm: Slurm, seed: int):
        self.workdir, self.slurm, self.random, self.faults = workdir, slurm, random.Random(seed), []
        self.tampered = 0  # calls that were not simply obeyed and answered
        _lay_out(workdir)
        site(workdir, parallel=3, resources={"all": {"cpus": 1, "memory_gb": 1, "minutes": 30}})
        self.bin = workdir / "bin"
        self.bin.mkdir()
        for name in ("squeue", "sacct", "scontrol", "sbatch", "scancel", "sinfo"):
            real = shutil.which(name, path=PATH)
            if real is not None:
                text = SHIM.format(name=name, real=real, folder=self.bin, seed=seed * 1000)
                (self.bin / name).write_text(text)
                (self.bin / name).chmod(0o755)

    def play(self, truth: dict[str, dict]) -> str | None:
        """What was lost, in words."""
        end = time.monotonic() + ROUND
        while _results(self.workdir).keys() != truth.keys() and not self.faults:
            if time.monotonic() > end:
                return f"not done in {ROUND} s: {self._command('status', 'toys').stdout[-600:]} [{self.workdir}]"
            self._command("submit", "toys.yaml", "--cluster", "site.yaml")
            self._look()
            for _ in range(self.random.randrange(1, 6)):
                time.sleep(2)
                self._no_twins()
            if self.random.random() < 0.2:
                self._kill()
        made = _results(self.workdir)
        wrong = [key for key in truth if made.get(key) != truth[key]]
        if wrong and not self.faults:
            self.faults.append(f"other numbers: {', '.join(wrong)}")
        self.slurm.ask("scancel", "--me")
        self.slurm.settle()
        self.tampered = len((self.bin / "what").read_text().splitlines())
        if not self.faults:
            shutil.rmtree(self.workdir, ignore_errors=True)
        return f"{'; '.join(self.faults)} [{self.workdir}]" if self.faults else None

    def _command(self, *arguments: str) -> subprocess.CompletedProcess:
        """A command of the study among the shims: it does its work, or says in words why not."""
        variables = {**self.slurm.environment, "PATH": f"{self.bin}:{PATH}", "ASTROSSL_SLURM_PATIENCE": "6"}
        done = astrossl(*arguments, cwd=self.workdir, **variables)
        if done.returncode not in (0, 2) or "Traceback" in done.stderr:
            self.faults.append(f"astrossl {arguments[0]}: exit {done.returncode}: {done.stderr[-400:]}")
        return done

    def _look(self) -> None:
        """status never says of a living job that it has failed."""
        before = self._living()
        told = self._command("status", "toys", "--json")
        if told.returncode:
            return
        failed = {item["job"] for item in json.loads(told.stdout)["items"] if item["state"] in ("failed", "new")}
        if wrong := failed & before & self._living():
            self.faults.append(f"status calls living jobs failed: {', '.join(sorted(wrong))}")

    def _living(self) -> set[str]:
        return {job for job, state in self.slurm.jobs().items() if state in ("PENDING", "RUNNING", "SUSPENDED")}

    def _no_twins(self) -> None:
        """No run has two living jobs, by the ledger and by the notes of what is on its way."""
        tasks = self.workdir / "runs/toys/.tasks"
        lines = (tasks / "jobs.jsonl").read_text().splitlines() if (tasks / "jobs.jsonl").exists() else []
        living, held = self._living(), {}
        for entry in map(json.loads, lines):
            for item in entry["items"]:
                if entry["job"] in living:
                    held.setdefault(item, set()).add(entry["job"])
        twice = {item: jobs for item, jobs in held.items() if len(jobs) > 1}
        scripts = self.slurm.ask("squeue", "--noheader", "--states=PD,R", "--format=%F|%o").splitlines()
        ours = {line.split("|")[0] for line in scripts if f"|{self.workdir}/" in line}
        known = {json.loads(line)["job"].partition("_")[0] for line in lines}
        waiting = {json.loads(path.read_text())["script"] for path in (tasks / "sending").glob("*.json")}
        strange = {line for line in scripts if line.split("|")[0] in ours - known
                   and line.rpartition("/")[2] not in waiting}  # fmt: skip
        if twice or strange:
            self.faults.append(f"sent twice: {twice or strange}")

    def _kill(self) -> None:
        with suppress(IndexError, ProcessLookupError):
            os.kill(self.random.choice(self.slurm.processes(str(self.workdir))), signal.SIGKILL)
