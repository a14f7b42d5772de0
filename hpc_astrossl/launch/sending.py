"""Arrays on their way to Slurm: noted before sbatch is asked, until the ledger holds their job. None goes twice.

An sbatch that fails or falls silent may have been obeyed. So may one whose caller was killed. The path of the batch
script, which no other array has, tells in Slurm's queue whether the job is there.
"""

import re
import shlex
import time
from collections.abc import Mapping
from dataclasses import replace

from hpc_astrossl.errors import InputError
from hpc_astrossl.launch import client, executors, queue
from hpc_astrossl.launch.answers import Known
from hpc_astrossl.launch.ledger import Entry, Ledger
from hpc_astrossl.launch.notes import GRACE, Note, Notes, namesakes, place

LOOKS = (0, 2, 5, 10)  # seconds before each look into the queue


class Sending:
    """Hands arrays of an experiment to sbatch, and takes up those of earlier calls."""

    def __init__(self, ledger: Ledger):
        self._ledger, self._notes = ledger, Notes(ledger)

    def send(self, parcel: executors.Parcel, entries: list[Entry]) -> list[str]:
        """Hand an array to sbatch and enter its jobs in the ledger; their ids, in the order of the entries.

        InputError when Slurm refuses it, and when it is not known whether it was taken.
        """
        entries = [replace(entry, script=parcel.script) for entry in entries]
        note = Note(script=parcel.script, pickles=parcel.pickles, entries=tuple(entries), time=time.time())
        self._notes.write(note)
        try:
            reply = executors.sbatch(self._ledger.logs / note.script)
        except client.NoAnswer:  # there is no sbatch
            self._notes.drop(note)
            raise
        job, certain = read_id(reply)
        self._refuse_elsewhere(note, reply)
        if job is None or not certain:
            job = self._seek(replace(note, words=reply.words, time=time.time()), reply, said=job)
        return self._adopt(note, job)

    def settle(self, listing: Mapping[str, Known]) -> None:
        """Take up the arrays of earlier calls that are in the queue, forget those that never came into it.

        Waits for those that may still come. InputError when the queue does not answer.
        """
        for note in self._notes.all():
            job = place(note, self._ledger, listing)
            while job is None and note.due():
                time.sleep(min(5.0, note.due() + 0.1))
                job = place(note, self._ledger, queue.states())
            if job is None:  # one answer may be an old one
                job = place(note, self._ledger, queue.states())
            if job is None:
                self._refuse_namesakes(note)
                self._notes.drop(note)
            else:
                self._adopt(note, job)

    def _refuse_namesakes(self, note: Note) -> None:
        """InputError when jobs may be the note's array, which cannot be told from their scripts."""
        if found := namesakes(note, self._ledger, queue.states()):
            raise InputError(
                f"sbatch gave no clear answer ({note.words}), and Slurm has jobs of the name of that array, with other "
                f"scripts than ours: {', '.join(found)}. End them (scancel {' '.join(found)}), or wait for their end; "
                "then run this again. Nothing was sent"
            )

    def _refuse_elsewhere(self, note: Note, reply: client.Reply) -> None:
        """InputError when sbatch says that it gave the array to another cluster, where it cannot be followed."""
        told, here = read_cluster(reply), note.entries[0].cluster
        if told is None:
            return
        job, cluster = told
        if here is not None and re.match(rf"{re.escape(here)}(?![\w-]|\.\w)", cluster, re.IGNORECASE):
            return  # a wrapper may have said more on that line
        if here is None and place(note, self._ledger, queue.states()) is not None:
            return  # this cluster does not tell its name, and has the job
        self._notes.drop(note)
        raise InputError(
            f"sbatch gave the array to another cluster, {cluster}, as job {job}, where it cannot be followed, and "
            f"does nothing; end it with scancel --clusters={shlex.quote(cluster)} {job}, and submit on that cluster"
        )

    def _seek(self, note: Note, reply: client.Reply, *, said: str | None) -> str:
        """The job of an array whose sbatch did not say it clearly; InputError when Slurm has none."""
        unclear = reply.silent or reply.status == 0
        words = reply.words if reply.status else f"no job id in what it printed: {reply.words or 'nothing'}"
        note = replace(note, words=words, reached=unclear and not _unreached(reply))
        self._notes.write(note)
        try:
            for pause in LOOKS if note.reached else LOOKS[:1]:
                time.sleep(pause)
                listing = queue.states()
                job = place(note, self._ledger, listing)
                if job is None and said in {one.partition("_")[0] for one in listing}:
                    job = said  # of a wrapper that hands sbatch a script of its own
                if job is not None:
                    return job
        except InputError as error:
            if unclear or said:
                raise InputError(
                    f"sbatch gave no clear answer ({words}), and the queue cannot be asked whether it took the job "
                    f"({error}). Nothing more was sent. Run this again when Slurm answers: it looks for that job first"
                ) from None
        if note.reached:
            raise InputError(
                f"sbatch gave no clear answer ({words}), and the queue does not hold the job, which may still come. "
                f"Nothing more was sent. Run this again: it looks for that job first, until {GRACE} s have passed"
            )
        self._notes.drop(note)
        raise InputError(f"sbatch {'did not reach Slurm' if unclear else 'refused the job'}: {words}{_hint(words)}")

    def _adopt(self, note: Note, job: str) -> list[str]:
        """The array's tasks find their pickles by its id, and the ledger has its entries."""
        jobs = executors.deliver(note.script, note.pickles, self._ledger.logs, job)
        self._ledger.add([replace(entry, job=one) for entry, one in zip(note.entries, jobs, strict=True)])
        self._notes.strike(note)
        return jobs


