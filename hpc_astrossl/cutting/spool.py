"""Bands of a unit's cutouts on their way to colours: in a file without a name, so that memory stays free."""

import os
import tempfile
from collections.abc import Iterator

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.files import read_at, write_at

PART = 256  # objects read at a time


class Spool:
    """(N, channels, height, width) of float32, zero at first; any number of threads may put planes."""

    def __init__(self, shape: tuple[int, ...]):
        self._shape = shape
        self._plane = int(np.prod(shape[2:])) * 4  # bytes
        self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        os.ftruncate(self._file.fileno(), shape[0] * shape[1] * self._plane)

    def __enter__(self) -> "Spool":
        return self

    def __exit__(self, *_) -> None:
        self._file.close()

    def put_planes(self, rows: np.ndarray, channel: int, planes: np.ndarray) -> None:
        """The planes (m, n, height, width) of some rows from ``channel`` on."""
        for row, some in zip(rows.tolist(), planes, strict=True):
            try:
                write_at(self._file.fileno(), some, (row * self._shape[1] + channel) * self._plane)
            except OSError as error:
                raise InputError(f"{tempfile.gettempdir()}: cannot hold the bands of a field ({error.strerror}); set "
                                 "TMPDIR to a folder with room") from None  # fmt: skip

    def parts(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (rows, their images (m, height, width, channels)), a few at a time."""
        for first in range(0, self._shape[0], PART):
            rows = np.arange(first, min(first + PART, self._shape[0]))
            images = np.empty((len(rows), *self._shape[1:]), dtype=np.float32)
            read_at(self._file.fileno(), images, first * self._shape[1] * self._plane)
            yield rows, images.transpose(0, 2, 3, 1)
