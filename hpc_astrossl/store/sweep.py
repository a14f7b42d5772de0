"""What is asked of all rows of a store, stretch by stretch: memory does not grow with the store.

What must be compared across stretches is dealt out to temporary files by a hash, and compared file by file; positions
are gone through several times, each time in another zone of declination.
"""

import io
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np

from hpc_astrossl.ids import folded

Columns = dict[str, np.ndarray]
ROWS = 1 << 18  # of a column that are looked at at a time; a multiple of the rows in a chunk of it
HELD = 1 << 22  # rows, of which something is kept at a time: some 100 MB
BANDS = 18_000  # of declination, in which positions are counted

_ODD = np.random.default_rng(0).integers(0, 1 << 63, 256, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


class Stretch(Mapping):
    """Some consecutive rows of a store's table, or of arrays by name; a column is read when it is first asked for."""

    def __init__(self, table: Mapping[str, Any], start: int, stop: int):
        self._table, self.start, self.stop = table, start, stop
        self._read: Columns = {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self._read:
            read = getattr(self._table, "part", None)
            self._read[name] = read(name, self.start, self.stop) if read else self._table[name][self.start : self.stop]
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._table)

    def __len__(self) -> int:
        return len(self._table)


def parts(table: Mapping[str, Any], count: int) -> Iterator[Stretch]:
    """So many rows of a table, in stretches."""
    for start in range(0, count, ROWS):
        yield Stretch(table, start, min(start + ROWS, count))


def stretches(table: Mapping[str, Any], names: Sequence[str], count: int) -> Iterator[tuple[int, Columns]]:
    """(the first row, the columns) of so many rows of a table, in stretches."""
    for part in parts(table, count):
        yield part.start, {name: part[name] for name in names}


def taken(table: Mapping[str, Any], name: str, rows: np.ndarray) -> np.ndarray:
    """A column of a table at ``rows``, in their order; no more of it is read than the stretches that they lie in."""
    if not len(rows):
        return Stretch(table, 0, 0)[name]
    order = np.argsort(rows, kind="stable")
    ordered = rows[order]
    numbers, first = np.unique(ordered // ROWS, return_index=True)
    values = np.concatenate([
        Stretch(table, number * ROWS, int(own[-1]) + 1)[name][own - number * ROWS]
        for number, own in zip(numbers.tolist(), np.split(ordered, first[1:]), strict=True)
    ])  # fmt: skip
    out = np.empty_like(values)
    out[order] = values
    return out


def hashes(texts: np.ndarray) -> np.ndarray:
    """A number of 64 bits for each id, whatever the width of the array; equal ones need not be equal ids."""
    texts = folded(texts)
    found = np.zeros(len(texts), dtype=np.uint64)
    width = texts.dtype.itemsize // 4
    if not len(texts) or not width:
        return found
    letters = np.ascontiguousarray(texts).view(np.uint32).reshape(len(texts), width)
    for place in range(width):
        found += letters[:, place].astype(np.uint64) * _ODD[place % 256]
    return (found ^ (found >> np.uint64(29))) * _ODD[1]


class Bins:
    """Records of so many rows dealt out by a number of theirs, equal ones into the same bin; in temporary files where
    there are several bins."""

    def __init__(self, kind: np.dtype | type, rows: int):
        self._kind, count = np.dtype(kind), max(1, -(-rows // HELD))
        self._files = [tempfile.TemporaryFile() if count > 1 else io.BytesIO() for _ in range(count)]  # noqa: SIM115

    def __enter__(self) -> "Bins":
        return self

    def __exit__(self, *error: object) -> None:
        for file in self._files:
            file.close()

    def add(self, records: np.ndarray, numbers: np.ndarray) -> None:
        """Deal out some."""
        at = numbers % np.uint64(len(self._files))
        order = np.argsort(at, kind="stable")
        bounds = np.searchsorted(at[order], np.arange(len(self._files) + 1))
        records = records[order]
        for number in np.flatnonzero(np.diff(bounds)).tolist():
            self._files[number].write(records[bounds[number] : bounds[number + 1]].tobytes())

    def __iter__(self) -> Iterator[Iterator[np.ndarray]]:
        """Each bin as blocks of its records, in the order in which they were added."""
        return map(self._blocks, self._files)

    def _blocks(self, file: IO[bytes]) -> Iterator[np.ndarray]:
        file.seek(0)
        while data := file.read(HELD * self._kind.itemsize):
            yield np.frombuffer(data, self._kind)


def repeats(table: Mapping[str, Any], count: int) -> int:
    """How many ids of so many rows are those of an earlier row."""
    with Bins(np.uint64, count) as bins:
        for _, part in stretches(table, ["object_id"], count):
            drawn = hashes(part["object_id"])
            bins.add(drawn, drawn >> np.uint64(32))
        twice = np.sort(np.concatenate([_twice(blocks) for blocks in bins]))
    ids: Counter = Counter()
    for _, part in stretches(table, ["object_id"], count) if len(twice) else ():
        own = folded(part["object_id"])[np.isin(hashes(part["object_id"]), twice)]  # equal hashes need not be equal ids
        texts, numbers = np.unique(own, return_counts=True)
        ids.update(dict(zip(texts.tolist(), numbers.tolist(), strict=True)))
    return ids.total() - len(ids)


def _twice(blocks: Iterator[np.ndarray]) -> np.ndarray:
    """Which numbers are in the blocks more than once; those that often are, are kept once."""
    known = twice = np.empty(0, dtype=np.uint64)
    for block in blocks:
        known, times = np.unique(np.concatenate([known, block]), return_counts=True)
        twice = np.union1d(twice, known[times > 1])
    return twice


def zones(table: Mapping[str, Any], names: Sequence[str], count: int, margin: float) -> Iterator[Columns]:
    """The rows that have a position, in zones of declination from the south on: columns with ``row``, the number, and
    ``own``, False for those that lie in the zone before, nearer than ``margin`` degrees to this one."""
    counted, reach = np.zeros(BANDS + 1, dtype=np.int64), []
    for _, part in stretches(table, ["ra", "dec"], count):
        dec = part["dec"][np.isfinite(part["ra"]) & np.isfinite(part["dec"])]
        counted += np.bincount(_band(dec), minlength=len(counted))
        reach.append((dec.min(initial=np.inf), dec.max(initial=-np.inf)))
    for low, high in _borders(counted):
        found = [_inside(part, names, (low, high, margin))
                 for part, (least, most) in zip(parts(table, count), reach, strict=True)
                 if most >= low - margin and least < high]  # fmt: skip
        if found:
            yield {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def _band(dec: np.ndarray) -> np.ndarray:
    return np.clip((dec + 90) * (BANDS / 180), 0, BANDS).astype(np.int64)


def _borders(counted: np.ndarray) -> Iterator[tuple[float, float]]:
    """Declinations (from, to) of zones that hold no more than HELD each, or are one band high."""
    begin, held = 0, 0
    for band, count in enumerate(counted.tolist()):
        if held and held + count > HELD:
            yield (begin * 180 / BANDS - 90 if begin else -np.inf), band * 180 / BANDS - 90
            begin, held = band, 0
        held += count
    yield (begin * 180 / BANDS - 90 if begin else -np.inf), np.inf


def _inside(part: Stretch, names: Sequence[str], zone: tuple[float, float, float]) -> Columns:
    """The columns of those of some rows that lie in a zone, or in its margin."""
    low, high, margin = zone
    read = {name: part[name] for name in {"ra", "dec", *names}}
    there = np.isfinite(read["ra"]) & (read["dec"] >= low - margin) & (read["dec"] < high)
    found = {name: values[there] for name, values in read.items()}
    return found | {"row": part.start + np.flatnonzero(there), "own": found["dec"] >= low}
