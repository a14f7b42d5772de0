"""An epoch's order a section at a time: memory and the wait for the first batch do not grow with the store.

A section is a stretch of whole global batches whose objects come from about ``SECTION_CHUNKS`` chunks drawn at random;
inside it the order is that of ``order.epoch_order``. An epoch of fewer chunks is one section.
"""

from functools import cached_property

import numpy as np

from hpc_astrossl.loading import draws, order
from hpc_astrossl.loading.order import WINDOW_CHUNKS, steps
from hpc_astrossl.store.rowset import RowSet

SECTION_CHUNKS = 1 << 14
SECTION_ROWS = 1 << 21  # of small images, many of which are in a chunk, fewer chunks make a section
FEWEST = 16  # windows of chunks in a section: the borders of sections stay rare
UNITS = 1 << 22  # at most, that are drawn: of more chunks, neighbours are drawn together


class Members:
    """The rows of a loader, and how many are in which chunks; it serves all epochs."""

    def __init__(self, rows: RowSet, chunk_rows: int):
        self.rows, self.chunk_rows = rows, chunk_rows
        chunks = -(-rows.total // chunk_rows)
        self.unit = max(1, -(-chunks // UNITS)) * chunk_rows  # rows that are drawn together

    def __len__(self) -> int:
        return len(self.rows)

    @cached_property
    def counts(self) -> np.ndarray:
        """Objects of each unit, int32."""
        return self.rows.counts(self.unit).astype(np.int32)

    def section(self, batch_size: int, window: int) -> int:
        """Objects of a section: of whole batches, or all."""
        chunks = max(FEWEST * window, min(SECTION_CHUNKS, SECTION_ROWS // self.chunk_rows))
        if self.rows.total <= chunks * self.chunk_rows:  # spares counting
            return max(1, len(self))
        used = int(np.count_nonzero(self.counts)) * (self.unit // self.chunk_rows)
        if used <= chunks:
            return len(self)
        return batch_size * max(1, len(self) * chunks // (used * batch_size))


class Sections:
    """The order of one epoch. The same for any number of ranks, and from whatever section it is begun."""

    def __init__(self, members: Members, *, seed: int, epoch: int, batch_size: int = 1, window: int = WINDOW_CHUNKS):
        self._members, self._draw, self._batch_size, self._window = members, (seed, epoch), batch_size, window
        self._size = members.section(batch_size, window)

    @property
    def steps(self) -> int:
        """Global batches of a section; the last may have fewer."""
        return steps(self._size, self._batch_size)

    def __len__(self) -> int:
        return max(1, -(-len(self._members) // self._size))

    def __getitem__(self, number: int) -> np.ndarray:
        """The rows of a section, int64, to be cut into batches. IndexError beyond the last."""
        if not 0 <= number < len(self):
            raise IndexError(number)
        rows = self._members.rows[:] if len(self) == 1 else self._laid(number)
        ordered = order.epoch_order
        if len(rows) >= order.COMPILED:
            from hpc_astrossl.loading.compiled import epoch_order as ordered
        return ordered(rows, self._members.chunk_rows, seed=self._draw[0], epoch=self._draw[1],
                           batch_size=self._batch_size, window=self._window)  # fmt: skip

    @cached_property
    def _units(self) -> tuple[np.ndarray, np.ndarray]:
        """(units in the order in which they are drawn, objects before each of them and in all)."""
        units = draws.shuffled(draws.CHUNKS, *self._draw, np.flatnonzero(self._members.counts))
        before = np.zeros(len(units) + 1, dtype=np.int64)
        np.cumsum(self._members.counts[units], out=before[1:])
        return units, before

    def _laid(self, number: int) -> np.ndarray:
        """Rows of a section as the units lie end to end; one that lies across the border is divided by a draw."""
        units, before = self._units
        start, stop = number * self._size, min((number + 1) * self._size, len(self._members))
        first = int(np.searchsorted(before, start, side="right")) - 1
        last = int(np.searchsorted(before, stop, side="left"))
        inner = self._members.rows.of_stretches(np.sort(units[first + 1 : last - 1]), self._members.unit)
        pieces = [inner]
        for at in {first, last - 1}:
            own = self._drawn(units[at])
            pieces.append(own[max(0, start - before[at]) : stop - before[at]])
        return np.concatenate(pieces)

    def _drawn(self, unit: int) -> np.ndarray:
        """The rows of a unit in the order of a draw, chunk by chunk."""
        rows = self._members.rows.of_stretches(np.array([unit]), self._members.unit)
        chunk = draws.hashed(draws.CHUNKS, *self._draw, rows // self._members.chunk_rows)
        return rows[np.lexsort((draws.uniform(draws.PLACES, *self._draw, rows), chunk))]
