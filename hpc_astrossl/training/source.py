"""What a trained network is applied to: the objects of a store, or the pictures of a folder, a stretch at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hpc_astrossl.errors import InputError, StoreChanged
from hpc_astrossl.loading import LoaderSpec, open_loader
from hpc_astrossl.loading.reference import scale
from hpc_astrossl.loading.scaling import FROM_STORE
from hpc_astrossl.specs.run import DataSpec
from hpc_astrossl.store import open_store

COLOURS = ("red", "green", "blue")
PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


@dataclass(frozen=True, kw_only=True)
class Takes:
    """The images that a network takes: (height, width, channels), the channels' names, and how they were read.

    ``statistics`` are those of the store that the network was trained on, by which images are scaled.
    """

    shape: tuple[int, int, int]
    channels: tuple[str, ...]
    data: DataSpec
    statistics: dict[str, Any]


class StoreSource:
    """Every object of a store that has an image."""

    def __init__(self, path: Path, takes: "Takes"):
        data, statistics = takes.data, takes.statistics
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
        self.rows = self.store.usable
        self.about: dict[str, Any] = {"store": str(path.resolve()), "store_sha256": self.store.identity,
                                      "class_names": list(self.store.info.class_names)}  # fmt: skip

    def __len__(self) -> int:
        return len(self.rows)

    def columns(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """``object_id`` and ``label`` of these objects."""
        rows = self.rows[start:stop]
        return {name: self.store.table[name][rows] for name in ("object_id", "label")}

    def hold(self) -> None:
        """StoreChanged when the store has been replaced or changed since it was opened."""
        self.store.hold()

    def batches(self, start: int, stop: int, engine) -> Iterator[torch.Tensor]:
        """Images as the network takes them, in order; chunks are read as they are needed and not kept."""
        spec = LoaderSpec(batch_size=max(self.data.batch_size, 64), scaling=self.data.scaling, flips=False,
                          turns=False, seed=0, resident_mb=0, statistics=self.statistics)  # fmt: skip
        loader = open_loader(self.store, self.rows[start:stop], spec, engine=Alone(), device=engine.device)
        try:
            for batch in loader.evaluate():
                yield batch.images
        finally:
            loader.close()


class Alone:
    """The one rank that makes a part."""

    rank, size = 0, 1


class PictureSource:
    """The pictures of a folder by name; each is cut to its central square and resized to the run's size."""

    def __init__(self, folder: Path, takes: "Takes"):
        shape, data = takes.shape, takes.data
        if not folder.is_dir():
            raise InputError(f"{folder}: neither a store nor a folder of images")
        self.files = sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURES)
        if not self.files:
            raise InputError(f"{folder}: no images in it ({', '.join(PICTURES)})")
        if shape[2] != 3:
            raise InputError(f"{folder}: images have red, green and blue, the run takes {shape[2]} channels; "
                             "give it a store")  # fmt: skip
        same_channels(str(folder), COLOURS, takes.channels)
        if data.scaling in FROM_STORE:
            raise InputError(
                f"{folder}: the run scales by the statistics of its store ({data.scaling}), which need not hold for "
                "pictures; give it a store"
            )
        if shape[0] != shape[1]:
            raise InputError(f"{folder}: pictures are cut to squares, the run takes {shape[0]} × {shape[1]} pixels; "
                             "give it a store")  # fmt: skip
        self.size, self.data, self.folder = shape[0], data, folder
        self._seen = self._marks()
        self.about: dict[str, Any] = {"store": None, "images": str(folder.resolve()), "class_names": []}

    def __len__(self) -> int:
        return len(self.files)

    def columns(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """``object_id``, the names without suffix, and ``label``, −1."""
        names = np.array([file.stem for file in self.files[start:stop]])
        return {"object_id": names, "label": np.full(len(names), -1, dtype=np.int16)}

    def hold(self) -> None:
        """StoreChanged when a picture has come, gone or been replaced since the folder was read."""
        if self._marks() != self._seen:
            raise StoreChanged(
                f"{self.folder}: its pictures have changed while they were read; run the same command again"
            )

    def _marks(self) -> list[tuple]:
        files = sorted(file for file in self.folder.iterdir() if file.suffix.lower() in PICTURES)
        return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]

    def batches(self, start: int, stop: int, engine) -> Iterator[torch.Tensor]:
        """Images as the network takes them, in order."""
        size = self.data.batch_size
        for first in range(start, stop, size):
            files = self.files[first : min(first + size, stop)]
            yield torch.from_numpy(np.stack([self._picture(file) for file in files]))

    def _picture(self, file: Path) -> np.ndarray:
        """One picture, cut and converted (or refused) exactly as ``preprocess`` would."""
        from hpc_astrossl.cutting import rgb  # the readers of tables and FITS come along: only where pictures are

        return scale(rgb.read_object(file, self.size), self.data.scaling).transpose(2, 0, 1)


def open_source(path: Path, takes: Takes) -> StoreSource | PictureSource:
    """The store or the folder of pictures at ``path``, for a network that takes such images."""
    kind = StoreSource if (path / "zarr.json").exists() else PictureSource
    return kind(path, takes)


def same_channels(where: str, found: tuple[str, ...], trained: tuple[str, ...]) -> None:
    """InputError unless the channels are those of training, in their order; a run that did not note them takes any."""
    if trained and found != trained:
        raise InputError(f"{where}: channels are {', '.join(found)}, the run was trained on {', '.join(trained)}; "
                         "in another order, or other bands, its answers would mean nothing")  # fmt: skip
