"""Sets of rows as bits, and orders section by section, by enumeration; both against plain numpy."""

import hashlib

import numpy as np
import pytest

from hpc_astrossl.loading import compiled, order, sections
from hpc_astrossl.loading.arrival import arrivals
from hpc_astrossl.loading.order import epoch_order, evaluation_parts, evaluation_sections
from hpc_astrossl.loading.sections import Members, Sections
from hpc_astrossl.store import RowSet, rowset


def some(total: int, share: float = 0.3) -> np.ndarray:
    return np.flatnonzero(np.random.default_rng(total).random(total) < share)


@pytest.mark.parametrize("total", [0, 1, 7, 8, 9, 100, 65536, 65537, 200_001])
def test_a_set_of_rows_is_the_rows(total):
    rows = some(total)
    found = RowSet.of(rows, total)
    assert len(found) == len(rows)
    assert np.array_equal(np.asarray(found), rows)
    for start, stop in ((0, 1), (3, 3), (5, 2000), (len(rows) // 2, len(rows)), (len(rows), len(rows) + 5)):
        assert np.array_equal(found[start:stop], rows[start:stop])
    for size in (1, 3, 4, 16, 100):
        counts = np.bincount(rows // size, minlength=-(-total // size))
        assert np.array_equal(found.counts(size), counts)
        for number in range(min(len(counts), 5)):
            assert np.array_equal(found.of_stretches([number], size), rows[rows // size == number])
        many = np.random.default_rng(size).permutation(len(counts))[:7]
        every = RowSet.of(np.arange(total), total)
        for one, members in ((found, rows), (every, np.arange(total))):
            expected = [members[members // size == number] for number in many]
            assert np.array_equal(one.of_stretches(many, size), np.concatenate([*expected, members[:0]]))


@pytest.mark.parametrize("total", [9, 65536, 200_001])
def test_sets_are_joined_and_lessened(monkeypatch, total):
    monkeypatch.setattr(rowset, "BLOCK", 1 << 16)  # several of them
    rows, others = some(total), some(total + 1)[:-1]
    others = others[others < total]
    found = RowSet.of(rows, total)
    assert np.array_equal(found | RowSet.of(others, total), np.union1d(rows, others))
    assert np.array_equal(found.has(others), np.isin(others, rows))
    assert np.array_equal(found.without(others), np.setdiff1d(rows, others))
    assert found.without(np.setdiff1d(np.arange(total), rows)) is found
    assert np.array_equal(found, rows)  # as it was
    assert np.array_equal(RowSet.of(np.random.default_rng(0).permutation(rows), total), rows)


@pytest.mark.parametrize("rows", [[3, 3], [-1], [10]])
def test_rows_that_are_no_set_are_refused(rows):
    with pytest.raises(ValueError, match=r"repeated|of a store of 10"):
        RowSet.of(rows, 10)


@pytest.fixture
def short(monkeypatch):
    monkeypatch.setattr(sections, "SECTION_CHUNKS", 32)
    monkeypatch.setattr(sections, "SECTION_ROWS", 32 * 16)
    monkeypatch.setattr(sections, "FEWEST", 4)


def whole(rows: np.ndarray, total: int, **named) -> tuple[np.ndarray, Sections]:
    found = Sections(Members(RowSet.of(rows, total), named.pop("chunk", 16)), **named)
    return np.concatenate([found[number] for number in range(len(found))]), found


def test_an_epoch_of_few_chunks_is_one_section_in_the_order_that_it_had():
    rows = some(5000)
    one, found = whole(rows, 5000, seed=1, epoch=2, batch_size=7, window=10)
    assert len(found) == 1
    assert np.array_equal(one, epoch_order(rows, 16, seed=1, epoch=2, batch_size=7, window=10))


@pytest.mark.parametrize("share", [0.02, 0.5, 1.0])
@pytest.mark.parametrize(("chunk", "units"), [(16, 1 << 22), (5, 1 << 22), (16, 50)])
def test_sections_are_a_permutation_in_whole_batches(short, monkeypatch, share, chunk, units):
    monkeypatch.setattr(sections, "UNITS", units)
    rows = some(5000, share)
    orders = []
    for seed, epoch in ((0, 0), (0, 1), (1, 0)):
        shuffled, found = whole(rows, 5000, chunk=chunk, seed=seed, epoch=epoch, batch_size=7, window=4)
        assert sorted(shuffled) == rows.tolist()
        lengths = [len(found[number]) for number in range(len(found))]
        assert all(length % 7 == 0 for length in lengths[:-1])
        assert all(-(-length // 7) == found.steps for length in lengths[:-1])
        orders.append(tuple(shuffled))
    assert len(set(orders)) == 3
    assert share < 0.1 or len(found) > 3


def test_a_section_needs_none_of_those_before_it(short):
    rows = some(5000, 1.0)
    shuffled, found = whole(rows, 5000, seed=3, epoch=0, batch_size=8, window=4)
    later = Sections(Members(RowSet.of(rows, 5000), 16), seed=3, epoch=0, batch_size=8, window=4)
    start = 3 * found.steps * 8
    assert np.array_equal(later[3], shuffled[start : start + found.steps * 8])
    with pytest.raises(IndexError):
        later[len(later)]


def test_a_section_is_of_chunks_from_everywhere(short):
    _, found = whole(np.arange(16_000), 16_000, seed=3, epoch=0, batch_size=8, window=4)
    first = found[0]
    assert len(found) > 20
    assert len(np.unique(first // 16)) <= 33
    assert abs(np.median(first) / 16_000 - 0.5) < 0.3
    crossing = [set(found[k] // 16) & set(found[k + 1] // 16) for k in range(len(found) - 1)]
    assert max(map(len, crossing)) <= 1  # a chunk that lies across the border is read twice


@pytest.mark.parametrize("size", [1, 2, 3])
def test_evaluation_in_stretches_is_the_evaluation(monkeypatch, size):
    monkeypatch.setattr(order, "AT_A_TIME", 20)
    rows = RowSet.of(some(500), 500)
    for rank in range(size):
        ours = [part for parts in evaluation_sections(rows, 6, rank=rank, size=size) for part in parts]
        wanted = evaluation_parts(rows[:], 6, rank=rank, size=size)
        assert [(part.offset, part.total, part.rows.tolist()) for part in ours] == [
            (part.offset, part.total, part.rows.tolist()) for part in wanted
        ]


@pytest.mark.parametrize(
    ("total", "share", "chunk", "batch_size", "window"),
    [
        (0, 1, 4, 2, 2),
        (1, 1, 4, 2, 2),
        (50, 1, 4, 5, 100),
        (403, 0.5, 4, 7, 10),
        (403, 1, 16, 3, 3),
        (5000, 0.3, 16, 64, 10),
        (5000, 1, 7, 100, 64),
        (20_000, 0.9, 16, 128, 256),
        (40_000, 0.9, 16, 3, 256),
    ],
)
def test_what_is_compiled_is_what_numpy_says(total, share, chunk, batch_size, window):
    rows = some(total, share)
    for epoch in range(2):
        named = {"seed": 1, "epoch": epoch, "batch_size": batch_size, "window": window}
        wanted = epoch_order(rows, chunk, **named)
        assert np.array_equal(compiled.epoch_order(rows, chunk, **named), wanted)
        for rank, size in ((0, 1), (2, 3)):
            parts = order.training_parts(wanted, batch_size, rank=rank, size=size)
            codes = np.random.default_rng(1).integers(0, 8, len(parts.rows)).astype(np.uint8)
            ours, plain = (made(parts.rows, parts.lengths, chunk, codes) for made in (compiled.arrivals, arrivals))
            for name in ("lengths", "chunks", "needed", "reach", "rate", "arrears"):
                assert getattr(ours, name) == getattr(plain, name)
            for place in range(len(plain.chunks)):
                assert np.array_equal(ours.of(place), plain.of(place))


def test_the_order_is_the_one_that_runs_had_from_the_beginning():
    """A run that goes on, by whatever version, meets the objects that it would have met."""
    for total, chunk, wanted in ((300_000, 4, (5, "1e06c9dd47044f88")), (1_100_000, 64, (2, "1bd21610a9060ed7"))):
        rows, found = some(total, 0.9), hashlib.sha256()
        made = Sections(Members(RowSet.of(rows, total), chunk), seed=5, epoch=7, batch_size=96)
        for number in range(len(made)):
            found.update(made[number].astype("<i8").tobytes())
        assert (len(made), found.hexdigest()[:16]) == wanted


def test_long_sections_are_planned_by_what_is_compiled(monkeypatch):
    rows = some(5000)
    plain, _ = whole(rows, 5000, seed=1, epoch=2, batch_size=7, window=10)
    monkeypatch.setattr(order, "COMPILED", 1)
    monkeypatch.setattr(order, "epoch_order", None)
    assert np.array_equal(whole(rows, 5000, seed=1, epoch=2, batch_size=7, window=10)[0], plain)
