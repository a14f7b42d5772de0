"""What a trained network is applied to: the objects of a store, or the pictures of a folder, a stretch at a time."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError

from hpc_astrossl.errors import InputError
from hpc_astrossl.loading import LoaderSpec, open_loader
from hpc_astrossl.loading.reference import scale
from hpc_astrossl.loading.scaling import FROM_STORE
from hpc_astrossl.specs.run import DataSpec
from hpc_astrossl.store import open_store

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


class StoreSource:
    """Every object of a store that has an image."""

    def __init__(self, path: Path, shape: tuple[int, int, int], data: DataSpec, statistics: dict[str, Any]):
        if data.scaling in FROM_STORE and not statistics:
            raise InputError(
                f"data.scaling {data.scaling} goes by the statistics of the store that the run was trained on, and its "
                "result.json does not hold them (an older version wrote it); train the run again"
            )
        self.store, self.data, self.statistics = open_store(path), data, statistics
        if self.store.image_shape != shape:
            raise InputError(
                f"{path}: images are {self.store.image_shape} (height, width, channels), the run takes {shape}"
            )
        self.rows = self.store.usable
        self.about: dict[str, Any] = {"store": str(path.resolve()), "class_names": list(self.store.info.class_names)}

    def __len__(self) -> int:
        return len(self.rows)

    def columns(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """``object_id`` and ``label`` of these objects."""
        rows = self.rows[start:stop]
        return {name: self.store.table[name][rows] for name in ("object_id", "label")}

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

    def __init__(self, folder: Path, shape: tuple[int, int, int], data: DataSpec, _statistics: dict[str, Any]):
        if not folder.is_dir():
            raise InputError(f"{folder}: neither a store nor a folder of images")
        self.files = sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURES)
        if not self.files:
            raise InputError(f"{folder}: no images in it ({', '.join(PICTURES)})")
        if shape[2] != 3:
            raise InputError(f"{folder}: images have red, green and blue, the run takes {shape[2]} channels; "
                             "give it a store")  # fmt: skip
        if data.scaling in FROM_STORE:
            raise InputError(
                f"{folder}: the run scales by the statistics of its store ({data.scaling}), which need not hold for "
                "pictures; give it a store"
            )
        self.size, self.data = shape[:2], data
        self.about: dict[str, Any] = {"store": None, "images": str(folder.resolve()), "class_names": []}

    def __len__(self) -> int:
        return len(self.files)

    def columns(self, start: int, stop: int) -> dict[str, np.ndarray]:
        """``object_id``, the names without suffix, and ``label``, −1."""
        names = np.array([file.stem for file in self.files[start:stop]])
        return {"object_id": names, "label": np.full(len(names), -1, dtype=np.int16)}

    def batches(self, start: int, stop: int, engine) -> Iterator[torch.Tensor]:
        """Images as the network takes them, in order."""
        size = self.data.batch_size
        for first in range(start, stop, size):
            files = self.files[first : min(first + size, stop)]
            yield torch.from_numpy(np.stack([self._picture(file) for file in files]))

    def _picture(self, file: Path) -> np.ndarray:
        try:
            with Image.open(file) as opened:
                image = opened.convert("RGB")
        except (UnidentifiedImageError, OSError) as error:
            raise InputError(f"{file}: cannot be read as an image ({error})") from None
        side = min(image.size)
        left, top = (image.width - side) // 2, (image.height - side) // 2
        height, width = self.size
        square = image.crop((left, top, left + side, top + side)).resize((width, height), Image.Resampling.LANCZOS)
        return scale(np.asarray(square), self.data.scaling).transpose(2, 0, 1)


def open_source(
    path: Path, shape: tuple[int, int, int], data: DataSpec, statistics: dict[str, Any]
) -> StoreSource | PictureSource:
    """The store or the folder of pictures at ``path``, for a network that takes images of ``shape``.

    ``statistics`` are those of the store that the network was trained on.
    """
    kind = StoreSource if (path / "zarr.json").exists() else PictureSource
    return kind(path, shape, data, statistics)
