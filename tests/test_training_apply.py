"""Finished runs put to use: ``embed`` and ``predict`` give what the run itself reported."""

import csv

import numpy as np
import pytest
from PIL import Image
from training_toys import BANDS, HEAD, make_run, make_store

from hpc_astrossl import names
from hpc_astrossl.cli import main
from hpc_astrossl.errors import EXIT_DONE, EXIT_INPUT
from hpc_astrossl.store import open_store
from hpc_astrossl.training.folder import run_path
from hpc_astrossl.training.run import train


def trained(workdir, **changes):
    make_store(workdir / "toy")
    run = make_run(HEAD, **changes)
    train(run, workdir)
    return run_path(workdir, run.experiment, names.resolved(run).run_id)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def folder(workdir):
    return trained(workdir)


def rows_of(folder, ids):
    found = np.load(folder)
    return found, np.searchsorted(ids, found["object_id"])


def test_features_are_those_of_the_run(workdir, folder, tmp_path):
    out = tmp_path / "features.npz"
    assert main(["embed", str(folder), str(workdir / "toy"), "--out", str(out)]) == EXIT_DONE
    embedded = np.load(out)
    reported, rows = rows_of(folder / "features.npz", embedded["object_id"])
    assert embedded["features"].shape == (48, 512)
    np.testing.assert_allclose(embedded["features"][rows], reported["features"], rtol=1e-4, atol=1e-5)


def test_answers_are_those_of_the_run(workdir, folder, tmp_path):
    out = tmp_path / "answers.csv"
    assert main(["predict", str(folder), str(workdir / "toy"), "--out", str(out)]) == EXIT_DONE
    table = list(csv.DictReader(out.read_text().splitlines()))
    assert list(table[0]) == ["object_id", "class", "p_red", "p_blue"]
    reported, rows = rows_of(folder / "predictions.npz", np.array([line["object_id"] for line in table]))
    assert [float(table[row]["p_blue"]) for row in rows] == pytest.approx(reported["output"][:, 1], abs=1e-5)
    assert [table[row]["class"] for row in rows] == [["red", "blue"][k] for k in reported["output"].argmax(axis=1)]


def test_a_folder_of_pictures_is_cut_and_answered_like_the_store(workdir, folder, tmp_path):
    pictures, store = tmp_path / "pictures", open_store(workdir / "toy")
    pictures.mkdir()
    for name, image in zip(store.table["object_id"][:5], store.images(np.arange(5)), strict=True):
        wide = np.pad(image, ((0, 0), (6, 6), (0, 0)))  # what lies beside the central square is cut off
        Image.fromarray(wide).save(pictures / f"{name}.png")
    for source, out in ((pictures, "some.npz"), (workdir / "toy", "all.npz")):
        assert main(["predict", str(folder), str(source), "--out", str(tmp_path / out)]) == EXIT_DONE
    some, every = np.load(tmp_path / "some.npz"), np.load(tmp_path / "all.npz")
    assert some["object_id"].tolist() == every["object_id"][:5].tolist()
    assert some["p_blue"] == pytest.approx(every["p_blue"][:5], abs=1e-5)


def test_magnitudes_are_answered_by_band(tmp_path):
    folder = trained(tmp_path, target="magnitudes")
    assert main(["predict", str(folder), str(tmp_path / "toy"), "--out", str(tmp_path / "m.npz")]) == EXIT_DONE
    answers = np.load(tmp_path / "m.npz")
    assert answers.files == ["object_id", *BANDS]
    assert 10 < answers["r"].min() < answers["r"].max() < 30


@pytest.mark.parametrize(
    ("source", "out", "message"),
    [
        ("gone", "a.csv", "gone: neither a store nor a folder of images"),
        ("empty", "a.csv", "empty: no images in it (.png, .jpg"),
        ("broken", "a.csv", "broken/a.png: cannot be read as an image"),
        ("toy", "a.fits", "a.fits: answers are written as .csv or .npz"),
    ],
)
def test_wrong_sources_are_named(workdir, folder, tmp_path, capsys, source, out, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"no image")
    place = workdir / "toy" if source == "toy" else tmp_path / source
    assert main(["predict", str(folder), str(place), "--out", str(tmp_path / out)]) == EXIT_INPUT
    assert message in capsys.readouterr().err


def test_an_unfinished_run_is_named(workdir, tmp_path, capsys):
    assert main(["embed", str(tmp_path), str(workdir / "toy"), "--out", "f.npz"]) == EXIT_INPUT
    assert "not the folder of a finished run (there is no result.json in it)" in capsys.readouterr().err
