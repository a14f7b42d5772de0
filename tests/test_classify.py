"""From labels to classes: scores by independent means, honest probabilities, what is too little, and who made what."""

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score

from hpc_astrossl.classify import crossval, models, scores, space, upnext
from hpc_astrossl.cli import main
from hpc_astrossl.files import cell_text
from hpc_astrossl.provenance import sha256
from hpc_astrossl.store import embedding
from hpc_astrossl.store.embedding import Opened

EVIL = '=cmd|"/c calc"!A0<script>alert(1)</script>'


def cloud(objects=600, width=24, seed=0, gap=1.2):
    """Three overlapping clouds, the third rare, and ten strays far away at the end."""
    source = np.random.default_rng(seed)
    label = np.where(np.arange(objects) % 10 == 0, 2, np.arange(objects) % 2)
    centres = source.normal(0, gap, (3, width))
    features = source.normal(size=(objects, width)) + centres[label]
    features[-10:] += 40 * source.normal(size=(10, width))
    return features.astype(np.float32), label.astype(np.int16)


def write(path, features, ids=None, names=("b", "a", EVIL)):
    ids = np.array([f"T{i:04d}" for i in range(len(features))]) if ids is None else ids
    part = {"object_id": ids, "features": features, "label": np.full(len(features), -1, np.int16)}
    embedding.write(path, [part], rows=len(features), about={"run": "r-1", "store": None, "class_names": list(names)})
    return path


def write_labels(path, label, rows, names=("b", "a", EVIL)):
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(("object_id", "class", "when", "who"))
        writer.writerows((f"T{row:04d}", names[label[row]], "2026-11-01T00:00:00Z", "me") for row in rows)
    return path


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """A head of few hidden units: seconds instead of a minute on a busy machine."""
    monkeypatch.setattr(models, "HIDDEN", 64)


@pytest.fixture
def made(tmp_path):
    features, label = cloud()
    write(tmp_path / "e.zarr", features)
    write_labels(tmp_path / "labels.csv", label, range(120))
    return tmp_path


def run(made, *more, out="classes.csv"):
    return main(
        ["classify", str(made / "e.zarr"), "--labels", str(made / "labels.csv"), "--out", str(made / out), *more]
    )


