"""Where a run or another item has left words: its run folder's log, and the logs of the tasks that made it."""

import re
from pathlib import Path

from hpc_astrossl.errors import InputError, unknown
from hpc_astrossl.launch.ledger import Ledger
from hpc_astrossl.launch.plan import REPORT

COLOUR = re.compile(r"\x1b\[[0-9;:]*m")


def find(name: str, workdir: Path) -> list[Path]:
    """The logs of the one item that the name means, oldest first; InputError when it is none, several or still silent.

    A name is a run id or the beginning of one, a run folder, a store's path, or EXPERIMENT/report.
    """
    known = _items(workdir)
    wanted = name.rstrip("/").removeprefix("runs/")
    names = [key for key in known if key in (wanted, wanted.partition("/")[2])]
    names = names or [key for key in known if key.startswith(wanted)]
    if not names:
        raise unknown("run", name, known) if len(known) <= 20 else _unknown(name, len(known), workdir)
    if len(names) > 1:
        raise InputError(f"{name!r} may be {', '.join(sorted(names)[:10])}; give more of its name")
    found = [path for path in dict.fromkeys(known[names[0]]) if path.is_file()]
    if not found:
        raise InputError(f"{names[0]} has printed nothing yet: astrossl status tells where it is")
    return found


def tail(path: Path, lines: int) -> str:
    """The last lines of a log, without colours and what a progress bar overwrote."""
    text = COLOUR.sub("", path.read_bytes().decode(errors="replace")).removesuffix("\n").split("\n")
    return "\n".join(line.rstrip("\r").rpartition("\r")[2] for line in text[-lines:])


def _items(workdir: Path) -> dict[str, list[Path]]:
    """The possible logs of every item that was submitted or trained, by its name."""
    found: dict[str, list[Path]] = {}
    for folder in sorted(workdir.glob("runs/*")):
        ledger = Ledger(workdir, folder.name)
        for entry in ledger.entries(cancelled=True):
            for key in entry.items:
                name = f"{folder.name}/{REPORT}" if key == REPORT else key
                found.setdefault(name, []).extend([ledger.log_file(entry.job)] if entry.job else [])
        for log in folder.glob("*/log"):
            found.setdefault(log.parent.name, []).insert(0, log)
    return found


def _unknown(name: str, count: int, workdir: Path) -> InputError:
    return InputError(
        f"unknown run {name!r}: none of the {count} in {workdir / 'runs'} begins so; astrossl status names them"
    )
