"""The vectorised loader keeps the contract; what is its own, and when it is chosen, is tested here."""

import os

import numpy as np
import pytest
import torch
import zarr
from contracts import stores
from contracts.loader import LoaderContract, Rank, same
from training_toys import make_store

from hpc_astrossl.errors import InputError
from hpc_astrossl.loading import LoaderSpec, choose, direct, open_loader
from hpc_astrossl.loading.buffers import Buffers
from hpc_astrossl.loading.kernel import Into
from hpc_astrossl.store import checksum, open_store


class TestVectorised(LoaderContract):
    loader = "vectorised"

    def test_is_chosen_for_arrays_on_the_cpu(self, make, rgb, bands):
        assert make(rgb, name="auto").name == make(bands, name="auto", resident_mb=0).name == "vectorised"

    def test_is_chosen_for_encoded_images_that_stay_decoded_in_memory(self, make, jpeg):
        assert make(jpeg, name="auto").name == "vectorised"
        assert make(jpeg, name="auto", resident_mb=0).name == "vectorised"

    @pytest.mark.parametrize(
        ("source", "device", "resident_mb", "name", "words"),
        [
            ("rgb", "cuda", 64, "dali", "on the GPU; the split stays in memory"),
            ("jpeg", "cpu", 0, "vectorised", "more than the work; the split is streamed"),
            ("rgb", "cpu", 0, "vectorised", "more than the work; the split is streamed"),
        ],
    )
    def test_the_choice_is_given_with_its_reason(self, request, source, device, resident_mb, name, words):
        store = request.getfixturevalue(source)
        spec = LoaderSpec(batch_size=4, scaling="unit", flips=True, turns=False, seed=0, resident_mb=resident_mb)
        chosen, reason = choose(store, np.arange(len(store)), spec, device)
        assert chosen == name
        assert words in reason

    def test_a_store_that_is_laid_out_otherwise_is_read_all_the_same_and_the_reason_says_so(self, tmp_path):
        stores = [make_store(tmp_path / name) for name in ("ours", "theirs")]
        group = zarr.open_group(stores[1], mode="r+")
        values = group["images"][...]
        del group["images"]
        group.create_array("images", data=values, chunks=(5, 32, 32, 3))
        spec = LoaderSpec(batch_size=7, scaling="unit", flips=True, turns=True, seed=0, resident_mb=0)
        loaders = [open_loader(open_store(path, verify=False), np.arange(48), spec, engine=Rank(0, 1), device="cpu")
                   for path in stores]  # fmt: skip
        assert ["zarr-python reads" in loader.reason for loader in loaders] == [False, True]
        ours, theirs = (torch.cat([batch.images for batch in loader.evaluate()]) for loader in loaders)
        assert torch.equal(ours, theirs)

    @pytest.mark.parametrize(("source", "scaling", "fast"), [
        ("rgb", "unit", True), ("bands", "standard", True), ("bands", "asinh", False), ("oblong", "unit", False),
        ("interleaved", "none", False), ("jpeg", "unit", False),
    ])  # fmt: skip
    def test_chunks_are_read_and_put_in_one_call_where_they_lie_as_they_are(
        self, request, make, source, scaling, fast, monkeypatch
    ):
        taken, put = [], direct.put_chunks
        monkeypatch.setattr(direct, "put_chunks", lambda *given: taken.append(put(*given)) or taken[-1])
        store = request.getfixturevalue(source)
        list(make(store, scaling=scaling, resident_mb=0).epoch(0))
        assert bool(taken) == fast
        if fast:
            assert sum(map(len, taken)) >= -(-len(store) // store.chunk_rows)
            assert all(done.all() for done in taken)

    def test_without_the_library_of_sums_chunks_are_read_one_by_one(self, make, bands, monkeypatch):
        expected = list(make(bands, resident_mb=0).epoch(2))
        monkeypatch.setattr(checksum, "_extend", None)
        loader = make(bands, resident_mb=0)
        assert loader.pixels.keeping.fast is None
        assert same(list(loader.epoch(2)), expected)

    @pytest.mark.parametrize("harm", ["byte", "end", "file"])
    def test_of_chunks_read_at_once_the_damaged_are_told_apart(self, make, tmp_path, harm):
        store = stores.make_store(tmp_path / "broken", rows=100, shape=(8, 8, 3), dtype="uint8")
        (shard,) = [path for path in (store.path / "images" / "c").rglob("*") if path.is_file()]
        loader = make(store, resident_mb=0)
        if harm == "byte":
            stores.damage(store)
        elif harm == "end":
            store.extents([0])  # its index is known
            os.truncate(shard, store.chunk_rows * 8 * 8 * 3)
        else:
            shard.unlink()
        found, out = store.extents([0, 1]), np.zeros((2, 3, 8, 8), np.float32)
        moves = np.array([[0, 0, 0, 0], [0, 0, 1, 0]], np.int32)
        wanted = direct.Wanted(found.files, found.offsets, np.array([[0, 1], [1, 2]]), moves)
        like, zero, one = np.empty(0, np.float32), np.zeros(3, np.float32), np.ones(3, np.float32)
        done = direct.put_chunks(wanted, direct.room(store), Into(np.array([out.ctypes.data]), like, zero, one))
        assert done.tolist() == {"byte": [False, True], "end": [False, False], "file": [False, False]}[harm]
        assert not out[0].any()
        with pytest.raises(InputError, match=r"broken: array images, chunk \d, rows"):
            list(loader.epoch(0))

    def test_memory_of_batches_is_used_again(self, make, rgb):
        loader = make(rgb)
        seen = {batch.images.data_ptr() for epoch in range(5) for batch in loader.epoch(epoch)}
        assert len(seen) <= 8 < 5 * loader.steps


def test_lent_memory_is_not_lent_again_while_a_view_of_it_lives():
    buffers = Buffers()
    array = buffers.lend((4, 3))
    place, part = array.ctypes.data, array[2:]
    del array
    assert buffers.lend((4, 3)).ctypes.data != place
    del part
    assert buffers.lend((2, 5)).ctypes.data == place


def test_memory_is_kept_while_a_gradient_needs_it():
    buffers = Buffers()
    images = torch.from_numpy(buffers.lend((4, 3)))
    place = images.data_ptr()
    loss = (images * torch.ones(3, requires_grad=True)).sum()
    del images
    assert buffers.lend((4, 3)).ctypes.data != place
    loss.backward()
    del loss
    assert buffers.lend((4, 3)).ctypes.data == place
