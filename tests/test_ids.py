"""Ids whose letters are the same and encoded in two ways (é as one character, or as e and an accent) are one id."""

import csv
import json

import numpy as np
import pytest
from PIL import Image
from test_classify import write
from training_toys import make_store

from hpc_astrossl import labels
from hpc_astrossl import store as stores
from hpc_astrossl.cli import main
from hpc_astrossl.errors import EXIT_DONE, EXIT_INPUT, InputError
from hpc_astrossl.explore import given
from hpc_astrossl.ids import folded
from hpc_astrossl.ingest.build import Options, build
from hpc_astrossl.specs.recipe import load_recipe
from hpc_astrossl.store.check import check
from hpc_astrossl.training.leakage import shared_ids
from hpc_astrossl.training.pictures import listed

ONE, TWO = "caf\u00e9", "cafe\u0301"
RECIPE = """
survey: s
release: "1"
size: 8
catalogue: {file: cat.csv, id: id}
files: {image: "{name}.png"}
split: {train: 0.5, validation: 0.25, test: 0.25}
stores: {S: {}}
"""


def test_the_form_in_which_ids_are_compared():
    plain = np.array(["a", "b1"])
    assert folded(plain) is plain
    assert folded(np.array([ONE, TWO, "a"])).tolist() == [ONE, ONE, "a"]
    assert folded(np.array([], dtype=str)).tolist() == []
    assert folded(np.array([ONE, TWO, ""])[::2]).tolist() == [ONE, ""]  # not contiguous


@pytest.fixture
def release(tmp_path):
    """Eight pictures; the id of two rows is one word."""
    random = np.random.default_rng(0)
    for n in range(8):
        Image.fromarray(random.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / f"p{n}.png")
    return tmp_path


def make(folder, ids, name="S", more=""):
    (folder / "cat.csv").write_text("id,name\n" + "".join(f"{one},p{n}\n" for n, one in enumerate(ids)))
    (folder / "recipe.yaml").write_text(RECIPE.replace("S: {}", f"{name}: {{{more}}}"))
    (made,) = build(load_recipe(folder / "recipe.yaml", []), folder, folder / "out", Options(workers=1))
    return made.path


def test_two_rows_of_one_id_are_found(release):
    ids = [f"{ONE}1", f"{TWO}1", *"bcdefg"]
    with pytest.raises(InputError, match=r"1 rows have the id .* in rows 2 and 1 .* encoded in two ways, of another"):
        make(release, ids)
    recipe = RECIPE + "filters: {repeated_ids: reject}\n"
    (release / "recipe.yaml").write_text(recipe)
    (made,) = build(load_recipe(release / "recipe.yaml", []), release, release / "out", Options(workers=1))
    assert made.info.counts["rejected"] == {"repeated id": 1}
    assert made.info.counts["kept"] == 7


def test_stores_stay_apart(release):
    other = make(release, [f"{ONE}{n}" for n in range(8)], "other")
    with pytest.raises(InputError, match=r"store S: no object is left of 8.*in .*other.zarr.* 8"):
        make(release, [f"{TWO}{n}" for n in range(8)], "S", f"disjoint_from: [{other}]")
    kept = make(release, [TWO + "0", *"abcdefg"], "T", f"disjoint_from: [{other}]")
    assert stores.open_store(kept).info.counts["kept"] == 7


def test_a_store_keeps_ids_as_they_came_and_check_counts_them_once(release):
    ids = stores.open_store(make(release, [TWO, *"abcdefg"])).table["object_id"]
    assert TWO in ids.tolist()
    made = make_store(release / "twice.zarr", prefix="é")
    found = stores.open_store(made).table["object_id"]
    assert (
        len(shared_ids({"object_id": found, "ra": found}, {"object_id": np.array(["e\u03010003"]), "ra": found[:1]}))
        == 1
    )


def test_check_counts_them_as_repeated(tmp_path, monkeypatch):
    from hpc_astrossl.store import sweep

    ids = np.array([ONE, "a", TWO, "b", TWO])
    assert sweep.repeats({"object_id": ids}, 5) == 2
    assert check(make_store(tmp_path / "toy.zarr")) == []


