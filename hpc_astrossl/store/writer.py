"""Write a store: whole shards, one owner each, in a folder beside the final one that is renamed when complete."""

import os
import shutil
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from hpc_astrossl.errors import InputError
from hpc_astrossl.store.layout import TABLE, TABLE_CHUNK, StoreInfo, chunk_rows

PARTIAL = ".partial"


class StoreWriter:
    """A store being written. ``finish`` makes it appear under its name; until then readers find nothing there."""

    def __init__(self, path: Path, group: zarr.Group, arrays: dict[str, zarr.Array], rows: int):
        self.path, self.rows = path, rows
        self.shard = arrays["images"].shards[0]
        self._group, self._arrays = group, arrays  # opened anew, an array would skip empty chunks again

    @property
    def shards(self) -> list[tuple[int, int]]:
        """Row ranges (start, stop) of the shards, in order."""
        return [(start, min(start + self.shard, self.rows)) for start in range(0, self.rows, self.shard)]

    def write_images(self, start: int, images: np.ndarray) -> None:
        """Write one whole shard of images, (rows, height, width, channels), beginning at row ``start``."""
        stop = start + len(images)
        if (start, stop) not in self.shards:
            raise ValueError(f"rows {start}..{stop} are not a whole shard; shards are {self.shards}")
        self._arrays["images"][start:stop] = images

    def write_table(self, columns: dict[str, np.ndarray]) -> None:
        """Write the columns of ``layout.TABLE`` (object_id, ra, dec, split, label, magnitudes, magnitude_errors)."""
        for name, values in columns.items():
            if len(values) != self.rows:
                raise ValueError(f"column {name} has {len(values)} rows, the store {self.rows}")
            self._arrays[name][...] = values

    def finish(self, info: StoreInfo) -> Path:
        """Write the attributes, sync, and move the store to its name, replacing an older one. Returns the path."""
        self._group.attrs.put(info.attributes())
        partial = _partial(self.path)
        _sync(partial)
        if self.path.exists():
            shutil.rmtree(self.path)
        partial.rename(self.path)
        _sync_folder(self.path.parent)
        return self.path

    def discard(self) -> None:
        """Remove what was written, when it will not be finished."""
        shutil.rmtree(_partial(self.path), ignore_errors=True)


def create(path: Path, *, shape: tuple[int, ...], dtype: np.dtype, bands: int) -> StoreWriter:
    """Begin a store of images of ``shape`` (N, height, width, channels) with ``bands`` magnitudes an object.

    What an earlier, unfinished attempt left is removed. InputError when N is 0 or the folder cannot be written.
    """
    path, dtype = Path(path), np.dtype(dtype)
    if shape[0] == 0:
        raise InputError(f"{path}: no object is left to store; the counts by reason above say which filter took them")
    partial = _partial(path)
    try:
        partial.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        group = zarr.create_group(partial, zarr_format=3)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    chunk, shard = chunk_rows(shape, dtype)
    # Every inner chunk carries its own checksum; an all-zero chunk is written, so that a missing one is a fault.
    options = {"compressors": [ZstdCodec(level=1), Crc32cCodec()], "config": {"write_empty_chunks": True}}
    tail = shape[1:]
    arrays = {
        "images": group.create_array(
            "images", shape=shape, dtype=dtype, chunks=(chunk, *tail), shards=(shard, *tail), **options
        )
    }
    rows = min(shape[0], TABLE_CHUNK)
    for name, (kind, per_band) in TABLE.items():
        if per_band and not bands:
            continue
        tail = (bands,) if per_band else ()
        arrays[name] = group.create_array(name, shape=(shape[0], *tail), chunks=(rows, *tail), dtype=kind, **options)
    return StoreWriter(path, group, arrays, shape[0])


def _partial(path: Path) -> Path:
    return path.with_name(path.name + PARTIAL)


def _sync(folder: Path) -> None:
    """fsync every file and folder below: Zarr never does, and a crash would leave empty shards."""
    for root, _, files in os.walk(folder):
        for name in files:
            with (Path(root) / name).open("rb") as stream:
                os.fsync(stream.fileno())
        _sync_folder(Path(root))


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
