"""Only runs that belong together are averaged: those of the store and the first weights that lie there today.

Where those do not lie there any more, it is those of the newest run. The others are named, and left out.
"""

from collections.abc import Iterable
from pathlib import Path

from hpc_astrossl.identity import UNKNOWN, Ground, Made, both
from hpc_astrossl.report.base.records import Problem, Run

Name = tuple[str, str]  # ("store", its path) or ("weights", their name)
AGAIN = "left out; astrossl submit --remake makes it again"
MOVE = "left out; move its folder away, and astrossl submit makes it again"  # where nothing says that it is out of date


def without_outdated(runs: list[Run], folder: Path, problems: list[Problem]) -> list[Run]:
    """The runs that are of what lies in the work directory of ``folder`` now, and alike among themselves."""
    place, kept = folder.resolve(), runs
    if len(place.parents) > 1 and place.parent.name == "runs":
        ground, kept = Ground(place.parents[1], place.name), []
        for run in runs:
            if reason := ground.difference(ground.run(run.folder.name) or Made.of({})):
                problems.append(Problem(name=run.run_id, reason=f"out of date: it {reason}; {AGAIN}"))
            else:
                kept.append(run)
    return _alike(kept, problems)


def _alike(runs: list[Run], problems: list[Problem]) -> list[Run]:
    """Those that agree with the newest on every store and all weights that they share with it by name."""
    chosen = _newest(runs)
    alike = []
    for run in runs:
        other = next((name for name, digest in run.made_from.items() if digest != chosen[name]), None)
        if other is None:
            alike.append(run)
            continue
        digest = run.made_from[other]
        newer = f"another one than of newer runs ({both(digest, chosen[other])})"
        why = newer if digest else f"{UNKNOWN}, newer runs since"
        problems.append(Problem(name=run.run_id, reason=f"its {' '.join(other)}: {why}; {MOVE}"))
    return alike


def _newest(runs: Iterable[Run]) -> dict[Name, str | None]:
    """Of each store and set of weights, what the newest run that kept it was made from."""
    chosen: dict[Name, str | None] = {}
    for run in sorted(runs, key=lambda run: (run.date, run.run_id)):
        for name, digest in run.made_from.items():
            chosen[name] = digest or chosen.get(name)
    return chosen


def sameness(runs: Iterable[Run]) -> str:
    """What runs of one set, scheme and training size share, in words; true because ``without_outdated`` made it so."""
    unknown = sum(not run.certain for run in runs)
    same = "Runs of one set, scheme and training size differ in nothing but their seed"
    if not unknown:
        return f"{same}: their stores and first weights are the same by SHA-256."
    return (f"{same}, as far as is known: {unknown} were {UNKNOWN}, and whether their stores and first weights are the "
            "same cannot be told.")  # fmt: skip
