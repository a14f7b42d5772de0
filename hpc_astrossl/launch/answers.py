"""The rows that squeue and sacct print, read: job ids, lists of array elements, states. Nothing here asks anybody."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

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
WAITING = {"PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"}
USUAL = {
    "None",
    "Priority",
    "Resources",
    "Dependency",
    "JobArrayTaskLimit",
    "BeginTime",
}  # reasons to wait that pass by themselves
UNFINISHED = "…"  # the element of a row whose list of elements was cut short


@dataclass(frozen=True, kw_only=True)
class Known:
    """What squeue says of a job; ``command`` is the path of its batch script."""

    state: str
    reason: str = "None"
    name: str = ""
    command: str = ""


def look_up(listing: Mapping[str, Known], job: str) -> Known | None:
    """What the listing says of a job; None when it does not hold it."""
    array = job.partition("_")[0]
    return listing.get(job) or listing.get(f"{array}_{UNFINISHED}")


def elements(row: str) -> Iterator[str]:
    """The job ids of a row: ``1001_[3-5,8%25]`` stands for four elements of the array 1001."""
    array, bracket, rest = row.strip().partition("_[")
    if not bracket:
        yield array
        return
    for part in re.split(r"[%\]]", rest)[0].split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+)(?::(\d+))?)?", part.strip())
        if match is None:
            yield f"{array}_{UNFINISHED}"
            continue
        first, last, step = int(match[1]), int(match[2] or match[1]), max(1, int(match[3] or 1))
        yield from (f"{array}_{number}" for number in range(first, last + 1, step))


def table(text: str) -> dict[str, Known] | None:
    """The rows of squeue's table by job id; None when there is neither a row nor a heading, which is no answer."""
    rows = [line.strip().split("|", 4) for line in text.splitlines() if line.count("|") >= 2]
    rows = [[*row, *[""] * (5 - len(row))] for row in rows]
    if not rows:
        return None
    return {
        job: Known(state=state, reason=reason or "None", name=name, command=command)
        for row, state, reason, name, command in rows
        if re.match(r"\d", row) and state
        for job in elements(row)
    }


def final_states(text: str) -> dict[str, str]:
    """The final states among the rows of sacct (job, state), by job id; rows without one say nothing."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        row, bar, words = line.partition("|")
        state = (words.split() or [""])[0].rstrip("+")  # "CANCELLED by 1000"
        if bar and state in FINAL:
            found.update(dict.fromkeys(elements(row), state))
    return found
