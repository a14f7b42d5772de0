"""A scene: a command, the input it is given, and how what it leaves is read and compared."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.victims import Command

Prints = dict[str, Any]  # of the files of a result, by path: a digest, or what may be compared of it


@dataclass(kw_only=True)
class Scene:
    """``make`` lays out the input in an empty folder; ``command`` is run there; ``prints`` reads what it left.

    ``whole`` reads only what looks finished, whenever it is called: at every moment that must be a part of the truth.
    """

    name: str
    make: Callable[[Path], None]
    command: Callable[[Path, int], Command]  # (folder, attempt)
    prints: Callable[[Path], Prints]
    whole: Callable[[Path], Prints]
    same: str = "byte-identical"
    alone: bool = True  # one process, that needs no launcher of ranks
    share: float = 1.0  # of the plan's kills and signals
    faults: tuple[str, ...] = ("kills", "disks", "twins")  # those that are tried

    def half(self, folder: Path, truth: Prints) -> str | None:
        """Whether something that looks finished is not, in words; an empty folder does not look so."""
        files = {name: value for name, value in self.whole(folder).items() if not name.endswith("/")}
        wrong = {name: value for name, value in files.items() if truth.get(name) != value}
        return f"looks finished and is not: {difference(wrong, truth, only=wrong)}" if wrong else None


def difference(found: Prints, truth: Prints, only: Prints | None = None) -> str:
    """Names of what differs, or of what of ``only`` does."""
    names = sorted(only if only is not None else {*found, *truth})
    return ", ".join(name for name in names if found.get(name) != truth.get(name))[:400]


def digests(folder: Path, *, but: Callable[[str], bool] = lambda name: False) -> Prints:
    """SHA-256 of every file below, by its path, those whose path is ``but`` apart; an empty folder's ends with "/"."""
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        if path.is_file():
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        elif path.is_dir() and not any(path.iterdir()):
            found[f"{name}/"] = ""
    return {name: value for name, value in found.items() if not but(name)}
