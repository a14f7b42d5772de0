"""Trees of folders as catalogues: links are followed, and nothing goes missing without a word."""

import errno
import os

import numpy as np
import pytest
from ingest_survey import RECIPES
from PIL import Image

from hpc_astrossl.errors import InputError
from hpc_astrossl.ingest.build import Options, build
from hpc_astrossl.specs.recipe import load_recipe
from hpc_astrossl.tables.folders import read_folders

WANTED = {"class": "label", "file": "text"}
PATTERN = "{class}/{name}.{type}"


def tree(folder, *classes, count=6, seed=0):
    random = np.random.default_rng(seed)
    for name in classes:
        (folder / name).mkdir(parents=True)
        for n in range(count):
            pixels = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{name}{n}.png")
    return folder


def test_links_to_folders_are_followed(tmp_path):
    tree(tmp_path / "src", "star")
    tree(tmp_path / "real", "galaxy")
    (tmp_path / "src" / "galaxy").symlink_to(tmp_path / "real" / "galaxy")
    found = read_folders(tmp_path / "src", PATTERN, WANTED)
    assert sorted(set(found["class"].tolist())) == ["galaxy", "star"]
    (tmp_path / "src" / "star" / "round").symlink_to(tmp_path / "src")
    with pytest.raises(InputError, match="is a folder that is read already, by a link"):
        read_folders(tmp_path / "src", PATTERN, WANTED)


def test_a_folder_that_is_closed_is_named(tmp_path, monkeypatch):
    source = tree(tmp_path / "src", "star", "galaxy")
    scan = os.scandir

    def closed(path):
        if str(path).endswith("galaxy"):
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(InputError, match=r"galaxy: cannot be entered \(Permission denied\)"):
        read_folders(source, PATTERN, WANTED)


def test_names_and_links_that_cannot_be_read(tmp_path):
    source = tree(tmp_path / "src", "star")
    (source / "star" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    with pytest.raises(InputError, match="is a link to a file that is not there"):
        read_folders(source, PATTERN, WANTED)
    (source / "star" / "gone.png").unlink()
    (source / "star" / os.fsdecode(b"caf\xe9.png")).write_bytes(b"")
    with pytest.raises(InputError, match="this name is no plain text in UTF-8; rename the file"):
        read_folders(source, PATTERN, WANTED)


def test_a_link_to_nothing_may_have_been_a_folder_of_images(tmp_path):
    source = tree(tmp_path / "src", "star")
    (source / "star" / "more").symlink_to(tmp_path / "unmounted")
    with pytest.raises(InputError, match="star/more: is a link to a file that is not there"):
        read_folders(source, PATTERN, WANTED)


def make(source, out, **options):
    recipe = load_recipe(RECIPES / "image_folder.yaml", ["size=16"])
    return build(recipe, source, out, Options(workers=1, **options))


@pytest.mark.parametrize("tasks", [1, 2])
def test_a_class_that_is_corrected_by_moving_a_file_is_noticed(tmp_path, tasks):
    source = tree(tmp_path / "src", "star", "galaxy")
    make(source, tmp_path / "out")
    assert not make(source, tmp_path / "out", tasks=tasks)[0].fresh
    (source / "galaxy" / "galaxy5.png").rename(source / "star" / "galaxy5.png")
    with pytest.raises(InputError, match="already there, made by another recipe or from other inputs"):
        make(source, tmp_path / "out", tasks=tasks)


def test_classes_given_on_the_command_line_are_all_there_are(tmp_path):
    source = tree(tmp_path / "src", "star", "galaxy")
    recipe = load_recipe(RECIPES / "image_folder.yaml",
                         ["size=16", "stores.images.labels.classes={a: [star], b: [galaxy]}"])  # fmt: skip
    (made,) = build(recipe, source, tmp_path / "out", Options(workers=1))
    assert made.info.counts["classes"] == {"a": 6, "b": 6}
