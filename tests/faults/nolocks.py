"""Every verb on a file system without locks: it does its work, the same as with them, and leaves no lease behind."""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ingest_survey import Survey
from training_toys import BRIEF, HEAD, make_run, make_store

from faults.scenes import Prints, difference, digests
from faults.trials import Tally
from hpc_astrossl import config, locks, names

NAME = "every verb without flock"
TRIES = 10  # to kill a container while it holds a lease
TESTS = Path(__file__).resolve().parents[1]
RECIPE = f"""\
experiment: toys
pretext: {{store: pre}}
sets:
  toy: {{store: toy}}
schemes: [features-magnitudes]
seeds: [0]
{BRIEF}report: false
"""
RUN = make_run(HEAD, experiment="single")
FOLDER = f"runs/single/{names.resolved(RUN).run_id}"
SIMULATED = str(TESTS.parent / "preprocess/simulated.yaml")
COMMANDS = {
    "preprocess": ["preprocess", SIMULATED, "--source", "survey", "--out", "stores", "--store", "SG"],
    "info": ["info", "stores/SG.zarr", "--json"],
    "check": ["check", "stores/SG.zarr", "--deep"],
    "cutout": ["cutout", "toy", "T0001", "--out", "cut"],
    "train": ["train", "run.yaml"],
    "plan": ["plan", "toys.yaml"],
    "submit": ["submit", "toys.yaml", "--cluster", "local"],
    "status": ["status", "toys"],
    "report": ["report", "toys"],
    "embed": ["embed", FOLDER, "toy", "--out", "e.zarr", "--out", "e.parquet"],
    "predict": ["predict", FOLDER, "toy", "--out", "p.csv"],
    "explore": ["explore", "e.zarr", "--out", "seen", "--map", "pca"],
    "labels merge": ["labels", "merge", "a.csv", "b.csv", "--out", "c.csv"],
    "labels store": ["labels", "store", "c.csv", "--of", "toy", "--out", "labelled.zarr"],
    "classify": ["classify", "e.zarr", "--labels", "c.csv", "--out", "classes.csv"],
    "weights export": ["weights", "export", FOLDER, "mine.safetensors"],
    "weights add": ["weights", "add", "mine.safetensors", "--name", "mine"],
    "cancel": ["cancel", "toys"],
}
MOVED = {"preprocess": (), "train": (), "embed": ("train",), "submit": ()}  # and what they need
SAME = (
    "stores/SG.zarr",
    "e.zarr",
    "e.parquet",
    "p.csv",
    "c.csv",
    "labelled.zarr",
    "mine.safetensors",
    f"{FOLDER}/weights",
)


def lay_out(folder: Path) -> None:
    """A survey, two stores, a run, a study and labels."""
    Survey(folder / "survey", per_field=24).write(bands=False)
    make_store(folder / "toy")
    make_store(folder / "pre", prefix="P", ra=100)
    (folder / "toys.yaml").write_text(RECIPE)
    (folder / "run.yaml").write_text(config.dump(RUN))
    rows = [f"T{row:04d},{('red', 'blue')[row % 2]}" for row in range(48)]
    (folder / "a.csv").write_text("\n".join(["object_id,class", *rows[:40]]) + "\n")
    (folder / "b.csv").write_text("\n".join(["object_id,class", *rows[30:]]) + "\n")


def environment(folder: Path, *, flock: bool) -> dict[str, str]:
    """Of a command, and of all that it starts; where it is refused, leases are short."""
    shim = [] if flock else [str(TESTS / "faults/shim")]
    path = ":".join([*shim, str(TESTS), str(TESTS.parent)])
    return {**os.environ, "PYTHONPATH": path, locks.SILENCE: "2", "ASTROSSL_CACHE": str(folder / "cache"),
            "OMP_NUM_THREADS": "1", "MPLBACKEND": "agg"}  # fmt: skip


