"""End what is queued or running of an experiment; what is done stays, and a later submit goes on from there."""

import os
import signal
import socket
from collections.abc import Iterable
from pathlib import Path

from hpc_astrossl.errors import InputError
from hpc_astrossl.launch import client, gaps, queue
from hpc_astrossl.launch.answers import FINAL, look_up
from hpc_astrossl.launch.ledger import Entry, Ledger
from hpc_astrossl.launch.notes import Notes, orphans, place
from hpc_astrossl.launch.state import Lives


def cancel(experiment: str, workdir: Path) -> list[str]:
    """Cancel the experiment's living jobs; their ids, or "process N" for those of this machine.

    So are jobs that the ledger does not know, where Slurm's queue shows that they were sent from this experiment. Local
    tasks of another machine cannot be reached: they are struck from the ledger, so that a submission from here takes
    their runs over. InputError when Slurm does not do it.
    """
    ledger = Ledger(workdir, experiment)
    lives, notes = Lives(ledger.entries()), Notes(ledger)
    living = [entry for entry in lives.entries if entry in lives]
    jobs = list(dict.fromkeys(entry.job for entry in living if entry.kind == "slurm"))
    if notes.all():
        with ledger.locked():  # not while they are being sent
            listing = queue.states()
            for note in notes.all():
                jobs += [job] if (job := place(note, ledger, listing)) else []
                notes.drop(note)
    jobs = list(dict.fromkeys([*jobs, *orphans(ledger, lives.slurm)]))
    _end(jobs, ledger)
    here = {entry.pid: entry for entry in living if entry.kind == "local" and entry.host == socket.gethostname()}
    for entry in here.values():
        _stop(entry)
    if living:
        ledger.add([Entry(kind="cancelled")])
    elsewhere = {entry.host for entry in living if entry.kind == "local"} - {socket.gethostname()}
    return [*jobs, *(f"process {pid}" for pid in here), *(f"the claim of {host}" for host in sorted(elsewhere))]


def _end(jobs: Iterable[str], ledger: Ledger) -> None:
    """Have Slurm end those jobs; InputError when it does not, and some of them go on."""
    jobs = list(jobs)
    for job in jobs:  # a node on which Slurm does not answer shall not start it again
        gaps.mark(ledger.logs, job, "cancelled")
    failed = []
    for start in range(0, len(jobs), queue.PORTION):
        reply = client.run(["scancel", *jobs[start : start + queue.PORTION]])
        if reply.status != 0:
            failed.append(reply.words)
    if not failed:
        return
    listing = queue.states()  # scancel also fails when one of many has ended meanwhile
    left = [job for job in jobs if (known := look_up(listing, job)) is not None and known.state not in FINAL]
    ending = [job for job in left if look_up(listing, job).state == "COMPLETING"]
    if len(ending) < len(left):
        alive = [job for job in left if job not in ending]
        raise InputError(f"scancel failed: {'; '.join(failed)}; still there: {', '.join(alive)}. Run this again")


def _stop(entry: Entry) -> None:
    """The submitting process ends its children itself when told to; a controller ends its task on an interrupt."""
    try:
        os.kill(entry.pid, signal.SIGTERM if entry.job is None else signal.SIGINT)
    except ProcessLookupError:
        return  # ended meanwhile
