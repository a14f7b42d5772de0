"""Features on disk, shared by runs: what the same frozen convolutions make of the same images is computed once.

A folder ``WORKDIR/features/<key>/`` holds the features of one (store, weights, scaling, pooling, precision) in
segments, each an ``.npz`` of rows and values that appears whole and carries checksums. The key is a hash of
contents, so that a store or weights that change leave the old features unused, not wrong. Whoever misses rows
computes them and adds a segment: two writers at once do some work twice, and both results are equal.
"""

import contextlib
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl import locks, npz
from hpc_astrossl.files import write_aside
from hpc_astrossl.store import Store
from hpc_astrossl.training.watch import Stop

SEGMENT = 4096  # rows: what is lost at most when the encoding is interrupted


def store_digest(store: Store) -> str:
    """SHA-256 of what the features of a store's rows depend on: its metadata and the files of its images."""
    found = hashlib.sha256()
    for path in [store.path / "zarr.json", *sorted(p for p in (store.path / "images").rglob("*") if p.is_file())]:
        found.update(str(path.relative_to(store.path)).encode())
        with path.open("rb") as stream:
            found.update(hashlib.file_digest(stream, "sha256").digest())
    return found.hexdigest()


class FeatureCache:
    """Features of the rows of one store by one set of frozen convolutions, on disk.

    ``about`` is all that they depend on (plain data); its hash names the folder. ``warn`` is told when the folder
    cannot be written: then features are computed and not kept.
    """

    def __init__(self, root: Path, about: dict[str, Any], warn: Callable[[str], None]):
        self.about, self.warn = about, warn
        text = json.dumps(about, sort_keys=True)
        self.folder = root / hashlib.sha256(text.encode()).hexdigest()[:16]

    @contextlib.contextmanager
    def writing(self, stop: Stop) -> Iterator[None]:
        """Have the folder for oneself: others wait, and then find what they need.

        A request to ``stop`` ends the waiting, without the lock.
        """
        with contextlib.ExitStack() as stack:
            try:
                self._put("about.json", (json.dumps(self.about, indent=1) + "\n").encode())
                lock = locks.locked(self.folder / ".lock", stop=lambda: bool(stop.name))
                stack.enter_context(lock)
            except locks.Held:
                pass
            except OSError as error:
                self.warn(f"warning: {self.folder}: no lock here ({error.strerror}); features may be computed twice")
            yield

    def _put(self, name: str, data: bytes | memoryview) -> None:
        """Let a file appear whole, whoever else writes it at the same time."""
        self.folder.mkdir(parents=True, exist_ok=True)
        write_aside(self.folder / name, data)

    def read(self, rows: np.ndarray, view: int) -> tuple[np.ndarray, np.ndarray | None]:
        """(found bool (N,), values (N, D) float32) of ``rows``, ascending; values of rows not found are undefined.

        A damaged segment counts as missing, and is told of.
        """
        found, values = np.zeros(len(rows), dtype=bool), None
        for path in sorted(self.folder.glob(f"view{view}-*.npz")):
            segment = self._segment(path)
            if segment is None:
                continue
            here, which = np.intersect1d(rows, segment[0], assume_unique=True, return_indices=True)[1:]
            if values is None:
                values = np.empty((len(rows), segment[1].shape[1]), dtype=np.float32)
            values[here], found[here] = segment[1][which], True
        return found, values

    def write(self, rows: np.ndarray, values: np.ndarray, view: int) -> bool:
        """Keep the values (N, D) of ``rows``; False, and a warning, where nothing can be written."""
        buffer = io.BytesIO()
        np.savez(buffer, rows=rows, values=values)
        name = f"view{view}-{rows[0]:09d}-{zlib.crc32(rows.tobytes()):08x}.npz"
        try:
            self._put(name, buffer.getbuffer())
        except OSError as error:
            self.warn(f"warning: {self.folder / name}: features cannot be kept ({error.strerror}); going on without")
            return False
        return True

    def _segment(self, path: Path) -> tuple[np.ndarray, np.ndarray] | None:
        try:
            # The archive's CRC-32 is checked in reading.
            with npz.opened(path) as arrays:
                rows, values = arrays["rows"], arrays["values"]
            if rows.ndim != 1 or values.ndim != 2 or len(rows) != len(values):
                raise ValueError(f"rows {rows.shape} and values {values.shape} do not go together")
            return rows, values
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
            self.warn(f"warning: {path}: damaged ({error}); its features are computed again")
            return None
