"""Arrays on their way to Slurm, noted before sbatch is asked until the ledger holds their job, and jobs nobody noted.

The path of the batch script, which no other array has, tells in Slurm's queue whether the job is there.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from hpc_astrossl import config
from hpc_astrossl.errors import InputError
from hpc_astrossl.files import write_aside
from hpc_astrossl.launch.answers import FINAL, Known
from hpc_astrossl.launch.ledger import OURS, Entry, Ledger

GRACE = 60  # seconds in which a job may still come into the queue after an sbatch that was not answered


@dataclass(frozen=True, kw_only=True)
class Note:
    """An array that was handed to sbatch: its parcel, what it makes, when, and how sbatch ended as far as is known."""

    script: str
    pickles: tuple[str, ...]
    entries: tuple[Entry, ...]
    time: float  # Unix seconds
    words: str = "it was interrupted"
    reached: bool = True  # whether Slurm may have heard of it

    def due(self) -> float:
        """Seconds until the job, if it is not in the queue by then, was never taken."""
        return min(GRACE, max(0.0, self.time + GRACE - time.time())) if self.reached else 0.0  # clocks differ


class Notes:
    """The notes of an experiment, in the folder ``.tasks/sending``."""

    def __init__(self, ledger: Ledger):
        self._ledger, self._folder = ledger, ledger.folder / "sending"

    def all(self) -> list[Note]:
        """What is on its way, oldest first; InputError for a note that is not one."""
        found = []
        for path in self._folder.glob("*.json"):
            try:
                found.append(config.parse(json.loads(path.read_text(encoding="utf-8")), Note, str(path)))
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}: damaged ({error}); remove it when squeue shows no such job") from None
        return sorted(found, key=lambda note: note.time)

    def write(self, note: Note) -> None:
        """Keep a note, or what has become known of it."""
        self._folder.mkdir(OURS, parents=True, exist_ok=True)
        write_aside(self._path(note), json.dumps(asdict(note)).encode())

    def strike(self, note: Note) -> None:
        """The ledger holds its jobs."""
        self._path(note).unlink(missing_ok=True)

    def drop(self, note: Note) -> None:
        """It never came, or was cancelled: without what is removed here a job that comes late does nothing."""
        for name in (*note.pickles, note.script):
            (self._ledger.logs / name).unlink(missing_ok=True)
        self.strike(note)

    def _path(self, note: Note) -> Path:
        return self._folder / f"{Path(note.script).stem.lstrip('.')}.json"


def place(note: Note, ledger: Ledger, listing: Mapping[str, Known]) -> str | None:
    """The id of the note's array in the queue."""
    named = ((job, known.script) for job, known in listing.items())
    return next((array(job) for job, script in named if script is not None and script.name == note.script), None)


def namesakes(note: Note, ledger: Ledger, listing: Mapping[str, Known]) -> list[str]:
    """Living jobs that may be the note's: of its name, with a script that a site's wrapper put in the place of ours."""
    names = {f"{ledger.experiment}.{entry.stage}" for entry in note.entries}
    ours = {array(entry.job) for entry in ledger.entries(cancelled=True) if entry.job}
    found = (
        array(job)
        for job, known in listing.items()
        if known.name in names and known.script is None and known.state not in FINAL
    )
    return [job for job in dict.fromkeys(found) if job not in ours]


def array(job: str) -> str:
    """The number by which an element's array, or a plain job, is known."""
    return job.partition("_")[0]


def orphans(ledger: Ledger, listing: Mapping[str, Known]) -> dict[str, str]:
    """Living jobs that were sent from this experiment's folder and are not counted on: name by id of the array.

    They stand in no ledger, or were cancelled there, and Slurm has not begun to end them. The folder may have another
    path where it was sent from; the scripts' names are its own.
    """
    scripts = {array(entry.job): entry.script for entry in ledger.entries() if entry.job}
    found: dict[str, str] = {}
    for job, known in listing.items():
        script, number = known.script, array(job)
        if known.state in (*FINAL, "COMPLETING") or number in found or script is None:
            continue
        if number in scripts and scripts[number] in (None, script.name):
            continue
        if script.parent == ledger.logs or (ledger.logs / script.name).is_file():
            found[number] = known.name
    return found


def copies(ledger: Ledger, listing: Mapping[str, Known]) -> dict[str, str]:
    """Those of the orphans that are second copies of an array that is counted on: its id by that of the copy.

    A wrapper that repeats an sbatch which was obeyed, and not answered, sends the script twice. The tasks look for
    their pickles by the id of their own job, so that those of the copy do nothing.
    """
    counted = {entry.script: array(entry.job) for entry in ledger.entries() if entry.job and entry.script}
    scripts = {array(job): known.script for job, known in listing.items()}
    return {
        job: counted[script.name]
        for job in orphans(ledger, listing)
        if (script := scripts[job]) is not None and script.name in counted
    }
