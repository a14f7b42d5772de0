"""A loader whose batches are changed on their way out: covered for a control, or turned into a pretext's views."""

from collections.abc import Callable, Iterator
from typing import Any

from hpc_astrossl.loading.loader import Batch

EVALUATION = 0  # the epoch of batches that no training epoch asked for; those count from 1


class MappedLoader:
    """``change(batch, epoch)`` of each batch of a loader; everything else is the loader's own."""

    def __init__(self, loader: Any, change: Callable[[Batch, int], Batch]):
        self._loader, self._change = loader, change

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    @property
    def waited(self) -> float:
        """Seconds spent waiting for batches; may be set to 0."""
        return self._loader.waited

    @waited.setter
    def waited(self, seconds: float) -> None:
        self._loader.waited = seconds

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The loader's batches of an epoch, changed."""
        return (self._change(batch, epoch) for batch in self._loader.epoch(epoch, start))

    def evaluate(self) -> Iterator[Batch]:
        """The loader's batches in order, changed."""
        return (self._change(batch, EVALUATION) for batch in self._loader.evaluate())
