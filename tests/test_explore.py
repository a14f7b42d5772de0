"""Clusters, outliers and neighbours of an embedding whose answers are known."""

import csv
import json
import shutil

import numpy as np
import pytest
from training_toys import make_store

from hpc_astrossl.cli import main
from hpc_astrossl.errors import InputError
from hpc_astrossl.explore import clusters, layout, outliers, page, papers, show, space
from hpc_astrossl.explore.explore import Wish, explore
from hpc_astrossl.explore.given import Extra
from hpc_astrossl.store import display, embedding, open_store


def blobs(seed=0):
    """Two clouds of 23 objects and two strays far from both, in three dimensions."""
    source = np.random.default_rng(seed)
    label = np.repeat([0, 1], 24)
    features = source.normal(0, 0.2, (48, 3)) + np.where(label == 0, -3, 3)[:, None]
    features[[5, 40]] = [[30, -40, 50], [-60, 30, -40]]
    return features.astype(np.float32), label.astype(np.int16)


@pytest.fixture
def made(tmp_path):
    """An embedding of the toy store, which has cutouts."""
    store = open_store(make_store(tmp_path / "toy"))
    features, label = blobs()
    part = {"object_id": store.table["object_id"], "features": features, "label": label}
    about = {"run": "r", "store": str(tmp_path / "toy"), "class_names": ["red", "blue"]}
    embedding.write(tmp_path / "e.zarr", [part], rows=48, about=about)
    return tmp_path / "e.zarr"


