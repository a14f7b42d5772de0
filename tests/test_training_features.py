"""Frozen features: computed once for all runs, equal whoever computes them, never taken when damaged or outdated."""

import dataclasses
import json
import os
import re
import signal
import subprocess
import threading

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from training_toys import ALL, HEAD, make_run, make_store, replace_weights

from hpc_astrossl import files, names
from hpc_astrossl.engines import open_engine
from hpc_astrossl.errors import Interrupted
from hpc_astrossl.loading.draws import Augmenting, augmentation
from hpc_astrossl.loading.reference import put
from hpc_astrossl.nets.vgg import VGG16, build
from hpc_astrossl.store import open_store
from hpc_astrossl.training import encoding
from hpc_astrossl.training.encoding import Encoder
from hpc_astrossl.training.feature_cache import FeatureCache, store_digest
from hpc_astrossl.training.features import view, view_numbers
from hpc_astrossl.training.folder import run_path
from hpc_astrossl.training.run import train
from hpc_astrossl.training.watch import Stop

pytestmark = pytest.mark.usefixtures("narrow")

RUN = names.resolved(make_run(HEAD))


@pytest.fixture
def encoded(monkeypatch):
    """The numbers of images that went through the convolutions, call by call (filling zeros included)."""
    calls, encode = [], VGG16.encode
    monkeypatch.setattr(VGG16, "encode", lambda self, images: (calls.append(len(images)), encode(self, images))[1])
    return calls


@pytest.fixture(scope="module")
def model():
    return build(RUN.model, shape=(32, 32, 3), outputs=2, seed=0)


def encoder(tmp_path, cache=None, stop=None):
    if not (tmp_path / "toy").exists():
        make_store(tmp_path / "toy")
    engine = open_engine("single", "cpu")
    return Encoder(
        run=RUN, store=open_store(tmp_path / "toy"), engine=engine, stop=stop or Stop(), say=print, cache=cache
    )


def cache(tmp_path, told=None, **about):
    return FeatureCache(tmp_path / "features", about, (told if told is not None else []).append)


def test_features_do_not_depend_on_what_else_is_asked_for(tmp_path, model):
    rows = np.arange(48)
    every = encoder(tmp_path).plain(model, rows)
    for some in (rows[5:6], rows[::3], rows[20:]):
        assert torch.equal(encoder(tmp_path).plain(model, some), every[some])


class EndOfHead(Exception):
    """The convolutions are asked for images."""


def test_a_seed_and_a_size_later_nothing_is_encoded_again(tmp_path, encoded, monkeypatch):
    make_store(tmp_path / "toy")
    earlier = make_run(dataclasses.replace(ALL, epochs=1), set="pretext", target="magnitudes")
    train(earlier, tmp_path)
    make_store(tmp_path / "other", seed=1, prefix="L", ra=100)
    later = {"store": "other", "weights": f"run:{names.resolved(earlier).run_id}"}
    del encoded[:]
    train(make_run(HEAD, **later), tmp_path)
    assert encoded == [32, 32, 32]
    (folder,) = (tmp_path / "features").iterdir()
    assert json.loads((folder / "about.json").read_text())["scaling"] == "unit"
    del encoded[:]
    train(make_run(HEAD, seed=1, train_size=8, **later), tmp_path)
    assert encoded == []
    fine = make_run(HEAD, dataclasses.replace(ALL, epochs=1), **later)
    monkeypatch.setattr(VGG16, "forward", lambda *_: (_ for _ in ()).throw(EndOfHead))
    with pytest.raises(EndOfHead):
        train(fine, tmp_path)
    assert encoded == []  # fine-tuning's first phase found them too
    without = make_run(HEAD, seed=2, keep_features=False, **later)
    del encoded[:]
    train(without, tmp_path)
    assert encoded == [32, 32, 32]


def test_the_key_is_of_contents(tmp_path):
    store = open_store(make_store(tmp_path / "toy"))
    again, other = (open_store(make_store(tmp_path / name, seed=seed)) for name, seed in (("again", 0), ("other", 1)))
    assert store_digest(store) == store_digest(again) != store_digest(other)
    assert cache(tmp_path, a=1).folder != cache(tmp_path, a=2).folder


def test_segments_are_read_back_and_only_what_is_missing_is_computed(tmp_path, model, encoded):
    kept = cache(tmp_path)
    first = encoder(tmp_path, kept).plain(model, np.arange(10))
    del encoded[:]
    second = encoder(tmp_path, kept).plain(model, np.arange(4, 20))
    assert encoded == [32]  # ten rows in one batch that is filled up
    assert torch.equal(second[:6], first[4:])
    del encoded[:]
    assert torch.equal(encoder(tmp_path, kept).plain(model, np.arange(20)), torch.cat([first[:4], second]))
    assert encoded == []


@pytest.mark.parametrize("place", [0.0, 0.1, 0.3, 0.5, 0.9, 0.999])
def test_a_damaged_segment_is_told_of_and_computed_again(tmp_path, model, place):
    told = []
    kept = cache(tmp_path, told)
    right = encoder(tmp_path, kept).plain(model, np.arange(10))
    (path,) = kept.folder.glob("*.npz")
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 4
    path.write_bytes(data)
    assert torch.equal(encoder(tmp_path, kept).plain(model, np.arange(10)), right)
    assert not told or f"{path}: damaged" in told[0]


