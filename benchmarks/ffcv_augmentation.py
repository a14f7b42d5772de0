"""FFCV as well tuned as it gets here: flips, turns and scaling in one operation, compiled into its pipeline."""

from dataclasses import replace
from pathlib import Path

import numpy as np
from ffcv.fields.ndarray import NDArrayDecoder
from ffcv.loader import Loader, OrderOption
from ffcv.pipeline.allocation_query import AllocationQuery
from ffcv.pipeline.compiler import Compiler
from ffcv.pipeline.operation import Operation
from ffcv.transforms import ToTensor


class Put(Operation):
    """(B, height, width, channels) of uint8 or float32 to (B, channels, height, width) of float32, put at random."""

    def generate_code(self):
        parallel, scale = Compiler.get_iterator(), np.float32(1.0 if self.floats else 1 / 255)

        def put(images, out):
            count, height, width, channels = images.shape
            ways = np.random.randint(0, 8, count)
            for b in parallel(count):
                image, way = images[b].reshape(-1), ways[b]
                row, column = (channels, width * channels) if way & 4 else (width * channels, channels)
                start = 0
                if way & 2:
                    start, row = start + row * (height - 1), -row
                if way & 1:
                    start, column = start + column * (width - 1), -column
                for c in range(channels):
                    for y in range(height):
                        place = start + y * row + c
                        for x in range(width):
                            out[b, c, y, x] = np.float32(image[place]) * scale
                            place += column
            return out[:count]

        put.is_parallel = True
        return put

    def declare_state_and_memory(self, previous_state):
        height, width, channels = previous_state.shape
        self.floats, shape, dtype = previous_state.dtype == np.float32, (channels, height, width), np.dtype("float32")
        return replace(previous_state, shape=shape, dtype=dtype), AllocationQuery(shape, dtype)


def loader(folder: Path, batch: int, workers: int) -> Loader:
    """FFCV's loader of images.beton, kept in memory by the system's cache."""
    return Loader(str(folder / "images.beton"), batch_size=batch, num_workers=workers, order=OrderOption.RANDOM,
                  os_cache=True, drop_last=True,
                  pipelines={"image": [NDArrayDecoder(), Put(), ToTensor()]})  # fmt: skip
