"""The order of a section and the arrivals of its chunks, compiled by numba: linear in the objects, 15 ns each or so.

``order.epoch_order`` and ``arrival.arrivals`` in numpy are the specification, which these give number by number; short
sections are left to those, since compiling takes seconds, once a machine. It is compiled anew when this file changes.
What is made of a lane lies beside the processor until the lane is in order.
"""

import numpy as np
from numba import njit

from hpc_astrossl.loading import draws
from hpc_astrossl.loading.arrival import Arrivals, arranged
from hpc_astrossl.loading.kernel import called, compiled
from hpc_astrossl.loading.order import lane_sizes

DEALT = 64  # batches that are dealt out at a time


def epoch_order(rows: np.ndarray, chunk_rows: int, *, seed: int, epoch: int, batch_size: int,
                window: int) -> np.ndarray:  # fmt: skip
    """``order.epoch_order`` of rows that are grouped by chunk."""
    keys = np.array([draws.key(stream, seed, epoch) for stream in (draws.CHUNKS, draws.PLACES, draws.ENDS)])
    each, lengths = lane_sizes(len(rows), batch_size)
    return called(_order, np.asarray(rows, dtype=np.int64), chunk_rows, keys, window, each, lengths)


def arrivals(rows: np.ndarray, lengths: np.ndarray, chunk_rows: int, codes: np.ndarray | None = None) -> Arrivals:
    """``arrival.arrivals``."""
    codes = np.zeros(len(rows), dtype=np.uint8) if codes is None else codes.astype(np.uint8, copy=False)
    chunks, starts, moves, needed, last = called(_arrivals, rows, lengths, chunk_rows, codes)
    bounds = np.stack([starts[:-1], starts[1:]], axis=1)
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
    starts, count, low, high = np.empty(len(rows) + 1, dtype=np.int64), 0, 0, 0
    for at in range(len(rows)):
        if rows[at] >= high or rows[at] < low:
            low = rows[at] // chunk_rows * chunk_rows
            high = low + chunk_rows
            starts[count], count = at, count + 1
    starts[count] = len(rows)
    drawn = np.empty(count, dtype=np.uint64)
    for number in range(count):
        drawn[number] = _mix(key ^ np.uint64(rows[starts[number]] // chunk_rows))
    return starts[: count + 1], np.argsort(drawn, kind="mergesort")


@njit(nogil=True)
def _met(starts, sequence, lengths):
    """The chunks that each lane has objects of, as chunks lie end to end."""
    counts, lane, left = np.zeros(len(lengths), dtype=np.int64), 0, lengths[0]
    for one in sequence:
        own = starts[one + 1] - starts[one]
        while own > 0:
            while left == 0:
                lane, left = lane + 1, lengths[lane + 1]
            taken = min(own, left)
            counts[lane], own, left = counts[lane] + 1, own - taken, left - taken
    return counts


@njit(nogil=True)
def _placed(chunk, draw, row, lane):
    """The place of an object in its lane, see ``order._spread``; ``lane`` is (its chunks, the window, a key)."""
    count, window, ends = lane
    if count <= window:
        return draw
    place = chunk + window * draw
    if place < window:
        return window * _uniform(ends, row)
    return count + window * _uniform(ends, row) if place >= count else place


@njit(nogil=True)
def _put(at, row, place, room):
    """Take note of an object, and of the bin in which it will be looked for."""
    rows, places, bins, begin, scale, last = room
    bin_ = min(last, np.int32(place * scale))
    rows[at], places[at], bins[at] = row, place, bin_
    begin[bin_] += np.int32(1)


@njit(nogil=True)
def _sort(count, room, places, out):
    """The rows that have been put, in the order of their places: from bins, then into order there."""
    rows, unsorted, bins, begin, total = room[0], room[1], room[2], room[3], np.int32(0)
    for i in range(count):
        begin[i], total = total, total + begin[i]
    for i in range(count):
        at = begin[bins[i]]
        begin[bins[i]] = at + np.int32(1)
        places[at], out[at] = unsorted[i], rows[i]
    for i in range(1, count):
        place, row, at = places[i], out[i], i
        while at > 0 and places[at - 1] > place:
            places[at], out[at] = places[at - 1], out[at - 1]
            at -= 1
        places[at], out[at] = place, row


@njit(nogil=True)
def _across(rows, key):
    """(rows of a chunk that lies across the border of two lanes, in the order of their draws; these)."""
    drawn = np.empty(len(rows))
    for i in range(len(rows)):
        drawn[i] = _uniform(key, rows[i])
    by = np.argsort(drawn, kind="mergesort")
    return rows[by], drawn[by]


@njit(nogil=True)
def _mixed(rows, grouped, keys, window, lengths):
    """Rows lane after lane, each lane in its order; chunks lie end to end."""
    starts, sequence = grouped
    counts, most, mixed = _met(starts, sequence, lengths), lengths.max(), np.empty(len(rows), dtype=np.int64)
    laid, places, sorted_ = np.empty(most, dtype=np.int64), np.empty(most), np.empty(most)
    bins, begin = np.empty(most, dtype=np.int32), np.empty(most, dtype=np.int32)
    own, drawn, used, met, before = rows[:0], sorted_[:0], 0, 0, 0  # ``own`` is left of a chunk across the border
    for number in range(len(lengths)):
        length, lane, at, chunk = lengths[number], (counts[number], window, keys[2]), 0, 0
        begin[:length] = 0
        span = 1.0 if lane[0] <= window else float(lane[0] + window)
        room = (laid, places, bins, begin, length / span, np.int32(length - 1))
        while at < length:
            if used == len(own):
                one = rows[starts[sequence[met]] : starts[sequence[met] + 1]]
                met += 1
                if at + len(one) <= length:
                    for i in range(len(one)):
                        _put(at + i, one[i], _placed(chunk, _uniform(keys[1], one[i]), one[i], lane), room)
                    at, chunk = at + len(one), chunk + 1
                    continue
                own, drawn = _across(one, keys[1])
                used = 0
            while used < len(own) and at < length:
                _put(at, own[used], _placed(chunk, drawn[used], own[used], lane), room)
                used, at = used + 1, at + 1
            chunk += 1
        _sort(length, room, sorted_, mixed[before : before + length])
        before += length
    return mixed


@njit(nogil=True)
def _dealt(mixed, each, lengths):
    """Batches of the next few objects of every lane, every other one backwards."""
    out, size = np.empty(len(mixed), dtype=np.int64), each.sum()
    batches = (len(mixed) + size - 1) // size
    for first in range(0, batches, DEALT):
        before, begin, stop = 0, 0, min(first + DEALT, batches)
        last = (batches - 1) * size  # where the last batch, which may be smaller, goes on
        for lane in range(len(lengths)):
            own, length = each[lane], lengths[lane]
            source, step = (begin + length - 1 - first * own, -1) if lane % 2 else (begin + first * own, 1)
            for batch in range(first, stop):
                whole = batch < batches - 1
                target, count = (batch * size + before, own) if whole else (last, length - batch * own)
                for i in range(target, target + count):
                    out[i] = mixed[source]
                    source += step
            last += length - (batches - 1) * own
            before, begin = before + own, begin + length
    return out


def _order(rows, chunk_rows, keys, window, each, lengths):
    starts, sequence = _grouped(rows, chunk_rows, keys[0])
    if len(sequence) > window:
        return _dealt(_mixed(rows, (starts, sequence), keys, max(1, window // len(lengths)), lengths), each, lengths)
    count, out = len(rows), np.empty(len(rows), dtype=np.int64)
    bins, begin = np.empty(count, dtype=np.int32), np.zeros(count, dtype=np.int32)
    room = (np.empty(count, dtype=np.int64), np.empty(count), bins, begin, float(count), np.int32(count - 1))
    for i in range(count):
        _put(i, rows[i], _uniform(keys[1], rows[i]), room)
    _sort(count, room, np.empty(count), out)
    return out


@njit(nogil=True)
def _table(chunks, count, size):
    """(a table of so many places, a power of two, of the first chunks by their hash; each one's number)."""
    table, held, shift = np.full(size, -1, dtype=np.int64), np.empty(size, dtype=np.int32), _shift(size)
    for number in range(count):
        at = np.int64((np.uint64(chunks[number]) * np.uint64(0x9E3779B97F4A7C15)) >> shift)
        while table[at] >= 0:
            at = (at + 1) & (size - 1)
        table[at], held[at] = chunks[number], number
    return table, held


@njit(nogil=True)
def _shift(size):
    """By how many bits a hash is shifted to be a place in a table of a size, a power of two."""
    shift = 64
    while size > 1:
        size, shift = size // 2, shift - 1
    return np.uint64(shift)


@njit(nogil=True)
def _slots(rows, chunk_rows):
    """(of each row, the place of its chunk in the order in which chunks are met; these chunks; objects of each)."""
    slots, chunks = np.empty(len(rows), dtype=np.int32), np.empty(len(rows), dtype=np.int64)
    counts, count, size = np.zeros(len(rows) + 1, dtype=np.int32), 0, 1 << 10
    table, held = _table(chunks, 0, size)
    shift, bits = _shift(size), 0
    while 1 << bits < chunk_rows:
        bits += 1
    even = 1 << bits == chunk_rows  # as chunks of our stores are: a shift is faster than a division
    for i in range(len(rows)):
        chunk = rows[i] >> bits if even else rows[i] // chunk_rows
        at = np.int64((np.uint64(chunk) * np.uint64(0x9E3779B97F4A7C15)) >> shift)
        while table[at] != chunk and table[at] >= 0:
            at = (at + 1) & (size - 1)
        if table[at] < 0:
            table[at], held[at], chunks[count] = chunk, count, chunk
            count += 1
            if 2 * count > size:
                size, at = 4 * size, 0
                table, held = _table(chunks, count, size)
                shift = _shift(size)
            slots[i] = count - 1
        else:
            slots[i] = held[at]
        counts[slots[i]] += np.int32(1)
    return slots, chunks[:count].copy(), counts[:count].copy()


def _arrivals(rows, lengths, chunk_rows, codes):
    slots, chunks, counts = _slots(rows, chunk_rows)
    starts, last = np.zeros(len(chunks) + 1, dtype=np.int64), np.zeros(len(chunks), dtype=np.int64)
    for slot in range(len(chunks)):
        starts[slot + 1] = starts[slot] + counts[slot]
    free = starts[:-1].astype(np.int32)
    needed, moves = np.empty(len(lengths), dtype=np.int64), np.empty((len(rows), 4), dtype=np.int32)
    at, met = 0, 0
    for batch in range(len(lengths)):
        for place in range(lengths[batch]):
            slot = slots[at]
            move = free[slot]
            free[slot] = move + np.int32(1)
            moves[move, 0] = rows[at] - chunks[slot] * chunk_rows
            moves[move, 1], moves[move, 2], moves[move, 3] = batch, place, codes[at]
            last[slot], met, at = batch, max(met, slot + 1), at + 1
        needed[batch] = met
    return chunks, starts, moves, needed, last


_order, _arrivals = map(compiled, (_order, _arrivals))
