"""The order of a section and the arrivals of its chunks, compiled by numba: linear in the objects, 30 ns each or so.

``order.epoch_order`` and ``arrival.arrivals`` in numpy are the specification, which these give number by number; short
sections are left to those, since compiling takes seconds, once a machine. It is compiled anew when this file changes.
"""

from collections.abc import Sequence

import numpy as np
from numba import njit

from hpc_astrossl.loading import draws
from hpc_astrossl.loading.arrival import Arrivals, arranged
from hpc_astrossl.loading.kernel import called, compiled
from hpc_astrossl.loading.order import lane_sizes


def epoch_order(rows: np.ndarray, chunk_rows: int, *, seed: int, epoch: int, batch_size: int,
                window: int) -> np.ndarray:  # fmt: skip
    """``order.epoch_order`` of rows that are grouped by chunk."""
    keys = np.array([draws.key(stream, seed, epoch) for stream in (draws.CHUNKS, draws.PLACES, draws.ENDS)])
    each, lengths = lane_sizes(len(rows), batch_size)
    return called(_order, np.asarray(rows, dtype=np.int64), chunk_rows, keys, window, each, lengths)


def arrivals(batches: Sequence[np.ndarray], chunk_rows: int, codes: np.ndarray | None = None) -> Arrivals:
    """``arrival.arrivals`` of batches."""
    lengths = np.array([len(rows) for rows in batches], dtype=np.int64)
    rows = np.concatenate([*batches, np.empty(0, dtype=np.int64)])
    codes = np.zeros(len(rows), dtype=np.uint8) if codes is None else codes
    chunks, bounds, moves, needed, last = called(_arrivals, rows, lengths, chunk_rows, codes)
    return arranged(lengths=lengths, chunks=chunks, bounds=bounds, moves=moves, needed=needed, last=last)


@njit(nogil=True)
def _mix(value):
    """``draws.splitmix64``."""
    value = value + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@njit(nogil=True)
def _uniform(key, row):
    """``draws.uniform``."""
    return (_mix(key ^ np.uint64(row)) >> np.uint64(11)) * 2.0**-53