@pytest.fixture
def embedded(tmp_path):
    """An embedding of 40 objects, and labels of all, whose letters are encoded otherwise."""
    source = np.random.default_rng(0)
    label = np.arange(40) % 2
    features = (source.normal(size=(40, 6)) + 3 * label[:, None]).astype(np.float32)
    write(tmp_path / "e.zarr", features, np.array([f"{ONE}{n}" for n in range(40)]), names=())
    rows = "".join(f"{TWO}{n},{'ab'[n % 2]}\n" for n in range(40))
    (tmp_path / "labels.csv").write_text("object_id,class\n" + rows)
    return tmp_path


def test_labels_are_laid_on_an_embedding(embedded, monkeypatch):
    from hpc_astrossl.classify import models

    monkeypatch.setattr(models, "HIDDEN", 16)
    out = embedded / "classes.csv"
    assert main(["classify", str(embedded / "e.zarr"), "--labels", str(embedded / "labels.csv"), "--out", str(out)]) \
        == EXIT_DONE  # fmt: skip
    record = json.loads((embedded / "classes.json").read_text())
    assert record["labels"]["used"] == 40
    with out.open(newline="") as stream:
        assert next(csv.DictReader(stream))["object_id"] == f"{ONE}0"  # as the embedding has it


def test_a_table_and_a_list_are_laid_on_it(embedded):
    (embedded / "t.csv").write_text("object_id,value\n" + "".join(f"{TWO}{n},{n}\n" for n in range(40)))
    (embedded / "next.csv").write_text(f"rank,object_id\n1,{TWO}7\n2,{ONE}3\n")
    ids = np.array([f"{ONE}{n}" for n in range(40)])
    extra = given.Extra(tables=(str(embedded / "t.csv"),), upnext=str(embedded / "next.csv"))
    found = given.load(extra, ids, embedded / "e.zarr")
    assert found.columns[0][2].tolist() == list(range(40))
    assert found.upnext.tolist() == [7, 3]
    (embedded / "next.csv").write_text(f"rank,object_id\n1,{TWO}7\n2,{ONE}7\n")
    with pytest.raises(InputError, match="is there 2 times"):
        given.load(extra, ids, embedded / "e.zarr")


def test_people_who_encode_them_otherwise_mean_the_same_objects(tmp_path, capsys):
    (tmp_path / "a.csv").write_text(f"object_id,class\n{ONE}1,star\n{ONE}2,star\n")
    (tmp_path / "b.csv").write_text(f"object_id,class\n{TWO}1,galaxy\n{TWO}2,star\n")
    merged = labels.merge(*(labels.read_labels(tmp_path / name) for name in ("a.csv", "b.csv")))
    assert merged.both == 2
    assert list(merged.disagreements) == [f"{ONE}1"]
    (tmp_path / "a.csv").write_text(f"object_id,class\n{ONE}1,star\n{TWO}1,galaxy\n")
    with pytest.raises(InputError, match="is called"):
        labels.read_labels(tmp_path / "a.csv")


def test_a_cutout_is_found_by_either(tmp_path):
    store = make_store(tmp_path / "toy.zarr", prefix=ONE)
    assert main(["cutout", str(store), f"{TWO}0003", "--out", str(tmp_path / "out")]) == EXIT_DONE
    assert main(["cutout", str(store), f"{TWO}9", "--out", str(tmp_path / "out")]) == EXIT_INPUT


def test_two_pictures_of_one_id(tmp_path):
    for name in (f"{ONE}.png", f"{TWO}.png"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    with pytest.raises(InputError, match="would both be the object"):
        listed(tmp_path)
    (tmp_path / "t.csv").write_text(f"file,object_id\n{ONE}.png,{ONE}\n{TWO}.png,{TWO}\n")
    with pytest.raises(InputError, match="would both be the object"):
        listed(tmp_path / "t.csv")
