"""Columns of objects on disk: written once, block by block, and mapped by whoever needs some of their rows.

One Arrow file, so that any Arrow reader opens it. Texts are text, numbers what they are, and columns of shape (N, M)
lists of M numbers; NaN stays NaN.
"""

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
from pyarrow import ipc

from hpc_astrossl.errors import InputError

BLOCK = 1 << 16  # rows


def write_columns(path: Path, blocks: Iterable[Mapping[str, np.ndarray]]) -> None:
    """Write blocks of columns, all of the same names and types, one after the other; there must be at least one."""
    writer = None
    try:
        for columns in blocks:
            table = pa.table({name: _arrow(values) for name, values in columns.items()})
            writer = writer or ipc.new_file(path, table.schema)
            writer.write_table(table, max_chunksize=BLOCK)
    finally:
        if writer is not None:
            writer.close()


def _arrow(values: np.ndarray) -> pa.Array:
    if values.ndim == 2:
        return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).reshape(-1)), values.shape[1])
    return pa.array(values, pa.large_string()) if values.dtype.kind in "UO" else pa.array(values)


class Columns:
    """Columns that lie in a file: of the rows that are asked for, those of their blocks alone are read.

    ``sums`` are what ``sums()`` told when the file was written: a block is held against its own when it is first read.
    """

    def __init__(self, path: Path, sums: Sequence[int] | None = None):
        self._path, self._sums = path, sums
        self._held: set[int] = set()
        with pa.memory_map(str(path)) as source:
            file = ipc.open_file(source)
            self.names = file.schema.names
            self._batches = [file.get_batch(number) for number in range(file.num_record_batches)]
        self._ends = np.cumsum([batch.num_rows for batch in self._batches])

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def read(self, name: str, start: int = 0, stop: int | None = None) -> np.ndarray:
        """The rows ``start`` to ``stop`` of a column, as they were written; texts as str.

        InputError when they are not: what is cut would have the labels of others.
        """
        stop = len(self) if stop is None else stop
        parts = [_numpy(part.column(name)) for part in self._parts(start, stop)]
        if not parts:
            return _numpy(self._batches[0].slice(0, 0).column(name))
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def sums(self) -> list[int]:
        """A CRC-32 of each block."""
        return [_sum(batch) for batch in self._batches]

    def _hold(self, number: int) -> None:
        if self._sums is None or number in self._held:
            return
        if number >= len(self._sums) or _sum(self._batches[number]) != self._sums[number]:
            raise InputError(f"{self._path}: block {number} is not as it was written (CRC-32); remove the folder "
                             f"{self._path.parent} and run the same command again")  # fmt: skip
        self._held.add(number)

    def lazily(self, name: str) -> "Lazy":
        """A column of which slices are read when they are asked for."""
        return Lazy(table=self, name=name)

    def _parts(self, start: int, stop: int) -> Iterator[pa.RecordBatch]:
        for number in range(int(np.searchsorted(self._ends, start, side="right")), len(self._batches)):
            batch, before = self._batches[number], int(self._ends[number]) - self._batches[number].num_rows
            if before >= stop:
                return
            self._hold(number)
            first = max(start - before, 0)
            yield batch.slice(first, min(stop - before, batch.num_rows) - first)


def _sum(batch: pa.RecordBatch) -> int:
    found = 0
    for column in batch.columns:
        for buffer in column.buffers():
            found = zlib.crc32(buffer, found) if buffer is not None else found
    return found


@dataclass(frozen=True, kw_only=True)
class Lazy:
    """One column of a file; a slice of it is an array."""

    table: Columns
    name: str

    def __len__(self) -> int:
        return len(self.table)

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array."""
        return len(self), *self.table.read(self.name, 0, 0).shape[1:]

    def __getitem__(self, part: slice) -> np.ndarray:
        start, stop, _ = part.indices(len(self))
        return self.table.read(self.name, start, stop)


def _numpy(column: pa.Array) -> np.ndarray:
    if pa.types.is_fixed_size_list(column.type):
        return column.flatten().to_numpy(zero_copy_only=False).reshape(len(column), column.type.list_size)
    values = column.to_numpy(zero_copy_only=False)
    return values.astype(str) if pa.types.is_large_string(column.type) else values
