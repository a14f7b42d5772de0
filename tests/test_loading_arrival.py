"""When chunks are wanted and where their objects go, by enumeration; threads that read them."""

import threading

import numpy as np
import pytest
from contracts.stores import damage, make_store

from hpc_astrossl.loading.arrival import arrivals
from hpc_astrossl.loading.order import WINDOW_CHUNKS, epoch_order, training_parts
from hpc_astrossl.loading.reading import TOGETHER, Readers, Reading


@pytest.mark.parametrize("chunk_rows", [1, 4, 7, 100])
@pytest.mark.parametrize("lengths", [[], [0], [5, 5, 5], [3, 0, 4, 0], [40], [1] * 12])
def test_each_object_goes_where_its_batch_wants_it(chunk_rows, lengths):
    rng = np.random.default_rng(len(lengths))
    rows = rng.permutation(60)[: sum(lengths)]
    batches = np.split(rows, np.cumsum(lengths)[:-1]) if lengths else []
    codes = rng.integers(0, 8, len(rows))
    found = arrivals(rows, np.array(lengths, dtype=np.int64), chunk_rows, codes)
    made, seen = [np.full(length, -1) for length in lengths], {}
    for place, chunk in enumerate(found.chunks):
        for number, batch, where, code in found.of(place):
            made[batch][where] = chunk * chunk_rows + number
            seen[chunk * chunk_rows + number] = code
    assert [part.tolist() for part in made] == [part.tolist() for part in batches]
    assert [seen[row] for row in rows.tolist()] == codes.tolist()
    for batch, count in enumerate(found.needed):
        wanted = {row // chunk_rows for part in batches[: batch + 1] for row in part.tolist()}
        assert set(found.chunks[:count]) == wanted
    for place, reach in enumerate(found.reach):
        assert reach == 1 + max(found.of(before)[:, 1].max() for before in range(place + 1))


def test_without_codes_nothing_is_flipped():
    assert not arrivals(np.arange(5), np.array([5]), 2).moves[:, 3].any()


@pytest.mark.parametrize("chunk_rows", [16, 64])
@pytest.mark.parametrize("size", [1, 2, 3])
def test_few_batches_are_in_the_making(chunk_rows, size):
    # 64 lanes of two objects a batch mix over 4 chunks each: a chunk is spread over 5 stretches of chunk_rows / 2
    # batches, one more at the ends.
    order = epoch_order(np.arange(40_000), chunk_rows, seed=0, epoch=0, batch_size=128, window=WINDOW_CHUNKS)
    parts = training_parts(order, 128, rank=0, size=size)
    assert arrivals(parts.rows, parts.lengths, chunk_rows).depth(0) <= 6 * chunk_rows / 2 < len(parts)


@pytest.mark.parametrize("objects", [1, 300, 3_000, 40_000])
def test_chunks_due_are_those_needed_read_evenly(objects):
    order = epoch_order(np.arange(objects), 16, seed=0, epoch=0, batch_size=128, window=WINDOW_CHUNKS)
    parts = training_parts(order, 128, rank=0, size=1)
    found = arrivals(parts.rows, parts.lengths, 16)
    batches = len(found.lengths)
    due = [found.due(number) for number in range(-2 * batches, batches)]
    assert due[0] <= 0
    assert due[-1] == len(found.chunks)
    assert all(count >= needed for count, needed in zip(due[2 * batches :], found.needed, strict=True))
    assert max(np.diff(due)) <= found.rate + 1
    assert all(found.due(number) <= len(found.chunks) for number in range(batches))


def test_of_no_batch_nothing_is_due():
    found = arrivals(np.arange(0), np.arange(0), 16)
    assert found.due(-1) == found.depth(3) == 0


@pytest.fixture
def readers(tmp_path):
    store = make_store(tmp_path / "store", rows=300, shape=(8, 8, 3), dtype="uint8")
    readers = Readers(store)
    yield readers
    readers.close()


def nothing_is_lost(index, error):
    raise AssertionError(error)


def test_chunks_are_used_with_their_places_by_the_threads(readers):
    wanted, seen, threads = [5, 0, 7, 2, 11, 3, 9, 1, 8, 4], {}, set()

    def use(place, chunk):
        seen[place] = chunk.copy()
        threads.add(threading.current_thread().name)

    reading = Reading(readers, wanted, use)
    reading.read(len(wanted) + 5)
    reading.wait(len(wanted), nothing_is_lost)
    assert readers.reads == len(wanted)
    assert all(np.array_equal(seen[place], readers.store.raw_chunk(index)) for place, index in enumerate(wanted))
    assert all(name.startswith("astrossl-reading") for name in threads)


def test_a_damaged_chunk_is_told_and_those_beside_it_are_used(readers):
    damage(readers.store)
    used, lost = [], []
    reading = Reading(readers, list(range(TOGETHER + 2)), lambda place, chunk: used.append(place))
    reading.read(TOGETHER + 2)
    reading.wait(TOGETHER + 2, lambda index, error: lost.append((index, str(error))))
    assert sorted(used) == list(range(1, TOGETHER + 2))
    assert [index for index, _ in lost] == [0]
    assert "chunk 0, rows 0..15" in lost[0][1]


def test_after_a_stop_no_chunk_is_used(readers):
    go, used = threading.Event(), []

    def use(place, chunk):
        go.wait()
        used.append(place)

    reading = Reading(readers, list(range(18)), use)
    reading.read(18)
    threading.Timer(0.1, go.set).start()
    reading.stop()  # the threads are in the middle of chunks
    count = len(used)
    assert count < 18
    reading = Reading(readers, [3], lambda place, chunk: used.append("again"))
    reading.read(1)
    reading.wait(1, nothing_is_lost)
    assert used[count:] == ["again"]


def test_two_lists_are_read_side_by_side_and_stop_alone(readers):
    go, used = threading.Event(), []

    def slow(place, chunk):
        go.wait()
        used.append("first")

    first = Reading(readers, list(range(18)), slow)
    second = Reading(readers, [1, 2, 3], lambda place, chunk: used.append("second"))
    first.read(18)
    second.read(3)
    threading.Timer(0.1, go.set).start()
    first.stop()
    second.wait(3, nothing_is_lost)
    assert used.count("second") == readers.reads == 3
    assert used.count("first") < 18
