"""Rotation: four copies, the published loss, and a meter that reads 0.25 on a sky without a preferred direction."""

import dataclasses

import numpy as np
import pytest
import torch
from pretext_toys import learn, pretext_run
from torch.nn import functional as F

from hpc_astrossl import names
from hpc_astrossl.errors import InputError
from hpc_astrossl.pretexts import open_pretext
from hpc_astrossl.pretexts.rotation import disc

ROTATION = pretext_run("rotation", epochs=6)


def rotation(size=32, **switches):
    run = names.resolved(dataclasses.replace(ROTATION, pretext=switches))
    return open_pretext(run, (size, size, 3))


def galaxies(objects, seed=0, leak=0.0, size=16):
    """Ellipses at random position angles on noise; ``leak`` is a slope across the cutout, as scattered light leaves."""
    source = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    angle, ratio = source.uniform(0, 2 * np.pi, (objects, 1, 1)), source.uniform(0.3, 1, (objects, 1, 1))
    along, across = x * np.cos(angle) + y * np.sin(angle), (y * np.cos(angle) - x * np.sin(angle)) / ratio
    light = 150 * np.exp(-np.hypot(along, across) / source.uniform(1, 3, (objects, 1, 1))) + leak * (x + size / 2)
    pixels = light[..., None] + source.normal(40, 8, (objects, size, size, 3))
    return np.clip(pixels, 0, 255).astype(np.uint8)


def test_views_are_numpys_quarter_turns_within_a_disc_that_turns_into_itself():
    images = torch.rand(2, 3, 32, 32)
    views = rotation().seen(images, np.arange(2), 1)
    assert views.shape == (2, 4, 3, 32, 32)
    inside = disc(32).numpy()
    assert (inside == np.rot90(inside)).all()
    assert (inside[0, 0], inside[16, 0], inside[16, 31]) == (0, 1, 1)
    for turn in range(4):
        expected = np.rot90(images.numpy() * inside, turn, axes=(2, 3))
        assert (views[:, turn].numpy() == expected).all()
    assert (rotation(disc=False).seen(images, np.arange(2), 1)[:, 0] == images).all()


def test_mirroring_comes_before_the_turn_and_depends_on_seed_epoch_and_row_alone():
    images, rows = torch.rand(64, 3, 32, 32), np.arange(64)
    pretext = rotation(mirror=True, disc=False)
    views = pretext.seen(images, rows, 1)
    mirrored = (views[:, 0] == images.flip(3)).all(dim=(1, 2, 3))
    assert 16 < mirrored.sum() < 48
    assert (views[:, 1] == torch.rot90(views[:, 0], 1, (2, 3))).all()
    assert (pretext.seen(images[40:], rows[40:], 1) == views[40:]).all()
    assert (pretext.seen(images, rows, 0)[:, 0] == images).all()


def test_the_loss_is_the_mean_cross_entropy_of_the_four_copies():
    raw = torch.randn(5, 16)
    expected = [
        np.mean([-F.log_softmax(raw[i, 4 * t : 4 * t + 4], dim=0)[t].item() for t in range(4)]) for i in range(5)
    ]
    assert rotation().losses(raw, torch.zeros(5, 1)).tolist() == pytest.approx(expected, rel=1e-6)


def test_no_opinion_scores_one_quarter_whatever_the_object():
    pretext, raw = (
        rotation(),
        torch.randn(50, 1, 4).expand(50, 4, 4).reshape(50, 16),
    )  # alike for all turns of an object
    found = pretext.metrics(pretext.answer(raw).numpy(), np.zeros((50, 1)), np.zeros(50))
    assert (found["accuracy"], found["accuracy_error"], found["leak"]) == (0.25, 0.0, 0.0)


@pytest.mark.parametrize("leak", [0.0, 4.0])
def test_a_sky_without_direction_stays_at_one_quarter_and_a_slope_is_found(leak):
    _, found = learn(rotation(16), galaxies(240, leak=leak), epochs=12)
    error = max(found["accuracy_error"], np.sqrt(0.25 * 0.75 / (4 * 80)))
    if leak:
        assert found["accuracy"] > 0.9
        assert found["leak"] > 3
    else:
        assert abs(found["accuracy"] - 0.25) <= 3 * error


@pytest.mark.parametrize(("change", "words"), [
    ({"flips": True}, "data.flips turns images at random before they are turned by what is to be told"),
    ({"turns": True}, "data.turns turns images"),
    ({"class_weights": "inverse"}, "no classes to weigh"),
    ({"control": "shuffled-labels"}, "no labels to shuffle"),
])  # fmt: skip
def test_what_would_undo_it_is_refused(change, words):
    with pytest.raises(InputError, match=words):
        names.resolved(dataclasses.replace(ROTATION, data=dataclasses.replace(ROTATION.data, **change)))


def test_unknown_switches_and_oblong_images_are_refused():
    with pytest.raises(InputError, match="unknown key 'disk'; allowed: disc, mirror; did you mean 'disc'"):
        rotation(disk=True)
    with pytest.raises(InputError, match="32 × 40 pixels cannot be turned"):
        open_pretext(names.resolved(ROTATION), (32, 40, 3))
