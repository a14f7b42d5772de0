"""Files to start from: all of them are what the program takes."""

import shlex
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from hpc_astrossl import config
from hpc_astrossl.cli import main
from hpc_astrossl.cli.new import FILES, kinds
from hpc_astrossl.specs import reference
from hpc_astrossl.store import open_store

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize(("file", "kind"), [(file, kind) for file in FILES for kind in kinds(file)])
def test_every_file_to_start_from_is_taken_and_has_its_keys_explained(tmp_path, capsys, file, kind):
    out = tmp_path / "mine.yaml"
    assert main(["new", file, kind, "--out", str(out)]) == 0
    config.load(out, reference.KINDS[file])
    text = out.read_text()
    assert text.count("#") > text.count("\n") / 3
    assert f"astrossl {'preprocess' if file == 'recipe' else 'submit' if file == 'jobs' else 'train'} {out}" in text
    assert str(out) in capsys.readouterr().out.splitlines()[-1]
    assert main(["new", file, kind, "--out", str(out)]) == 2
    assert "is there already" in capsys.readouterr().err


def test_an_unknown_kind_names_the_others(capsys):
    assert main(["new", "recipe", "folder"]) == 2
    assert "allowed: array, cutouts, fields, files, folders; did you mean" in capsys.readouterr().err


def test_the_recipe_of_image_files_makes_a_store_of_the_bundled_galaxies_as_it_is(tmp_path, capsys):
    out = tmp_path / "mine.yaml"
    assert main(["new", "recipe", "files", "--out", str(out)]) == 0
    command = capsys.readouterr().out.splitlines()[-1].split()[1:]
    command[command.index("--out") + 1] = str(tmp_path / "stores")
    assert main([*command, "--set", "size=16"]) == 0
    assert "galaxies: kept " in capsys.readouterr().out


def started(file: str, kind: str, folder: Path, capsys) -> list[str]:
    """The command that a file to start from prints, as a list of words; it is written into ``folder``."""
    out = folder / f"{file}-{kind}.yaml"
    assert main(["new", file, kind, "--out", str(out)]) == 0
    return shlex.split(capsys.readouterr().out.splitlines()[-1])[1:]


