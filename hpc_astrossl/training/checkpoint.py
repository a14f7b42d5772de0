"""Checkpoints: written aside with a checksum beside, the last two kept, verified before they are believed.

``torch.load`` does not notice a flipped bit, so each file has its SHA-256 in a file of its own, written last: without
it a checkpoint does not count.
"""

import hashlib
import io
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from hpc_astrossl.errors import TrainingError
from hpc_astrossl.files import write_aside

KEPT = 2
COST_SHARE = 0.05  # saving takes at most about this part of the time, however short the epochs are


class Checkpoints:
    """The folder ``checkpoint/`` of a run. Rank 0 writes; every rank may read."""

    def __init__(self, folder: Path, warn: Callable[[str], None]):
        self.folder, self.warn = folder, warn
        self._free_at = 0.0

    def due(self) -> bool:
        """Whether the time since the last save has earned the next one; True at the first epoch."""
        return time.monotonic() >= self._free_at

    def save(self, epoch: int, state: dict[str, Any]) -> None:
        """Write ``state`` (tensors and plain data) as the checkpoint of ``epoch``; TrainingError when it cannot be."""
        begin = time.monotonic()
        buffer = io.BytesIO()
        torch.save(state, buffer)
        data, path = buffer.getbuffer(), self._path(epoch)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_aside(path, data)
            write_aside(_checksum(path), hashlib.sha256(data).hexdigest().encode())
            for old in self._epochs()[:-KEPT]:
                _checksum(self._path(old)).unlink()
                self._path(old).unlink()
        except OSError as error:
            raise TrainingError(
                f"{path}: checkpoint of epoch {epoch} cannot be written ({error.strerror}), {len(data) >> 20} MiB are "
                "needed; make room and run the same command again: it goes on from the checkpoint before"
            ) from None
        now = time.monotonic()
        self._free_at = now + (now - begin) / COST_SHARE

    def newest(self) -> int | None:
        """Epoch of the newest checkpoint that is whole; each damaged one is told of and passed over."""
        for epoch in reversed(self._epochs()):
            path = self._path(epoch)
            if hashlib.sha256(path.read_bytes()).hexdigest() == _checksum(path).read_text():
                return epoch
            self.warn(f"warning: {path} is damaged (its SHA-256 has changed); going back to the one before")
        return None

    def load(self, epoch: int) -> dict[str, Any]:
        """The state saved for ``epoch``, on the CPU."""
        return torch.load(self._path(epoch), map_location="cpu", weights_only=True)

    def remove(self) -> None:
        """Remove the folder: the run is done."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _epochs(self) -> list[int]:
        return sorted(int(path.stem[6:]) for path in self.folder.glob("epoch-*.pt") if _checksum(path).exists())

    def _path(self, epoch: int) -> Path:
        return self.folder / f"epoch-{epoch:06d}.pt"


def _checksum(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")
