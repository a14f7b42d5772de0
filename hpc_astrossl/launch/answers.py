"""The rows that squeue and sacct print, read: job ids, lists of array elements, states. Nothing here asks anybody."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

FINAL = {
    "COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "OUT_OF_MEMORY", "BOOT_FAIL", "DEADLINE", "PREEMPTED",
}  # fmt: skip
# Slurm's final states in words; a state that is not here speaks for itself.
WORDS = {
    "TIMEOUT": "it reached its time limit before it could save: raise minutes or signal_delay, then submit again",
    "OUT_OF_MEMORY": "it needed more memory than it was given: raise memory_gb, then submit again",
    "NODE_FAIL": "its node failed: submit again",
    "BOOT_FAIL": "its node did not start: submit again",
    "PREEMPTED": "it was preempted: submit again",
    "DEADLINE": "its deadline passed: submit again",
    "CANCELLED": "it was cancelled, or what it depends on failed",
}
WAITING = {
    "PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD",
    "POWER_UP_NODE", "LAUNCH_FAILED", "RECONFIG_FAIL", "EXPEDITING",
}  # fmt: skip
AT_WORK = {"RUNNING", "SUSPENDED", "STOPPED", "RESIZING", "SIGNALING", "STAGE_OUT"}  # and nobody has ended it
# squeue's compact words, by which a site's wrapper may have its states told.
COMPACT = {
    "PD": "PENDING", "CF": "CONFIGURING", "R": "RUNNING", "S": "SUSPENDED", "CG": "COMPLETING", "CD": "COMPLETED",
    "F": "FAILED", "CA": "CANCELLED", "TO": "TIMEOUT", "NF": "NODE_FAIL", "OOM": "OUT_OF_MEMORY", "BF": "BOOT_FAIL",
    "DL": "DEADLINE", "PR": "PREEMPTED", "RQ": "REQUEUED", "RH": "REQUEUE_HOLD", "RF": "REQUEUE_FED",
    "RD": "RESV_DEL_HOLD", "SE": "SPECIAL_EXIT", "ST": "STOPPED", "SI": "SIGNALING", "SO": "STAGE_OUT",
    "RS": "RESIZING",
}  # fmt: skip
USUAL = {
    "None",
    "Priority",
    "Resources",
    "Dependency",
    "JobArrayTaskLimit",
    "BeginTime",
}  # reasons to wait that pass by themselves
HEADING = ["JOBID", "STATE"]
STATES = {"COMPLETING", *FINAL, *WAITING, *AT_WORK, *COMPACT}
NO_STATE = "…"  # the state of a row that has none
_SCRIPT = re.compile(r"(.*?/\.tasks/logs/\.submission_file_\w+\.sh)(?!\S)")
_JOB = re.compile(r"\s*\d")
_ROW = re.compile(r"\s*\d[\d_+\[\],:%.*-]*\s*\|\s*[A-Z_]*\s*\|")
APART = timedelta(hours=26)  # no two time zones differ by more
UNFINISHED = "…"  # the element of a row whose list of elements was cut short


@dataclass(frozen=True, kw_only=True)
class Known:
    """What squeue says of a job; ``command`` is the path of its batch script, with what a wrapper put behind it."""

    state: str
    reason: str = "None"
    name: str = ""
    command: str = ""

    @property
    def script(self) -> Path | None:
        """The path of a batch script of this program; None for another script. Arguments may follow it."""
        found = _SCRIPT.match(self.command)
        return Path(found[1]) if found else None


def look_up(listing: Mapping[str, Known], job: str) -> Known | None:
    """What the listing says of a job; None when it does not hold it."""
    array = job.partition("_")[0]
    return listing.get(job) or listing.get(f"{array}_{UNFINISHED}")


def elements(row: str) -> Iterator[str]:
    """The job ids of a row: ``1001_[3-5,8%25]`` stands for four elements of the array 1001.

    A site's wrapper may leave out the underscore or the brackets. What is no list of numbers (``1001_*``) may be any
    element.
    """
    whole = re.fullmatch(r"(\d+)(?:_\[?|\[)([^\]%]*)(?:[\]%].*)?", row.strip())
    if whole is None:
        yield row.strip()
        return
    array, given = whole.groups()
    for part in given.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part.strip())
        if match is None:
            yield f"{array}_{UNFINISHED}"
            continue
        first, last, step = int(match[1]), int(match[2] or match[1]), max(1, int(match[3] or 1))
        yield from (f"{array}_{number}" for number in range(first, last + 1, step))


def uncoloured(text: str) -> str:
    """Text without colours and other orders to a terminal; lines stay lines."""
    return re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07]*\x07|[\x00-\x08\x0b-\x1f\x7f\ufeff]", "", text)


def plain(line: str) -> str:
    """A line without colours, and without the blanks at its ends."""
    return uncoloured(line).strip()


def table(text: str) -> dict[str, Known] | None:
    """The rows of squeue's table by job id; None when there is neither a row nor a heading, which is no answer.

    None, too, when a whole row is no job's: others may hide in such. Of a row without a state nothing is known but that
    the job is there.
    """
    rows = _rows(text)
    if not rows or any(len(row) == 5 and not _JOB.match(row[0]) and row[:2] != HEADING for row in rows):
        return None
    rows = [[part.strip() for part in (*row, *[""] * (5 - len(row)))] for row in rows]
    return {
        job: Known(state=COMPACT.get(state, state) or NO_STATE, reason=reason or "None", name=name, command=command)
        for row, state, reason, name, command in rows
        if _JOB.match(row)
        for job in elements(row)
    }


def _rows(text: str) -> list[list[str]]:
    """The cells of each row. A job's name may hold a line break: what follows one that is cut there belongs to it."""
    rows: list[list[str]] = []
    for line in _below_banner([plain(line) for line in text.splitlines()]):
        bars = line.count("|")
        if rows and len(rows[-1]) == 4 and not _ROW.match(line):
            rows[-1] = f"{'|'.join(rows[-1])} {line}".split("|", 4)
        elif bars >= 2:
            rows.append(line.split("|", 4))
    return rows


