"""Whole chunks of the images, begun ahead and read into memory that is used again.

TensorStore reads them where it is installed: it decodes beside Python, and costs a tenth of zarr-python for each chunk
(docs/loading.md). zarr-python is the specification, and what reads where TensorStore is not.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import zarr

try:
    import tensorstore
except ImportError:
    tensorstore = None

Waiting = Callable[[], np.ndarray]  # gives what was begun, once
READER = "zarr-python" if tensorstore is None else "tensorstore"
THREADS = max(1, min(4, len(os.sched_getaffinity(0))))  # of the decoders; ranks of a node share its cores


class Blocks:
    """Reads stretches of rows of one array. Errors are those of the library, raised when the result is asked for."""

    def __init__(self, path: Path, array: zarr.Array):
        self._array, self._fast = array, None
        if tensorstore is not None:
            limits = {"data_copy_concurrency": {"limit": THREADS}, "cache_pool": {"total_bytes_limit": 0}}
            spec = {"driver": "zarr3", "kvstore": {"driver": "file", "path": str(path.absolute())}, "context": limits}
            self._fast = tensorstore.open(spec, open=True, read=True).result()

    def begin(self, start: int, stop: int, out: np.ndarray) -> Waiting:
        """Begin to read rows ``start`` to ``stop`` into the first rows of ``out``; the answer waits for them."""
        out = out[: stop - start]
        if self._fast is None:
            return lambda: self._read(start, stop, out)
        target = tensorstore.array(out, copy=False, write=True)
        future = target.write(self._fast[start:stop][tensorstore.d[0].translate_to[0]])

        def wait() -> np.ndarray:
            future.result()
            return out

        return wait

    def _read(self, start: int, stop: int, out: np.ndarray) -> np.ndarray:
        out[...] = self._array[start:stop]
        return out
