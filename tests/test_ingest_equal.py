"""Pictures that are the same under other names: they share a split, contrary labels are named, and check sees them."""

import shutil

import numpy as np
import pytest
from ingest_survey import RECIPES
from PIL import Image

from hpc_astrossl import store as stores
from hpc_astrossl.cutting.progress import Progress
from hpc_astrossl.errors import InputError
from hpc_astrossl.ingest.build import Options, build
from hpc_astrossl.specs.recipe import load_recipe
from hpc_astrossl.store.check import check

SHARES = ["split.train=0.5", "split.validation=0.25", "split.test=0.25"]


def tree(folder):
    """Twenty pictures a class, each there twice: once as it is, once saved again, so that its bytes differ."""
    random = np.random.default_rng(0)
    for name in ("star", "galaxy"):
        (folder / name).mkdir(parents=True)
        for n in range(20):
            image = Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8))
            image.save(folder / name / f"{n}.png")
            image.save(folder / name / f"again{n}.png", compress_level=1)
    return folder


class Heard(Progress):
    """What is said while a store is made."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def make(source, out, *settings, **options):
    heard = Heard()
    recipe = load_recipe(RECIPES / "image_folder.yaml", ["size=16", *SHARES, *settings])
    (made,) = build(recipe, source, out, Options(workers=1, **options), heard)
    return made, heard.lines


@pytest.mark.parametrize("keep", ["null", "png"])
def test_equal_pictures_share_a_split(tmp_path, keep):
    source = tree(tmp_path / "src")
    if keep == "png":  # what is kept are bytes: copies are equal then
        for path in list(source.glob("*/again*.png")):
            shutil.copy(path.with_name(path.name.removeprefix("again")), path)
    made, lines = make(source, tmp_path / "out", f"files.keep={keep}")
    store = stores.open_store(made.path)
    split = dict(zip(store.table["object_id"].tolist(), store.table["split"].tolist(), strict=True))
    for name in ("star", "galaxy"):
        for n in range(20):
            assert split[f"{name}/{n}.png"] == split[f"{name}/again{n}.png"]
    facts = made.info.counts["equal_pixels"]
    assert (facts["objects"], facts["in_two_classes"]) == (80, 0)
    assert facts["moved"] > 0
    assert any("80 objects have the pixels of another one" in line for line in lines)
    assert check(made.path, deep=True) == []


def test_a_picture_in_two_classes_is_named(tmp_path):
    source = tree(tmp_path / "src")
    shutil.copy(source / "star" / "3.png", source / "galaxy" / "copy.png")
    made, lines = make(source, tmp_path / "out")
    assert made.info.counts["equal_pixels"]["in_two_classes"] > 0
    assert any("stand in different classes, first " in line and "correct the labels" in line for line in lines)


def test_check_sees_equal_pictures_in_two_splits(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    images[3] = images[0]
    writer = stores.create(tmp_path / "s.zarr", shape=images.shape, dtype=images.dtype, bands=0)
    writer.write_images(0, images)
    writer.write_table({"object_id": np.array(list("abcd")), "ra": np.arange(4.0), "dec": np.zeros(4),
                        "split": np.array([0, 0, 1, 2], np.uint8), "label": np.full(4, -1, np.int16)})  # fmt: skip
    counts = {"kept": 4, "splits": {"train": 2, "validation": 1, "test": 1}}
    writer.finish(stores.StoreInfo(name="s", survey="s", release="1", bands=(), channels=tuple("rgb"), class_names=(),
                                   pixel_scale=None, counts=counts, recipe={}))  # fmt: skip
    assert check(tmp_path / "s.zarr") == []
    assert check(tmp_path / "s.zarr", deep=True) == [
        "1 images are the same, pixel for pixel, as one of another split, first a and d"
    ]


@pytest.mark.parametrize("tasks", [1, 2])
def test_a_picture_that_is_replaced_is_noticed(tmp_path, tasks):
    source = tree(tmp_path / "src")
    make(source, tmp_path / "out")
    assert not make(source, tmp_path / "out", tasks=tasks)[0].fresh
    shutil.copy(source / "galaxy" / "2.png", source / "star" / "7.png")
    with pytest.raises(InputError, match="already there, made by another recipe or from other inputs"):
        every(make, source, tmp_path / "out", tasks)


def every(make, source, out, tasks):
    for task in range(1, tasks + 1):
        make(source, out, task=task, tasks=tasks)
