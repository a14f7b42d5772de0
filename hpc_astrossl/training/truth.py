"""The truth of every row of a store, gone through in stretches: in memory, or, where it is much, in a temporary file.

Random access is by memory either way. The file has no name, and ends with the process.
"""

import mmap
import tempfile
from collections.abc import Iterator
from typing import IO

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.files import write_at
from hpc_astrossl.store import RowSet, sweep

IN_MEMORY = 1 << 28  # bytes; what takes more lies in a file
RESIDENT = 1 << 28  # bytes of a file that may be in memory at a time while it is gone through


def laid(parts: Iterator[np.ndarray], count: int) -> np.ndarray:
    """Parts of ``count`` rows in all, (n, …) of one type, one after the other; may be changed.

    InputError when the temporary folder has no room.
    """
    first = next(parts, np.empty(0))
    shape, start = (count, *first.shape[1:]), len(first)
    if count * first[:0].itemsize * int(np.prod(shape[1:])) <= IN_MEMORY:
        out = np.empty(shape, dtype=first.dtype)
        out[:start] = first
        for part in parts:
            out[start : start + len(part)] = part
            start += len(part)
        return out
    with tempfile.TemporaryFile() as file:
        end = _written(file, first, 0)
        for part in parts:
            end = _written(file, part, end)
        return np.ndarray(shape, first.dtype, mmap.mmap(file.fileno(), end))


def _written(file: IO[bytes], part: np.ndarray, start: int) -> int:
    """Written as a file is: pages of a mapped one, for which there is no room on the disk, would end the process."""
    try:
        write_at(file.fileno(), np.ascontiguousarray(part), start)
    except OSError as error:
        raise InputError(f"{tempfile.gettempdir()}: cannot hold the truth of all objects ({error.strerror}); set "
                         "TMPDIR to a folder with room") from None  # fmt: skip
    return start + part.nbytes


def stretches(truth: np.ndarray, rows: RowSet | np.ndarray) -> Iterator[np.ndarray]:
    """The truth of ``rows``, in stretches; one at least. Of what is in a file a part is in memory at a time: some
    stretches are short, where rows lie far apart, since each brings the pages around it."""
    for start in range(0, max(1, len(rows)), sweep.HELD):
        some = rows[start : start + sweep.HELD]
        if not isinstance(truth.base, mmap.mmap):
            yield truth[some]
            continue
        place = np.asarray(some) * truth[:1].nbytes // RESIDENT
        for own in np.split(some, np.flatnonzero(np.diff(place)) + 1):
            yield truth[own]
            truth.base.madvise(mmap.MADV_DONTNEED)
