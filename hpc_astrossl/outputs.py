"""The files that a verb writes beside its record. It replaces those that an earlier run of it wrote, and no others.

The record is JSON with ``format`` and ``files``: a SHA-256 by name, relative to the record's folder, null while it is
being written. Every file is made aside first. Then the record claims all names, the files are renamed, and the record
is written once more: whoever is killed in between may run the same command again.
"""

import contextlib
import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hpc_astrossl import files, locks, provenance
from hpc_astrossl.errors import InputError
from hpc_astrossl.terminal import shown

Files = dict[str, str | None]
THUMBNAILS = re.compile(r"thumbnails-[0-9a-f]{12}")


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What ``verb`` writes beside ``record``; ``older`` reads the files of records of before, which have no format."""

    verb: str
    record: Path
    format: str
    older: Callable[[Mapping[str, Any]], Files] = lambda told: {}

    def name(self, path: Path) -> str:
        """How the record calls a file or folder."""
        return os.path.relpath(path.absolute(), self.record.parent.absolute())

    def before(self) -> Files:
        """The files of the earlier run that the record tells of."""
        told = _read(self.record)
        found = told.get("files") if told.get("format") == self.format else None
        known = {name: one if isinstance(one, str) else None for name, one in found.items()} if _is_map(found) else {}
        return {**self.older(told), **known}

    def check(self, paths: Iterable[Path], option: str) -> None:
        """InputError, which names the option, for a file that is there and not ours, or a folder that cannot be
        written."""
        before, told = self.before(), _read(self.record)
        if self.record.exists() and told.get("format") != self.format and not self.older(told):
            raise self._others(self.record, option)
        for path in paths:
            if not os.path.lexists(path):
                folder = next((one for one in path.absolute().parents if one.exists()), Path("/"))
                if not (folder.is_dir() and os.access(folder, os.W_OK)):
                    raise InputError(f"{option}: {folder} is no folder that may be written to; choose another")
                continue
            name = self.name(path)
            if name not in before:
                raise self._others(path, option)
            if before[name] and path.is_file() and before[name] != provenance.sha256(path):
                raise InputError(f"{option}: {path} is not as {self.verb} has written it; give it another name to keep "
                                 "what was changed, or remove it, and run the same command again")  # fmt: skip

    def _others(self, path: Path, option: str) -> InputError:
        for record in sorted(path.parent.glob("*.json")):
            told = _read(record)
            named = told.get("format") == self.format and _is_map(told.get("files")) and path.name in told["files"]
            if named and record != self.record:
                return InputError(f"{option}: {path} belongs to {shown(record.name)} beside it; choose a folder of its "
                                  f"own, or the same name as before, which replaces all of it")  # fmt: skip
        return InputError(
            f"{option}: {path} is there already, and no earlier {self.verb} has made it ({self.record.name} does not "
            "say so); remove it first, or choose another place"
        )

    @contextlib.contextmanager
    def made(self, option: str) -> Iterator["Batch"]:
        """Files to be made aside; what has not been ``put`` in place when the block ends is removed."""
        batch = Batch(outputs=self, option=option)
        try:
            yield batch
        finally:
            batch.remove()

    def forget(self, name: str, sha256: str | None) -> None:
        """Remove what an earlier run wrote in the record's folder: a file that is as it was, a folder of thumbnails."""
        path = self.record.parent / name
        if path.parent != self.record.parent or path.is_symlink():  # a record of others may name anything
            return
        with contextlib.suppress(OSError):
            if path.is_file() and sha256 == provenance.sha256(path):
                path.unlink()
            elif path.is_dir() and THUMBNAILS.fullmatch(name):
                for part in path.glob("[0-9]*.jpg"):
                    part.unlink()
                path.rmdir()


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Files that are being made, by the place they are for, and the folders of some of them."""

    outputs: Outputs
    option: str
    asides: dict[Path, Path] = field(default_factory=dict)
    folders: list[Path] = field(default_factory=list)

    def aside(self, path: Path) -> Path:
        """Where to write a file or a folder that is to be ``path``."""
        files.sweep(path.parent)
        return self.asides.setdefault(path, files.aside_of(path))

    def write(self, path: Path, data: bytes) -> None:
        """A whole file."""
        self.aside(path).write_bytes(data)

    def within(self, path: Path, fill: Callable[[Path], Any]) -> Any:
        """Let ``fill`` make files in a folder that it is given; they are to lie in the folder ``path``."""
        folder = files.aside_of(path)
        self.folders.append(folder)
        folder.mkdir()
        made = fill(folder)
        self.asides.update({path / one.name: one for one in sorted(folder.iterdir())})
        return made

    def sha256(self) -> Files:
        """Of what was made so far, by the record's names; null for a folder."""
        return {self.outputs.name(path): provenance.sha256(aside) if aside.is_file() else None
                for path, aside in self.asides.items()}  # fmt: skip

    def put(self, told: Mapping[str, Any], keep: Iterable[Path] = ()) -> dict[str, Any]:
        """Put all in place, remove what an earlier run made and this one did not, and write the record.

        Returns what it holds. ``keep`` are folders of the earlier run that go on serving.
        """
        outputs, made = self.outputs, self.sha256() | {self.outputs.name(path): None for path in keep}
        lock = outputs.record.with_name(f".{outputs.record.stem}.lock")
        for aside in self.asides.values():
            files.sync(aside)
        with locks.locked(lock):
            try:
                outputs.check(self.asides, self.option)  # once more: another command may have been here since
                return self._put(told, made)
            finally:
                lock.unlink(missing_ok=True)

    def _put(self, told: Mapping[str, Any], made: Files) -> dict[str, Any]:
        outputs, before, head = self.outputs, self.outputs.before(), {"format": self.outputs.format}
        self._record({**head, "unfinished": True, "files": dict.fromkeys([*before, *made])})
        for path, aside in self.asides.items():
            path.parent.mkdir(exist_ok=True)
            if path.is_dir():
                files.remove(path)
            aside.replace(path)
        for name in before.keys() - made.keys():
            outputs.forget(name, before[name])
        whole = {**head, **told, "files": made}
        self._record(whole)
        return whole

    def remove(self) -> None:
        """Remove what was not put in place."""
        for aside in (*self.asides.values(), *self.folders):
            with contextlib.suppress(OSError):
                files.remove(aside)

    def _record(self, told: Mapping[str, Any]) -> None:
        files.write_aside(self.outputs.record, (json.dumps(told, indent=1) + "\n").encode())


def _read(record: Path) -> dict[str, Any]:
    try:
        told = json.loads(record.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return told if isinstance(told, dict) else {}


def _is_map(found: Any) -> bool:
    return isinstance(found, dict)
