"""Pictures are made as the images were that a run has learnt: bit for bit, with the same refusals, each once."""

import contextlib
import csv
import functools
import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from training_toys import HEAD, make_run

from hpc_astrossl import names
from hpc_astrossl.cli import main
from hpc_astrossl.errors import EXIT_DONE, EXIT_INPUT, InputError
from hpc_astrossl.loading import open_loader
from hpc_astrossl.specs import making
from hpc_astrossl.specs.making import Making
from hpc_astrossl.store import open_store
from hpc_astrossl.training import apply, parts, pictures
from hpc_astrossl.training.folder import run_path
from hpc_astrossl.training.pictures import Wish
from hpc_astrossl.training.run import train

pytestmark = pytest.mark.usefixtures("narrow")

RECIPE = """\
survey: T
release: "1"
size: 32
catalogue: {{format: folders, file: "{{class}}/{{id}}.{kind}", id: id}}
files: {{image: "{{file}}", {files}}}
split: {{train: 0.6, validation: 0.2, test: 0.2}}
stores: {{toy: {{labels: {{source: column, column: class, classes: {{red: [red], blue: [blue]}}}}}}}}
"""
WAYS = {  # how the images of a store are made of pictures of 48 pixels
    "crop": ("png", "crop: 32"),
    "resized": ("png", "crop: null"),
    "crop, resized": ("jpg", "crop: 40"),
    "kept": ("jpg", "keep: jpeg"),
}


def draw(folder, kind, side=48):
    """Two dozen pictures in folders of their classes, of noise that no two crops share."""
    source = np.random.default_rng(3)
    for number in range(24):
        name = ("red", "blue")[number % 2]
        (folder / name).mkdir(parents=True, exist_ok=True)
        level = np.array([[180, 90, 20], [20, 90, 180]])[number % 2]
        pixels = np.clip(source.normal(level, 40, (side, side + 6, 3)), 0, 255).astype(np.uint8)
        pixels = pixels[:, : side + (6 if side == 48 else 0)]
        Image.fromarray(pixels).save(
            folder / name / f"p{number:02d}.{kind}", **({"quality": 90} if kind == "jpg" else {})
        )


def preprocess(place, kind, files):
    """Pictures in ``place``/pictures and a store of them."""
    draw(place / "pictures", kind, side=32 if "keep" in files else 48)
    (place / "recipe.yaml").write_text(RECIPE.format(kind=kind, files=files))
    asked = ["preprocess", place / "recipe.yaml", "--source", place / "pictures", "--out", place, "--workers", "1"]
    assert main([str(word) for word in asked]) == EXIT_DONE
    return place / "toy.zarr"


@pytest.fixture(scope="module")
def ways(tmp_path_factory):
    """A folder for each way, with pictures and store."""
    places = {way: tmp_path_factory.mktemp("way") for way in WAYS}
    for way, place in places.items():
        preprocess(place, *WAYS[way])
    return places


@pytest.fixture(scope="module")
def folder(ways):
    """A run on the store whose pictures were cut to the middle 32 of 48 pixels."""
    run = make_run(HEAD, store="toy.zarr")
    train(run, ways["crop"])
    return run_path(ways["crop"], run.experiment, names.resolved(run).run_id)


@pytest.fixture
def learnt(folder, ways):
    """Let the run have learnt another way."""
    file = folder / "result.json"
    before = file.read_text()

    def set_to(record):
        result = json.loads(before)
        if record is None:
            del result["store"]["images"]
        else:
            result["store"]["images"] = record
        file.write_text(json.dumps(result))

    yield lambda way: set_to(open_store(ways[way] / "toy.zarr").info.images if way else None)
    file.write_text(before)


def answers(file):
    table = np.load(file)
    order = np.argsort(table["object_id"])
    return {name: table[name][order] for name in table.files}


def job(folder, source, out, **more):
    return apply.Job(run=folder, source=source, outs=[out], **more)


@pytest.mark.parametrize("loader", ["vectorised", "dali"])
@pytest.mark.parametrize("way", WAYS)
def test_a_picture_has_one_answer_through_store_and_folder(ways, folder, learnt, tmp_path, monkeypatch, way, loader):
    monkeypatch.setattr(pictures, "open_loader", functools.partial(open_loader, name=loader))
    learnt(way)
    place = ways[way]
    assert apply.embed(job(folder, place / "toy.zarr", tmp_path / "store.npz", anyway=True, part_rows=13)).objects == 24
    assert apply.embed(job(folder, place / "pictures", tmp_path / "folder.npz", part_rows=20)).objects == 24
    store, found = answers(tmp_path / "store.npz"), answers(tmp_path / "folder.npz")
    assert store["object_id"].tolist() == found["object_id"].tolist()
    np.testing.assert_array_equal(store["features"], found["features"])


