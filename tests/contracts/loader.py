"""What every loader must do: give the reference's batches bit by bit, resume, share, complete, fail in words, end."""

import threading
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest
import torch

from contracts.stores import damage, make_store, rewrite
from hpc_astrossl.errors import InputError
from hpc_astrossl.loading import Batch, Loader, LoaderSpec, making, open_loader, order, pixels, sections
from hpc_astrossl.store import arrays

ROWS = 103  # a prime: every batch size leaves a tail

SCALINGS = {
    "rgb": ("unit", "caffe", "none", "standard", "asinh"),
    "bands": ("none", "standard", "asinh"),
    "interleaved": ("none", "asinh"),
    "oblong": ("unit",),
    "jpeg": ("unit", "asinh"),
    "png": ("caffe",),
}
SQUARE = [source for source in SCALINGS if source != "oblong"]  # only square images can be turned
CASES = [
    (source, scaling, flips, turns)
    for source, scalings in SCALINGS.items()
    for scaling in scalings
    for flips, turns in ((False, False), (True, source in SQUARE))
]


@dataclass(frozen=True)
class Rank:
    rank: int = 0
    size: int = 1


def same(left: list[Batch], right: list[Batch], within: float = 0.0) -> bool:
    """Whether two lists of batches agree in every number, and in every pixel ``within`` a difference."""
    return len(left) == len(right) and all(
        np.array_equal(a.rows, b.rows)
        and (a.offset, a.total) == (b.offset, b.total)
        and a.images.dtype == b.images.dtype == torch.float32
        and a.images.shape == b.images.shape
        and (
            torch.equal(a.images, b.images) if within == 0 else torch.allclose(a.images, b.images, rtol=0, atol=within)
        )
        for a, b in zip(left, right, strict=True)
    )


