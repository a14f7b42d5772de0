"""Small stores of random pixels, with chunks of a few rows so that a hundred objects have many chunks."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import zarr
from PIL import Image

from hpc_astrossl.store import Encoding, Store, StoreInfo, create, encoded, layout, open_store


def make_images(rows: int, shape: tuple[int, int, int], dtype: str) -> np.ndarray:
    """Random images (rows, height, width, channels)."""
    images = np.random.default_rng(rows).integers(0, 256, (rows, *shape)).astype(dtype)
    return (images / 7 - 3).astype(dtype) if dtype == "float32" else images


def make_files(images: np.ndarray, kind: str) -> list[bytes]:
    """RGB images as JPEG or PNG files."""
    files = []
    for image in images:
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, kind, **({"quality": 85} if kind == "jpeg" else {}))
        files.append(stream.getvalue())
    return files


def make_store(path: Path, *, rows: int, shape: tuple[int, int, int], dtype: str, chunk_bytes: int = 4096,
               kind: str | None = None) -> Store:  # fmt: skip
    """A store of ``rows`` random images of ``shape`` (height, width, channels) without bands or labels.

    ``kind`` jpeg or png keeps them encoded.
    """
    images = make_images(rows, shape, dtype)
    encoding = Encoding(format=kind, height=shape[0], width=shape[1]) if kind else None
    files = make_files(images, kind) if kind else []
    stored = (rows, encoded.row_bytes(max(map(len, files)))) if kind else images.shape
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "CHUNK_BYTES", chunk_bytes)
        writer = create(path, shape=stored, dtype=np.dtype(dtype), bands=0, encoding=encoding)
    for start, stop in writer.shards:
        if kind:
            writer.write_encoded(start, files[start:stop])
        else:
            writer.write_images(start, images[start:stop])
    unknown = np.full(rows, np.nan)
    writer.write_table(
        {
            "object_id": np.array([f"object {row}" for row in range(rows)], dtype=object),
            "ra": unknown,
            "dec": unknown,
            "split": np.zeros(rows, dtype=np.uint8),
            "label": np.full(rows, -1, dtype=np.int16),
        }
    )
    info = StoreInfo(
        name="test", survey="none", release="0", bands=(), channels=tuple(f"c{i}" for i in range(shape[2])),
        class_names=("one",), pixel_scale=None, counts={"kept": rows}, recipe={},
        statistics=writer.statistics(np.zeros(rows, dtype=np.uint8)),
    )  # fmt: skip
    return open_store(writer.finish(info))


def damage(store: Store) -> None:
    """Flip one byte of the pixels of the first chunk, as a disk does: the file's time stays what it was."""
    (shard,) = [path for path in (store.path / "images" / "c").rglob("*") if path.is_file()]
    content = bytearray(shard.read_bytes())
    content[100] ^= 0xFF
    times = shard.stat()
    shard.write_bytes(content)
    os.utime(shard, ns=(times.st_atime_ns, times.st_mtime_ns))


def rewrite(store: Store, row: int, file: bytes) -> Store:
    """Put another file into one row of an encoded store."""
    array = zarr.open_group(store.path, mode="r+")["images"]
    array[row] = encoded.pack([file], array.shape[1])[0]
    return open_store(store.path, verify=False)