def _below_banner(lines: list[str]) -> list[str]:
    """The lines without a banner's, which may hold bars; above the heading only what names no state is a banner's."""
    cells = [[cell.strip(' "') for cell in line.split("|")] for line in lines]
    start = next((number for number, row in enumerate(cells) if row[:2] == HEADING), 0)
    return [line for line, row in zip(lines[:start], cells, strict=False) if STATES & {*row}] + lines[start:]


@dataclass(frozen=True, kw_only=True)
class Ended:
    """What sacct keeps of a job: its final state, and when it was sent (in the site's own time), where that is told."""

    state: str
    sent: datetime | None = None

    def may_be(self, sent: datetime | None) -> bool:
        """Whether it may be a job that was sent at that moment (UTC), not long before it."""
        return sent is None or self.sent is None or self.sent > sent - APART


def final_states(text: str) -> dict[str, Ended]:
    """The final states among the rows of sacct (job, state, time), by job id; rows without one say nothing."""
    found: dict[str, Ended] = {}
    for line in map(plain, text.splitlines()):
        row, bar, rest = line.partition("|")
        words, _, sent = rest.partition("|")
        state = (words.split() or [""])[0].rstrip("+")  # "CANCELLED by 1000"
        if bar and state in FINAL and _JOB.match(row):
            found.update(dict.fromkeys(elements(row), Ended(state=state, sent=moment(sent))))
    return found


def moment(text: str) -> datetime | None:
    """A time in ISO's form, without its zone; None for other text ("Unknown")."""
    try:
        return datetime.fromisoformat(text.strip()).replace(tzinfo=None)
    except ValueError:
        return None
