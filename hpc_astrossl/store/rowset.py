"""A set of a store's rows, a bit each: all of 10⁹ rows take 125 MB, where their numbers would take 8 GB."""

from collections.abc import Sequence

import numpy as np

RANKED = 1 << 16  # rows, a multiple of 8: how far apart the members are counted
BLOCK = 1 << 23  # rows that are unpacked at a time
FEW = 32
COUNTED = 1 << 22  # rows that are counted at a time: their numbers stay beside the processor


class RowSet:
    """Some of the rows 0 .. ``total`` − 1, ascending. ``rows[a:b]`` are the a-th to b-th of them, int64.

    ``bits``, eight rows a byte, the first the lowest, are not copied if they are as many as ``room`` gives.
    """

    def __init__(self, bits: np.ndarray, total: int):
        if len(bits) != _bytes(total):
            held = self.room(total)
            held[: len(bits)] = bits
            bits = held
        self._bits, self.total = bits, total
        self._before = np.concatenate([[0], np.cumsum(self._ranked())])  # members before each RANKED rows

    @staticmethod
    def room(total: int) -> np.ndarray:
        """Bits for so many rows, none of them in the set; uint8."""
        return np.zeros(_bytes(total), dtype=np.uint8)

    @classmethod
    def of(cls, rows: "Sequence[int] | np.ndarray | RowSet", total: int) -> "RowSet":
        """The set of these rows. ValueError when one is repeated or is none of ``total``."""
        if isinstance(rows, RowSet):
            return rows
        rows = np.sort(np.asarray(rows, dtype=np.int64))
        if len(rows) and not (rows[0] >= 0 and rows[-1] < total):
            raise ValueError(f"rows {rows[0]}..{rows[-1]} of a store of {total}")
        bits = cls.room(total)
        cls.mark(bits, rows)
        found = cls(bits, total)
        if len(found) != len(rows):
            raise ValueError(f"{len(rows) - len(found)} rows are repeated")
        return found

    @staticmethod
    def mark(bits: np.ndarray, rows: np.ndarray) -> None:
        """Put ascending rows into a set's bits."""
        blocks = rows // BLOCK
        for number in np.unique(blocks).tolist():
            own = rows[slice(*np.searchsorted(blocks, [number, number + 1]))]
            first = int(own[0]) >> 3
            mask = np.zeros(int(own[-1]) + 1 - 8 * first, dtype=bool)
            mask[own - 8 * first] = True
            packed = np.packbits(mask, bitorder="little")
            bits[first : first + len(packed)] |= packed

    def __len__(self) -> int:
        return int(self._before[-1])

    def __getitem__(self, places: slice) -> np.ndarray:
        start, stop, step = places.indices(len(self))
        if step != 1:
            raise ValueError("rows are taken one after another")
        if start >= stop:
            return np.empty(0, dtype=np.int64)
        first = int(np.searchsorted(self._before, start, side="right")) - 1
        last = int(np.searchsorted(self._before, stop, side="left"))
        return self.between(first * RANKED, last * RANKED)[start - self._before[first] : stop - self._before[first]]

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self[:].astype(dtype or np.int64, copy=False)

    def has(self, rows: np.ndarray) -> np.ndarray:
        """Which of ``rows`` are in the set, bool."""
        return (self._bits[rows >> 3] >> (rows & 7).astype(np.uint8) & 1).astype(bool)

    def __or__(self, other: "RowSet") -> "RowSet":
        """The rows of either of two sets of one store."""
        return RowSet(self._bits | other._bits, self.total)

    def without(self, rows: np.ndarray) -> "RowSet":
        """The set less these rows, ascending; the set itself where none of them is in it."""
        if not self.has(rows).any():
            return self
        bits = self.room(self.total)
        self.mark(bits, rows)
        return RowSet(self._bits & ~bits, self.total)

    def between(self, first: int, stop: int) -> np.ndarray:
        """The members from row ``first`` (a multiple of 8) to before row ``stop``, int64."""
        found = [np.flatnonzero(self._mask(begin, min(begin + BLOCK, stop))) + begin
                 for begin in range(first, stop, BLOCK)]  # fmt: skip
        return np.concatenate([*found, np.empty(0, dtype=np.int64)])

    def counts(self, size: int) -> np.ndarray:
        """Members among each ``size`` consecutive rows, int64."""
        found = np.empty(-(-self.total // size), dtype=np.int64)
        step = max(1, COUNTED // (8 * size)) * 8  # stretches at a time, in whole bytes
        wide = 64 if size % 64 == 0 else 8 if size % 8 == 0 else 1  # rows that are counted at once
        held = self._bits.view(np.uint64 if wide == 64 else np.uint8)
        for start in range(0, len(found), step):
            first, stop = start * size, (start + step) * size
            if wide == 1:
                values = self._mask(first, min(stop, self.total))
            else:
                values = np.bitwise_count(held[first // wide : min(stop, -(-self.total // wide) * wide) // wide])
            found[start : start + step] = _sums(values, size // wide)
        return found

    def of_stretches(self, numbers: np.ndarray, size: int) -> np.ndarray:
        """The members of some of the stretches of ``size`` rows, stretch after stretch, int64."""
        first = np.asarray(numbers, dtype=np.int64) * size
        if size % 8 == 0 and len(first) and first.max() + size <= self.total:  # bytes of eight rows each
            held = self._bits[: self.total // size * (size // 8)].reshape(-1, size // 8)[first // size]
            if (held == 255).all():
                return (first[:, None] + np.arange(size)).ravel()
            stretch, place = np.divmod(np.flatnonzero(np.unpackbits(held, bitorder="little")), size)
            return first[stretch] + place
        rows = (first[:, None] + np.arange(size)).ravel()
        rows = rows[rows < self.total]
        return rows[self.has(rows)]

    def _ranked(self) -> np.ndarray:
        words = np.bitwise_count(self._bits.view(np.uint64))
        return words.reshape(-1, RANKED // 64).sum(axis=1, dtype=np.int64)

    def _mask(self, first: int, stop: int) -> np.ndarray:
        mask = np.unpackbits(self._bits[first >> 3 : -(-stop // 8)], bitorder="little")
        return mask[: stop - first].astype(bool)


def _bytes(total: int) -> int:
    return -(-total // RANKED) * (RANKED // 8)


def _sums(values: np.ndarray, size: int) -> np.ndarray:
    """Sums over each ``size`` values, the last over what is left; int64."""
    whole = len(values) // size * size
    table = values[:whole].reshape(-1, size)
    if size > FEW:
        sums = table.sum(axis=1, dtype=np.int64)
    else:  # numpy is slow along an axis of a few
        sums = np.zeros(len(table), dtype=np.int64)
        for column in range(size):
            sums += table[:, column]
    return np.append(sums, values[whole:].sum(dtype=np.int64)) if whole < len(values) else sums
