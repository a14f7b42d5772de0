"""Notices that a store is replaced or changed while it is read: pixels of one must never meet labels of another.

At each file that is opened a look at the manifest's inode and time suffices; before a result is written, and at the end
of an epoch, the manifest is read and hashed again, and every file is looked at.
"""

import contextlib
import hashlib
import os
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import BinaryIO

from hpc_astrossl import identity, manifest, provenance
from hpc_astrossl.errors import InputError, StoreChanged
from hpc_astrossl.specs.cluster import SCRATCH

NAMED = 16  # digits of its identity in the name of a copy (``staging``)
Mark = tuple[int, int, int, int]  # device, inode, bytes, time of the last change in nanoseconds


def mark(facts: os.stat_result) -> Mark:
    """What tells a file from another of its name, or from itself after a change."""
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


class Seal:
    """A store as it was when it was opened: ``identity``, the manifest's SHA-256, and its files by name."""

    def __init__(self, path: Path):
        self.path, self._manifest = path, path / manifest.MANIFEST
        self._seen = self._stat(self._manifest)
        self.identity = identity.of_store(path)
        self.files = manifest.stats(path)
        self._marks = {name: mark(facts) for name, facts in self.files.items()}
        self._hashed: dict[str, Mark] = {}  # files that were held against the manifest, as they were then

    def look(self, name: str | None = None, file: int | None = None) -> None:
        """StoreChanged when the manifest is another now, or ``file`` (a descriptor) is not the ``name`` there was."""
        seen = self._stat(self._manifest)
        if seen != self._seen:
            self._hold_manifest()
            self._seen = seen  # copied or touched, and the same
        if name in self._marks and mark(os.fstat(file)) != self._marks[name]:
            self._hold_file(name)

    @property
    def remedy(self) -> str:
        """What helps when it is damaged; a copy on a node's disk has its identity in its name."""
        copied = SCRATCH in os.environ and f"-{(self.identity or '?')[:NAMED]}" in self.path.name
        return (
            "remove this copy: the next run makes it anew"
            if copied
            else "make the store again with astrossl preprocess"
        )

    @cached_property
    def listed(self) -> dict[str, dict]:
        """What the manifest lists: file -> {bytes, sha256, …}; StoreChanged when it is another than was opened."""
        self.look()
        found = manifest.read_manifest(self.path)
        self.look()
        return found

    def held(self, name: str) -> bytes:
        """The contents of one of its small files; InputError when they are not what the store was made with."""
        with self._reading(name) as stream:
            data = stream.read()
            self._compare(name, hashlib.sha256(data).hexdigest())
        return data

    def hold_array(self, array: str, numbers: range) -> None:
        """InputError when one of a column's files, of those with chunks of these ``numbers`` along its first axis or
        with none, is not what the store was made with; one that is the same still is not read again."""
        own = self._columns.get(array, {})
        for name in [name for number in (-1, *numbers) for name in own.get(number, ())]:
            with self._reading(name) as stream:
                seen = mark(os.fstat(stream.fileno()))
                if self._hashed.get(name) != seen:
                    self._compare(name, hashlib.file_digest(stream, "sha256").hexdigest())
                    self._hashed[name] = seen

    @cached_property
    def _columns(self) -> dict[str, dict[int, list[str]]]:
        """The files of each column by the number of their chunks along the first axis, -1 where there is none."""
        found: dict[str, dict[int, list[str]]] = {}
        for name in self.listed:
            array, _, rest = name.partition("/")
            if array != "images":
                number = re.match(r"c/(\d+)", rest)
                found.setdefault(array, {}).setdefault(int(number[1]) if number else -1, []).append(name)
        return found

    @contextlib.contextmanager
    def _reading(self, name: str) -> Iterator[BinaryIO]:
        try:
            with (self.path / name).open("rb") as stream:
                yield stream
        except OSError as error:
            self.look()
            raise InputError(f"{self.path / name}: cannot be read ({error.strerror or error})") from None

    def _compare(self, name: str, digest: str) -> None:
        if digest != self.listed.get(name, {}).get("sha256"):
            self.look()
            raise InputError(f"{self.path}: damaged store: {name} is not what the store was made with (SHA-256); "
                             f"bring it back, or {self.remedy}")  # fmt: skip

    def hold(self) -> None:
        """StoreChanged when the manifest is another now, or a file has changed since the store was opened."""
        self._hold_manifest()
        for name, known in self._marks.items():
            if self._stat(self.path / name) != known:
                self._hold_file(name)

    def _hold_manifest(self) -> None:
        if (now := identity.of_store(self.path)) != self.identity:
            words = "is gone or being made anew" if now is None else identity.both(self.identity, now)
            raise StoreChanged(f"{self.path}: was made anew while it was read (its manifest: {words}); nothing was "
                               "written of what was read since; run the same command again")  # fmt: skip

    def _hold_file(self, name: str) -> None:
        """A file that was touched, or put back, is what it was when its hash is that of the manifest."""
        path = self.path / name
        seen, known = self._stat(path), manifest.read_manifest(self.path).get(name, {})
        try:
            same = seen is not None and provenance.sha256(path) == known.get("sha256")
        except OSError:
            same = False
        if not same:
            raise StoreChanged(f"{self.path}: was changed while it was read ({name} is another file now, or gone); "
                               "look at it with astrossl check --deep, then run the same command again")  # fmt: skip
        self._marks[name] = seen

    @staticmethod
    def _stat(path: Path) -> Mark | None:
        try:
            return mark(path.stat())
        except OSError:
            return None