def command(folder: Path, verb: str, *, flock: bool = False) -> subprocess.CompletedProcess:
    """Run one verb."""
    return subprocess.run([sys.executable, "-m", "hpc_astrossl", *COMMANDS[verb]], cwd=folder, capture_output=True,
                          text=True, env=environment(folder, flock=flock), timeout=600)  # fmt: skip


def in_container(folder: Path, verb: str, host: str) -> list[str]:
    """The command line of a verb in namespaces of its own: another host name, other process ids."""
    inside = f"hostname {host}; exec {shlex.join([sys.executable, '-m', 'hpc_astrossl', *COMMANDS[verb]])}"
    return ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", inside]


def containers() -> bool:
    """Whether namespaces are allowed here."""
    probe = ["unshare", "--uts", "--pid", "--fork", "--mount-proc", "true"]
    return shutil.which("unshare") is not None and subprocess.run(probe, capture_output=True).returncode == 0


def _leased(folder: Path) -> bool:
    return any(".lease" in name for name in left_behind(folder))


def moved(folder: Path, verb: str) -> str | None:
    """Kill a verb's container while it holds a lease and start it in another; what went wrong, in words.

    One that gave its lease back before it died is started, and killed, again.
    """
    where = {"cwd": folder, "env": environment(folder, flock=False), "text": True}
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    for _ in range(TRIES):
        with subprocess.Popen(in_container(folder, verb, "container-one"), **where, **quiet) as first:
            while first.poll() is None and not _leased(folder):
                time.sleep(0.01)
            early = first.poll() is not None
            first.kill()  # --kill-child ends all of the container
        if early:
            return f"{verb} ended before it was killed"
        if _leased(folder):
            break
    else:
        return f"{verb} was killed too late, {TRIES} times"
    done = subprocess.run(in_container(folder, verb, "container-two"), **where, capture_output=True, timeout=600)
    if done.returncode or "Traceback" in done.stderr:
        return f"{verb} in another container ended with {done.returncode}: {done.stderr[-400:]}"
    left = [name for name in left_behind(folder) if not name.endswith(".partial")]  # another machine's: gone in a day
    return ", ".join(left) or None


def left_behind(folder: Path) -> list[str]:
    """Leases and half files that are there when all has ended."""
    found = (str(path.relative_to(folder)) for path in folder.rglob("*"))
    return [name for name in found if ".lease" in name or name.endswith((".partial", ".beat"))]


def results(folder: Path) -> Prints:
    """What must not depend on locks; of CSVs and Parquet the description names folders, so they are made in one."""
    return {name: value for name, value in digests(folder).items() if name.startswith(SAME) and "manifest" not in name
            and not name.endswith("zarr.json")}  # fmt: skip


def run(work: Path, say: Callable[[str], None] = print) -> Tally:
    """Every verb, with flock and then without, in a folder of the same name."""
    tally, begin = Tally(NAME, "the results with flock; no lease is left"), time.monotonic()
    truth: Prints = {}
    for flock in (True, False):
        folder = work / "here"
        folder.mkdir(parents=True)
        lay_out(folder)
        for verb in COMMANDS:
            done = command(folder, verb, flock=flock)
            fault = None
            if done.returncode or "Traceback" in done.stderr:
                fault = f"{verb} ended with {done.returncode}: {done.stderr[-400:]}"
            if not flock:
                tally.count(verb, fault)
            elif fault:
                raise RuntimeError(f"fails with flock: {fault}")
        if flock:
            truth = results(folder)
            if missing := [name for name in SAME if not any(known.startswith(name) for known in truth)]:
                raise RuntimeError(f"nothing of {missing} was made with flock")
        else:
            found = results(folder)
            other = found != truth and f"another result: {difference(found, truth)}"
            tally.count("results together", other or None)
            tally.count("leases together", ", ".join(left_behind(folder)) or None)
        shutil.rmtree(folder)
    for verb in MOVED if containers() else ():
        folder.mkdir()
        lay_out(folder)
        for before in MOVED[verb]:
            command(folder, before, flock=True)
        tally.count("killed with its container, started in another", moved(folder, verb))
        shutil.rmtree(folder)
    tally.seconds = time.monotonic() - begin
    return tally
