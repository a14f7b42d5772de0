"""Columns and partitions that may be larger than the memory: there while they fit, below a folder when they do not.

A selection is given a ``Workspace``: how much memory it may use, and a folder for the rest. What lies in files is read
in blocks, by plain reads: pages of a mapped file would count as this process's memory.
"""

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

BLOCK = 1 << 17  # rows that are worked on at once
GB = 1 << 30
TOLD = 10_000_000  # rows after which it is told how many there are
EACH = 1024  # bytes that a row of all columns takes while it is put in order


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """The memory, in bytes, that a selection may use beside its libraries, and the folder for what is more; without a
    folder all stays in memory, undivided. ``say`` is told how far a long step is."""

    memory: int = 2 * GB
    folder: Path | None = None
    say: Callable[[str], None] = lambda _: None

    def rows(self, each: int) -> int:
        """How many rows, for each of which so many bytes are needed, are worked on at once."""
        return max(1, self.memory // 8 // each) if self.folder else 1 << 62

    def file(self) -> Path:
        """A name for a file, given to nobody else."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self.folder / f"{next(_count)}.bin"


_count = itertools.count()
HERE = Workspace()  # all in memory


class Column:
    """One column in a file, block by block. Indexed as an array is, it gives arrays; text is kept as bytes if it is
    ASCII."""

    def __init__(self, path: Path):
        self._path, self._parts, self._starts, self._bytes = path, [], [0], 0
        self._last: tuple[int, np.ndarray] = -1, np.empty(0)  # the block that a single row was asked of

    def append(self, values: np.ndarray) -> None:
        """Add rows at the end."""
        if not len(values):
            return
        kept = values[:1] if values.strides[0] == 0 else values  # one value for all
        kept = np.ascontiguousarray(narrowed(kept) if kept.dtype.kind == "U" else kept)
        with self._path.open("ab") as stream:
            kept.tofile(stream)
        self._parts.append((kept.dtype, kept.shape, self._bytes))
        self._starts.append(self._starts[-1] + len(values))
        self._bytes += kept.nbytes

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array."""
        return len(self), *(self._parts[0][1][1:] if self._parts else ())

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self[:].astype(dtype) if dtype is not None else self[:]

    def __getitem__(self, key) -> np.ndarray:
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            return self._range(start, stop)[::step]
        if np.ndim(key) == 0:
            return self._one(int(key))
        key = np.asarray(key)
        rows = np.flatnonzero(key) if key.dtype == bool else key
        if len(rows) < 2 or (rows[1:] >= rows[:-1]).all():
            return self._take(rows)
        order = np.argsort(rows, kind="stable")
        found = self._take(rows[order])
        out = np.empty_like(found)
        out[order] = found
        return out

    def _one(self, row: int):
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        row %= len(self)
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        known, block = self._last
        if known != number:  # files of objects are gone through row by row
            block = self._read(number, 0, self._starts[number + 1] - self._starts[number])
            self._last = number, block
        return block[row - self._starts[number]]

    def _range(self, start: int, stop: int) -> np.ndarray:
        first = int(np.searchsorted(self._starts, start, side="right")) - 1
        parts = []
        for number in range(max(first, 0), len(self._parts)):
            begins = self._starts[number]
            if begins >= stop:
                break
            parts.append(self._read(number, max(start - begins, 0), min(stop, self._starts[number + 1]) - begins))
        return np.concatenate(parts) if parts else self._none()

    def _take(self, rows: np.ndarray) -> np.ndarray:
        """Rows in ascending order: of each block what lies between the first and the last that is asked for."""
        places, parts = np.searchsorted(rows, self._starts), []
        for number in range(len(self._parts)):
            own = rows[places[number] : places[number + 1]]
            if len(own):
                low, high = int(own[0]), int(own[-1]) + 1
                found = self._read(number, low - self._starts[number], high - self._starts[number])
                parts.append(found if len(own) == high - low and len(found) == len(own) else found[own - low])
        return np.concatenate(parts) if parts else self._none()

    def _read(self, number: int, start: int, stop: int) -> np.ndarray:
        dtype, shape, offset = self._parts[number]
        if shape[0] == 1 and self._starts[number + 1] - self._starts[number] > 1:  # one value for all
            one = np.fromfile(self._path, dtype=dtype, count=int(np.prod(shape)), offset=offset).reshape(shape)
            return np.broadcast_to(widened(one), (stop - start, *shape[1:]))
        each = int(np.prod(shape[1:]))
        values = np.fromfile(self._path, dtype=dtype, count=(stop - start) * each,
                             offset=offset + start * each * dtype.itemsize)  # fmt: skip
        return widened(values.reshape(stop - start, *shape[1:]))

    def _none(self) -> np.ndarray:
        return widened(np.empty((0, *self.shape[1:]), dtype=self._parts[0][0])) if self._parts else np.empty(0)


class Names:
    """A column of a few texts that come back again and again: a number for each row, and the texts."""

    def __init__(self, codes: Column):
        self.codes, self.names = codes, np.empty(0, dtype=str)
        self._known: dict[str, int] = {}

    def append(self, values: np.ndarray) -> None:
        """Add rows at the end."""
        column = pa.array(values[:1] if values.strides[0] == 0 else values, pa.large_string()).dictionary_encode()
        own = [self._known.setdefault(name, len(self._known)) for name in column.dictionary.to_pylist()]
        codes = np.array(own, dtype=np.int32)[column.indices.to_numpy()]
        self.codes.append(np.broadcast_to(codes, len(values)) if len(codes) < len(values) else codes)
        self.names = np.array(list(self._known), dtype=str)

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def shape(self) -> tuple[int, ...]:
        """As of an array."""
        return (len(self),)

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self[:]

    def __getitem__(self, key) -> np.ndarray:
        return self.names[self.codes[key]]

    def distinct(self) -> np.ndarray:
        """The texts, in order."""
        return np.sort(self.names)

    def ranked(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As ``objects.ranked``."""
        codes = self.codes[rows]
        there = np.flatnonzero(np.bincount(codes, minlength=len(self.names)))
        order = there[np.argsort(self.names[there])]
        rank = np.zeros(len(self.names), dtype=np.int32)
        rank[order] = np.arange(len(order))
        return self.names[order], rank[codes]


def narrowed(texts: np.ndarray) -> np.ndarray:
    """Texts as bytes, a quarter of the size, if all are ASCII; else as they are."""
    width = texts.dtype.itemsize // 4
    if not width or not len(texts):
        return texts
    letters = np.ascontiguousarray(texts).view(np.uint32)
    return letters.astype(np.uint8).view(f"S{width}") if letters.max() < 128 else texts


def widened(values: np.ndarray) -> np.ndarray:
    """What ``narrowed`` was given."""
    width = values.dtype.itemsize
    if values.dtype.kind != "S":
        return values
    return np.ascontiguousarray(values).view(np.uint8).astype(np.uint32).view(f"U{width}")


class Growing:
    """Columns that grow by blocks of rows: in memory up to an eighth of the workspace's, then all of them in files.

    ``names`` are those of columns of a few texts.
    """

    def __init__(self, space: Workspace, names: Sequence[str] = (), what: str = "objects"):
        self._space, self._names, self._what = space, names, what
        self._blocks: list[Mapping[str, np.ndarray]] = []
        self._held, self._rows, self._files = 0, 0, {}

    def append(self, block: Mapping[str, np.ndarray]) -> None:
        """Add the rows of a block, which has the same columns as the others."""
        self._blocks.append(block)
        before, self._rows = self._rows, self._rows + len(next(iter(block.values())))
        if self._rows // TOLD > before // TOLD:
            self._space.say(f"{self._rows:,} {self._what} so far{', on disk' if self._files else ''}")
        self._held += sum(values.nbytes for values in block.values())
        if self._files or (self._space.folder is not None and self._held > self._space.memory // 8):
            self._spill()

    def _spill(self) -> None:
        for block in self._blocks:
            for name, values in block.items():
                if name not in self._files:
                    column = Column(self._space.file())
                    self._files[name] = Names(column) if name in self._names else column
                self._files[name].append(values)
        self._blocks.clear()

    @property
    def spilled(self) -> bool:
        """Whether they are in files."""
        return bool(self._files)

    def columns(self) -> dict[str, np.ndarray | Column | Names]:
        """What was added, by name."""
        if self._files:
            return dict(self._files)
        blocks = [dict(block) for block in self._blocks]
        self._blocks.clear()
        names = list(blocks[0]) if blocks else ()
        return {name: np.concatenate([block.pop(name) for block in blocks]) for name in names}


class Partitions:
    """Rows dealt out to numbered partitions, each a file, and read again one partition at a time; in memory, as one,
    where the workspace has no folder or there is one partition only."""

    def __init__(self, space: Workspace, count: int):
        self._paths = [space.file() for _ in range(count)] if space.folder and count > 1 else []
        self._held: list[list[tuple[np.ndarray, ...]]] = [[] for _ in range(0 if self._paths else count)]

    def __len__(self) -> int:
        return len(self._paths) or len(self._held)

    def add(self, numbers: np.ndarray, *columns: np.ndarray) -> None:
        """Deal out rows of some columns; ``numbers`` say to which partition."""
        if not len(numbers):
            return
        order = np.argsort(numbers, kind="stable")
        there, starts = np.unique(numbers[order], return_index=True)
        for number, start, stop in zip(there.tolist(), starts.tolist(), [*starts[1:].tolist(), len(order)],
                                       strict=True):  # fmt: skip
            part = tuple(values[order[start:stop]] for values in columns)
            if not self._paths:
                self._held[number].append(part)
                continue
            with self._paths[number].open("ab") as stream:
                for values in part:
                    kept = values if values.dtype.kind != "U" else narrowed(values)
                    np.lib.format.write_array(stream, kept, version=(1, 0), allow_pickle=False)

    def take(self, number: int, columns: int) -> tuple[np.ndarray, ...] | None:
        """The rows of a partition in the order in which they were added, as so many columns; they are removed. None if
        there are none."""
        if not self._paths:
            parts, self._held[number] = self._held[number], []
        else:
            parts = list(self._parts(self._paths[number], columns))
            self._paths[number].unlink(missing_ok=True)
        return tuple(np.concatenate(column) for column in zip(*parts, strict=True)) if parts else None

    @staticmethod
    def _parts(path: Path, columns: int) -> Iterator[tuple[np.ndarray, ...]]:
        if not path.exists():
            return
        with path.open("rb") as stream:
            end = stream.seek(0, 2)
            stream.seek(0)
            while stream.tell() < end:
                yield tuple(widened(np.lib.format.read_array(stream)) for _ in range(columns))


def in_order(columns: Mapping[str, np.ndarray | Column | Names], rows: np.ndarray, size: int,
             space: Workspace) -> Iterator[dict[str, np.ndarray]]:  # fmt: skip
    """Blocks of ``size`` rows of columns, in the order of ``rows``, each of which is there once."""
    names = list(columns)
    if all(isinstance(values, np.ndarray) for values in columns.values()) or len(rows) <= size:
        for start in range(0, len(rows), size):
            yield {name: values[rows[start : start + size]] for name, values in columns.items()}
        return
    large = size * max(1, space.rows(EACH) // size)
    parts, ascending = Partitions(space, -(-len(rows) // large)), np.argsort(rows)
    for start in range(0, len(rows), BLOCK):
        places = ascending[start : start + BLOCK]  # in the order asked for
        parts.add(places // large, places, *(columns[name][rows[places]] for name in names))
    for number in range(len(parts)):
        places, *found = parts.take(number, 1 + len(names))
        order = np.argsort(places)
        for start in range(0, len(order), size):
            part = order[start : start + size]
            yield {name: values[part] for name, values in zip(names, found, strict=True)}
