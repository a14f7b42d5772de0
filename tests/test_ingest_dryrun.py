"""``preprocess --dry-run``: the counts are those of the store that is then made; no image is read, nothing is left."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from hpc_astrossl.cli import main
from hpc_astrossl.store import open_store

ROOT = Path(__file__).parent.parent
RECIPE = ["preprocess", str(ROOT / "preprocess/efigi.yaml"), "--set", "size=16"]


@pytest.fixture
def table_alone(tmp_path):
    """EFIGI's table before any image is there."""
    source = tmp_path / "source"
    source.mkdir()
    shutil.copy(ROOT / "examples/efigi/EFIGI_attributes.txt", source)
    return source


def test_the_counts_are_those_of_the_store_made_later(tmp_path, table_alone, capsys):
    assert main([*RECIPE, "--source", str(table_alone), "--store", "EF-4", "--dry-run", "--json"]) == 0
    (said,) = json.loads(capsys.readouterr().out)
    assert [path.name for path in tmp_path.rglob("*")] == ["source", "EFIGI_attributes.txt"]
    out = tmp_path / "stores"
    full = [*RECIPE, "--source", str(ROOT / "examples/efigi"), "--store", "EF-4", "--out", str(out)]
    assert main([*full, "--json"]) == 0
    (made,) = json.loads(capsys.readouterr().out)
    counts = made["counts"]
    assert (said["kept"], said["splits"], said["classes"]) == (counts["kept"], counts["splits"], counts["classes"])
    assert said["rejected"] == {reason: count for reason, count in counts["rejected"].items() if "image" not in reason}
    store = open_store(out / "EF-4.zarr")
    assert (tuple(said["shape"]), said["dtype"]) == (store.image_shape, str(store.dtype))
    assert said["bytes"] == len(store) * 16 * 16 * 3
    assert main(["check", str(out / "EF-4.zarr"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["faults"] == []


def test_it_is_told_in_words_and_refuses_as_the_making_would(table_alone, capsys):
    assert main([*RECIPE, "--source", str(table_alone), "--dry-run"]) == 0
    words = capsys.readouterr().out
    assert "EF-2        " in words
    assert "objects would be kept, if their images can be used" in words
    assert "left out" in words
    nothing = "stores.EF-2.labels.classes={a: [90], b: [91]}"
    assert main([*RECIPE, "--source", str(table_alone), "--store", "EF-2", "--dry-run", "--set", nothing]) == 2
    assert "no object is left of 600" in capsys.readouterr().err
    assert main([*RECIPE, "--source", str(table_alone)]) == 2
    assert "--out DIR is needed" in capsys.readouterr().err


def test_a_class_without_objects_is_refused_as_by_the_making(tmp_path, table_alone, capsys):
    empty = [*RECIPE, "--store", "EF-2", "--set", "stores.EF-2.labels.classes.ring=[77]"]
    said = []
    for more in (["--dry-run"], ["--dry-run", "--json"], ["--out", str(tmp_path / "out")]):
        assert main([*empty, "--source", str(ROOT / "examples/efigi"), *more]) == 2
        said.append(capsys.readouterr().err.splitlines()[-1])
    assert "no object of class 'ring' is left" in said[0]
    assert said[0] == said[1] == said[2]
    assert (
        main([*empty, "--source", str(table_alone), "--dry-run", "--set", "stores.EF-2.labels.allow_empty=true"]) == 0
    )
    assert "ring 0" in capsys.readouterr().out


def test_an_array_that_does_not_fit_is_told_once_it_is_there(tmp_path, capsys):
    (tmp_path / "table.csv").write_text("id\na\nb\n")
    recipe = {"survey": "x", "release": "1", "size": 4, "catalogue": {"file": "table.csv", "id": "id", "bands": ["g"]},
              "cutouts": {"array": "c.npy"}, "stores": {"x": {"images": "bands"}}}  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    command = ["preprocess", str(tmp_path / "recipe.yaml"), "--source", str(tmp_path), "--dry-run"]
    assert main(command) == 0
    assert "whether c.npy fits is known when it is there" in capsys.readouterr().out
    np.save(tmp_path / "c.npy", np.zeros((3, 5, 5)))
    assert main(command) == 2
    assert "c.npy: holds 3 images, the table 2 rows" in capsys.readouterr().err
    np.save(tmp_path / "c.npy", np.zeros((2, 5, 5)))
    assert main(command) == 0
    assert "is known" not in capsys.readouterr().out