class LoaderContract:
    """Subclass as Test… with ``loader`` set to the name under test.

    ``tolerance`` allows a difference in a scaling, in the units that the network gets; all others agree in every bit.
    ``WARPED`` is allowed where pixels are interpolated: of numbers from 0 to 1, or as many times it as they are larger.
    """

    loader: str
    tolerance: ClassVar[dict[str, float]] = {}
    WARPED = 2e-5

    @pytest.fixture(scope="class")
    @classmethod
    def rgb(cls, tmp_path_factory):
        return make_store(tmp_path_factory.mktemp("rgb") / "store", rows=ROWS, shape=(8, 8, 3), dtype="uint8")

    @pytest.fixture(scope="class")
    @classmethod
    def bands(cls, tmp_path_factory):
        return make_store(tmp_path_factory.mktemp("bands") / "store", rows=ROWS, shape=(8, 8, 12), dtype="float32")

    @pytest.fixture(scope="class")
    @classmethod
    def interleaved(cls, tmp_path_factory):
        """Bands pixel by pixel, as earlier versions wrote them."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(arrays, "planes_first", lambda arrays: False)
            path = tmp_path_factory.mktemp("interleaved") / "store"
            store = make_store(path, rows=ROWS, shape=(8, 8, 12), dtype="float32")
        assert not store.planes_first
        return store

    @pytest.fixture(scope="class")
    @classmethod
    def oblong(cls, tmp_path_factory):
        return make_store(tmp_path_factory.mktemp("oblong") / "store", rows=ROWS, shape=(6, 9, 1), dtype="uint8")

    @pytest.fixture(scope="class")
    @classmethod
    def jpeg(cls, tmp_path_factory):
        path = tmp_path_factory.mktemp("jpeg") / "store"
        return make_store(path, rows=ROWS, shape=(8, 8, 3), dtype="uint8", kind="jpeg")

    @pytest.fixture(scope="class")
    @classmethod
    def png(cls, tmp_path_factory):
        path = tmp_path_factory.mktemp("png") / "store"
        return make_store(path, rows=ROWS, shape=(8, 8, 3), dtype="uint8", kind="png")

    @pytest.fixture
    def make(self):
        """A function that opens loaders, closed at the end of the test."""
        opened = []

        def make(store, rows=None, *, rank=0, size=1, name=None, **changes) -> Loader:
            values = {"batch_size": 16, "scaling": "none", "flips": True, "turns": False, "seed": 5, "resident_mb": 64}
            rows = np.arange(len(store)) if rows is None else rows
            spec = LoaderSpec(**(values | changes))
            loader = open_loader(store, rows, spec, engine=Rank(rank, size), device="cpu", name=name or self.loader)
            opened.append(loader)
            return loader

        yield make
        for loader in opened:
            loader.close()

    @pytest.mark.parametrize("resident_mb", [0, 64])
    @pytest.mark.parametrize(("source", "scaling", "flips", "turns"), CASES)
    def test_gives_the_reference_batches(self, make, request, source, scaling, flips, turns, resident_mb):
        store = request.getfixturevalue(source)
        options = {"scaling": scaling, "flips": flips, "turns": turns, "resident_mb": resident_mb}
        ours, reference = make(store, **options), make(store, name="reference", **options)
        within = self.tolerance.get(scaling, 0.0)
        for epoch in (0, 3):
            assert same(list(ours.epoch(epoch)), list(reference.epoch(epoch)), within)
        assert same(list(ours.evaluate()), list(reference.evaluate()), within)

    @pytest.mark.parametrize("resident_mb", [0, 64])
    @pytest.mark.parametrize(
        ("source", "scaling"), [("rgb", "unit"), ("bands", "asinh"), ("oblong", "none"), ("jpeg", "unit")]
    )
    def test_warps_as_the_reference_does(self, make, request, source, scaling, resident_mb):
        options = {
            "scaling": scaling,
            "resident_mb": resident_mb,
            "rotation": 12.0,
            "shift": 1.5,
            "turns": source in SQUARE,
        }
        store = request.getfixturevalue(source)
        ours, reference = list(make(store, **options).epoch(1)), list(make(store, name="reference", **options).epoch(1))
        largest = max(1.0, *(float(batch.images.abs().max()) for batch in reference))
        assert same(ours, reference, self.WARPED * largest)
        plain = list(make(store, **options | {"rotation": 0.0, "shift": 0.0}).epoch(1))
        assert not same(plain, reference, 0.01 * largest)

    def test_mixes_over_a_window_as_the_reference_does(self, make, rgb, monkeypatch):
        monkeypatch.setattr(order, "WINDOW_CHUNKS", 2)
        monkeypatch.setattr(order, "LANES", 2)
        ours, reference = make(rgb, resident_mb=0), make(rgb, resident_mb=0, name="reference")
        assert same(list(ours.epoch(1)), list(reference.epoch(1)))

    def test_an_epoch_has_each_object_once(self, make, rgb):
        rows = np.arange(1, ROWS, 2)
        loader = make(rgb, rows)
        batches = list(loader.epoch(0))
        assert len(batches) == loader.steps == 4
        assert [len(batch.rows) for batch in batches] == [16, 16, 16, 3]
        assert [batch.total for batch in batches] == [16, 16, 16, 3]
        seen = np.concatenate([batch.rows for batch in batches])
        assert not np.array_equal(seen, rows)
        assert np.array_equal(np.sort(seen), rows)
        assert seen.dtype == np.int64

    def test_the_same_epoch_again_is_the_same_and_another_differs(self, make, rgb):
        loader = make(rgb)
        first = list(loader.epoch(0))
        assert same(first, list(loader.epoch(0)))
        assert not same(first, list(loader.epoch(1)))
        assert not same(first, list(make(rgb, seed=6).epoch(0)))

    @pytest.mark.parametrize("start", [0, 1, 5, 6, 7])
    def test_resumes_at_any_step(self, make, rgb, start):
        whole = list(make(rgb, turns=True, resident_mb=0).epoch(2))
        assert len(whole) == 7
        assert same(list(make(rgb, turns=True, resident_mb=0).epoch(2, start=start)), whole[start:])

    @pytest.fixture
    def short_sections(self, monkeypatch):
        """An epoch of several sections, an evaluation of several stretches."""
        monkeypatch.setattr(order, "WINDOW_CHUNKS", 2)
        monkeypatch.setattr(sections, "FEWEST", 1)
        monkeypatch.setattr(sections, "SECTION_ROWS", 1)
        monkeypatch.setattr(order, "AT_A_TIME", 20)

    @pytest.mark.parametrize("resident_mb", [0, 64])
    @pytest.mark.parametrize("source", ["rgb", "bands", "jpeg"])
    def test_sections_as_the_reference_gives_them_and_resumed_anywhere(
        self, make, request, short_sections, source, resident_mb
    ):
        store, options = request.getfixturevalue(source), {"batch_size": 6, "resident_mb": resident_mb, "turns": True}
        ours, reference = make(store, **options), make(store, name="reference", **options)
        assert len(ours._sections(2)) > 2
        whole = list(reference.epoch(2))
        assert sorted(row for batch in whole for row in batch.rows.tolist()) == list(range(ROWS))
        assert len(whole) == ours.steps
        assert same(list(ours.epoch(2)), whole)
        for start in (0, 1, 4, 7, 12, len(whole) - 1, len(whole)):
            assert same(list(ours.epoch(2, start=start)), whole[start:])
        assert same(list(ours.epoch(3)), list(reference.epoch(3)))
        assert same(list(ours.evaluate()), list(reference.evaluate()))

    def test_ranks_share_sections_and_evaluation(self, make, rgb, short_sections):
        alone = make(rgb, batch_size=6, resident_mb=0)
        ranks = [make(rgb, batch_size=6, resident_mb=0, rank=rank, size=3) for rank in range(3)]
        for whole, *parts in zip(alone.epoch(1), *(loader.epoch(1) for loader in ranks), strict=True):
            assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
            assert {part.total for part in parts} == {whole.total}
        seen = [(batch.offset, row) for loader in ranks for batch in loader.evaluate() for row in batch.rows.tolist()]
        assert [row for _, row in seen] == list(range(ROWS))
        assert all(offset <= place for place, (offset, _) in enumerate(seen))

    @pytest.mark.parametrize("start", [0, 3, 6, 7])
    def test_what_is_skipped_is_not_read(self, make, rgb, start):
        loader = make(rgb, resident_mb=0)
        batches = list(loader.epoch(2, start=start))
        needed = {row // rgb.chunk_rows for batch in batches for row in batch.rows.tolist()}
        assert loader.pixels.reads == len(needed)

    @pytest.mark.parametrize(("size", "batch_size"), [(2, 16), (3, 16), (5, 102), (3, 2)])
    def test_ranks_together_give_the_batches_of_one(self, make, rgb, size, batch_size):
        options = {"batch_size": batch_size, "turns": True}
        alone = make(rgb, **options)
        ranks = [make(rgb, rank=rank, size=size, **options) for rank in range(size)]
        assert {loader.steps for loader in ranks} == {alone.steps}
        for whole, *parts in zip(alone.epoch(1), *(loader.epoch(1) for loader in ranks), strict=True):
            assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
            assert np.array_equal(np.concatenate([part.rows for part in parts]), whole.rows)
            assert [part.offset for part in parts] == list(np.cumsum([0] + [len(part.rows) for part in parts[:-1]]))
            assert {part.total for part in parts} == {whole.total}

    def test_streaming_ranks_give_the_batches_of_one_and_read_chunks_of_their_own(self, make, rgb, monkeypatch):
        monkeypatch.setattr(order, "WINDOW_CHUNKS", 2)
        monkeypatch.setattr(order, "LANES", 2)
        alone = make(rgb, resident_mb=0)
        ranks = [make(rgb, rank=rank, size=2, resident_mb=0) for rank in range(2)]
        for whole, *parts in zip(alone.epoch(1), *(loader.epoch(1) for loader in ranks), strict=True):
            assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
        assert sum(loader.pixels.reads for loader in ranks) <= alone.pixels.reads + 2 < 2 * alone.pixels.reads

    def test_a_rank_without_objects_gets_an_empty_batch(self, make, rgb):
        *_, last = make(rgb, rank=1, size=2, batch_size=102).epoch(0)
        assert last.images.shape == (0, 3, 8, 8)
        assert (last.offset, last.total) == (1, 1)

    @pytest.mark.parametrize("size", [1, 2, 3, 5])
    def test_evaluation_has_each_object_once_in_order_as_it_is(self, make, rgb, size):
        seen, images = [], rgb.images(np.arange(ROWS)).transpose(0, 3, 1, 2).astype(np.float32)
        for rank in range(size):
            for batch in make(rgb, rank=rank, size=size, turns=True).evaluate():
                assert (batch.offset, batch.total) == (len(seen), ROWS)
                assert np.array_equal(batch.images.numpy(), images[batch.rows])
                seen += batch.rows.tolist()
        assert seen == list(range(ROWS))

    @pytest.mark.parametrize("rows", [[], [7], [7, 60, 9]])
    def test_fewer_objects_than_a_batch_or_ranks(self, make, rgb, rows):
        for way in (lambda loader: loader.epoch(0), lambda loader: loader.evaluate()):
            seen = []
            for rank in range(3):
                seen += [row for batch in way(make(rgb, rows, rank=rank, size=3)) for row in batch.rows]
            assert sorted(seen) == sorted(rows)

    def test_batches_stay_as_they_were_given(self, make, rgb):
        loader = make(rgb, flips=False)
        for batch in list(loader.epoch(0)):
            wanted = rgb.images(batch.rows).transpose(0, 3, 1, 2)
            assert np.array_equal(batch.images.numpy(), wanted)

    def test_streamed_chunks_are_read_once_an_epoch_and_few_batches_are_in_the_making(self, make, rgb, monkeypatch):
        monkeypatch.setattr(order, "WINDOW_CHUNKS", 2)
        monkeypatch.setattr(order, "LANES", 2)
        monkeypatch.setattr(pixels, "READ_AHEAD", 1)
        monkeypatch.setattr(making, "TOGETHER", 1)
        loader, chunks = make(rgb, resident_mb=0), -(-ROWS // rgb.chunk_rows)
        assert chunks > 4
        held, find = [], loader.pixels.find
        monkeypatch.setattr(loader.pixels, "find",
                            lambda rows: (held.append(loader.pixels.staged), find(rows))[1])  # fmt: skip
        for epoch in range(2):
            list(loader.epoch(epoch))
            assert loader.pixels.reads == (epoch + 1) * chunks
        list(loader.evaluate())
        assert loader.pixels.reads == 3 * chunks
        assert 0 < max(held) <= 4 < loader.steps
        assert loader.pixels.staged == 0

    @pytest.mark.parametrize("resident_mb", [0, 64])
    def test_epochs_are_the_same_whatever_came_before(self, make, rgb, resident_mb, monkeypatch):
        monkeypatch.setattr(order, "WINDOW_CHUNKS", 2)
        loader, spec = make(rgb, resident_mb=resident_mb, turns=True), {"resident_mb": resident_mb, "turns": True}
        for epoch in (0, 1, 3, 3, 4, 2):  # the next one is expected, another one is wanted
            assert same(list(loader.epoch(epoch)), list(make(rgb, **spec).epoch(epoch)))
        assert same(list(loader.evaluate()), list(make(rgb, **spec).evaluate()))
        assert same(list(loader.epoch(3)), list(make(rgb, **spec).epoch(3)))
        assert same(list(loader.epoch(4, start=2)), list(make(rgb, **spec).epoch(4))[2:])
        assert same(list(loader.epoch(5)), list(make(rgb, **spec).epoch(5)))

    def test_the_first_chunks_of_the_next_epoch_are_read_while_this_one_ends(self, make, rgb):
        loader, chunks = make(rgb, resident_mb=0), -(-ROWS // rgb.chunk_rows)
        batches = loader.epoch(0)
        next(batches)
        loader._planned[1].result()
        list(batches)
        assert loader.pixels.staged > 0
        assert len(list(loader.epoch(1))) == loader.steps
        assert loader.pixels.reads == 2 * chunks  # none is read twice
        list(loader.evaluate())
        assert loader.pixels.staged == 0  # what did not come is forgotten

    def test_resident_chunks_are_read_once(self, make, rgb):
        loader = make(rgb)
        for epoch in range(3):
            list(loader.epoch(epoch))
        assert loader.pixels.reads == -(-ROWS // rgb.chunk_rows)

    def test_closing_in_the_middle_leaves_no_thread(self, make, rgb):
        before = threading.active_count()
        loader = make(rgb, resident_mb=0)
        next(loader.epoch(0))
        loader.close()
        assert threading.active_count() == before
        assert loader.pixels.staged == 0
        loader.close()

    def test_another_iteration_ends_the_one_before(self, make, rgb):
        loader = make(rgb, resident_mb=0)
        first = loader.epoch(0)
        next(first)
        whole = list(loader.epoch(1))
        assert list(first) == []
        assert same(whole, list(make(rgb).epoch(1)))

    def test_counts_the_time_spent_waiting(self, make, rgb):
        loader = make(rgb)
        assert loader.waited == 0
        list(loader.epoch(0))
        assert loader.waited > 0
        loader.waited = 0.0
        list(loader.evaluate())
        assert loader.waited > 0

    @pytest.mark.parametrize("resident_mb", [0, 64])
    def test_a_damaged_chunk_is_named(self, make, tmp_path, resident_mb):
        store = make_store(tmp_path / "broken", rows=40, shape=(8, 8, 3), dtype="uint8")
        damage(store)
        loader = make(store, resident_mb=resident_mb)
        with pytest.raises(
            InputError, match=r"broken: array images, chunk 0, rows 0\.\.15 \(objects object 0 to object 15\): damaged"
        ):
            list(loader.epoch(0))
        assert [batch.rows[0] for batch in make(store, np.arange(16, 40), resident_mb=resident_mb).evaluate()] == [
            16,
            32,
        ]

    @pytest.mark.parametrize("resident_mb", [0, 64])
    def test_a_damaged_chunk_can_be_skipped_and_is_counted(self, make, tmp_path, resident_mb):
        store = make_store(tmp_path / "broken", rows=40, shape=(8, 8, 3), dtype="uint8")
        damage(store)
        loader = make(store, resident_mb=resident_mb, corrupt="skip")
        for batches in (list(loader.epoch(0)), list(loader.evaluate())):
            assert sorted(row for batch in batches for row in batch.rows) == list(range(16, 40))
            for batch in batches:
                assert len(batch.images) == len(batch.rows)
        assert [batch.total for batch in loader.epoch(1)] == [16, 16, 8]
        assert sorted(loader.skipped.rows) == list(range(16))
        assert "broken: array images, chunk 0, rows 0..15" in loader.skipped.rows[3]

    @pytest.mark.parametrize("resident_mb", [0, 64])
    @pytest.mark.parametrize("kind", ["jpeg", "png"])
    def test_a_broken_image_is_named_or_skipped(self, make, tmp_path, kind, resident_mb):
        store = make_store(tmp_path / "broken", rows=40, shape=(8, 8, 3), dtype="uint8", kind=kind)
        store = rewrite(store, 17, b"neither a JPEG nor a PNG file")
        words = rf"broken: array images, chunk \d+, row 17 \(object object 17\): .*not a whole {kind} image"
        with pytest.raises(InputError, match=words):
            list(make(store, resident_mb=resident_mb).epoch(0))
        loader = make(store, resident_mb=resident_mb, corrupt="skip", turns=True, scaling="unit")
        expected = make(store, name="reference", resident_mb=resident_mb, corrupt="skip", turns=True, scaling="unit")
        assert same(list(loader.epoch(1)), list(expected.epoch(1)))
        assert list(loader.skipped.rows) == [17]
        assert sorted(row for batch in loader.epoch(0) for row in batch.rows) == [row for row in range(40) if row != 17]

    @pytest.mark.parametrize(
        ("source", "changes", "words"),
        [
            ("bands", {"scaling": "unit"}, "is for uint8 images, this store holds float32; set data.scaling to asinh"),
            ("bands", {"scaling": "caffe"}, "scaling caffe is for uint8 images"),
            ("oblong", {"scaling": "caffe"}, "this store has 1 channels \\(c0\\); set data.scaling to unit"),
            ("oblong", {"turns": True}, "6 × 9 pixels cannot be turned by 90°; set data.turns to false"),
            ("rgb", {"scaling": "log"}, "scaling must be unit, caffe, imagenet, none, standard or asinh, found 'log'"),
            ("rgb", {"corrupt": "hide"}, "corrupt must be stop or skip, found 'hide'"),
        ],
    )  # fmt: skip
    def test_a_spec_that_does_not_suit_the_store(self, make, request, source, changes, words):
        with pytest.raises(InputError, match=words):
            make(request.getfixturevalue(source), **changes)

    def test_repeated_rows_are_refused(self, make, rgb):
        with pytest.raises(ValueError, match="1 rows are repeated"):
            make(rgb, [3, 4, 3])