def lines(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


def test_everything_is_found_and_written(made, tmp_path):
    out = tmp_path / "out"
    told = explore(Wish(embedding=str(made), out=str(out), neighbours_of=("T0007",), clusters=2, outliers=7))
    assert json.loads(json.dumps(told)) == json.loads((out / "explore.json").read_text())
    assert set(told["outliers"][:2]) == {"T0005", "T0040"}
    assert [line["object_id"] for line in lines(out / "outliers.csv")] == told["outliers"]
    near = lines(out / "neighbours_T0007.csv")
    assert {line["label"] for line in near} == {"red"}
    assert "T0007" not in {line["object_id"] for line in near}
    assert [float(line["distance"]) for line in near] == sorted(float(line["distance"]) for line in near)
    for name in ("outliers.png", "neighbours_T0007.png"):
        assert (out / name).read_bytes().startswith(b"\x89PNG")
    assert told["pictures"] == "from the store"
    assert [line["label"] for line in lines(out / "clusters.csv")[23:25]] == ["red", "blue"]


def test_clusters_are_scored_against_labels_by_hand():
    values, label = np.array([[0.0], [1], [10], [11]]), np.array([0, 0, 1, -1])
    told = clusters.scores(values, np.array([0, 0, 1, 1]), label)
    assert (told["clusters"], told["noise"], told["labelled"]) == (2, 0, 3)
    assert told["adjusted_rand"] == told["purity"] == 1.0
    mixed = clusters.scores(values, np.array([0, 1, 1, -1]), label)
    assert mixed["purity"] == pytest.approx(2 / 3)  # one of the two in cluster 1 is not of its commonest label
    assert mixed["noise"] == 1
    assert "purity" not in clusters.scores(values, np.array([0, 0, 1, 1]), np.full(4, -1))


@pytest.mark.parametrize("method", ["kmeans", "hdbscan"])
def test_clouds_are_clusters(method):
    features, label = blobs()
    near = np.delete(features, [5, 40], axis=0)
    found = clusters.cluster(space.space(near).values, method, 2)
    assert clusters.scores(near, found, np.delete(label, [5, 40]))["adjusted_rand"] == 1.0


def test_of_many_objects_centres_are_those_of_some(monkeypatch):
    """The number of objects that k-means is given does not grow; each object is in the cluster that is nearest."""
    truth = np.random.default_rng(0).integers(0, 4, 3000)
    values = (8 * np.eye(4, 6)[truth] + np.random.default_rng(1).normal(size=(3000, 6))).astype(np.float32)
    whole, given = clusters.cluster(values, "kmeans", 4), []
    fit = clusters.KMeans.fit
    monkeypatch.setattr(clusters.KMeans, "fit", lambda self, some: given.append(len(some)) or fit(self, some))
    monkeypatch.setattr(clusters, "LEARNT_FROM", 200)
    found = clusters.cluster(values, "kmeans", 4)
    assert given == [200]
    told = clusters.scores(values, found, truth)
    assert told["adjusted_rand"] > 0.99
    assert clusters.scores(values, found, whole)["adjusted_rand"] > 0.99
    assert (clusters.cluster(values, "kmeans", 4) == found).all()


def test_neighbours_by_hand_and_by_either_library():
    pytest.importorskip("faiss")
    values = np.concatenate([np.array([[0, 0], [1, 0], [3, 0], [7, 0]]), np.full((46, 2), 99.0)]).astype(np.float32)
    for kind in ("exact", "faiss"):
        distance, found = space.Index(values, kind).nearest(np.array([0, 2]), 2)
        assert found.tolist() == [[1, 2], [1, 0]]
        assert distance.tolist() == [[1, 3], [2, 3]]


def test_an_object_equal_to_many_is_not_its_own_neighbour_twice():
    distance, found = space.Index(np.zeros((12, 2), np.float32), "exact").nearest(np.arange(12), 3)
    assert found.shape == (12, 3)
    assert (found != np.arange(12)[:, None]).mean() > 0.9
    assert not distance.any()


def test_strays_are_the_strangest_by_both_measures():
    values = space.space(blobs()[0]).values
    found = outliers.outliers(values, space.Index(values))
    assert set(found.order[:2]) == {5, 40}
    assert set(np.argsort(-found.isolation)[:2]) == set(np.argsort(-found.distance)[:2]) == {5, 40}


def test_without_the_store_the_tables_stand_and_it_is_said(made, tmp_path, capsys):
    open_store(tmp_path / "toy").path.rename(tmp_path / "elsewhere")
    assert main(["explore", str(made), "--out", str(tmp_path / "out")]) == 0
    said = capsys.readouterr().out
    assert "cutouts none: " in said
    assert "no such store" in said
    assert not list((tmp_path / "out").glob("*.png"))
    assert main(["explore", str(made), "--out", str(tmp_path / "b"), "--store", str(tmp_path / "elsewhere")]) == 0
    assert (tmp_path / "b" / "outliers.png").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--neighbours-of", "none"], "--neighbours-of none: no object of that id in the embedding"),
        (["--clusters", "1"], "--clusters 1: k-means takes 2 clusters or more"),
        (["--outliers", "0"], "--outliers 0: at least 1"),
    ],
)
def test_wrong_wishes_are_named(made, tmp_path, capsys, options, words):
    assert main(["explore", str(made), "--out", str(tmp_path / "out"), *options]) == 2
    assert words in capsys.readouterr().err


def test_what_is_no_embedding_is_named(made, tmp_path, capsys):
    for path, words in (("toy", "not an embedding of version 1"), ("gone.zarr", "no such embedding")):
        assert main(["explore", str(tmp_path / path), "--out", str(tmp_path / "out")]) == 2
        assert words in capsys.readouterr().err


