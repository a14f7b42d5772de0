"""What a user is told of pictures before they are cut: by a dry run, by the making, and by a file to start from."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile

from hpc_astrossl.cli import main
from hpc_astrossl.cutting import firstlook, rgb
from hpc_astrossl.errors import InputError
from hpc_astrossl.selection import splits
from hpc_astrossl.specs.recipe import SplitSpec


def picture(path: Path, width: int, height: int) -> Path:
    """A picture of noise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(len(path.name)).integers(0, 255, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """Two classes of good pictures, and among them a small one, an oblong one, a deep one, and others."""
    monkeypatch.chdir(tmp_path)
    for number in range(8):
        picture(tmp_path / f"src/{('disc', 'ball')[number % 2]}/{number}.png", 80, 80)
    picture(tmp_path / "src/disc/tiny.png", 20, 30)
    picture(tmp_path / "src/ball/wide.JPG", 200, 100)
    Image.fromarray(np.arange(6400, dtype=np.uint16).reshape(80, 80)).save(tmp_path / "src/ball/deep.png")
    (tmp_path / "src/unsure").mkdir()
    (tmp_path / "src/disc/film.gif").write_bytes(b"GIF89a")
    return tmp_path / "src"


def test_a_file_to_start_from_says_which_folders_and_files_are_not_read(folder, capsys):
    assert main(["new", "recipe", "folders", "--source", "src", "--out", "r.yaml"]) == 0
    said = capsys.readouterr().out
    assert "without pictures, so no classes: unsure\nnot read, for their names: .gif 1\nclasses: ball 6, disc 5" in said


def test_dry_run_and_making_say_the_same_of_pictures(folder, capsys):
    assert main(["new", "recipe", "folders", "--source", "src", "--out", "r.yaml"]) == 0
    capsys.readouterr()
    assert main(["preprocess", "r.yaml", "--source", "src", "--dry-run", "--json"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    notes = [
        "not read, for their names: .gif 1",
        "1 of 11 pictures are smaller than 64 × 64 pixels and are enlarged; the smallest is src/disc/tiny.png, 20 × 30",
        "2 of 11 pictures are not square: of each the largest square in the middle is used",
    ]
    of_pictures = [note for note in told["notes"] if not note.startswith("no object for")]
    assert of_pictures[:3] == notes
    assert of_pictures[3].startswith("1 of 11 pictures cannot be used; the first is src/ball/deep.png: has 16")
    assert main(["preprocess", "r.yaml", "--source", "src", "--out", "out"]) == 0
    said = capsys.readouterr()
    assert [line for line in said.err.splitlines() if line in told["notes"]] == of_pictures
    assert "kept 10 · left out unreadable image 1" in said.out
    assert main(["preprocess", "r.yaml", "--source", "src", "--out", "out"]) == 0
    assert "pictures" not in capsys.readouterr().err  # it is there: nothing is cut


def test_of_many_pictures_some_are_looked_at_from_the_first_to_the_last(tmp_path, monkeypatch):
    monkeypatch.setattr(firstlook, "LOOKED_AT", 3)
    files = [picture(tmp_path / f"{number}.png", 40 - number, 40) for number in range(8)]
    asked = []
    (said,) = firstlook.remarks(len(files), lambda place: asked.append(place) or files[place], 10, None)
    assert asked == [0, 3, 6]
    assert said == "2 of 3 pictures looked at (of 8) are not square: of each the largest square in the middle is used"


def test_good_pictures_need_no_words(tmp_path):
    good = picture(tmp_path / "a.png", 40, 40)
    assert firstlook.remarks(1, lambda _: good, 40, None) == []
    assert firstlook.remarks(1, lambda _: good, 20, 30) == []
    assert firstlook.remarks(0, lambda _: good, 20, None) == []
    assert firstlook.remarks(1, lambda _: tmp_path / "gone.png", 20, None) == []


class TestThin:
    """Splits without an object, and classes that a split has none of."""

    @pytest.mark.parametrize(("split", "labels", "said"), [
        ([0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 1], []),
        ([0, 0, 0], [0, 1, 1], ["no object for validation and test (train 3, validation 0, test 0): nothing can be "
                                "trained on such a store; give more objects, or other shares (split: {train: 0.6, "
                                "validation: 0.2, test: 0.2})"]),
        ([0, 1, 2, 0], [0, 0, 0, 1], ["no object for validation and test in class b: how well such objects are found "
                                      "is not measured"]),
        ([0, 0, 2, 2, 1], [0, 1, 0, 1, -1], ["no object for validation in classes a, b"]),
    ])  # fmt: skip
    def test_they_are_told(self, split, labels, said):
        assert splits.thin(SplitSpec(), np.array(split), np.array(labels), ["a", "b"]) == said

    def test_what_the_recipe_leaves_empty_is_meant_so(self):
        spec = SplitSpec(train=1, validation=0, test=0)
        assert splits.thin(spec, np.array([0, 0]), np.array([0, 1]), ["a", "b"]) == []
        by_column = SplitSpec(by="column", column="part", train=1, validation=0, test=0)
        assert "no object for validation and test" in splits.thin(by_column, np.array([0]), np.array([-1]), [])[0]

    def test_dry_run_making_and_plan_tell_a_newcomer_with_six_pictures(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        for number in range(6):
            picture(tmp_path / f"src/{('disc', 'ball')[number % 2]}/{number}.png", 80, 80 + number)
        assert main(["new", "recipe", "folders", "--source", "src", "--out", "r.yaml"]) == 0
        assert main(["preprocess", "r.yaml", "--source", "src", "--dry-run"]) == 0
        words = "no object for validation and test (train 6, validation 0, test 0)"
        assert f"note        {words}: nothing can be trained" in capsys.readouterr().out
        assert main(["preprocess", "r.yaml", "--source", "src", "--out", "out"]) == 0
        assert f"images: {words}: nothing can be trained" in capsys.readouterr().err
        assert main(["new", "jobs", "classes", "--store", "out/images.zarr", "--out", "j.yaml"]) == 0
        for verb in ("plan", "submit"):
            assert main([verb, "j.yaml", "--cluster", "local"]) == 2
            assert f"set images has {words}, and a run needs some of each" in capsys.readouterr().err
        assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("kind", ["png", "jpg", "tif"])
def test_a_look_decodes_no_pixel_and_sees_a_turn_all_the_same(tmp_path, monkeypatch, kind):
    pixels = Image.fromarray(np.arange(300, dtype=np.uint8).reshape(10, 10, 3))
    exif = Image.Exif()
    exif[0x0112] = 6
    pixels.save(tmp_path / f"plain.{kind}")
    pixels.save(tmp_path / f"turned.{kind}", exif=exif)
    monkeypatch.setattr(ImageFile.ImageFile, "load", lambda image: pytest.fail("decoded"))
    assert rgb.look(tmp_path / f"plain.{kind}") == (10, 10)
    with pytest.raises(InputError, match="is to be turned"):
        rgb.look(tmp_path / f"turned.{kind}")