def test_store_and_run_keep_how_images_were_made(ways, folder):
    made = open_store(ways["crop"] / "toy.zarr").info.images
    assert made == json.loads((folder / "result.json").read_text())["store"]["images"]
    assert making.read(made, "") == Making(
        source="files", size=32, crop=32, resampling="none", channels=("red", "green", "blue"), kinds=(".png",)
    )
    kept = open_store(ways["kept"] / "toy.zarr").info.making()
    assert (kept.crop, kept.keep, kept.resampling, kept.kinds) == (32, "jpeg", "none", (".jpg",))


def test_a_store_of_0_1_0_tells_it_by_its_recipe(ways):
    info = open_store(ways["crop, resized"] / "toy.zarr").info
    old = type(info).from_attributes({key: v for key, v in info.attributes().items() if key != "images"}, "old")
    assert old.images == {}
    assert (old.making().crop, old.making().resampling) == (40, "lanczos")


def test_a_store_of_the_same_shape_made_otherwise_is_refused(ways, folder, tmp_path, capsys):
    asked = ["predict", str(folder), str(ways["resized"] / "toy.zarr"), "--out", str(tmp_path / "a.csv")]
    assert main(asked) == EXIT_INPUT
    words = capsys.readouterr().err
    assert "its images were made otherwise than those that the run learnt: crop null, there 32" in words
    assert "or add --anyway" in words
    assert main([*asked, "--anyway"]) == EXIT_DONE
    about = json.loads((tmp_path / "a.csv.json").read_text())
    assert about["told"]["otherwise"][0] == "crop null, there 32"


def test_what_the_recipe_would_refuse_is_refused_in_the_same_words(ways, folder, tmp_path, capsys):
    (tmp_path / "small").mkdir()
    Image.new("RGB", (20, 20), (9, 8, 7)).save(tmp_path / "small/a.png")
    assert main(["predict", str(folder), str(tmp_path / "small"), "--out", str(tmp_path / "a.csv")]) == EXIT_INPUT
    assert "small/a.png: is 20 × 20 pixels, smaller than files.crop=32" in capsys.readouterr().err


def test_crop_and_scale_override_and_are_recorded(ways, folder, learnt, tmp_path, capsys):
    learnt("resized")
    source, common = ways["crop"] / "pictures", ["--out", str(tmp_path / "a.npz")]
    assert main(["embed", str(folder), str(source), *common, "--crop", "32"]) == EXIT_DONE
    learnt("crop")
    assert apply.embed(job(folder, source, tmp_path / "b.npz")).objects == 24
    np.testing.assert_array_equal(answers(tmp_path / "a.npz")["features"], answers(tmp_path / "b.npz")["features"])
    from hpc_astrossl.training.tables import kept

    assert kept(tmp_path / "a.npz")["told"] == {"crop": 32, "scale": None, "anyway": False}
    assert kept(tmp_path / "a.npz")["made"]["crop"] == 32
    assert main(["embed", str(folder), str(source), "--out", str(tmp_path / "c.npz"), "--scale", "0.4"]) == EXIT_INPUT
    assert "the pixel scale of the images that the run learnt was not kept; give --crop N" in capsys.readouterr().err
    store = str(ways["crop"] / "toy.zarr")
    assert main(["embed", str(folder), store, "--out", str(tmp_path / "c.npz"), "--crop", "9"]) == EXIT_INPUT
    assert "--crop and --scale are for pictures" in capsys.readouterr().err


def test_a_scale_becomes_the_crop_that_shows_as_much_sky():
    known = Making(source="fields", size=32, crop=32, pixel_scale=0.55, channels=pictures.COLOURS)
    made = pictures.applied(known, 32, Wish(scale=0.275), "x")
    assert (made.crop, made.resampling) == (64, "lanczos")
    assert pictures.applied(known, 32, Wish(scale=0.55), "x") == known
    with pytest.raises(InputError, match="say the same thing in two ways"):
        Wish(crop=3, scale=1.0)
    lupton = Making(source="fields", size=32, crop=32, stretch="lupton q=8")
    with pytest.raises(InputError, match="learnt colours made by lupton q=8"):
        pictures.applied(lupton, 32, Wish(), "x")
    assert pictures.applied(lupton, 32, Wish(anyway=True), "x") == lupton


