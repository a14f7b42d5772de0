"""End what is queued or running of an experiment; what is done stays, and a later submit goes on from there."""

import os
import signal
import socket
import subprocess
from pathlib import Path

from hpc_astrossl.errors import InputError
from hpc_astrossl.launch.ledger import Entry, Ledger
from hpc_astrossl.launch.state import Lives


def cancel(experiment: str, workdir: Path) -> list[str]:
    """Cancel the experiment's living jobs; their ids, or "process N" for those of this machine.

    Local tasks of another machine cannot be reached: they are struck from the ledger, so that a submission from here
    takes their runs over. InputError when scancel fails.
    """
    ledger = Ledger(workdir, experiment)
    lives = Lives(ledger.entries())
    living = [entry for entry in lives.entries if entry in lives]
    jobs = list(dict.fromkeys(entry.job for entry in living if entry.kind == "slurm"))
    if jobs:
        done = subprocess.run(["scancel", *jobs], capture_output=True, text=True)
        if done.returncode:
            raise InputError(f"scancel failed: {' '.join(done.stderr.split())}")
    here = {entry.pid: entry for entry in living if entry.kind == "local" and entry.host == socket.gethostname()}
    for entry in here.values():
        _stop(entry)
    if living:
        ledger.add([Entry(kind="cancelled")])
    elsewhere = {entry.host for entry in living if entry.kind == "local"} - {socket.gethostname()}
    return [*jobs, *(f"process {pid}" for pid in here), *(f"the claim of {host}" for host in sorted(elsewhere))]


def _stop(entry: Entry) -> None:
    """The submitting process ends its children itself when told to; a controller ends its task on an interrupt."""
    try:
        os.kill(entry.pid, signal.SIGTERM if entry.job is None else signal.SIGINT)
    except ProcessLookupError:
        return  # ended meanwhile