def lines(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_an_embedding_made_anew_meanwhile_is_noticed(made, monkeypatch, capsys):
    original = Opened.blocks

    def blocks(self, *sizes):
        yield from original(self, *sizes)
        write(made / "e.zarr", cloud(seed=1)[0])

    monkeypatch.setattr(Opened, "blocks", blocks)
    assert run(made) == 2
    assert "was made anew or changed while it was read" in capsys.readouterr().err
    assert not (made / "classes.csv").exists()


def test_the_whole_way(made, capsys):
    assert run(made, "--out", str(made / "classes.parquet"), "--out", str(made / "classes.npz"), "--next", "20") == 0
    said, table, label = capsys.readouterr().out, lines(made / "classes.csv"), cloud()[1]
    assert len(table) == 600
    assert list(table[0]) == ["object_id", "class", "p_b", "p_a", f"p_{EVIL}", "distance", "unlike", "label"]
    hidden = slice(120, 590)
    right = np.array([cell_text(line["class"]) for line in table]) == np.array(["b", "a", EVIL])[label]
    assert right[hidden].mean() > 0.9
    assert all(abs(sum(float(line[f"p_{name}"]) for name in ("b", "a", EVIL)) - 1) < 1e-4 for line in table)
    assert [line["unlike"] for line in table[-10:]] == ["1"] * 10
    assert np.mean([line["unlike"] == "1" for line in table[120:590]]) < 0.15
    assert [line["label"] for line in table[118:121]] == ["b", "a", ""]
    assert said.index("logistic regression: accuracy") < said.index("answers:")
    record = json.loads((made / "classes.json").read_text())
    assert set(record["models"]) == {"logistic regression", "the paper's head"}
    assert record["labels"]["sha256"] == sha256(made / "labels.csv")
    assert record["embedding"]["attributes"]["run"] == "r-1"
    assert record["files"]["classes.parquet"] == sha256(made / "classes.parquet")
    found = pq.read_table(made / "classes.parquet")
    assert found.column("class").to_pylist() == [cell_text(line["class"]) for line in table]
    about = json.loads(found.schema.metadata[b"about"])
    assert about["embedding_sha256"] == record["embedding"]["sha256"]
    assert about["labels_sha256"] == record["labels"]["sha256"]
    page = (made / "classes.html").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page
    upnext = lines(made / "next.csv")
    assert [line["rank"] for line in upnext] == [str(i + 1) for i in range(20)]
    assert not {line["object_id"] for line in upnext} & {f"T{i:04d}" for i in range(120)}
    chances = np.sort([[float(line[f"p_{name}"]) for name in ("b", "a", EVIL)] for line in table[120:]], axis=1)
    least = np.argmin(chances[:, -1] - chances[:, -2])
    assert upnext[0]["object_id"] == table[120 + least]["object_id"]


def test_it_is_repeated_to_the_byte_and_replaces_its_own(made, capsys):
    assert run(made) == 0
    first = [(made / name).read_bytes() for name in ("classes.csv", "next.csv")]
    assert run(made) == 0
    assert [(made / name).read_bytes() for name in ("classes.csv", "next.csv")] == first
    (made / "other.csv").write_text("mine")
    assert run(made, out="other.csv") == 2
    assert "no earlier classify has made it" in capsys.readouterr().err
    assert (made / "other.csv").read_text() == "mine"


def test_identity_follows_the_features(tmp_path):
    features, _ = cloud()
    first = embedding.open_embedding(write(tmp_path / "a.zarr", features)).identity
    assert embedding.open_embedding(write(tmp_path / "b.zarr", features)).identity == first
    features[300, 3] += 1
    assert embedding.open_embedding(write(tmp_path / "c.zarr", features)).identity != first


@pytest.mark.parametrize("classes", [2, 3])
def test_logistic_regression_is_scikit_learns_on_the_same_splits(classes):
    features, label = cloud(gap=0.4)
    truth = label[:150] % classes
    held = crossval.cross_validate(models.fit_logistic, features[:150], truth, classes)
    splits = RepeatedStratifiedKFold(n_splits=5, n_repeats=3, random_state=0)
    theirs = cross_val_score(LogisticRegression(max_iter=5000), features[:150], truth, cv=splits)
    assert held.accuracy == pytest.approx(theirs.mean())
    fitted = LogisticRegression(max_iter=5000).fit(features[:150], truth)
    ours = models.softmax(models.fit_logistic(features[:150], truth, classes, 0).logits(features))
    np.testing.assert_allclose(ours, fitted.predict_proba(features), atol=1e-4)


def test_a_fold_without_a_class_gives_it_no_chance():
    features, label = cloud()
    made = models.fit_logistic(features[:60], np.minimum(label[:60], 1), 3, 0)
    assert models.softmax(made.logits(features))[:, 2].max() < 1e-3
    alone = models.fit_logistic(features[:5], np.zeros(5, int), 2, 0)
    assert (alone.logits(features).argmax(axis=1) == 0).all()


def test_gradients_of_the_head_are_those_of_differences():
    source = np.random.default_rng(0)
    weights = [source.normal(size=shape) for shape in ((4, 6), (6,), (6, 3), (3,))]
    values, wanted = source.normal(size=(5, 4)), np.eye(3)[[0, 1, 2, 1, 0]]
    keep = (source.random((5, 6)) > 0.5) * 2.0

    def loss():
        inner = np.maximum(values @ weights[0] + weights[1], 0) * keep
        return -np.log(models.softmax(inner @ weights[2] + weights[3])[wanted == 1]).mean()

    for weight, slope in zip(weights, models._gradients(weights, values, wanted, keep), strict=True):
        place = np.unravel_index(np.abs(slope).argmax(), slope.shape)
        before = weight[place]
        weight[place] = before + 1e-6
        above = loss()
        weight[place] = before - 1e-6
        assert slope[place] == pytest.approx((above - loss()) / 2e-6, rel=1e-4)
        weight[place] = before


def test_adam_is_torchs():
    torch = pytest.importorskip("torch")
    source = np.random.default_rng(0)
    weight = source.normal(size=(3, 4)).astype(np.float32)
    slopes = [source.normal(size=(3, 4)).astype(np.float32) for _ in range(20)]
    theirs = torch.nn.Parameter(torch.tensor(weight.copy()))
    optimizer, ours = torch.optim.Adam([theirs], lr=models.RATE), models._Adam([weight])
    for slope in slopes:
        theirs.grad = torch.tensor(slope)
        optimizer.step()
        ours.step([slope])
    np.testing.assert_allclose(weight, theirs.detach().numpy(), atol=1e-6)


def test_the_head_learns_and_keeps_its_norm():
    features, label = cloud()
    made = models.fit_head(features[:120], label[:120], 3, 0)
    assert (made.logits(features[120:590]).argmax(axis=1) == label[120:590]).mean() > 0.9
    assert np.linalg.norm(made.hidden, axis=0).max() <= models.MAX_NORM + 1e-4


def test_a_temperature_undoes_what_was_multiplied():
    source = np.random.default_rng(0)
    logits = source.normal(0, 2, (4000, 3))
    truth = np.array([source.choice(3, p=p) for p in models.softmax(logits)])
    assert crossval.temperature(logits * 5, truth) == pytest.approx(5, rel=0.1)
    held = crossval.Held(logits=(logits * 5)[None], fold=np.arange(4000)[None] % 5, truth=truth)
    assert held.loss(calibrated=True) < held.loss(calibrated=False)


def test_intervals_are_wilsons():
    """Values of Newcombe (1998), Stat. Med. 17, 857, table I, method 3."""
    for right, of, low, high in ((81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611),
                                 (29, 29, 0.8830, 1.0)):  # fmt: skip
        found = scores.Share.of(right / of, of)
        assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_recall_and_precision_by_hand():
    logits = np.eye(3)[[[0, 0, 1, 1], [0, 1, 1, 1]]].astype(np.float32)  # two repeats of four objects
    held = crossval.Held(logits=logits, fold=np.zeros((2, 4), int), truth=np.array([0, 0, 1, 0]))
    made = scores.scores(held)
    assert made.accuracy.value == pytest.approx(5 / 8)
    assert made.recall[0].value == pytest.approx(0.5)
    assert (made.recall[0].objects, made.recall[1].objects) == (3, 1)
    assert made.precision[1].value == pytest.approx(2 / 5)
    assert made.recall[2].value is None
    assert made.balanced_accuracy.value == pytest.approx(0.75)


def test_what_is_next_is_uncertain_and_spread_out():
    margin = np.concatenate([np.full(50, 0.1), np.full(50, 0.9)])
    places = np.repeat(np.arange(10.0) * 10, 10)[:, None] + np.tile(np.arange(10) * 0.01, 10)[:, None]
    rows = upnext.candidates(margin, np.arange(100) != 3, 5)
    assert set(rows) == set(range(50)) - {3} | {row for row in rows if row >= 50}
    chosen = rows[upnext.choose(places[rows], margin[rows], 5)]
    assert len(set(chosen)) == 5
    assert {row // 10 for row in chosen} == {0, 1, 2, 3, 4}
    assert list(upnext.choose(places[:3], np.array([0.3, 0.1, 0.2]), 9)) == [1, 2, 0]


def test_standardising_in_blocks_is_numpys(tmp_path):
    features, _ = cloud()
    features = features * 3 + 1000
    features[:, 5] = 7
    found = embedding.open_embedding(write(tmp_path / "e.zarr", features))
    taken = space.take(found, np.array([5, 2]))
    np.testing.assert_allclose(taken.scaling.mean, features.mean(axis=0), rtol=1e-5)
    assert taken.scaling.inverse[5] == 0
    keep = np.arange(24) != 5
    np.testing.assert_allclose(1 / taken.scaling.inverse[keep], features.std(axis=0)[keep], rtol=1e-3)
    np.testing.assert_array_equal(taken.chosen, features[[5, 2]])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "object_id,class\nT0001,a\nT0002,a\n",
            "all 2 labels in the embedding are 'a'; a classifier needs two classes",
        ),
        ("object_id,class\nT0001,a\nT0002,a\nT0003,b\n", "class 'b' has 1 label in the embedding"),
        ("object_id,class\nX1,a\nX2,b\n", "none of its 2 objects is in"),
        ("object_id,class\nT0001,a\nT0001,b\n", "line 3: object T0001 is called 'b', and 'a' further up"),
        ("object_id,class\nT0001,\n", "line 2: object T0001 has no class"),
        ("id,class\nT0001,a\n", "no column object_id"),
        ("object_id,class\n", "no labels in it"),
        ("object_id,class\nT0001,a,x,y\n", "more values than the first line has names"),
        ('object_id,class\nT0001,"a\n', "not CSV"),
        ("", "no column object_id, class"),
    ],
)
def test_wrong_labels_are_named(made, capsys, text, words):
    (made / "labels.csv").write_text(text)
    assert run(made) == 2
    said = capsys.readouterr().err
    assert words in said
    assert "Traceback" not in said
    assert not (made / "classes.csv").exists()


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (("--without", "c"), "unknown class in --without 'c'"),
        (("--next", "0"), "--next 0: at least 1"),
        (("--out", "x.fits"), "must end with one of .csv, .parquet, .npz"),
        (("--out", "nowhere/x.csv"), "no folder nowhere"),
    ],
)
def test_wrong_wishes_are_named(made, capsys, more, words):
    assert run(made, *more) == 2
    assert words in capsys.readouterr().err