def test_a_run_of_0_1_0_asks_how_pictures_are_to_be_cut(ways, folder, learnt, tmp_path, capsys):
    learnt(None)
    asked = ["predict", str(folder), str(ways["crop"] / "pictures"), "--out", str(tmp_path / "a.csv")]
    assert main(asked) == EXIT_INPUT
    words = capsys.readouterr().err
    assert "how the run's images were made is unknown" in words
    assert "--crop N for the middle N pixels of every picture, or --anyway" in words
    assert main([*asked, "--crop", "32"]) == EXIT_DONE
    assert main(["predict", str(folder), str(ways["crop"] / "toy.zarr"), "--out", str(tmp_path / "b.csv")]) == EXIT_DONE


class TestFolders:
    @pytest.fixture
    def source(self, tmp_path, ways):
        """Six pictures: deep, behind a link, and among files of other kinds."""
        place, deep = tmp_path / "source", tmp_path / "elsewhere/deep"
        place.mkdir()
        deep.mkdir(parents=True)
        for number, file in enumerate(sorted((ways["crop"] / "pictures/red").iterdir())[:6]):
            (place if number < 4 else deep).joinpath(file.name).write_bytes(file.read_bytes())
        (place / "linked").symlink_to(tmp_path / "elsewhere")
        for name in ("a.gif", "b.gif", "readme.txt", ".hidden.png"):
            (place / name).write_bytes(b"no image that is read")
        return place

    def test_they_are_read_deep_and_through_links_and_others_are_counted(self, source, folder, tmp_path, capsys):
        assert main(["predict", str(folder), str(source), "--out", str(tmp_path / "a.csv")]) == EXIT_DONE
        said = capsys.readouterr()
        assert "6 objects" in said.out
        assert "not read: .gif 2, .txt 1, hidden .png 1" in said.err

    def test_one_that_may_not_be_entered_is_named(self, source, monkeypatch):
        (source / "shut").mkdir()
        scandir = os.scandir

        def refusing(path):  # root may enter any folder
            if str(path).endswith("shut"):
                raise PermissionError(13, "Permission denied", str(path))
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refusing)
        with pytest.raises(InputError, match="shut: cannot be entered"):
            pictures.listed(source)

    def test_two_files_of_one_name_are_known_by_their_paths(self, source, folder, tmp_path, capsys):
        (source / "more").mkdir()
        file = next(source.glob("p*.png"))
        (source / "more" / file.name).write_bytes(file.read_bytes())
        assert main(["predict", str(folder), str(source), "--out", str(tmp_path / "a.csv")]) == EXIT_DONE
        assert "several pictures have one name, so object_id is their path in the folder" in capsys.readouterr().err
        with (tmp_path / "a.csv").open() as stream:
            ids = [line["object_id"] for line in csv.DictReader(stream)]
        assert len(ids) == 7
        assert {file.name, f"more/{file.name}"} <= set(ids)

    def test_a_table_that_names_two_alike_is_refused(self, source):
        (source / "more").mkdir()
        file = next(source.glob("p*.png"))
        (source / "more" / file.name).write_bytes(file.read_bytes())
        (source / "list.csv").write_text(f"file\n{file.name}\nmore/{file.name}\n")
        with pytest.raises(InputError, match=f"would both be the object '{file.stem}'; rename one"):
            pictures.listed(source / "list.csv")

    def test_a_name_that_is_no_text_is_named(self, source):
        with open(os.fsencode(source) + b"/caf\xe9.png", "wb"):
            pass
        with pytest.raises(InputError, match="this name is no plain text in UTF-8"):
            pictures.listed(source)

    def test_a_table_names_files_and_ids(self, source, folder, tmp_path):
        files = sorted(path.relative_to(source).as_posix() for path in source.glob("p*.png"))
        lines = "".join(f"star {n},{file}\n" for n, file in enumerate(files))
        (source / "list.csv").write_text("object_id,file\n" + lines)
        assert apply.embed(job(folder, source / "list.csv", tmp_path / "a.npz")).objects == 4
        assert np.load(tmp_path / "a.npz")["object_id"].tolist() == ["star 0", "star 1", "star 2", "star 3"]
        (source / "wrong.csv").write_text("a,b\n1,2\n")
        with pytest.raises(InputError, match="has no column of file names"):
            pictures.listed(source / "wrong.csv")

    def test_unreadable_and_blank_ones_are_left_out_counted_and_listed(self, source, folder, tmp_path, capsys):
        (source / "bad.png").write_bytes(b"no image")
        Image.new("RGB", (48, 48), (5, 5, 5)).save(source / "flat.png")
        asked = ["predict", str(folder), str(source), "--out", str(tmp_path / "a.csv")]
        assert main(asked) == EXIT_INPUT
        assert "bad.png: unreadable or truncated image" in capsys.readouterr().err
        assert main([*asked[:-1], str(tmp_path / "b.csv"), "--unreadable", "skip"]) == EXIT_DONE
        said = capsys.readouterr()
        assert "6 objects" in said.out
        assert "2 left out (unreadable image 1, blank image 1)" in said.err
        listed = (tmp_path / "b.csv.rejected.csv").read_text().splitlines()
        assert sorted(listed) == ["bad,unreadable image", "flat,blank image", "object_id,reason"]
        assert len((tmp_path / "b.csv").read_text().splitlines()) == 7
        for name in ("bad.png", "flat.png"):
            (source / name).unlink()
        (tmp_path / "b.csv").unlink()
        (tmp_path / "c.csv.rejected.csv").write_text("what is not ours\n")
        for name in ("b.csv", "c.csv"):
            assert main([*asked[:-1], str(tmp_path / name)]) == EXIT_DONE
        assert not (tmp_path / "b.csv.rejected.csv").exists()  # of an earlier time
        assert (tmp_path / "c.csv.rejected.csv").exists()

    def test_json_counts_what_is_left_out_by_reason(self, source, folder, tmp_path, capsys):
        (source / "bad.png").write_bytes(b"no image")
        Image.new("RGB", (48, 48), (5, 5, 5)).save(source / "flat.png")
        (source / "notes.txt").write_text("a folder is seldom clean\n")
        asked = ["predict", str(folder), str(source), "--out", str(tmp_path / "a.csv"), "--unreadable", "skip"]
        assert main([*asked, "--json"]) == EXIT_DONE
        told = json.loads(capsys.readouterr().out)
        assert (told["objects"], told["left_out"]) == (6, {"unreadable image": 1, "blank image": 1})
        assert told["remarks"][0] == "not read: .gif 2, .txt 2, hidden .png 1"
        assert "1 of 8 pictures cannot be used; the first is" in told["remarks"][-1]

    def test_who_comes_when_another_has_put_it_together_counts_by_the_list(self, source, folder, tmp_path, monkeypatch):
        (source / "bad.png").write_bytes(b"no image")
        work = job(folder, source, tmp_path / "a.csv", wish=Wish(unreadable="skip"))
        made = parts.Parts.assembling

        @contextlib.contextmanager
        def late(self):
            with made(self) as complete:
                yield complete
            monkeypatch.setattr(parts.Parts, "assembling", none)

        @contextlib.contextmanager
        def none(self):
            yield False

        monkeypatch.setattr(parts.Parts, "assembling", late)
        first = apply.predict(work)
        monkeypatch.setattr(apply, "check_outs", lambda *_, **__: None)
        assert apply.predict(work) == replace(first, remarks=())
        assert (first.objects, first.left_out) == (6, {"unreadable image": 1})

    def test_a_crop_that_enlarges_is_told(self, source, folder, tmp_path, capsys):
        asked = ["predict", str(folder), str(source), "--out", str(tmp_path / "a.csv"), "--crop", "20"]
        assert main(asked) == EXIT_DONE
        said = capsys.readouterr().err
        assert "a crop of 20 pixels is less than the 32 of an image: every picture is enlarged" in said

    def test_parts_are_kept_when_the_broken_one_is_to_be_skipped(self, source, folder, tmp_path, capsys):
        """The remedy after a refusal: nothing is made twice. Not the other way round: what was skipped is said."""
        (source / "bad.png").write_bytes(b"no image")
        asked = ["predict", str(folder), str(source), "--out", str(tmp_path / "a.csv")]
        assert main(asked) == EXIT_INPUT
        assert main([*asked, "--unreadable", "skip", "--task", "1/1"]) == EXIT_DONE
        assert json.loads((tmp_path / "a.csv.json").read_text())["unreadable"] == "skip"
        skipping = job(folder, source, tmp_path / "b.csv", wish=Wish(unreadable="skip"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(apply, "assemble", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                apply.predict(skipping)
        with pytest.raises(InputError, match=r"bad is the first \(unreadable image\), made with --unreadable skip"):
            apply.predict(job(folder, source, tmp_path / "b.csv"))

    def test_ids_of_a_table_that_cannot_be_read_are_not_names_of_files_instead(self, source, folder, tmp_path):
        (source / "t.csv").write_text("file,object_id\np0.png,1.237e18\np1.png,1.237e18\n")
        with pytest.raises(InputError, match="object_id"):
            apply.predict(job(folder, source / "t.csv", tmp_path / "a.csv"))


class TestParts:
    @pytest.fixture
    def source(self, tmp_path):
        place = tmp_path / "source"
        place.mkdir()
        for number in range(10):
            self.paint(place / f"p{number}.png", number)
        return place

    @staticmethod
    def paint(file, number):
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (40, 40, 3), dtype=np.uint8)).save(file)

    def test_a_change_changes_the_key_of_its_own_part_only(self, tmp_path):
        def keys(names):
            found = pictures.Listed(folder=tmp_path, files=tuple(sorted(names)), ids=tuple(sorted(names)),
                                    marks=("1 1",) * len(names))  # fmt: skip
            return found.files, pictures.shares(found, 16)

        names = {f"{number:05d}.png" for number in range(2000)}
        files, whole = keys(names)
        assert [name for share in whole for name in files[slice(*share.rows)]] == list(files)
        for change in ({*names, "00500a.png"}, names - {"01234.png"}, (names - {"00007.png"}) | {"01999a.png"}):
            files, changed = keys(change)
            assert [name for share in changed for name in files[slice(*share.rows)]] == list(files)
            assert 1 <= len({s.key for s in changed} - {s.key for s in whole}) <= 2

    def test_a_file_renamed_between_tasks_is_there_once(self, folder, source, tmp_path):
        out = tmp_path / "a.npz"
        assert apply.embed(job(folder, source, out, task=(0, 2), part_rows=2)).objects in (None, 10)
        if not out.exists():
            (source / "p9.png").rename(source / "a0.png")
            (source / "p4.png").unlink()
            self.paint(source / "p41.png", 41)
            apply.embed(job(folder, source, out, task=(1, 2), part_rows=2))
        expected = sorted(path.stem for path in source.iterdir())
        found = answers(out)
        assert found["object_id"].tolist() == expected
        apply.embed(job(folder, source, tmp_path / "b.npz"))
        np.testing.assert_array_equal(found["features"], answers(tmp_path / "b.npz")["features"])

    def test_one_that_is_broken_costs_its_own_part(self, folder, source, tmp_path, monkeypatch):
        (source / "z.png").write_bytes(b"broken")
        with pytest.raises(InputError, match=r"z\.png: unreadable"):
            apply.embed(job(folder, source, tmp_path / "a.npz", part_rows=2))
        before, made = len(list((tmp_path / "a.npz.parts").glob("part-*"))), []
        assert before > 1
        write = parts.Parts.write
        monkeypatch.setattr(parts.Parts, "write", lambda *a: made.append(1) or write(*a))
        (source / "z.png").unlink()
        assert apply.embed(job(folder, source, tmp_path / "a.npz", part_rows=2)).objects == 10
        assert len(made) <= 1

    def test_one_replaced_while_others_are_made_is_made_again(self, folder, source, tmp_path, monkeypatch):
        write, done = parts.Parts.write, []

        def meanwhile(self, share, columns):
            write(self, share, columns)
            if not done:
                done.append(1)
                TestParts.paint(source / "p0.png", 77)
                TestParts.paint(source / "q.png", 78)

        monkeypatch.setattr(parts.Parts, "write", meanwhile)
        assert apply.embed(job(folder, source, tmp_path / "a.npz", part_rows=3)).objects == 11
        monkeypatch.undo()
        apply.embed(job(folder, source, tmp_path / "b.npz"))
        np.testing.assert_array_equal(answers(tmp_path / "a.npz")["features"], answers(tmp_path / "b.npz")["features"])


@pytest.mark.parametrize(
    ("size", "device", "images"),
    [(16, "cpu", 256), (32, "cpu", 256), (64, "cpu", 64), (200, "cpu", 32), (200, "cuda", 256)],
)
def test_as_many_images_go_through_a_network_at_a_time_as_their_size_allows(size, device, images):
    assert pictures.together((size, size), torch.device(device)) == images
