"""Inputs on which other tools for labels, cross-validation and maps went wrong, by their public reports."""

import csv
import json

import numpy as np
import pytest
from test_classify import lines, run, write

from hpc_astrossl import labels
from hpc_astrossl.classify import crossval, models
from hpc_astrossl.cli import main
from hpc_astrossl.errors import InputError
from hpc_astrossl.explore import layout, space


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(models, "HIDDEN", 16)


def embedded(tmp_path, ids):
    source = np.random.default_rng(0)
    label = np.arange(len(ids)) % 2
    features = source.normal(size=(len(ids), 6)) + 3 * label[:, None]
    write(tmp_path / "e.zarr", features.astype(np.float32), np.array(ids), names=())
    return label


def write_labels(tmp_path, rows):
    (tmp_path / "labels.csv").write_text("object_id,class\n" + "".join(f"{one},{name}\n" for one, name in rows))


def test_two_objects_a_class():
    """scikit-learn #6177: more folds than any class has members gave a fold without objects, then a ValueError."""
    truth = np.array([1, 1, 0, 0, 2, 2])
    values = np.array([[1, 2], [3, 4], [5, 6], [7, 8], [9, 10], [11, 12]], np.float32)
    held = crossval.cross_validate(models.fit_logistic, values, truth, 3)
    assert held.folds == 2
    assert all(np.bincount(fold).tolist() == [3, 3] for fold in held.fold)
    assert np.isfinite(held.chances(calibrated=True)).all()


def test_a_fold_that_lacks_one_of_three_classes():
    """scikit-learn #29551: a calibrator took what was left of three classes for two."""
    values = np.random.default_rng(7).normal(size=(12, 5)).astype(np.float32)
    truth = np.repeat([0, 1, 2], 4)
    for absent in range(3):
        seen = truth != absent
        logits = models.fit_logistic(values[seen], truth[seen], 3, 0).logits(values)
        chances = models.softmax(logits / crossval.temperature(logits, truth))
        assert chances.shape == (12, 3)
        assert chances.sum(axis=1) == pytest.approx(1, abs=1e-5)
        assert models.softmax(logits)[:, absent].max() < 1e-9
        assert {*logits.argmax(axis=1)} <= {*range(3)} - {absent}


def test_ids_of_desi_that_a_spreadsheet_wrote_as_powers_of_ten(tmp_path, capsys):
    """desihub/prospect #88: TARGETID 39089837499752854 and others all came back as 3.91E+16."""
    embedded(tmp_path, [str(39089837499752854 + 10 * i) for i in range(40)])
    write_labels(tmp_path, [("3.91E+16", "GALAXY")] * 6)
    assert run(tmp_path) == 2
    assert "none of its 1 objects is in" in (said := capsys.readouterr().err)
    assert "a spreadsheet has rounded ids of many digits" in said
    write_labels(tmp_path, [("3.91E+16", "GALAXY"), ("3.91E+16", "QSO")])
    assert run(tmp_path) == 2
    assert "is called 'QSO', and 'GALAXY' further up: a spreadsheet has rounded ids" in capsys.readouterr().err


def test_ids_whose_last_digits_became_zeros(tmp_path, capsys):
    """pulibrary/orangelight #2695: 9912140633506421 became …420, which here is another object."""
    ids = [str(9912140633506410 + i) for i in range(40)]
    embedded(tmp_path, ids)
    write_labels(tmp_path, [(one[:15] + "0", "ab"[i % 2]) for i, one in enumerate(ids[::10])])
    assert run(tmp_path) == 2
    assert (
        "all ids of more than 15 digits end in zeros, such as 9912140633506410: a spreadsheet"
        in capsys.readouterr().err
    )
    write_labels(tmp_path, [(one, "ab"[i % 2]) for i, one in enumerate(ids[:20])])
    assert run(tmp_path) == 0
    assert [line["object_id"] for line in lines(tmp_path / "classes.csv")] == ids


def test_numbers_of_64_bits_in_a_table_keep_their_digits(tmp_path):
    """CSV.js #8: 479386071891505153 became 479386071891505000."""
    embedded(tmp_path, [str(479386071891505153 + i) for i in range(20)])
    (tmp_path / "t.csv").write_text("object_id,network\n479386071891505154,479386071891505153\n")
    words = ["explore", str(tmp_path / "e.zarr"), "--out", str(tmp_path / "out"), "--map", "pca"]
    assert main([*words, "--table", str(tmp_path / "t.csv")]) == 0
    page = (tmp_path / "out" / "explore.html").read_text()
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert next(one for one in data["columns"] if one["name"] == "network")["names"] == ["479386071891505153"]


def test_commas_and_hashes_in_names_stay_in_their_column(tmp_path):
    """label-studio #4033: commas in a text became columns; doccano #1821: label1#label2."""
    given = {"a, b": labels.Label(name='bar, ring and "tail"'), "c": labels.Label(name="label1#label2")}
    labels.write_labels(tmp_path / "l.csv", given)
    assert labels.read_labels(tmp_path / "l.csv") == given


def test_the_same_label_exported_twice_counts_once(tmp_path):
    """label-studio #764: files put together held an annotation several times."""
    embedded(tmp_path, [f"T{i}" for i in range(30)])
    write_labels(tmp_path, [(f"T{i}", "ab"[i % 2]) for i in range(12)] * 3)
    assert run(tmp_path) == 0
    assert json.loads((tmp_path / "classes.json").read_text())["labels_by_class"] == [6, 6]


@pytest.mark.parametrize("text", ['=WEBSERVICE("http://attacker.example")', "=1+1@evil.example", "-2h pairing", "-2+3"])
def test_formulas_are_text_there_and_themselves_here(tmp_path, text):
    """twentyhq/twenty #14347, shopsys #4777, netresearch/timetracker #324."""
    for name in "ab":
        labels.write_labels(tmp_path / f"{name}.csv", {text: labels.Label(name=text, who=text)})
    words = ["labels", "merge", str(tmp_path / "a.csv"), str(tmp_path / "b.csv"), "--out", str(tmp_path / "c.csv")]
    assert main(words) == 0
    with (tmp_path / "c.csv").open(newline="") as stream:
        (line,) = csv.DictReader(stream)
    assert {line["object_id"], line["class"], line["who"]} == {f"'{text}"}
    assert labels.read_labels(tmp_path / "c.csv") == {text: labels.Label(name=text, who=text)}


@pytest.mark.parametrize("method", ["umap", "tsne", "pca"])
def test_maps_of_features_on_which_umap_gave_no_numbers(method):
    """cuml #7488: places of nan; umap #895: many equal objects."""
    if method == "umap":
        pytest.importorskip("umap")
    steps = np.array([[i * 1000.0, (i % 10) * 0.1, (i % 10) * 0.2] for i in range(100)])
    for features in (steps, np.repeat(steps[:5], 20, axis=0)):
        values = space.space(features).values
        points = layout.layout(values, space.Index(values), method).points
        assert np.isfinite(points).all()
        assert ((points >= 0) & (points <= 1)).all()


def test_an_empty_file_of_labels_is_told_as_such(tmp_path):
    """A page's save without labels, and a file that a full disk has cut to nothing."""
    for data in (b"object_id,class,when,who\n", b"", b"\n\n"):
        (tmp_path / "l.csv").write_bytes(data)
        with pytest.raises(InputError, match=r"no labels in it|it is empty"):
            labels.read_labels(tmp_path / "l.csv")