def test_few_labels_and_labels_of_others_are_said(made, capsys):
    with (made / "labels.csv").open("a") as stream:
        stream.write("T0300,new,,\nT0301,new,,\nX,a,,\n")
    assert run(made) == 0
    said = capsys.readouterr().out
    assert "new: 2 labels; below 10" in said
    assert "the label of object X that the embedding does not hold: not used" in said
    assert run(made, "--without", "new") == 0
    record = json.loads((made / "classes.json").read_text())
    assert record["classes"] == ["b", "a", EVIL]
    assert record["labels"]["without"] == ["new"]


def test_an_object_that_stands_twice_cannot_be_labelled(tmp_path, capsys):
    features, label = cloud()
    ids = np.array([f"T{i:04d}" for i in range(600)])
    ids[400] = "T0007"
    write(tmp_path / "e.zarr", features, ids)
    write_labels(tmp_path / "labels.csv", label, range(50))
    assert run(tmp_path) == 2
    assert "object T0007 stands in it 2 times" in capsys.readouterr().err


def test_a_feature_that_is_no_number_is_named(tmp_path, capsys):
    features, label = cloud()
    features[77, 3] = np.nan
    write(tmp_path / "e.zarr", features)
    write_labels(tmp_path / "labels.csv", label, range(50))
    assert run(tmp_path) == 2
    assert "object T0077 has a feature that is not a finite number" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["answers.json", "answers.html", "next.csv", "answers.figures/reliability.png", "answers.finetune.yaml"]
)
def test_files_of_others_are_not_replaced(made, capsys, monkeypatch, name):
    (made / name).parent.mkdir(exist_ok=True)
    (made / name).write_text('{"a": 1}\n')
    monkeypatch.setattr("hpc_astrossl.cli.classify._recipe", lambda wish: "experiment: x\n")
    assert run(made, "--finetune", out="answers.csv") == 2
    assert f"{name} is there already, and no earlier classify has made it" in capsys.readouterr().err
    assert (made / name).read_text() == '{"a": 1}\n'
    assert not (made / "answers.csv").exists()