def test_a_damaged_embedding_is_named(made):
    victim = max((path for path in (made / "features").rglob("*") if path.is_file()), key=lambda p: p.stat().st_size)
    data = bytearray(victim.read_bytes())
    data[len(data) // 2] ^= 1
    victim.write_bytes(data)
    with pytest.raises(InputError, match="damaged embedding"):
        embedding.read(made)


@pytest.mark.parametrize("what", ["features", "object_id", "label/c"])
def test_arrays_of_another_embedding_are_not_taken(made, tmp_path, what):
    """Each of them is sound in itself, and has the size of the other."""
    other = tmp_path / "other.zarr"
    features, label = blobs(seed=1)
    part = {"object_id": np.array([f"U{n:04d}" for n in range(48)]), "features": features, "label": 1 - label}
    embedding.write(other, [part], rows=48, about={"run": "r", "store": None, "class_names": ["red", "blue"]})
    shutil.rmtree(made / what)
    shutil.copytree(other / what, made / what)
    with pytest.raises(InputError, match="its arrays are not those that it was written with"):
        embedding.read(made)


def test_an_embedding_that_is_made_anew_while_it_is_read_is_named(made):
    found = embedding.open_embedding(made)
    features, label = blobs(seed=1)
    part = {"object_id": found.object_id, "features": features, "label": label}
    embedding.write(made, [part], rows=48, about=dict(found.about))
    with pytest.raises(InputError, match="was made anew or changed while it was read"):
        found.hold()


def test_an_embedding_of_before_has_no_digest_and_is_read(made):
    path = made / "zarr.json"
    path.write_text(json.dumps(without(json.loads(path.read_text()))))
    assert len(embedding.read(made).features) == 48


def without(root):
    del root["attributes"][embedding.ARRAYS]
    return root


def test_equal_features_are_nothing_to_explore():
    with pytest.raises(InputError, match="have the same features"):
        space.space(np.ones((20, 4)))
    with pytest.raises(InputError, match="5 objects, 12 are needed"):
        space.space(np.eye(5))


@pytest.mark.parametrize("method", ["umap", "tsne", "pca"])
def test_a_map_keeps_clouds_apart_and_is_the_same_again(method):
    if method == "umap":
        pytest.importorskip("umap")
    features, label = blobs()
    rows = np.setdiff1d(np.arange(48), [5, 40])
    values = space.space(features[rows]).values
    first, again = (layout.layout(values, space.Index(values), method) for _ in range(2))
    np.testing.assert_array_equal(first.points, again.points)
    assert first.points.min() == 0 or first.points.max() == 1  # the longer side fills the map
    assert ((first.points >= 0) & (first.points <= 1)).all()
    red, blue = first.points[label[rows] == 0], first.points[label[rows] == 1]
    apart = np.linalg.norm(red.mean(axis=0) - blue.mean(axis=0))
    assert apart > 2 * max(red.std(axis=0).max(), blue.std(axis=0).max())


def test_crowds_are_thinned_and_lonely_objects_stay():
    spread = np.r_[np.full(9_000, 0.01), np.full(1_000, 0.1), np.full(5, 100.0)]
    rows = layout.thinned(spread, np.array([3, 4_000]), most=1_000)
    assert len(rows) == 1_000
    assert (np.diff(rows) > 0).all()
    assert {3, 4_000, *range(10_000, 10_005)} <= set(rows)
    assert 400 < ((rows >= 9_000) & (rows < 10_000)).sum() < 600  # a tenth as crowded, ten times as likely
    np.testing.assert_array_equal(rows, layout.thinned(spread, np.array([3, 4_000]), most=1_000))
    np.testing.assert_array_equal(layout.thinned(spread, np.array([3]), most=20_000), np.arange(10_005))


def drawn(monkeypatch, made, tmp_path, most, **extra):
    """What the page was given when at most so many objects are drawn."""
    given = []
    monkeypatch.setattr(page, "text", lambda shown: given.append(shown) or "")
    extra = Extra(map="pca", most=most, **extra)
    explore(Wish(embedding=str(made), out=str(tmp_path / "out"), clusters=2, page=extra))
    return given[0]


def test_of_more_objects_than_are_drawn_the_lists_name_the_right_ones(made, tmp_path, monkeypatch):
    (tmp_path / "next.csv").write_text("rank,object_id\n1,T0011\n2,T0030\n")
    monkeypatch.setattr(show, "RANKED", 4)
    shown = drawn(monkeypatch, made, tmp_path, 20, upnext=str(tmp_path / "next.csv"))
    assert (len(shown.ids), shown.of) == (20, 48)
    assert [shown.ids[row] for row in shown.upnext] == ["T0011", "T0030"]
    assert {shown.ids[row] for row in shown.outliers} >= {"T0005", "T0040"}
    assert len(shown.outliers) == len(shown.sample) == 4
    assert len(shown.points) == len(shown.near) == 20
    assert int(shown.near.max()) < 20
    monkeypatch.setattr(show, "RANKED", 30)
    cramped = drawn(monkeypatch, made, tmp_path, 13)  # lists are longer than what is drawn
    assert 0 < len(cramped.outliers) <= 13
    assert cramped.outliers.min() >= 0


@pytest.mark.parametrize(
    ("option", "text", "words"),
    [
        ("--table", "object_id,v\nT0001,1\nT0001,2\n", "T0001 is there 2 times"),
        ("--next", "object_id,class\nT0001,red\n", "no column rank; --next takes the next.csv"),
        ("--next", "rank,object_id\n1,T0001\n2,T0001\n", "T0001 is there 2 times"),
    ],
)
def test_tables_that_say_two_things_or_rank_nothing_are_refused(made, tmp_path, capsys, option, text, words):
    (tmp_path / "t.csv").write_text(text)
    assert main(["explore", str(made), "--out", str(tmp_path / "out"), option, str(tmp_path / "t.csv")]) == 2
    assert words in capsys.readouterr().err


def test_files_and_folders_of_others_are_kept(made, tmp_path, capsys):
    out = tmp_path / "out"
    (out / "thumbnails-mine").mkdir(parents=True)
    (out / "thumbnails-mine" / "1.jpg").write_text("mine")
    words = ["explore", str(made), "--out", str(out), "--map", "pca"]
    for name in ("clusters.csv", "outliers.png", "explore.html", "explore.json", "neighbours_T0007.csv"):
        (out / name).write_text("mine")
        assert main([*words, "--neighbours-of", "T0007"]) == 2
        assert f"{name} is there already, and no earlier explore has made it" in capsys.readouterr().err
        assert (out / name).read_text() == "mine"
        (out / name).unlink()
    assert main([*words, "--neighbours-of", "T0007"]) == 0
    assert main(words) == 0
    assert not (out / "neighbours_T0007.csv").exists()  # of the run before
    assert (out / "thumbnails-mine" / "1.jpg").read_text() == "mine"
    assert len(list(out.glob("thumbnails-*"))) == 2
    (out / "clusters.csv").write_text("mine")
    assert main(words) == 2
    assert "clusters.csv is not as explore has written it" in capsys.readouterr().err


def test_a_folder_of_before_is_taken_over(made, tmp_path):
    """Its record listed no files."""
    out = tmp_path / "out"
    words = ["explore", str(made), "--out", str(out), "--map", "pca"]
    assert main([*words, "--neighbours-of", "T0007"]) == 0
    record = json.loads((out / "explore.json").read_text())
    del record["files"], record["format"]
    (out / "explore.json").write_text(json.dumps(record))
    assert main([*words, "--neighbours-of", "T0007"]) == 0
    assert "clusters.csv" in json.loads((out / "explore.json").read_text())["files"]


def test_sheets_that_cannot_be_drawn_any_more_do_not_stay(made, tmp_path):
    words = ["explore", str(made), "--out", str(tmp_path / "out"), "--map", "pca"]
    assert main(words) == 0
    assert (tmp_path / "out" / "outliers.png").exists()
    (tmp_path / "toy").rename(tmp_path / "away")
    assert main(words) == 0
    assert not (tmp_path / "out" / "outliers.png").exists()
    assert not list((tmp_path / "out").glob("thumbnails-*"))


def test_ids_that_share_a_name_or_are_long_have_files_of_their_own():
    ids = ["a/b", "a_b", "a b", "x" * 10_000, "x" * 9_999, "..", "星" * 90]
    stems = [papers.stem(one) for one in ids]
    assert len(set(stems)) == len(ids)
    assert papers.stem("T0007") == "neighbours_T0007"
    assert all(len(one.encode()) < 200 and "/" not in one for one in stems)


@pytest.mark.parametrize("name", ["t.csv", "t.parquet", "t.npz"])
def test_tables_and_lists_of_another_embedding_are_refused(made, tmp_path, capsys, name):
    features, label = blobs(seed=1)
    about = {"run": "r", "store": None, "class_names": ["red", "blue"]}
    part = {"object_id": embedding.read(made).object_id, "features": features, "label": label}
    embedding.write(tmp_path / "other.zarr", [part], rows=48, about=about)
    (tmp_path / "labels.csv").write_text("object_id,class\n" + "".join(f"T{i:04d},c{i % 2}\n" for i in range(12)))
    table, upnext = tmp_path / "c" / name, tmp_path / "c" / "next.csv"
    table.parent.mkdir()
    words = ["classify", str(tmp_path / "other.zarr"), "--labels", str(tmp_path / "labels.csv"), "--out", str(table)]
    assert main(words) == 0
    look = ["explore", str(made), "--out", str(tmp_path / "out"), "--map", "pca"]
    for option, file in (("--table", table), ("--next", upnext)):
        assert main([*look, option, str(file)]) == 2
        assert f"{file}: was made of another embedding than {made}" in capsys.readouterr().err
    assert main([*look, "--table", str(table), "--next", str(upnext), "--anyway"]) == 0
    other = ["explore", str(tmp_path / "other.zarr"), "--out", str(tmp_path / "b"), "--map", "pca"]
    assert main([*other, "--table", str(table), "--next", str(upnext)]) == 0


def test_columns_of_tables_replace_none_of_ours(made, tmp_path, monkeypatch):
    (tmp_path / "a.csv").write_text("object_id,label,class,v\nT0001,mine,7,2\n'=1+1,x,8,3\n")
    (tmp_path / "b.csv").write_text("object_id,v\nT0001,5\n")
    shown = drawn(monkeypatch, made, tmp_path, 100, tables=(str(tmp_path / "a.csv"), str(tmp_path / "b.csv")))
    assert shown.columns["label"][1] == "red"
    assert shown.columns["label (a.csv)"][1] == "mine"
    assert shown.columns["class"][1] == "7"  # names, though they are digits
    assert (shown.columns["v"][1], shown.columns["v (b.csv)"][1]) == (2, 5)
    assert "a.csv: 1 of its 2 objects are not in the embedding." in shown.notes


def test_a_list_is_taken_by_its_ranks(made, tmp_path, monkeypatch):
    (tmp_path / "next.csv").write_text("rank,object_id\n2,T0011\n10,T0012\n1,T0030\n")
    shown = drawn(monkeypatch, made, tmp_path, 100, upnext=str(tmp_path / "next.csv"))
    assert [shown.ids[row] for row in shown.upnext] == ["T0030", "T0011", "T0012"]


@pytest.mark.parametrize(
    ("channels", "dtype", "shown"),
    [
        ("RGB", np.uint8, "RGB"),
        ("gri", np.uint8, "gri"),  # three of whole numbers are colours, whatever their names
        ("gri", np.float32, "irg"),
        (("red", "green", "blue"), np.float32, ("red", "green", "blue")),
        ("ugriz", np.float32, "zru"),
        ("gr", np.float32, "rgg"),
        ("r", np.float32, "rrr"),
    ],
)
def test_the_last_band_is_red_and_colours_are_themselves(channels, dtype, shown):
    """Each channel is bright in a column of its own."""
    images = np.zeros((1, 40, 40, len(channels)), dtype)
    for place in range(len(channels)):
        images[:, :, 7 * place : 7 * place + 7, place] = 200
    made = display.displayed(images, channels)
    assert made.dtype == np.uint8
    for colour, name in enumerate(shown):
        place = list(channels).index(name)
        own = np.arange(40) // 7 == place
        assert (made[0, 5, own, colour] > 150).all()
        assert not made[0, 5, ~own, colour].any()


def test_an_empty_list_says_that_nothing_is_left_to_label(made, tmp_path, monkeypatch):
    (tmp_path / "next.csv").write_text("rank,object_id,class,probability,margin,distance,unlike\n")
    shown = drawn(monkeypatch, made, tmp_path, 100, upnext=str(tmp_path / "next.csv"))
    assert not len(shown.upnext)
    assert "next.csv: nothing is left to label." in shown.notes
