"""What a user is told of pictures before they are cut: by a dry run, by the making, and by a file to start from."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hpc_astrossl.cli import main
from hpc_astrossl.cutting import firstlook


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
    assert told["notes"][:3] == notes
    assert told["notes"][3].startswith("1 of 11 pictures cannot be used; the first is src/ball/deep.png: has 16")
    assert main(["preprocess", "r.yaml", "--source", "src", "--out", "out"]) == 0
    said = capsys.readouterr()
    assert [line for line in said.err.splitlines() if line in told["notes"]] == told["notes"]
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
