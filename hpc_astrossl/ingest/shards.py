"""Cut images once into a scratch folder, then gather them from there into a store, a whole shard at a time.

How many rows a store has is known only when blank and unreadable images are known. So images are cut first, each
field read once for all stores; then every row is final, and shards can be written in any order and by anyone.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from hpc_astrossl import store
from hpc_astrossl.ingest.cutouts import Source, Unit


class Cutouts:
    """The images of the objects of several stores, cut into files of a scratch folder, a file a unit.

    ``reasons`` says of each object of the catalogue why its image cannot be used, "" if it can.
    """

    def __init__(self, source: Source, size: int, folder: Path, count: int):
        self.source, self._folder = source, folder
        self.shape, self.dtype = (size, size, len(source.channels)), source.dtype
        self.reasons = np.full(count, "", dtype=object)
        self._unit = np.full(count, -1, dtype=np.int64)
        self._index = np.zeros(count, dtype=np.int64)

    def cut(self, units: list[Unit], progress: Callable[[str], None]) -> None:
        """Cut every unit; ``progress`` gets a line after each."""
        for number, unit in enumerate(units):
            shape = (len(unit.rows), *self.shape)
            out = _allocate(self._file(number), self.dtype, shape)
            self.reasons[unit.rows] = self.source.cut(unit, out)
            self._unit[unit.rows], self._index[unit.rows] = number, np.arange(len(unit.rows))
            progress(f"cut {unit.name} ({number + 1} of {len(units)}): {len(unit.rows)} objects")

    def gather(self, rows: np.ndarray) -> np.ndarray:
        """The images of ``rows`` in their order, (len(rows), size, size, channels)."""
        out = np.empty((len(rows), *self.shape), dtype=self.dtype)
        for number in np.unique(self._unit[rows]):
            here = np.flatnonzero(self._unit[rows] == number)
            out[here] = np.load(self._file(number), mmap_mode="r")[self._index[rows[here]]]
        return out

    def _file(self, number: int) -> Path:
        return self._folder / f"{number:06d}.npy"


def _allocate(path: Path, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
    """A new array in a file, its disk space reserved: a full disk is an OSError here, not a bus error later."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=dtype, shape=shape)
    with path.open("r+b") as stream:
        os.posix_fallocate(stream.fileno(), 0, path.stat().st_size)
    return array


def write_store(path: Path, cutouts: Cutouts, rows: np.ndarray, columns: dict[str, np.ndarray],
                info: store.StoreInfo) -> None:  # fmt: skip
    """Write the store at ``path`` from objects ``rows`` (of the catalogue, in the store's order) and their columns."""
    writer = store.create(path, shape=(len(rows), *cutouts.shape), dtype=cutouts.dtype, bands=len(info.bands))
    try:
        for start, stop in writer.shards:
            writer.write_images(start, cutouts.gather(rows[start:stop]))
        writer.write_table(columns)
        writer.finish(info)
    except BaseException:
        writer.discard()
        raise
