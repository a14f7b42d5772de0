"""Checkpoints: written aside with a checksum beside, the last two kept, verified before they are believed.

``torch.load`` does not notice a flipped bit, so each file has its SHA-256 in a file of its own, written last: without
it a checkpoint does not count. A checkpoint stands for a place (epochs finished, steps done of the next one).
"""

import hashlib
import io
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from hpc_astrossl.errors import TrainingError
from hpc_astrossl.files import write_aside

Place = tuple[int, int]  # epochs finished, steps done of the epoch after them

KEPT = 2
COST_SHARE = 0.05  # saving takes at most about this part of the time, however short the epochs are


class Checkpoints:
    """The folder ``checkpoint/`` of a run. Rank 0 writes; every rank may read.

    ``minutes`` is how long an epoch may go on before it is saved in its midst.
    """

    def __init__(self, folder: Path, warn: Callable[[str], None], minutes: float = 10.0):
        self.folder, self.warn, self.minutes = folder, warn, minutes
        self._free_at, self._last = 0.0, time.monotonic()

    def due(self, *, within: bool = False) -> bool:
        """Whether the time since the last save has earned the next one; ``within`` an epoch, ``minutes`` must be over.

        True after the first epoch.
        """
        now = time.monotonic()
        return now >= self._free_at and (not within or now >= self._last + 60 * self.minutes)

    def save(self, place: Place, state: dict[str, Any]) -> None:
        """Write ``state`` (tensors and plain data) as the checkpoint of ``place``; TrainingError when it cannot be."""
        begin = time.monotonic()
        buffer = io.BytesIO()
        torch.save(state, buffer)
        data, path = buffer.getbuffer(), self._path(place)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_aside(path, data)
            write_aside(_checksum(path), hashlib.sha256(data).hexdigest().encode())
            for old in self._places()[:-KEPT]:
                _checksum(self._path(old)).unlink(missing_ok=True)
                self._path(old).unlink(missing_ok=True)
        except OSError as error:
            raise TrainingError(
                f"{path}: checkpoint cannot be written ({error.strerror}), {max(1, len(data) >> 20)} MiB are needed; "
                "make room and run the same command again: it goes on from the checkpoint before"
            ) from None
        self._last = time.monotonic()
        self._free_at = self._last + (self._last - begin) / COST_SHARE

    def newest(self) -> Place | None:
        """Place of the newest checkpoint that is whole; each damaged one is told of and passed over."""
        for place in reversed(self._places()):
            if self._read(place) is not None:
                return place
            self.warn(
                f"warning: {self._path(place)} is damaged (its SHA-256 has changed); going back to the one before"
            )
        return None

    def load(self, place: Place) -> dict[str, Any]:
        """The state saved for ``place``, on the CPU; TrainingError when this reader finds it damaged."""
        data = self._read(place)
        if data is None:
            raise TrainingError(
                f"{self._path(place)}: damaged as read here, whole a moment ago; look at this node's disk"
            )
        try:
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
        except Exception as error:  # whatever a foreign file makes the reader raise is the finding
            raise TrainingError(
                f"{self._path(place)}: not a checkpoint of this program, though its SHA-256 holds; nothing in it was "
                f"run ({str(error).splitlines()[0][:100]}). Remove {self.folder} to begin again"
            ) from None

    def remove(self) -> None:
        """Remove the folder: the run is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _read(self, place: Place) -> bytes | None:
        path = self._path(place)
        try:
            data = path.read_bytes()
            return data if hashlib.sha256(data).hexdigest() == _checksum(path).read_text() else None
        except (OSError, UnicodeDecodeError):
            return None

    def _places(self) -> list[Place]:
        found = (re.fullmatch(r"epoch-(\d+)-step-(\d+)\.pt", path.name) for path in self.folder.glob("epoch-*.pt"))
        places = sorted((int(match[1]), int(match[2])) for match in found if match)
        return [place for place in places if _checksum(self._path(place)).exists()]

    def _path(self, place: Place) -> Path:
        return self.folder / f"epoch-{place[0]:06d}-step-{place[1]:06d}.pt"


def _checksum(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
