"""What an earlier report left beside its page: figures and projections, by a digest of what they are made from."""

import dataclasses
import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl.files import write_aside


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kept:
    """Records (plain data) in a folder, one a name. A record that is damaged or of another digest is made again."""

    folder: Path

    def get(self, name: str, key: str) -> dict[str, Any] | None:
        """The record of that name, if it was made from the same."""
        try:
            found = json.loads((self.folder / f"{name}.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return found if isinstance(found, dict) and found.get("key") == key else None

    def put(self, name: str, key: str, record: Mapping[str, Any]) -> None:
        """Keep a record in the place of an older one."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_aside(self.folder / f"{name}.json", json.dumps({"key": key, **record}).encode())


def digest(make: Callable, *things: Any) -> str:
    """SHA-256 of a function, this program, its libraries, and things: arrays, records, mappings, plain values."""
    found = hashlib.sha256(_program())
    for part in _parts((make.__module__, make.__qualname__, things)):
        found.update(part)
    return found.hexdigest()


@functools.cache
def _program() -> bytes:
    """The source of the report and the versions of what draws: another program may draw the same data otherwise."""
    source = [path.read_bytes() for path in sorted(Path(__file__).parent.parent.rglob("*.py"))]
    versions = [importlib.metadata.version(name) for name in ("matplotlib", "scikit-learn", "numpy")]
    return hashlib.sha256(b"\0".join([*source, *(version.encode() for version in versions)])).digest()


def _parts(thing: Any) -> Iterator[bytes]:
    if isinstance(thing, np.ndarray):
        yield f"array {thing.dtype} {thing.shape}".encode()
        yield np.ascontiguousarray(thing).tobytes()
    elif dataclasses.is_dataclass(thing):
        yield type(thing).__name__.encode()
        for one in dataclasses.fields(thing):
            yield from _parts((one.name, getattr(thing, one.name)))
    elif isinstance(thing, Mapping):
        yield from _parts(list(thing.items()))
    elif isinstance(thing, list | tuple):
        yield f"{len(thing)} of".encode()
        for one in thing:
            yield from _parts(one)
    else:
        yield f"{type(thing).__name__} {thing!r};".encode()
