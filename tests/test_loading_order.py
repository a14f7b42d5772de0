"""Order, shares and augmentation by enumeration."""

import itertools

import numpy as np
import pytest

from hpc_astrossl.loading.draws import BLOCK, Augmenting, augmentation, hashed, shuffled, splitmix64, unmixed
from hpc_astrossl.loading.order import (
    epoch_order,
    evaluation_parts,
    lane_sizes,
    rank_slice,
    steps,
    training_parts,
)

ALL, WARPS = Augmenting(), Augmenting(rotation=10.0, shift=2.0)


def test_the_hash_is_splitmix64():
    # First outputs of the published generator for the seeds 0 and 1234567.
    assert splitmix64(np.array([0, 1234567], dtype=np.uint64)).tolist() == [0xE220A8397B1DCDAF, 6457827717110365317]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_slices_are_disjoint_complete_and_balanced(size):
    for total in range(25):
        slices = [rank_slice(total, rank, size) for rank in range(size)]
        assert list(itertools.chain(*(range(*part) for part in slices))) == list(range(total))
        lengths = [stop - start for start, stop in slices]
        assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 16])
def test_parts_of_an_epoch(size, batch_size):
    for total in (0, 1, 2, 5, 15, 16, 17, 31):
        rows = np.arange(100, 100 + total)
        ranks = [training_parts(rows, batch_size, rank=rank, size=size) for rank in range(size)]
        assert {len(parts) for parts in ranks} == {steps(total, batch_size)}
        seen = []
        for step, batch in enumerate(zip(*ranks, strict=True)):
            joined = np.concatenate([part.rows for part in batch])
            assert {part.total for part in batch} == {len(joined)}
            assert len(joined) == min(batch_size, total - step * batch_size)
            assert all(
                joined[part.offset : part.offset + len(part.rows)].tolist() == part.rows.tolist() for part in batch
            )
            seen += joined.tolist()
        assert seen == rows.tolist()


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 7, 16])
def test_parts_of_an_evaluation(size, batch_size):
    for total in (0, 1, 2, 5, 15, 16, 17, 31):
        rows = np.arange(100, 100 + total)
        parts = [part for rank in range(size) for part in evaluation_parts(rows, batch_size, rank=rank, size=size)]
        assert [row for part in parts for row in part.rows] == rows.tolist()
        assert all(rows[part.offset] == part.rows[0] and part.total == total for part in parts)
        assert all(1 <= len(part.rows) <= max(1, batch_size // size) for part in parts)


@pytest.mark.parametrize(("total", "chunk", "window"), [(0, 4, 2), (1, 4, 2), (50, 4, 100), (403, 4, 10), (403, 16, 3)])
def test_an_order_is_a_permutation_that_seed_and_epoch_decide(total, chunk, window):
    rows = np.arange(total) * 3
    orders = {
        tuple(epoch_order(rows, chunk, seed=seed, epoch=epoch, window=window)) for seed in (0, 1) for epoch in (0, 1)
    }
    assert all(sorted(order) == rows.tolist() for order in orders)
    assert len(orders) == (4 if total > 1 else 1)
    again = epoch_order(rows, chunk, seed=0, epoch=0, window=window)
    assert tuple(again) in orders


@pytest.mark.parametrize("total", [1, 2, 63, 64, 65, 257, 1000, 1027])
@pytest.mark.parametrize("batch_size", [1, 2, 7, 63, 64, 65, 128, 3000])
def test_lanes_fill_every_batch(total, batch_size):
    each, lengths = lane_sizes(total, batch_size)
    assert each.sum() == batch_size
    assert each.min() >= 1
    assert lengths.sum() == total
    tail = lengths - each * (steps(total, batch_size) - 1)
    assert tail.min() >= 0
    assert (tail <= each).all()
    assert np.abs(tail - each * tail.sum() / batch_size).max() < 1  # the tail is taken from all lanes alike


@pytest.mark.parametrize("batch_size", [1, 3, 16, 64, 100])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
def test_ranks_read_chunks_of_their_own(size, batch_size):
    rows = np.delete(np.arange(1237), slice(None, None, 5))  # a split: chunks have unequal numbers of its objects
    order = epoch_order(rows, 4, seed=0, epoch=2, batch_size=batch_size, window=64)
    assert sorted(order) == rows.tolist()
    chunks = len(np.unique(rows // 4))
    share = []
    for rank in range(size):
        parts = training_parts(order, batch_size, rank=rank, size=size)
        share.append(len(np.unique(np.concatenate([part.rows for part in parts]) // 4)))
    if size > batch_size:
        return  # the last ranks have nothing to do
    lanes = min(batch_size, 64)
    cut = 0 if lanes % size == 0 else size - 1  # lanes that two ranks share
    # A lane begins in the chunk where another ends; the last, smaller batch may take a chunk from a neighbour's lane.
    assert sum(share) <= chunks * (1 + cut / lanes) + 4 * size
    if lanes % size == 0:
        assert max(share) <= chunks / size + 4


@pytest.mark.parametrize("batch_size", [1, 5, 16])
@pytest.mark.parametrize("window", [1, 2, 8, 39, 40])
def test_few_chunks_are_in_use_at_any_time(window, batch_size):
    rows = np.arange(40 * 16)
    order = epoch_order(rows, 16, seed=1, epoch=1, batch_size=batch_size, window=window) // 16
    first, last = np.full(40, len(order)), np.zeros(40, dtype=int)
    np.minimum.at(first, order, np.arange(len(order)))
    np.maximum.at(last, order, np.arange(len(order)))
    in_use = [np.sum((first <= place) & (place <= last)) for place in range(len(order))]
    assert max(in_use) <= max(1, window // batch_size) * batch_size + batch_size + 1


def test_a_batch_is_as_mixed_as_one_of_a_plain_shuffle():
    # Pairs of objects of one chunk in a batch, against a plain shuffle of 1000 chunks; a plain window has four times.
    rows = np.arange(1000 * 32)
    batches = epoch_order(rows, 32, seed=3, epoch=0, batch_size=128).reshape(-1, 128) // 32
    pairs = sum(int((np.bincount(batch) * (np.bincount(batch) - 1)).sum()) for batch in batches)
    plain = len(batches) * 128 * 127 / 1000
    assert pairs < 3 * plain


def test_neighbours_are_as_unrelated_as_the_window_allows():
    # Rows of one chunk follow each other with a probability of about 1/window; in a plain shuffle it is 1/chunks.
    rows = np.arange(200 * 32)
    for window in (10, 50, 200):
        order = epoch_order(rows, 32, seed=3, epoch=0, window=window) // 32
        share = np.mean(order[1:] == order[:-1])
        assert 0.6 / window < share < 1.5 / window
        for end in (order[: 4 * window], order[-4 * window :]):  # the ends mix as many chunks as the middle
            assert len(np.unique(end)) > 0.8 * window


def test_augmentation_belongs_to_the_object_not_to_its_place():
    rows = np.arange(1000)
    whole = augmentation(7, 3, rows, WARPS)
    some = augmentation(7, 3, rows[::-7], WARPS)
    for name in ("horizontal", "vertical", "turns", "warp"):
        assert np.array_equal(getattr(some, name), getattr(whole, name)[::-7])
        other_epoch, other_seed = augmentation(7, 4, rows, WARPS), augmentation(8, 3, rows, WARPS)
        assert not np.array_equal(getattr(whole, name), getattr(other_epoch, name))
        assert not np.array_equal(getattr(whole, name), getattr(other_seed, name))


def test_all_sixteen_ways_are_equally_common_and_can_be_switched_off():
    drawn = augmentation(0, 0, np.arange(16000), ALL)
    ways = np.bincount(drawn.horizontal * 8 + drawn.vertical * 4 + drawn.turns, minlength=16)
    assert ways.shape == (16,)
    assert np.abs(ways - 1000).max() < 150  # five standard deviations
    assert not augmentation(0, 0, np.arange(100), Augmenting(flips=False)).horizontal.any()
    assert not augmentation(0, 0, np.arange(100), Augmenting(flips=False)).vertical.any()
    assert not augmentation(0, 0, np.arange(100), Augmenting(turns=False)).turns.any()


def test_a_switch_does_not_change_the_other_draws():
    rows = np.arange(100)
    assert np.array_equal(
        augmentation(0, 0, rows, Augmenting(turns=False)).horizontal, augmentation(0, 0, rows, WARPS).horizontal
    )
    assert np.array_equal(
        augmentation(0, 0, rows, Augmenting(flips=False)).turns, augmentation(0, 0, rows, WARPS).turns
    )


@pytest.mark.parametrize("count", [0, 1, 5, BLOCK - 1, BLOCK, 3 * BLOCK + 7])
def test_numbers_in_the_order_of_their_hashes(count):
    numbers = np.arange(count) * 3
    wanted = numbers[np.argsort(hashed(2, 7, 1, numbers), kind="stable")]
    assert np.array_equal(shuffled(2, 7, 1, numbers), wanted)
    assert np.array_equal(unmixed(splitmix64(wanted.view(np.uint64))), wanted.view(np.uint64))