def read_id(reply: client.Reply) -> tuple[str | None, bool]:
    """The job id in what sbatch and a site's wrapper round it printed, and whether nothing else could be meant."""
    said = re.findall(r"Submitted batch job (\d+)", reply.out) or re.findall(r"Submitted batch job (\d+)", reply.err)
    if said:
        return said[-1], len(set(said)) == 1 and reply.status == 0
    bare = re.findall(r"^\s*(\d+)(?:;.*)?\s*$", reply.out, re.MULTILINE)  # sbatch --parsable
    if bare and reply.status == 0:
        return bare[-1], len(reply.out.strip().splitlines()) == 1
    return None, False


def read_cluster(reply: client.Reply) -> tuple[str, str] | None:
    """The job and the cluster that took it, where sbatch names one, in its own words or as --parsable has them."""
    said = re.findall(r"Submitted batch job (\d+) on cluster (\S.*?)\s*$", reply.out + "\n" + reply.err, re.MULTILINE)
    said = said or re.findall(r"^\s*(\d+);(\S.*?)\s*$", reply.out, re.MULTILINE)
    return said[-1] if said else None


def _unreached(reply: client.Reply) -> bool:
    """Whether sbatch could not even connect."""
    words = reply.err.lower()
    if re.search("(send|receive|shutdown) failure", words):
        return False  # it connected
    return bool(re.search("unable to contact|connection refused|connect failure|name or service not known", words))


def _hint(words: str) -> str:
    if re.search("max_?submit|job submit limit", words, re.IGNORECASE):
        return (
            ". Each element of an array counts: set max_array in the cluster file below the site's number, and run "
            "this again whenever jobs have ended; what was sent stays"
        )
    if "dependency problem" in words.lower():
        return (
            ". A job that this array waits for has ended and left Slurm's memory meanwhile: run this again; what is "
            "done is not sent again"
        )
    if "Invalid job array specification" in words:
        return (
            ". The array has more elements than this site allows: set max_array in the cluster file to its MaxArraySize"
            " (scontrol show config), or to 1 where it has no arrays"
        )
    return ""
