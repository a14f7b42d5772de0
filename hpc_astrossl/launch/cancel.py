"""End what is queued or running of an experiment; what is done stays, and a later submit goes on from there."""

import os
import signal
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from hpc_astrossl.errors import InputError
from hpc_astrossl.launch import client, gaps, queue
from hpc_astrossl.launch.answers import FINAL, Known, look_up
from hpc_astrossl.launch.ledger import OURS, Entry, Ledger
from hpc_astrossl.launch.notes import Notes, array, orphans, place
from hpc_astrossl.launch.state import Lives

LOOKS = (0, 2, 5)  # seconds before each look whether what was cancelled has gone


def cancel(experiment: str, workdir: Path) -> list[str]:
    """Cancel the experiment's living jobs; their ids, or "process N" for those of this machine.

    So are jobs that the ledger does not know, where Slurm's queue shows that they were sent from this experiment. Local
    tasks of another machine cannot be reached: they are struck from the ledger, so that a submission from here takes
    their runs over. InputError when Slurm does not do it.
    """
    ledger = Ledger(workdir, experiment)
    notes, current = Notes(ledger), ledger.entries()
    ever = any(entry.kind == "slurm" for entry in ledger.entries(cancelled=True))
    needed = bool(notes.all()) or any(entry.kind == "slurm" for entry in current)
    lives = Lives(current, sent=ever or needed, lenient=not needed)
    living = [entry for entry in lives.entries if entry in lives]
    away = {entry.job: where for entry in living if lives.known(entry) is None and (where := lives.elsewhere(entry))}
    if away:
        where = " and ".join(sorted(set(away.values())))
        raise InputError(
            f"{', '.join(sorted(away))}: on {where}. Nothing was cancelled; run this where those jobs were sent from"
        )
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
    ledger.logs.mkdir(OURS, parents=True, exist_ok=True)
    for job in jobs:  # a node on which Slurm does not answer shall not start it again
        gaps.mark(ledger.logs, job, "cancelled")
    failed, left = [], jobs
    for pause in LOOKS:  # scancel fails when one of many has ended meanwhile, and may say that it did what it did not
        for start in range(0, len(left), queue.PORTION):
            reply = client.run(["scancel", *left[start : start + queue.PORTION]])
            if reply.status != 0:
                failed.append(reply.words)
        if not left:
            return
        time.sleep(pause)
        try:
            left = _alive(left)
        except InputError:
            if failed:
                raise
            return  # it said that it did, and nobody says otherwise
    if left:
        said = f"scancel failed: {'; '.join(dict.fromkeys(failed))}" if failed else "scancel said that it ended them"
        raise InputError(f"{said}; still there: {', '.join(left)}. Run this again")


def _alive(jobs: Iterable[str]) -> list[str]:
    """Those of the jobs that Slurm has not begun to end."""
    listing = queue.states()
    dead = {*FINAL, "COMPLETING"}
    return [job for job in jobs if _state(listing, job) not in (None, *dead)]


def _state(listing: Mapping[str, Known], job: str) -> str | None:
    """The state of a job, or of any element of an array that has not ended; None when it is not in the queue."""
    known = look_up(listing, job)
    if known is not None:
        return known.state
    states = [known.state for one, known in listing.items() if array(one) == job]
    return next((state for state in states if state not in FINAL), next(iter(states), None))


def _stop(entry: Entry) -> None:
    """The submitting process ends its children itself when told to; a controller ends its task on an interrupt."""
    try:
        os.kill(entry.pid, signal.SIGTERM if entry.job is None else signal.SIGINT)
    except ProcessLookupError:
        return  # ended meanwhile