def test_a_cut_or_empty_segment_is_computed_again(tmp_path, model):
    for size in (0, 100):
        told = []
        kept = cache(tmp_path, told, size=size)
        right = encoder(tmp_path, kept).plain(model, np.arange(3))
        (path,) = kept.folder.glob("*.npz")
        path.write_bytes(path.read_bytes()[:size])
        assert torch.equal(encoder(tmp_path, kept).plain(model, np.arange(3)), right)
        assert len(told) >= 1


def test_where_nothing_can_be_kept_the_run_goes_on(tmp_path, model):
    told = []
    kept = cache(tmp_path, told)
    (tmp_path / "features").write_text("a file in the way")
    features = encoder(tmp_path, kept).plain(model, np.arange(3))
    assert torch.equal(features, encoder(tmp_path).plain(model, np.arange(3)))
    assert any("features cannot be kept (Not a directory); going on without" in line for line in told)


def test_two_writers_at_once_find_the_same(tmp_path, model):
    kept, found = cache(tmp_path), {}
    ones = [encoder(tmp_path, kept) for _ in range(2)]

    def work(number):
        found[number] = ones[number].plain(model, np.arange(20))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(found[0], found[1])
    assert len(list(kept.folder.glob("*.npz"))) == 1  # the second waited, and found what it needed
    assert not [path for path in kept.folder.iterdir() if "partial" in path.name]


def test_what_dead_writers_left_is_removed_and_what_living_ones_write_is_not(tmp_path):
    kept = cache(tmp_path)
    kept.folder.mkdir(parents=True)
    with subprocess.Popen(["true"]) as dead:
        pass
    written = kept.folder / "view0-000000000-0d01d486.npz"
    living = files.aside_of(written).name
    left = living.replace(f"-{os.getpid()}-", f"-{dead.pid}-")
    elsewhere = re.sub(r"\.[0-9a-f]{12}-", ".0123456789ab-", left)  # whether that one lives cannot be seen from here
    for name in (written.name, left, living, elsewhere):
        (kept.folder / name).write_bytes(b"some of it")
    with kept.writing(Stop()):
        there = {path.name for path in kept.folder.iterdir()}
    assert there == {written.name, living, elsewhere, "about.json", ".lock"}


def test_an_interrupted_encoding_keeps_the_segments_it_has(tmp_path, model, encoded, monkeypatch):
    monkeypatch.setattr(encoding, "SEGMENT", 10)
    kept, stop = cache(tmp_path), Stop()
    write = kept.write

    def asking(*arguments):
        write(*arguments)
        stop.name = signal.SIGTERM.name

    monkeypatch.setattr(kept, "write", asking)
    with pytest.raises(Interrupted, match="stopped by SIGTERM while it was evaluating"):
        encoder(tmp_path, kept, stop).plain(model, np.arange(30))
    del encoded[:]
    monkeypatch.undo()
    found, _ = kept.read(np.arange(30), 0)
    assert found.tolist() == [True] * 10 + [False] * 20


def test_views_show_what_the_image_loader_would_have_shown():
    rows, images = np.arange(40), np.random.default_rng(0).random((40, 6, 6, 3)).astype(np.float32)
    for views, turns in ((4, False), (8, True)):
        numbers = view_numbers(3, 5, rows, views)
        assert set(numbers.tolist()) == set(range(views))
        drawn = augmentation(3, 5, rows, Augmenting(flips=True, turns=turns))
        for row, number in enumerate(numbers):
            wanted = put(images[row], drawn.horizontal[row], drawn.vertical[row], drawn.turns[row])
            shown = view(torch.from_numpy(images[row : row + 1].transpose(0, 3, 1, 2)), int(number))
            assert (shown[0].numpy().transpose(1, 2, 0) == wanted).all()


def test_a_head_learns_from_all_views(tmp_path, encoded):
    make_store(tmp_path / "toy")
    result = train(make_run(HEAD, feature_views=4), tmp_path)
    assert encoded == [32] * 6  # four views of the training objects; validation and test as they are
    assert result["epochs"] == HEAD.epochs


def test_weights_that_change_are_another_source(tmp_path, encoded):
    make_store(tmp_path / "toy")
    earlier = make_run(HEAD, set="pretext", target="magnitudes")
    train(earlier, tmp_path)
    make_store(tmp_path / "other", seed=1, prefix="L", ra=100)
    run_id = names.resolved(earlier).run_id
    later = make_run(HEAD, store="other", weights=f"run:{run_id}")
    train(later, tmp_path)
    path = run_path(tmp_path, "toys", run_id) / "weights.safetensors"
    tensors = load_file(path)
    tensors["features.0.bias"] = tensors["features.0.bias"] + 1
    replace_weights(path.parent, tensors)
    del encoded[:]
    train(dataclasses.replace(later, seed=1), tmp_path)
    assert encoded == [32, 32, 32]
    assert len(list((tmp_path / "features").iterdir())) == 2
