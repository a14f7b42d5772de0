"""Images in memory that every loader reads as it reads those of a store: the same bytes give the same batch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hpc_astrossl.store.encoded import Encoding
from hpc_astrossl.store.layout import StoreInfo, chunk_rows
from hpc_astrossl.store.reader import Store


class MemoryStore(Store):
    """Images (N, height, width, channels), or encoded rows (N, bytes) with their ``encoding``; ids name the damaged.

    Only what loaders need is there.
    """

    raw_shape, dtype, chunk_rows = (), np.dtype(np.uint8), 0  # in place of the store's own properties
    direct, planes_first, plain = True, False, False

    def __init__(self, path: Path, info: StoreInfo, images: np.ndarray, object_id: Sequence[str],
                 encoding: Encoding | None = None):  # fmt: skip
        self.path, self.info, self.encoding = path, info, encoding
        self._raw, self._ids = images, object_id
        self._shape = encoding.image_shape if encoding else images.shape[1:]
        self.raw_shape, self.dtype = images.shape[1:], images.dtype
        self.chunk_rows = chunk_rows(images.shape, images.dtype)[0]

    def __len__(self) -> int:
        return len(self._raw)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        return self._shape

    @property
    def table(self) -> dict[str, np.ndarray]:
        return {"object_id": np.array(self._ids, dtype=str)}

    def room(self, rows: int) -> np.ndarray:
        return np.empty((rows, *self.raw_shape), dtype=self.dtype)

    def raw_chunk(self, index: int, out: np.ndarray | None = None) -> np.ndarray:
        rows = self._raw[index * self.chunk_rows : (index + 1) * self.chunk_rows]
        if out is None:
            return rows.copy()
        out[: len(rows)] = rows
        return out[: len(rows)]
