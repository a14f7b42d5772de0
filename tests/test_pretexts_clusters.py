"""Clusters: whitening, k-means without empty clusters, weights, a fresh output layer, and groups that are found."""

import dataclasses

import numpy as np
import pytest
import torch
from pretext_toys import Tiny, learn, pretext_run
from sklearn.metrics import normalized_mutual_info_score

from hpc_astrossl import names
from hpc_astrossl.errors import InputError
from hpc_astrossl.pretexts import Renewal, open_pretext
from hpc_astrossl.pretexts.kmeans import clustering, mutual_information, split_empty, whitened
from hpc_astrossl.store import RowSet


def clusters(size=16, **switches):
    run = dataclasses.replace(pretext_run("clusters"), pretext={"k": 3, "components": 8, **switches})
    return open_pretext(names.resolved(run), (size, size, 3))


def three_groups(each=40, dimensions=5, seed=0):
    source = np.random.default_rng(seed)
    group = np.repeat(np.arange(3), each)
    return source.normal(0, 0.3, (3 * each, dimensions)) + 4 * np.eye(3, dimensions)[group], group


def coloured(objects=90, seed=0):
    """Discs in three sizes; colours and brightness at random."""
    source = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16] - 7.5
    group = np.arange(objects) % 3
    inside = np.hypot(x, y) < np.array([2, 4, 7])[group][:, None, None]
    pixels = inside[..., None] * source.uniform(150, 220, (objects, 1, 1, 3)) + source.normal(
        20, 5, (objects, 16, 16, 3)
    )
    return np.clip(pixels, 0, 255).astype(np.uint8), group


def test_whitened_features_have_unit_variance_before_they_are_brought_to_length_one():
    points = np.random.default_rng(0).normal(size=(500, 4)) @ np.diag([5, 2, 1, 0.1])
    found, _ = clustering(points, 3, 4, 0)
    straight = (points - found.mean) @ found.whiten
    np.testing.assert_allclose(np.cov(straight.T), np.eye(4), atol=1e-9)
    np.testing.assert_allclose(np.linalg.norm(whitened(points, found.mean, found.whiten), axis=1), 1)


def test_groups_are_found_and_whoever_comes_later_gets_the_nearest():
    points, group = three_groups()
    found, labels = clustering(points, 3, 5, seed=1)
    assert mutual_information(labels, group) == pytest.approx(1)
    later, known = three_groups(seed=1)
    assert mutual_information(found.label(later), known) == pytest.approx(1)
    assert (clustering(points, 3, 5, seed=1)[1] == labels).all()


def test_features_that_are_all_alike_are_told_of_and_make_no_nan():
    found, labels = clustering(np.ones((12, 6)), 3, 4, 0)
    assert found.split == 2
    assert np.isfinite(found.centres).all()
    assert len(np.unique(labels)) == 3
    assert (found.label(np.ones((2, 6))) == found.label(np.ones((1, 6)))).all()


def test_an_empty_cluster_takes_the_farther_half_of_the_largest():
    points = np.array([[0.0], [1], [2], [3], [10], [100]])
    labels = split_empty(points, np.array([0, 0, 0, 0, 0, 2]), 3)
    assert labels.tolist() == [1, 0, 0, 0, 1, 2]
    assert split_empty(points[:1], np.array([0]), 2).tolist() == [0]


def renewed(pretext, features, epoch, truth, net=None, optimizer=None):
    rows = np.arange(len(features))
    splits = {"train": rows[::2], "validation": rows[1::2], "test": rows[:0]}
    net = net or Tiny(pretext)
    pretext.renew(Renewal(
        epoch=epoch, rows={name: RowSet.of(own, len(rows)) for name, own in splits.items()}, truth=truth, net=net,
        optimizer=optimizer or torch.optim.SGD(net.parameters(), lr=0.1), features=lambda some: (some, features[some]),
    ))  # fmt: skip
    return pretext


def test_pseudo_labels_weights_and_agreement_with_the_last_epoch():
    features, group = three_groups()
    features, group = features[: 70 + 40], group[: 70 + 40]
    truth = torch.zeros(len(features), 1, dtype=torch.int64)
    pretext = renewed(clusters(), features, 1, truth)
    first = truth[:, 0].numpy().copy()
    assert mutual_information(first, group) == pytest.approx(1)
    assert "nmi_to_last" not in pretext.told
    counts = np.bincount(first[::2], minlength=3)
    np.testing.assert_allclose(pretext.weights.numpy(), counts.sum() / (3 * counts), rtol=1e-6)
    raw, labels = torch.randn(5, 3), truth[:5]
    expected = [-torch.log_softmax(raw, 1)[i, n] * counts.sum() / (3 * counts[n]) for i, n in enumerate(labels[:, 0])]
    np.testing.assert_allclose(pretext.losses(raw, labels).numpy(), expected, rtol=1e-5)
    renewed(pretext, features[::-1].copy(), 2, truth)
    assert pretext.told["nmi_to_last"] == pytest.approx(
        normalized_mutual_info_score(first[::2], truth[::2, 0].numpy()))  # fmt: skip
    even = renewed(clusters(uniform=False), features, 1, truth.clone())
    assert (even.weights == 1).all()


def test_the_output_layer_begins_anew_and_the_optimiser_forgets_it_only_when_clusters_are_new():
    features, truth = three_groups()[0], torch.zeros(120, 1, dtype=torch.int64)
    pretext = clusters(reassign=2)
    net = Tiny(pretext)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
    renewed(pretext, features, 1, truth, net, optimizer)
    net(torch.rand(4, 1, 3, 16, 16)).sum().backward()
    optimizer.step()
    moved, labels = net.head.output.weight.detach().clone(), truth.clone()
    renewed(pretext, features[::-1].copy(), 2, truth, net, optimizer)
    assert (net.head.output.weight == moved).all()
    assert (truth == labels).all()
    renewed(pretext, features, 3, truth, net, optimizer)
    assert (net.head.output.weight != moved).any()
    assert optimizer.state[net.head.output.weight]["exp_avg"].abs().sum() == 0
    assert optimizer.state[net.head.hidden.weight]["exp_avg"].abs().sum() > 0


def test_sizes_of_discs_are_found_and_noise_has_nothing_to_find():
    images, group = coloured()
    net, _ = learn(clusters(), images, epochs=6)
    with torch.no_grad():
        features = net.encode(torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255).numpy()
    assert mutual_information(clustering(features, 3, 8, 0)[1], group) > 0.5
    source = np.random.default_rng(3)
    _, lost = learn(clusters(), source.integers(0, 255, images.shape, dtype=np.uint8), epochs=6)
    assert lost["accuracy"] < 0.6  # clusters of noise are of the training images alone


def test_more_clusters_than_images_are_refused():
    with pytest.raises(InputError, match="k 3 clusters of 2 training images; take a smaller k"):
        renewed(clusters(), three_groups()[0][:4], 1, torch.zeros(4, 1, dtype=torch.int64))
    with pytest.raises(InputError, match="k must be 2 to 100000 clusters, found 1"):
        clusters(k=1)