@njit(nogil=True)
def _grouped(rows, chunk_rows, key):
    """(where each chunk's rows begin and end, the chunks in the order of their draw)."""
    starts, count, chunk = np.empty(len(rows) + 1, dtype=np.int64), 0, -1
    for at, row in enumerate(rows):
        if row // chunk_rows != chunk:
            chunk, starts[count], count = row // chunk_rows, at, count + 1
    starts[count] = len(rows)
    drawn = np.empty(count, dtype=np.uint64)
    for number in range(count):
        drawn[number] = _mix(key ^ np.uint64(rows[starts[number]] // chunk_rows))
    return starts[: count + 1], np.argsort(drawn, kind="mergesort")


@njit(nogil=True)
def _laid(rows, starts, sequence, places, lengths):
    """(rows, their first draws, their chunk's number in the lane) as chunks lie end to end, lane after lane.

    Only a chunk that lies across the border of two lanes must lie there in the order of its draws.
    """
    laid, draw = np.empty(len(rows), dtype=np.int64), np.empty(len(rows))
    chunk = np.empty(len(rows), dtype=np.int32)
    at, lane, number = 0, 0, 0
    stop = lengths[0]
    for one in sequence:
        first, count = at, starts[one + 1] - starts[one]
        own = rows[starts[one] : starts[one + 1]]
        drawn = np.empty(count)
        for i in range(count):
            drawn[i] = _uniform(places, own[i])
        across = at + count > stop
        by = np.argsort(drawn, kind="mergesort") if across else np.arange(count)
        for i in range(count):
            while at == stop:
                lane, number = lane + 1, 0
                stop += lengths[lane]
            laid[at], draw[at], chunk[at] = own[by[i]], drawn[by[i]], number
            at += 1
        number += 1 if at > first else 0
    return laid, draw, chunk


@njit(nogil=True)
def _sorted(keys, span):
    """Which of ``keys``, evenly spread over 0 .. span, comes first, second …: put into bins, then into order there."""
    count = len(keys)
    scale, begin = count / span, np.zeros(count + 2, dtype=np.int64)
    for key in keys:
        begin[min(count - 1, int(key * scale)) + 2] += 1
    begin = np.cumsum(begin)
    by = np.empty(count, dtype=np.int64)
    for i, key in enumerate(keys):
        bin_ = min(count - 1, int(key * scale)) + 1
        by[begin[bin_]] = i
        begin[bin_] += 1
    for i in range(1, count):
        one, key, at = by[i], keys[by[i]], i
        while at > 0 and keys[by[at - 1]] > key:
            by[at] = by[at - 1]
            at -= 1
        by[at] = one
    return by


@njit(nogil=True)
def _keys(chunk, draw, rows, ends, window):
    """(places within a lane, see ``order._spread``; what they are below)."""
    count, keys = chunk[-1] + 1, np.empty(len(rows))
    if count <= window:
        return draw.copy(), 1.0
    for i in range(len(rows)):
        place = chunk[i] + window * draw[i]
        if place < window:
            place = window * _uniform(ends, rows[i])
        elif place >= count:
            place = count + window * _uniform(ends, rows[i])
        keys[i] = place
    return keys, float(count + window)


def _order(rows, chunk_rows, draw_keys, window, each, lengths):
    out = np.empty(len(rows), dtype=np.int64)
    starts, sequence = _grouped(rows, chunk_rows, draw_keys[0])
    if len(sequence) <= window:
        keys = np.empty(len(rows))
        for i, row in enumerate(rows):
            keys[i] = _uniform(draw_keys[1], row)
        by = _sorted(keys, 1.0)
        for i in range(len(rows)):
            out[i] = rows[by[i]]
        return out
    laid, draw, chunk = _laid(rows, starts, sequence, draw_keys[1], lengths)
    size = each.sum()
    whole = (len(rows) - 1) // size  # batches before the last
    begin, before, before_last = 0, 0, whole * size
    for lane in range(len(lengths)):
        stop = begin + lengths[lane]
        if stop > begin:
            own = laid[begin:stop]
            keys, span = _keys(chunk[begin:stop], draw[begin:stop], own, draw_keys[2], max(1, window // len(lengths)))
            by = _sorted(keys, span)
            for i in range(len(own)):
                row = own[by[len(own) - 1 - i]] if lane % 2 else own[by[i]]
                batch = i // each[lane]
                start = batch * size + before if batch < whole else before_last
                out[start + i - batch * each[lane]] = row
        before_last += max(0, lengths[lane] - whole * each[lane])
        begin, before = stop, before + each[lane]
    return out


@njit(nogil=True)
def _slots(rows, chunk_rows):
    """(of each row, the place of its chunk in the order in which chunks are met; these chunks)."""
    size, shift = 16, 60  # of a table by hashes, twice as large as there may be chunks
    while len(rows) and size < 2 * min(len(rows), rows.max() // chunk_rows + 1):
        size, shift = 2 * size, shift - 1
    table, held = np.full(size, -1, dtype=np.int64), np.empty(size, dtype=np.int32)
    slots, chunks, count = np.empty(len(rows), dtype=np.int32), np.empty(len(rows), dtype=np.int64), 0
    for i, row in enumerate(rows):
        chunk = row // chunk_rows
        at = np.int64((np.uint64(chunk) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(shift))
        while table[at] != chunk and table[at] >= 0:
            at = (at + 1) & (size - 1)
        if table[at] < 0:
            table[at], held[at], chunks[count] = chunk, count, chunk
            count += 1
        slots[i] = held[at]
    return slots, chunks[:count].copy()


def _arrivals(rows, lengths, chunk_rows, codes):
    slots, chunks = _slots(rows, chunk_rows)
    bounds, last = np.zeros((len(chunks), 2), dtype=np.int64), np.zeros(len(chunks), dtype=np.int64)
    needed, moves = np.empty(len(lengths), dtype=np.int64), np.empty((len(rows), 4), dtype=np.int32)
    for slot in slots:
        bounds[slot, 1] += 1
    total = 0
    for slot in range(len(chunks)):
        bounds[slot, 0], total = total, total + bounds[slot, 1]
        bounds[slot, 1] = bounds[slot, 0]
    at, met = 0, 0
    for batch, length in enumerate(lengths):
        for place in range(length):
            slot, move = slots[at], bounds[slots[at], 1]
            moves[move, 0] = rows[at] - chunks[slot] * chunk_rows
            moves[move, 1], moves[move, 2], moves[move, 3] = batch, place, codes[at]
            bounds[slot, 1], last[slot] = move + 1, batch
            met, at = max(met, slot + 1), at + 1
        needed[batch] = met
    return chunks, bounds, moves, needed, last


_order, _arrivals = map(compiled, (_order, _arrivals))
