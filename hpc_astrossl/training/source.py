"""What a trained network is applied to: the objects of a store, or the pictures of a folder, a stretch at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hpc_astrossl.errors import InputError
from hpc_astrossl.loading.scaling import FROM_STORE
from hpc_astrossl.specs.making import Making
from hpc_astrossl.specs.run import DataSpec
from hpc_astrossl.store import open_store
from hpc_astrossl.store.reader import STRETCH
from hpc_astrossl.training.parts import PLACE, Share, even
from hpc_astrossl.training.pictures import NOTHING, PictureSource, Wish, evaluated


@dataclass(frozen=True, kw_only=True)
class Takes:
    """The images that a network takes: (height, width, channels), the channels' names, and how they were read.

    ``statistics`` are those of the store that the network was trained on, by which images are scaled; ``making`` is how
    its images were made, None when that is unknown.
    """

    shape: tuple[int, int, int]
    channels: tuple[str, ...]
    data: DataSpec
    statistics: dict[str, Any]
    making: Making | None = None


class StoreSource:
    """Every object of a store that has an image."""

    def __init__(self, path: Path, takes: "Takes", wish: Wish):
        data, statistics = takes.data, takes.statistics
        if wish.given:
            raise InputError(f"{path}: is a store, whose images are made already; --crop and --scale are for pictures")
        if data.scaling in FROM_STORE and not statistics:
            raise InputError(
                f"data.scaling {data.scaling} goes by the statistics of the store that the run was trained on, and its "
                "result.json does not hold them (an older version wrote it); train the run again"
            )
        self.store, self.data, self.statistics = open_store(path), data, statistics
        if self.store.image_shape != takes.shape:
            raise InputError(
                f"{path}: images are {self.store.image_shape} (height, width, channels), the run takes {takes.shape}"
            )
        same_channels(str(path), self.store.info.channels, takes.channels)
        made = self.store.info.making()
        others = made.differences(takes.making) if made and takes.making else []
        if others and not wish.anyway:
            raise InputError(f"{path}: its images were made otherwise than those that the run learnt: "
                             f"{'; '.join(others)}; make a store as the run's was, or add --anyway")  # fmt: skip
        self.rows, self.skips = self.store.members(), wish.unreadable == "skip"
        self.about: dict[str, Any] = {"store": str(path.resolve()), "store_sha256": self.store.identity,
                                      "class_names": list(self.store.info.class_names)}  # fmt: skip
        if others:
            self.about |= {"made": made.record(), "told": {"anyway": True, "otherwise": others}}

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def _places(self) -> tuple[str, ...]:
        """The columns that say where objects are; none in a store that knows of none."""
        ra, count = self.store.table.part, len(self.store)
        stretches = (ra("ra", start, min(start + STRETCH, count)) for start in range(0, count, STRETCH))
        return PLACE if any(np.isfinite(part).any() for part in stretches) else ()

    @property
    def contents(self) -> dict[str, str]:
        """What a table tells of the objects it was made of, beside ``about``."""
        return {}

    def hold(self) -> None:
        """StoreChanged when the store has been replaced or changed since it was opened."""
        self.store.hold()

    def remarks(self) -> list[str]:
        """Nothing is to be said of images that are made already."""
        return []

    def shares(self, size: int) -> list[Share]:
        """The parts to make."""
        return even(len(self.rows), size)

    def again(self) -> bool:
        """Whether other objects are there than before: a store never changes."""
        return False

    def pieces(self, rows: tuple[int, int], engine) -> Iterator[tuple[dict[str, np.ndarray], Iterator[torch.Tensor]]]:
        """(``object_id``, ``label`` and where they are, batches of images as the network takes them), once."""
        some = self.rows[rows[0] : rows[1]]
        first, last = (int(some[0]), int(some[-1]) + 1) if len(some) else (0, 0)
        known = {name: self.store.table.part(name, first, last)[some - first]
                 for name in ("object_id", "label", *self._places)}  # fmt: skip
        yield known, evaluated(self.store, some, self.data, self.statistics, engine)
        self.hold()


def open_source(path: Path, takes: Takes, wish: Wish = NOTHING) -> StoreSource | PictureSource:
    """The store, or the pictures of a folder or table, at ``path``, for a network that takes such images."""
    if (path / "zarr.json").exists():
        return StoreSource(path, takes, wish)
    return PictureSource(path, takes, wish)


def same_channels(where: str, found: tuple[str, ...], trained: tuple[str, ...]) -> None:
    """InputError unless the channels are those of training, in their order; a run that did not note them takes any."""
    if trained and found != trained:
        raise InputError(f"{where}: channels are {', '.join(found)}, the run was trained on {', '.join(trained)}; "
                         "in another order, or other bands, its answers would mean nothing")  # fmt: skip
