"""Small stores of random pixels, with chunks of a few rows so that a hundred objects have many chunks."""

from pathlib import Path

import numpy as np
import pytest

from hpc_astrossl.store import Store, StoreInfo, create, layout, open_store


def make_store(path: Path, *, rows: int, shape: tuple[int, int, int], dtype: str, chunk_bytes: int = 4096) -> Store:
    """A store of ``rows`` random images of ``shape`` (height, width, channels) without bands or labels."""
    random = np.random.default_rng(rows)
    images = random.integers(0, 256, (rows, *shape)).astype(dtype)
    if dtype == "float32":
        images = (images / 7 - 3).astype(dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(layout, "CHUNK_BYTES", chunk_bytes)
        writer = create(path, shape=images.shape, dtype=np.dtype(dtype), bands=0)
    for start, stop in writer.shards:
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
    )  # fmt: skip
    return open_store(writer.finish(info))


def damage(store: Store) -> None:
    """Flip one byte of the pixels of the first chunk."""
    (shard,) = [path for path in (store.path / "images" / "c").rglob("0") if path.is_file()]
    content = bytearray(shard.read_bytes())
    content[100] ^= 0xFF
    shard.write_bytes(content)
