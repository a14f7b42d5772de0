"""From labels to fine-tuning: a store of the labelled objects, and a recipe that goes on from the right weights."""

import numpy as np
import pytest
from training_toys import make_run, make_store

from hpc_astrossl import config, names
from hpc_astrossl.classify.labelled import divide
from hpc_astrossl.cli import main
from hpc_astrossl.errors import InputError
from hpc_astrossl.labels import Label, write_labels
from hpc_astrossl.launch.grid import expand
from hpc_astrossl.launch.labelled import recipe
from hpc_astrossl.specs.jobs import JobsSpec
from hpc_astrossl.store import StoreInfo, check, create, open_store


@pytest.fixture
def work(tmp_path):
    """A store, and labels of 20 of its objects by a person who calls them otherwise."""
    store = open_store(make_store(tmp_path / "survey.zarr"))
    rows = range(3, 23)
    given = {f"T{row:04d}": Label(name="spiral" if store.table["label"][row] else "elliptical") for row in rows}
    write_labels(tmp_path / "labels.csv", given | {"elsewhere": Label(name="spiral")})
    return tmp_path


def make(work, **changes):
    paths = {"labels": work / "labels.csv", "of": work / "survey.zarr", "out": work / "labelled.zarr"} | changes
    return main(["labels", "store", str(paths["labels"]), "--of", str(paths["of"]), "--out", str(paths["out"])])


def test_a_store_of_the_labelled_objects(work, capsys):
    assert make(work) == 0
    assert "classes: elliptical 10, spiral 10" in capsys.readouterr().out
    made, of = open_store(work / "labelled.zarr"), open_store(work / "survey.zarr")
    assert check(work / "labelled.zarr", deep=True) == []
    assert made.info.class_names == ("elliptical", "spiral")
    assert made.table["object_id"].tolist() == [f"T{row:04d}" for row in range(3, 23)]
    np.testing.assert_array_equal(made.table["label"], of.table["label"][3:23])
    np.testing.assert_array_equal(made.images(np.arange(20)), of.images(np.arange(3, 23)))
    np.testing.assert_array_equal(made.table["magnitudes"], of.table["magnitudes"][3:23])
    assert made.info.counts["rejected"] == {"not in the store": 1}
    assert main(["info", str(work / "labelled.zarr")]) == 0
    assert make(work) == 2
    assert "is there already" in capsys.readouterr().err


def test_every_class_is_in_every_split():
    label = np.repeat([0, 1, 2], [5, 40, 7])
    split = divide(label)
    assert [[int(((label == c) & (split == s)).sum()) for s in range(3)] for c in range(3)] == [
        [3, 1, 1], [24, 8, 8], [5, 1, 1]]  # fmt: skip
    np.testing.assert_array_equal(divide(label), split)


def test_equal_pictures_and_places_share_a_split(tmp_path):
    """A picture that is in a survey twice, under two names, is never learnt from and tested on."""
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), dtype=np.uint8)
    images[20:30] = images[:10]
    ra = np.arange(40.0)
    ra[30:] = ra[10:20] + 0.5 / 3600
    writer = create(tmp_path / "survey.zarr", shape=images.shape, dtype=images.dtype, bands=0)
    writer.write_images(0, images)
    ids = np.array([f"T{n:04d}" for n in range(40)])
    writer.write_table({"object_id": ids, "ra": ra, "dec": np.zeros(40), "split": np.zeros(40, np.uint8),
                        "label": np.full(40, -1, np.int16)})  # fmt: skip
    writer.finish(StoreInfo(name="s", survey="s", release="1", bands=(), channels=tuple("rgb"), class_names=(),
                            pixel_scale=None, counts={"kept": 40, "splits": {"train": 40}}, recipe={}))  # fmt: skip
    write_labels(tmp_path / "labels.csv", {one: Label(name="ab"[n % 2]) for n, one in enumerate(ids.tolist())})
    assert make(tmp_path) == 0
    split = open_store(tmp_path / "labelled.zarr").table["split"]
    assert split[:20].tolist() == split[20:].tolist()
    assert sorted(set(split.tolist())) == [0, 1, 2]
    assert check(tmp_path / "labelled.zarr", deep=True) == []
    write_labels(tmp_path / "labels.csv", {ids[n]: Label(name="ab"[n % 2]) for n in (0, 1, 2, 3, 4, 5, 20, 21, 22, 23)})
    assert make(tmp_path, out=tmp_path / "few.zarr") in (0, 2)
    assert not (tmp_path / "few.zarr").exists() or check(tmp_path / "few.zarr", deep=True) == []


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ({"T0001": "a", "T0002": "b"}, "class 'a' has 1 label in the store, 5 are needed"),
        ({"T0001": "a"}, "all labels are 'a'"),
        ({"X": "a"}, "none of its 1 objects has an image"),
    ],
)
def test_too_few_labels_are_named(work, capsys, rows, words):
    write_labels(work / "labels.csv", {one: Label(name=name) for one, name in rows.items()})
    assert make(work) == 2
    assert words in capsys.readouterr().err
    assert not (work / "labelled.zarr").exists()


def run_folder(work, run):
    folder = work / "runs" / run.experiment / run.run_id
    folder.mkdir(parents=True)
    (folder / "config.yaml").write_text(config.dump(run))
    return folder


def written(work, folder, store):
    text = recipe({"store": str(store), "run_folder": str(folder)}, work / "labels.csv", work / "c.finetune.yaml")
    (work / "c.finetune.yaml").write_text(text)
    return text, config.load(work / "c.finetune.yaml", JobsSpec)


def test_the_recipe_goes_on_from_the_same_pretext_run(work):
    data = {"target": "magnitudes", "store": "toy.zarr", "turns": True}
    pretext = names.resolved(make_run(set="pretext", scheme="pretext", hidden=32, seed=3, **data))
    begun = names.resolved(make_run(scheme="features-magnitudes", weights=f"run:{pretext.run_id}"))
    for folder in (run_folder(work, pretext), run_folder(work, begun)):
        text, jobs = written(work, folder, work / "survey.zarr")
        keys = [item.key for stage in expand(jobs).stages for item in stage.items]
        assert pretext.run_id in keys
        assert any(key.startswith("labelled_finetune-magnitudes") for key in keys)
        assert f"labels store {work / 'labels.csv'} --of {work / 'survey.zarr'}" in text


def test_a_pretext_that_has_seen_the_labelled_objects_is_not_gone_on_from(work):
    pretext = make_run(set="pretext", scheme="pretext", target="magnitudes", store="survey.zarr")
    text, jobs = written(work, run_folder(work, names.resolved(pretext)), work / "survey.zarr")
    assert jobs.schemes == ("finetune-imagenet",)
    assert "the pretext has seen the labelled objects" in text


def test_without_a_run_or_a_store_there_is_nothing_to_go_on_from(work):
    with pytest.raises(InputError, match="was not made of a store"):
        recipe({"store": None}, work / "labels.csv", work / "c.finetune.yaml")
    with pytest.raises(InputError, match="the run that made the embedding is not at"):
        recipe({"store": "s", "run_folder": str(work / "gone")}, work / "labels.csv", work / "c.finetune.yaml")
