"""An average that follows: the published loss, how it follows, and a spread that says when all is alike."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from pretext_toys import Tiny, learn, pretext_run
from test_pretexts_clusters import coloured

from hpc_astrossl import names
from hpc_astrossl.errors import InputError
from hpc_astrossl.pretexts import byol, open_pretext


def averaged(size=16, **switches):
    run = dataclasses.replace(pretext_run("byol"), pretext={"width": 8, **switches})
    return open_pretext(names.resolved(run), (size, size, 3))


def test_the_loss_is_that_of_the_paper_for_both_orders_of_the_views():
    raw = torch.randn(4, 32, dtype=torch.float64)
    predicted, aimed_at = raw.view(4, 4, 8)[:, :2].numpy(), raw.view(4, 4, 8)[:, 2:].numpy()
    aimed_at = (aimed_at - aimed_at.mean(axis=(0, 1))) / aimed_at.std(axis=(0, 1))
    for one, loss in enumerate(averaged().losses(raw, torch.zeros(4, 1)).tolist()):
        both = [np.sum((p / np.linalg.norm(p) - z / np.linalg.norm(z)) ** 2)
                for p, z in zip(predicted[one], aimed_at[one][::-1], strict=True)]  # fmt: skip
        assert loss == pytest.approx(np.mean(both), rel=1e-9)


def test_the_average_begins_as_the_network_follows_by_a_cosine_and_never_learns():
    pretext = averaged(momentum=0.8)
    net = Tiny(pretext)
    slow, quick = net.average["head"].hidden.weight, net.head.hidden.weight
    assert (slow == quick).all()
    with torch.no_grad():
        quick.add_(1)
    before = slow.clone()
    pretext.stepped(net, 0.5)
    momentum = 1 - 0.2 * (math.cos(math.pi * 0.5) + 1) / 2
    torch.testing.assert_close(slow, before * momentum + quick * (1 - momentum))
    settled = slow.clone()
    pretext.stepped(net, 1.0)
    assert (slow == settled).all()
    views = pretext.seen(torch.rand(3, 3, 16, 16), np.arange(3), 1)
    pretext.losses(net(views), torch.zeros(3, 1)).sum().backward()
    assert all(parameter.grad is None for parameter in net.average.parameters())
    assert net.features[0].weight.grad.abs().sum() > 0


def test_spread_is_one_for_all_directions_and_zero_when_all_are_alike():
    pretext, source = averaged(), np.random.default_rng(0)
    even = pretext.metrics(source.normal(size=(4000, 32)), None, np.zeros(4000))
    assert even["spread"] == pytest.approx(1, abs=0.01)
    assert pretext.metrics(np.ones((10, 32)), None, np.zeros(10))["spread"] == pytest.approx(0, abs=1e-9)


def test_sizes_stay_in_the_embedding_and_one_image_over_and_over_has_no_spread():
    images, group = coloured(60)
    net, found = learn(averaged(momentum=0.9), images, epochs=40, rate=1e-3)
    assert found["spread"] > 0.6
    assert found["loss"] < 1.5  # 2 is that of saying the same of all
    with torch.no_grad():
        points = net.encode(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255)
    distance = torch.cdist(points, points).fill_diagonal_(torch.inf)
    assert (group[distance.argmin(dim=1)] == group).mean() > 0.9
    _, alike = learn(averaged(momentum=0.9), np.full_like(images, 90), epochs=2)
    assert alike["spread"] < 0.01


def test_wrong_switches_are_refused():
    with pytest.raises(InputError, match="momentum must be in"):
        averaged(momentum=1.0)


def test_what_all_images_share_is_in_no_aim():
    """A predictor that has learnt nothing but the commonest answer is as bad as one that guesses."""
    source = torch.Generator().manual_seed(0)
    common, own = 50 * torch.randn(8, generator=source), torch.randn(16, 2, 8, generator=source)
    raw = torch.cat([common.expand(16, 2, 8), common + own], dim=1).reshape(16, 32)
    assert averaged().losses(raw, torch.zeros(16, 1)).mean() > 1.5
    knows = torch.cat([own.flip(1), common + own], dim=1).reshape(16, 32)
    assert averaged().losses(knows, torch.zeros(16, 1)).mean() < 0.3


def test_statistics_are_those_of_the_global_batch():
    values = np.random.default_rng(0).normal(3, 2, (9, 4))
    whole = byol.over_batch(values, None)
    shares = [(len(part), part.sum(axis=0), (part**2).sum(axis=0)) for part in (values[:5], values[5:], values[:0])]

    class Three:
        rank, size = 0, 3

        def gather(self, own):
            np.testing.assert_array_equal(own[1], shares[0][1])
            return shares

    for found, expected in zip(byol.over_batch(values[:5], Three()), whole, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-9)
    np.testing.assert_allclose(whole[0], values.mean(axis=0))
    np.testing.assert_allclose(whole[1], 1 / values.std(axis=0))


def test_a_feature_that_is_dead_as_yet_is_not_blown_up():
    """One that is zero for all images at the beginning of an epoch may wake within it."""
    found = byol.reciprocal(np.array([0.0, 1, 2, 3]))
    np.testing.assert_allclose(found, [10 / np.sqrt(14 / 4), 1, 1 / 2, 1 / 3])
    np.testing.assert_allclose(byol.reciprocal(np.zeros(3)), 1e6)