@pytest.mark.slow
@pytest.mark.timeout(1500)  # a minute of work in ten processes, which a loaded machine may take ten times as long for
def test_what_runs_on_the_demo_s_data_runs_on_them_as_it_stands(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    survey = ["--fields", "1", "--objects", "320", "--size", "900"]
    assert main(["simulate", "demo/survey", *survey]) == 0
    capsys.readouterr()
    command = started("recipe", "fields", tmp_path, capsys)
    assert command[command.index("--source") + 1] == "demo/survey"
    command[command.index("--out") + 1] = "demo/stores"
    assert main(command) == 0
    for name in ("SG", "pretext"):
        made = ["preprocess", str(ROOT / "preprocess/simulated.yaml"), "--source", "demo/survey", "--store", name]
        assert (tmp_path / f"demo/stores/{name}.zarr").exists() or main([*made, "--out", "demo/stores"]) == 0
    for kind in kinds("run"):
        assert main(started("run", kind, tmp_path, capsys)) == 0
    for kind in kinds("jobs"):
        assert main(started("jobs", kind, tmp_path, capsys)) == 0
    names = {path.parent.name.split("_nall")[0].split("_n64")[0] for path in tmp_path.glob("demo/runs/*/*/result.json")}
    assert names == {"SG_features-imagenet", "SG_features-random", "SG_features-magnitudes", "pretext_pretext"}
    assert {path.parent.name for path in tmp_path.glob("demo/reports/*/report.html")} == {"classes", "with-pretext"}


def test_what_reads_cutouts_reads_the_folder_that_it_describes(tmp_path, capsys):
    rng, source = np.random.default_rng(0), tmp_path / "SOURCE"
    (source / "fits").mkdir(parents=True)
    images = rng.normal(size=(6, 3, 70, 70)).astype("f4")
    lines = ["id,class", *(f"o{number},{'STAR' if number % 2 else 'GALAXY'}" for number in range(6))]
    (source / "catalogue.csv").write_text("\n".join(lines) + "\n")
    np.save(source / "cutouts.npy", images[:, :, ::-1])  # the top row first
    for number in range(6):
        for band, image in zip("gri", images[number], strict=True):
            fits.writeto(source / f"fits/o{number}_{band}.fits", image)
    stores = []
    for kind in ("cutouts", "array"):
        command = started("recipe", kind, tmp_path, capsys)
        command[command.index("--source") + 1] = str(source)
        command[command.index("--out") + 1] = str(tmp_path / kind)
        assert main(command) == 0
        stores.append(open_store(tmp_path / kind / "cutouts.zarr"))
    np.testing.assert_array_equal(stores[0].images(np.arange(6)), stores[1].images(np.arange(6)))


class TestFilledIn:
    """Files that know the user's own folders and stores."""

    def test_classes_are_those_of_the_folders_and_odd_names_are_quoted(self, tmp_path, capsys):
        for name in ("no", "1", "two words", "a: b", "{x}", "größe"):
            (tmp_path / "my pictures" / name).mkdir(parents=True)
            for number in range(3):
                seed = [number, *name.encode()]
                pixels = np.random.default_rng(seed).integers(0, 255, (20, 20, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / "my pictures" / name / f"{number}.png")
        Image.fromarray(pixels).save(tmp_path / "my pictures/loose.png")
        out = str(tmp_path / "mine.yaml")
        assert main(["new", "recipe", "folders", "--source", str(tmp_path / "my pictures"), "--out", out]) == 0
        said = capsys.readouterr().out.splitlines()
        assert "not of the form CLASS/NAME.jpg, so not read: 1 pictures, the first loose.png" in said
        assert "classes: 1 3, a: b 3, größe 3, no 3, two words 3, {x} 3" in said
        command = shlex.split(said[-1])[1:]
        command[command.index("--out") + 1] = str(tmp_path / "stores")
        shares = "split={train: 0.6, validation: 0.2, test: 0.2}"
        assert main([*command, "--set", "size=16", "--set", shares]) == 0
        assert (
            "images that do not fit {class}/{name}.{type}, so not read: 1, the first loose.png"
            in capsys.readouterr().err
        )
        store = tmp_path / "stores/images.zarr"
        assert set(open_store(store).info.class_names) == {"no", "1", "two words", "a: b", "{x}", "größe"}
        jobs = str(tmp_path / "jobs.yaml")
        assert main(["new", "jobs", "classes", "--store", str(store), "--out", jobs]) == 0
        found = config.load(jobs, reference.KINDS["jobs"])
        assert (found.experiment, found.sets["images"].store, found.sizes) == ("images", str(store), ("all",))
        assert main(["plan", jobs, "--cluster", "local", "--workdir", str(tmp_path)]) == 0

    def test_what_is_printed_can_be_typed_wherever_the_file_lies(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        names = [f"{kind}/{n}.png" for kind in "ab" for n in range(12)]
        self.pictures(tmp_path / "my pictures", *names)
        (tmp_path / "my files").mkdir()
        out = "my files/the recipe.yaml"
        assert main(["new", "recipe", "folders", "--source", "my pictures", "--out", out]) == 0
        command = capsys.readouterr().out.splitlines()[-1]
        assert command == "astrossl preprocess 'my files/the recipe.yaml' --source 'my pictures' --out stores"
        assert main(shlex.split(command)[1:]) == 0
        (tmp_path / "stores/images.zarr").rename(tmp_path / "my set (1).zarr")
        assert main(["new", "jobs", "classes", "--store", "my set (1).zarr", "--out", "my files/j.yaml"]) == 0
        found = config.load("my files/j.yaml", reference.KINDS["jobs"])
        assert (found.experiment, found.sets["my_set_1_"].store) == ("my_set_1_", "my set (1).zarr")

    def test_names_that_are_numbers_are_names_and_hidden_folders_are_none(self, tmp_path, monkeypatch, capsys):
        """Folders that other loaders take for classes, and class names that YAML takes for numbers, times or truths."""
        monkeypatch.chdir(tmp_path)
        classes = ["007", "7", "1e3", "1000", "1.0", "0x1A", "12:30", "on", "~", "NaN"]
        self.pictures(tmp_path / "src", *(f"{name}/{n}.png" for name in classes for n in range(3)))
        self.pictures(tmp_path / "src", ".ipynb_checkpoints/0.png", "__MACOSX/._0.png")
        assert main(["new", "recipe", "folders", "--source", "src", "--out", "mine.yaml"]) == 0
        assert "without pictures, so no classes: __MACOSX" in capsys.readouterr().out
        shares = "split={train: 0.5, validation: 0.25, test: 0.25}"
        assert main(["preprocess", "mine.yaml", "--source", "src", "--out", "out", "--set", shares]) == 0
        assert open_store("out/images.zarr").info.counts["classes"] == dict.fromkeys(sorted(classes), 3)

    def test_a_folder_that_is_named_like_a_range_is_refused(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        self.pictures(tmp_path / "src", "-6..-4/1.png", "0..9/1.png")
        assert main(["new", "recipe", "folders", "--source", "src", "--out", "mine.yaml"]) == 2
        said = (
            "src/-6..-4: a recipe reads this name as a range of numbers; rename the folder, for example to '-6 to -4'"
        )
        assert said in capsys.readouterr().err

    def pictures(self, folder, *names):
        for number, name in enumerate(names):
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.random.default_rng(number).integers(0, 255, (20, 20, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(path)

    def test_pictures_that_are_split_already_keep_their_split(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        parts = ("Train", "val", "test")
        self.pictures(
            tmp_path / "src", *(f"{part}/{kind}/{n}.png" for part in parts for kind in "ab" for n in range(2))
        )
        assert main(["new", "recipe", "folders", "--source", "src", "--out", "mine.yaml"]) == 0
        said = capsys.readouterr().out
        assert "split: as the folders Train (train), val (validation), test (test)" in said
        assert "classes: a 6, b 6" in said
        assert main(["preprocess", "mine.yaml", "--source", "src", "--out", "out", "--set", "size=16"]) == 0
        assert open_store("out/images.zarr").info.counts["splits"] == {"train": 4, "validation": 4, "test": 4}

    def test_a_split_without_validation_is_drawn_anew_and_told(self, tmp_path, monkeypatch, capsys):
        monkeypatch.chdir(tmp_path)
        names = [f"{part}/{kind}/{n}.png" for part in ("train", "test") for kind in "ab" for n in range(10)]
        self.pictures(tmp_path / "src", *names)
        assert main(["new", "recipe", "folders", "--source", "src", "--out", "mine.yaml"]) == 0
        assert (
            "folders test, train, but none for validation: the split is drawn anew from all pictures. To keep "
            "theirs, move some pictures into a folder validation and run this again"
        ) in capsys.readouterr().out
        assert main(["preprocess", "mine.yaml", "--source", "src", "--dry-run"]) == 0
        assert "splits      train 32, validation 4, test 4" in capsys.readouterr().out

    @pytest.mark.parametrize(("names", "said"), [
        (["far/down/a/1.png", "far/down/b/1.png"], "give the folder above the classes: --source 'src x/far/down'"),
        (["a/1.png", "a/2.png"], "the first of 2 pictures is a/1.png. Where a table says the class of each picture: "
                                 "astrossl new recipe files"),
        (["1.png", "2.png"], "found 0; the first of 2 pictures is 1.png. Where a table says"),
    ])  # fmt: skip
    def test_a_folder_without_two_classes_is_answered_with_what_to_do(self, tmp_path, monkeypatch, capsys, names, said):
        monkeypatch.chdir(tmp_path)
        self.pictures(tmp_path / "src x", *names)
        assert main(["new", "recipe", "folders", "--source", "src x", "--out", "mine.yaml"]) == 2
        assert said in capsys.readouterr().err

    @pytest.mark.parametrize(("words", "said"), [
        (["recipe", "folders", "--source", "gone"], "--source gone: no such folder"),
        (["recipe", "folders", "--source", "."], "expected pictures in two folders or more, one a class"),
        (["recipe", "files", "--source", "."], "--source is for astrossl new recipe folders, not for recipe files"),
        (["jobs", "pretext", "--store", "x.zarr"], "--store is for astrossl new jobs classes, not for jobs pretext"),
        (["jobs", "classes", "--store", "x.zarr"], "--store x.zarr: no store is there; make it first"),
    ])  # fmt: skip
    def test_what_cannot_be_filled_in_is_told(self, tmp_path, monkeypatch, capsys, words, said):
        monkeypatch.chdir(tmp_path)
        assert main(["new", *words, "--out", "x.yaml"]) == 2
        assert said in capsys.readouterr().err
        assert list(tmp_path.iterdir()) == []