def test_two_classifications_do_not_share_a_next_csv(made, capsys):
    assert run(made, out="a.csv") == 0
    first = (made / "next.csv").read_bytes()
    assert run(made, "--next", "7", out="b.csv") == 2
    assert "next.csv belongs to a.json beside it; choose a folder of its own" in capsys.readouterr().err
    assert (made / "next.csv").read_bytes() == first
    assert run(made, "--next", "7", out="a.csv") == 0
    (made / "next.csv").write_text("rank,object_id,class\n1,T0400,mine\n")
    assert run(made, out="a.csv") == 2
    assert "next.csv is not as classify has written it" in capsys.readouterr().err
    assert "mine" in (made / "next.csv").read_text()


def test_a_record_of_before_names_its_own(made):
    """Version 0.1 listed the tables alone."""
    assert run(made) == 0
    record = json.loads((made / "classes.json").read_text())
    record["files"] = {"classes.csv": record["files"]["classes.csv"]}
    (made / "classes.json").write_text(json.dumps(record))
    assert run(made) == 0


@pytest.mark.parametrize("head", ["rank,object_id,class,probability,margin,distance,unlike",
                                  "object_id,class,p_a,p_b,distance,unlike,label"])  # fmt: skip
def test_answers_are_not_taken_for_labels(made, capsys, head):
    cells = {"object_id": "T0001", "class": "a"}
    (made / "labels.csv").write_text(head + "\n" + ",".join(cells.get(name, "1") for name in head.split(",")) + "\n")
    assert run(made) == 2
    assert "these classes are what classify has guessed, not labels" in capsys.readouterr().err


@pytest.mark.parametrize("each", [2, 3, 4])
def test_fewer_labels_of_every_class_than_folds_make_fewer_folds(made, each):
    """scikit-learn refuses more folds than the largest class has objects, with its own words."""
    label = cloud()[1]
    rows = np.concatenate([np.flatnonzero(label == one)[:each] for one in range(3)])
    write_labels(made / "labels.csv", label, rows)
    assert run(made) == 0
    record = json.loads((made / "classes.json").read_text())
    assert record["cross_validation"]["folds"] == each
    assert f"{each}-fold stratified" in (made / "classes.html").read_text()


def test_equal_objects_and_one_feature_are_no_trouble(tmp_path, recwarn):
    source = np.random.default_rng(0)
    for name, features in (
        ("a", np.repeat(source.normal(size=(4, 3)), 10, axis=0)),
        ("b", source.normal(size=(40, 1))),
    ):
        work = tmp_path / name
        work.mkdir()
        write(work / "e.zarr", features.astype(np.float32))
        write_labels(work / "labels.csv", np.arange(40) % 2, range(12))
        assert run(work, "--next", "20") == 0
        assert len(lines(work / "next.csv")) == 20
        assert main(["explore", str(work / "e.zarr"), "--out", str(work / "x"), "--map", "pca"]) == 0
    assert not [one for one in recwarn if "clusters" in str(one.message)]
