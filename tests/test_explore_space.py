"""The space of an embedding is found in stretches, and what is approximate is told."""

import importlib
import tracemalloc

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from hpc_astrossl.explore import space
from hpc_astrossl.explore.space import Index
from hpc_astrossl.store import embedding

explore = importlib.import_module("hpc_astrossl.explore.explore")  # the package names its function so, too


def features(count, width=64):
    """Correlated features of very different sizes, one of which is constant."""
    random = np.random.default_rng(count)
    found = random.normal(size=(count, width)) @ random.normal(size=(width, width)) * np.logspace(-3, 3, width) + 7
    found[:, 5] = 3.25
    return found.astype(np.float32)


def written(path, count):
    parts = features(count)
    ids = np.array([f"o{i}" for i in range(count)])
    columns = {"object_id": ids, "features": parts, "label": np.full(count, -1, dtype=np.int16)}
    embedding.write(path, [columns], rows=count, about={})
    return path


def test_components_in_stretches_are_those_of_all_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr(space, "BLOCK", 130)
    found = space.space(embedding.open_embedding(written(tmp_path / "e.zarr", 700)))
    scaled = StandardScaler().fit_transform(features(700).astype(np.float64))
    pca = PCA(50, svd_solver="full")
    np.testing.assert_allclose(found.values, pca.fit_transform(scaled), rtol=1e-3, atol=1e-4)
    assert found.kept == pytest.approx(pca.explained_variance_ratio_.sum())
    np.testing.assert_array_equal(space.space(features(700)).values, found.values)


def test_a_first_object_far_away_costs_no_digits():
    values = np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)
    values[0, 0] = 1e12
    mean, inverse = space._scaling(np.concatenate([values[:1], values[1:] + 1e-3]))
    exact = np.concatenate([values[:1], values[1:] + 1e-3]).astype(np.float64)
    np.testing.assert_allclose(mean, exact.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(1 / inverse, exact.std(axis=0), rtol=1e-12)


def test_of_many_millions_fewer_components_are_kept(monkeypatch):
    monkeypatch.setattr(space, "MEMORY", 4 * 700 * 20)
    assert space.space(features(700)).values.shape == (700, 20)


def test_memory_grows_by_the_components_only(tmp_path, monkeypatch):
    """From 20,000 objects to 50,000: no more than 200 bytes of values and 30 besides for each, and the block ahead."""
    monkeypatch.setattr(space, "BLOCK", 1024)
    peaks = []
    for count in (20_000, 20_000, 50_000):  # the first to have all libraries
        found = embedding.open_embedding(written(tmp_path / f"{count}.zarr", count))
        tracemalloc.start()
        space.space(found)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (peaks[2] - peaks[1] - 4 * 1024 * features(1).shape[1]) / 30_000 < 230, peaks


@pytest.mark.parametrize("coarse", [False, True])
def test_an_index_of_cells_names_as_many_neighbours_as_are_asked_for(monkeypatch, coarse):
    pytest.importorskip("faiss", reason="faiss is not installed")
    monkeypatch.setattr(space, "FINE_UP_TO", 100 if coarse else 10**6)
    values = np.random.default_rng(0).normal(size=(800, 6)).astype(np.float32)
    exact, index = Index(values, "exact"), Index(values, "faiss")
    assert ("4 bits" in index.about) == coarse
    index._built.nprobe = 1  # a cell has fewer than 120
    rows = np.arange(0, 800, 9)
    distance, found = index.nearest(rows, 120)
    assert found.min() >= 0
    assert (np.diff(distance, axis=1) >= 0).all()
    np.testing.assert_allclose(distance, np.linalg.norm(values[found] - values[rows][:, None], axis=2), rtol=1e-5)
    shared = [len(np.intersect1d(one, other)) for one, other in zip(found, exact.nearest(rows, 120)[1], strict=True)]
    assert min(shared) >= (110 if coarse else 120)


def test_what_is_approximate_is_told(monkeypatch):
    values = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    assert explore._approximate(Index(values), np.zeros(300), "kmeans") == []
    monkeypatch.setattr(explore, "LEARNT_FROM", 100)
    found = explore._approximate(Index(values), np.zeros(300), "kmeans")
    assert found == ["clusters: the nearest of centres that k-means finds of 100 objects"]
    pytest.importorskip("faiss", reason="faiss is not installed")
    found = explore._approximate(Index(values, "faiss"), np.zeros(300), "hdbscan")
    assert [words.split(":")[0] for words in found] == ["neighbours and distances of outliers"]
