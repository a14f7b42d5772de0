"""Patches: where they are cut, places that are drawn anew, what is taken off them, and what gives the place away."""

import dataclasses

import numpy as np
import pytest
import torch
from pretext_toys import learn, pretext_run

from hpc_astrossl import names
from hpc_astrossl.errors import InputError
from hpc_astrossl.pretexts import open_pretext
from hpc_astrossl.pretexts.patches import grid, without_plane
from hpc_astrossl.specs.pretexts import Patches


def patches(size=32, **switches):
    run = dataclasses.replace(pretext_run("patches"), pretext=switches)
    return open_pretext(names.resolved(run), (size, size, 3))


@pytest.mark.parametrize("side", [32, 64, 88, 128, 160, 200])
def test_the_published_proportions_fit_every_cutout_and_vgg16_takes_the_patches(side):
    found = grid(Patches(), side)
    assert 3 * found.patch + 2 * found.gap + 2 * found.jitter <= side
    assert found.gap == found.patch // 2
    assert found.jitter >= 1
    assert found.enlarge == max(32, found.patch)
    views = patches(side).seen(torch.rand(2, 3, side, side), np.arange(2), 1)
    assert views.shape == (2, 2, 3, found.enlarge, found.enlarge)
    assert torch.isfinite(views).all()


def test_patches_are_those_pixels_and_gap_and_jitter_keep_them_apart():
    pretext = patches(96, patch=32, gap=0, jitter=0, plane=False)
    images, rows = torch.rand(40, 3, 96, 96), np.arange(40)
    views, places = pretext.seen(images, rows, 3), pretext.places(rows, 3)
    assert set(places) == set(range(8))
    for one, place in enumerate(places):
        for view, cell in enumerate((4, place + (place >= 4))):
            down, right = 32 * (cell // 3), 32 * (cell % 3)
            cut = images[one, :, down : down + 32, right : right + 32]
            cut = cut - cut.mean(dim=(1, 2), keepdim=True)
            np.testing.assert_allclose(views[one, view], cut / cut.pow(2).mean().sqrt(), atol=2e-4)


def test_places_are_drawn_anew_each_epoch_and_are_the_same_in_every_evaluation():
    pretext, rows = patches(), np.arange(200)
    first, second = pretext.places(rows, 1), pretext.places(rows, 2)
    assert (first != second).mean() > 0.7
    assert (pretext.places(rows[50:], 1) == first[50:]).all()
    assert np.bincount(first, minlength=8).min() > 8


def test_a_plane_is_taken_off_whole_and_a_bump_is_left():
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    plane = (3 + 2 * y - x).expand(1, 1, 8, 8)
    assert without_plane(plane).abs().max() < 1e-5
    bump = torch.exp(-((x - 3.5) ** 2 + (y - 3.5) ** 2))
    left = without_plane(plane + bump)
    np.testing.assert_allclose(left[0, 0], without_plane(bump.expand(1, 1, 8, 8))[0, 0], atol=1e-5)
    assert left.abs().max() > 0.5


@pytest.mark.parametrize("channels", ["keep", "shift", "drop"])
def test_channels_are_kept_shifted_or_dropped_and_deviation_is_one(channels):
    images, rows = torch.rand(6, 3, 64, 64), np.arange(6)
    views = patches(64, channels=channels).seen(images, rows, 1)
    deviation = views.pow(2).mean(dim=(3, 4)).sqrt()
    if channels == "drop":
        assert ((deviation > 0.5).sum(dim=2) == 1).all()
        assert deviation.sort(dim=2).values[:, :, 1].max() < 0.02
    else:
        np.testing.assert_allclose(views.pow(2).mean(dim=(2, 3, 4)), 1, rtol=1e-4)
    if channels == "shift":
        assert (views != patches(64).seen(images, rows, 1)).any()


def test_a_patch_without_anything_in_it_stays_zero():
    assert (patches().seen(torch.full((2, 3, 32, 32), 0.4), np.arange(2), 1) == 0).all()


def test_the_loss_is_the_cross_entropy_of_the_eight_places():
    raw, place = np.random.default_rng(0).normal(size=(5, 8)), np.array([0, 7, 3, 3, 1])
    expected = np.log(np.exp(raw).sum(axis=1)) - raw[np.arange(5), place]
    found = patches().losses(torch.from_numpy(raw), torch.from_numpy(place)[:, None])
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def bright_centres(objects, seed=0):
    source = np.random.default_rng(seed)
    y, x = np.mgrid[:32, :32] - 15.5
    light = 200 * np.exp(-np.hypot(x, y) / source.uniform(8, 16, (objects, 1, 1)))
    pixels = light[..., None] + source.normal(20, 2, (objects, 32, 32, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def test_a_known_centre_gives_the_place_away_and_noise_does_not():
    _, found = learn(patches(plane=False), bright_centres(150), epochs=10)
    assert found["accuracy"] > 0.5
    assert found["leak"] > 3
    source = np.random.default_rng(1)
    _, lost = learn(patches(), source.integers(0, 255, (150, 32, 32, 3), dtype=np.uint8), epochs=2)
    assert abs(lost["leak"]) < 3


@pytest.mark.parametrize(("switches", "words"), [
    ({"patch": 12}, "3 patches of 12, 2 gaps of 6 and jitter of 0 each way take 48 pixels, the images have 32"),
    ({"jitter": 9}, "jitter of 9 each way take"),
    ({"enlarge": 16}, "enlarge 16: the network takes 32 pixels at least"),
    ({"patch": 2}, "patch must be at least 4 pixels, found 2"),
    ({"channels": "one"}, "found 'one'; allowed: keep, shift, drop"),
])  # fmt: skip
def test_what_does_not_fit_is_refused(switches, words):
    with pytest.raises(InputError, match=words):
        patches(**switches)
