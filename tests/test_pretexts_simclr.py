"""Contrastive views: the published loss, shares of ranks that add up to one process, views that keep sizes."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from pretext_toys import learn, pretext_run
from test_pretexts_clusters import coloured

from hpc_astrossl import names
from hpc_astrossl.errors import InputError
from hpc_astrossl.pretexts import open_pretext
from hpc_astrossl.pretexts.augmentations import Draws, view
from hpc_astrossl.pretexts.simclr import nt_xent
from hpc_astrossl.specs.pretexts import Augmentations

STILL = {"flips": False, "turns": False, "shift": 0.0}


def contrastive(size=16, **switches):
    run = dataclasses.replace(pretext_run("simclr"), pretext={"width": 8, **switches})
    return open_pretext(names.resolved(run), (size, size, 3))


def test_the_loss_is_equation_one_of_the_paper():
    points = torch.nn.functional.normalize(torch.randn(3, 2, 4, dtype=torch.float64), dim=2)
    flat, t = points.flatten(0, 1).numpy(), 0.3
    expected = []
    for i in range(6):
        others = [math.exp(flat[i] @ flat[k] / t) for k in range(6) if k != i]
        expected.append(-math.log(math.exp(flat[i] @ flat[i ^ 1] / t) / sum(others)))
    np.testing.assert_allclose(nt_xent(points, t).numpy(), np.reshape(expected, (3, 2)).mean(axis=1), rtol=1e-12)


def test_views_that_agree_with_each_other_and_with_no_other_cost_least():
    points = torch.eye(4).repeat_interleave(2, dim=0).view(4, 2, 4)
    assert nt_xent(points, 0.1).mean() < 1e-3
    assert nt_xent(points[:, 0].reshape(2, 2, 4), 0.1).mean() > 1  # partners apart


class Rank:
    """One of several ranks whose embeddings are known beforehand."""

    def __init__(self, rank, shares):
        self.rank, self.size, self.shares = rank, len(shares), shares

    def gather(self, value):
        assert (value == self.shares[self.rank]).all()
        return self.shares


@pytest.mark.parametrize("sizes", [(3, 3), (2, 2, 2), (5, 1, 0)])
def test_gradients_of_ranks_add_up_to_those_of_one_process(sizes):
    raw = torch.randn(6, 16, dtype=torch.float64)
    alone = raw.clone().requires_grad_()
    whole = contrastive().losses(alone, torch.zeros(6, 1))
    whole.sum().backward()
    pretext = contrastive()
    parts = raw.split(list(sizes))
    shares = [pretext.embedded(part).numpy() for part in parts]
    cut = list(sizes)
    each = zip(parts, whole.split(cut), alone.grad.split(cut), strict=True)
    for rank, (part, expected, gradient) in enumerate(each):
        pretext.engine, own = Rank(rank, shares), part.clone().requires_grad_()
        losses = pretext.losses(own, torch.zeros(len(own), 1))
        losses.sum().backward()
        np.testing.assert_allclose(losses.detach(), expected.detach(), rtol=1e-12)
        np.testing.assert_allclose(own.grad, gradient, rtol=1e-9, atol=1e-12)


def test_views_are_a_function_of_seed_epoch_row_and_number():
    images, rows = torch.rand(6, 3, 16, 16), np.arange(6)
    switches = Augmentations(noise=0.1, crop=0.3, colour=1.0)
    whole = view(images, switches, Draws(1, 2, rows, 0))
    assert (view(images[2:], switches, Draws(1, 2, rows[2:], 0)) == whole[2:]).all()
    for other in ((2, 2, 0), (1, 3, 0), (1, 2, 1)):
        assert (view(images, switches, Draws(other[0], other[1], rows, other[2])) != whole).any()


def test_by_default_a_view_moves_pixels_and_keeps_size_and_colour():
    images = torch.zeros(8, 3, 16, 16)
    images[:, :, 5:9, 6:11] = torch.tensor([0.9, 0.5, 0.2])[:, None, None]
    seen = view(images, Augmentations(), Draws(0, 1, np.arange(8), 0))
    assert seen.sum(dim=(1, 2, 3)) == pytest.approx(images.sum(dim=(1, 2, 3)), rel=1e-4)
    bright = seen.mean(dim=(2, 3))
    np.testing.assert_allclose(bright[:, 1] / bright[:, 0], 5 / 9, rtol=1e-4)
    assert (view(images, Augmentations(**STILL), Draws(0, 1, np.arange(8), 0)) == images).all()


@pytest.mark.parametrize("switch", [{"crop": 0.3}, {"colour": 1.0}, {"noise": 0.5}])
def test_each_switch_changes_what_it_says(switch):
    images = torch.rand(8, 3, 16, 16)
    seen = view(images, Augmentations(**STILL, **switch), Draws(0, 1, np.arange(8), 0))
    assert (seen != images).flatten(1).any(dim=1).all()
    assert torch.isfinite(seen).all()


def test_colours_tell_images_apart_unless_they_are_jittered_away_or_there_are_none():
    images = np.tile(np.random.default_rng(0).integers(0, 255, (60, 1, 1, 3), dtype=np.uint8), (1, 16, 16, 1))
    _, found = learn(contrastive(temperature=0.3), images, epochs=20)
    assert found["accuracy"] > 0.8
    _, lost = learn(contrastive(temperature=0.3), np.full_like(images, 90), epochs=3)
    assert lost["accuracy"] < 0.2


def test_sizes_stay_in_the_embedding():
    images, group = coloured(60)
    net, _ = learn(contrastive(temperature=0.3), images, epochs=10)
    with torch.no_grad():
        points = net.encode(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
    distance = torch.cdist(points, points).fill_diagonal_(torch.inf)
    assert (group[distance.argmin(dim=1)] == group).mean() > 0.9


def test_what_it_cannot_work_with_is_refused():
    run = names.resolved(pretext_run("simclr", batch_size=1))
    with pytest.raises(InputError, match="a batch of one image has no negatives"):
        open_pretext(run, (16, 16, 3))
    with pytest.raises(InputError, match="crop must be in"):
        contrastive(crop=0.0)
    with pytest.raises(InputError, match="set turns to false"):
        open_pretext(names.resolved(pretext_run("simclr")), (16, 20, 3))
