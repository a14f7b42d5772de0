"""Recipes, tables, pictures, fields and half-made stores that were edited, exchanged, restored or linked by hand.

Each scene ends with the right objects, labels and pixels, or with a refusal; the numbers are held against the files.
"""

import os
import shutil

import numpy as np
import pytest
import sky_survey as sky
from PIL import Image

from hpc_astrossl import store as stores
from hpc_astrossl.cli import main
from hpc_astrossl.errors import EXIT_DONE, EXIT_INPUT
from hpc_astrossl.selection import doubt
from hpc_astrossl.store import layout

RECIPE = """
survey: s
release: "1"
size: 8
catalogue: {file: cat.csv, id: ID}
files: {image: "{name}.png"}
split: {train: 0.5, validation: 0.25, test: 0.25}
stores:
  S: {labels: {source: column, column: class, classes: {a: [a], b: [b]}}}
"""
COUNT = 24


@pytest.fixture
def work(tmp_path, monkeypatch):
    """Two dozen pictures of one level each and of one size, their table, and a recipe; eight objects a shard."""
    monkeypatch.setattr(layout, "CHUNK_BYTES", 768)
    monkeypatch.setattr(layout, "SHARD_ROWS", 8)
    (tmp_path / "src").mkdir()
    for n in range(COUNT):
        picture(tmp_path / f"src/p{n:02d}.png", 5 * n)
    table(tmp_path, "ab" * (COUNT // 2))
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def picture(path, level):
    """Uncompressed: all pictures have one size."""
    pixels = np.full((8, 8, 3), level, np.uint8)
    pixels[0, 0] = 255
    Image.fromarray(pixels).save(path, format="PNG", compress_level=0)


def table(work, kinds, order=range(COUNT)):
    lines = [f"o{n:02d},p{n:02d},{kinds[n]}\n" for n in order]
    (work / "src/cat.csv").write_text("ID,name,class\n" + "".join(lines))


def preprocess(*more, recipe="recipe.yaml", source="src", out="stores"):
    return main(["preprocess", recipe, "--source", source, "--out", out, "--workers", "1", *more])


def exchange(path, make):
    """Another file of that name, size and time, as rsync -a brings it."""
    then = path.stat()
    make(path)
    assert path.stat().st_size == then.st_size
    os.utime(path, ns=(then.st_atime_ns, then.st_mtime_ns))


def told(path="stores/S.zarr"):
    """Id -> (class, level of its picture, split)."""
    store = stores.open_store(path)
    levels = store.images(np.arange(len(store)))[:, 4, 4, 0]
    columns = (store.table[name].tolist() for name in ("object_id", "label", "split"))
    return {one: ("ab"[label], int(level), split)
            for (one, label, split), level in zip(zip(*columns, strict=True), levels, strict=True)}  # fmt: skip


def expected(kinds, levels=range(0, 5 * COUNT, 5)):
    return {f"o{n:02d}": (kinds[n], level) for n, level in enumerate(levels)}


def held(kinds, levels=range(0, 5 * COUNT, 5), path="stores/S.zarr"):
    assert {one: facts[:2] for one, facts in told(path).items()} == expected(kinds, levels)


# ---- between the tasks of an array


def test_a_table_exchanged_between_tasks(work, capsys):
    assert preprocess("--task", "1/2") == EXIT_DONE
    exchange(work / "src/cat.csv", lambda path: table(work, "ba" * (COUNT // 2)))
    assert preprocess("--task", "2/2") == EXIT_INPUT
    assert "S.zarr" in capsys.readouterr().err
    assert not (work / "stores/S.zarr").exists()
    shutil.rmtree(work / "stores")  # as the message says
    for task in ("1/2", "2/2"):
        assert preprocess("--task", task) == EXIT_DONE
    held("ba" * (COUNT // 2))


@pytest.mark.parametrize("change", ["classes.b=[a]", "split", "order"])
def test_a_recipe_changed_between_tasks(work, change):
    """The order of classes is that of their numbers: mmdetection #10675 names objects by the other one."""
    assert preprocess("--task", "1/2") == EXIT_DONE
    text = {
        "classes.b=[a]": RECIPE.replace("{a: [a], b: [b]}", "{a: [b], b: [a]}"),
        "split": RECIPE.replace("split: {", "split: {seed: 5, "),
        "order": RECIPE.replace("{a: [a], b: [b]}", "{b: [b], a: [a]}"),
    }[change]
    (work / "recipe.yaml").write_text(text)
    assert preprocess("--task", "2/2") == EXIT_INPUT
    assert not (work / "stores/S.zarr").exists()


def test_a_picture_exchanged_between_tasks(work, capsys):
    """Those that the first task has read are read again, and the store has what lies there at the end."""
    assert preprocess("--task", "1/2") == EXIT_DONE
    for n in range(COUNT):
        exchange(work / f"src/p{n:02d}.png", lambda path, n=n: picture(path, 5 * n + 100))
    assert preprocess("--task", "2/2") == EXIT_INPUT  # it has all shards, and some are of pictures of before
    assert "was replaced while the store was made" in capsys.readouterr().err
    assert preprocess("--task", "1/2") == EXIT_DONE
    assert (work / "stores/S.zarr").exists()
    held("ab" * (COUNT // 2), range(100, 5 * COUNT + 100, 5))


def test_a_shard_and_its_record_of_a_store_of_other_pictures(work, capsys):
    """Two stores on their way, of one recipe and one table, laid over one another: each is sound in itself."""
    shutil.copytree(work / "src", work / "other")
    for n in range(COUNT):
        exchange(work / f"other/p{n:02d}.png", lambda path, n=n: picture(path, 5 * n + 100))
    assert preprocess("--task", "1/2") == EXIT_DONE
    assert preprocess("--task", "1/2", source="other", out="others") == EXIT_DONE
    ours, theirs = work / "stores/S.zarr.partial", work / "others/S.zarr.partial"
    for name in ("store", "manifest"):
        shutil.copytree(theirs / name, ours / name, dirs_exist_ok=True)
    assert preprocess("--task", "2/2") == EXIT_INPUT
    assert "was replaced while the store was made" in capsys.readouterr().err
    assert preprocess("--task", "1/2") == EXIT_DONE
    held("ab" * (COUNT // 2))


def test_a_store_on_its_way_renamed_for_another(work):
    """mv S.zarr.partial T.zarr.partial: the recipe of T does not go on with what is of S."""
    assert preprocess("--task", "1/2") == EXIT_DONE
    (work / "stores/S.zarr.partial").rename(work / "stores/T.zarr.partial")
    (work / "t.yaml").write_text(RECIPE.replace("  S: {", "  T: {").replace("{a: [a], b: [b]}", "{a: [b], b: [a]}"))
    if preprocess(recipe="t.yaml") == EXIT_DONE:
        held("ba" * (COUNT // 2), path="stores/T.zarr")
    else:
        assert not (work / "stores/T.zarr").exists()
        assert preprocess("--overwrite", recipe="t.yaml") == EXIT_DONE
        held("ba" * (COUNT // 2), path="stores/T.zarr")


# ---- after a store is made


def test_a_table_from_a_backup_and_the_right_one_again(work, capsys):
    assert preprocess() == EXIT_DONE
    right = (work / "src/cat.csv").read_bytes()
    exchange(work / "src/cat.csv", lambda path: table(work, "ba" * (COUNT // 2)))
    assert preprocess() == EXIT_INPUT
    assert "made by another recipe or from other inputs" in capsys.readouterr().err
    (work / "src/cat.csv").write_bytes(right)
    assert preprocess() == EXIT_DONE
    held("ab" * (COUNT // 2))


def test_a_table_sorted_by_hand_gives_every_object_its_own(work):
    """Its bytes are others, which is said; made anew, no object has changed its class, picture or split."""
    assert preprocess() == EXIT_DONE
    before = told()
    table(work, "ab" * (COUNT // 2), order=np.random.default_rng(0).permutation(COUNT).tolist())
    assert preprocess() == EXIT_INPUT
    assert preprocess("--overwrite") == EXIT_DONE
    assert told() == before


def test_another_recipe_for_the_same_name(work):
    assert preprocess() == EXIT_DONE
    (work / "other.yaml").write_text(RECIPE.replace("size: 8", "size: 4").replace("survey: s", "survey: t"))
    assert preprocess(recipe="other.yaml") == EXIT_INPUT
    held("ab" * (COUNT // 2))


def test_a_picture_that_is_a_link_to_another_one_now(work):
    assert preprocess() == EXIT_DONE
    picture(work / "src/elsewhere.img", 200)
    (work / "src/p03.png").unlink()
    (work / "src/p03.png").symlink_to("elsewhere.img")
    assert preprocess() == EXIT_INPUT
    assert preprocess("--overwrite") == EXIT_DONE
    assert told()["o03"][1] == 200


def test_source_and_stores_that_move_are_the_same(work):
    """No alarm for what a person moves, renames or copies whole."""
    assert preprocess() == EXIT_DONE
    (work / "src").rename(work / "release")
    shutil.copytree(work / "stores", work / "kept")
    assert preprocess(source="release") == EXIT_DONE
    assert preprocess(source="release", out="kept") == EXIT_DONE
    held("ab" * (COUNT // 2), path="kept/S.zarr")


def test_a_backup_of_hard_links_stays_what_it_was(work):
    """cp -al, rsnapshot and the like: a store that is made anew writes into no file of the old one."""
    assert preprocess() == EXIT_DONE
    shutil.copytree(work / "stores/S.zarr", work / "backup.zarr", copy_function=os.link)
    then = {path: path.read_bytes() for path in (work / "backup.zarr").rglob("*") if path.is_file()}
    table(work, "ba" * (COUNT // 2))
    assert preprocess("--overwrite") == EXIT_DONE
    assert {path: path.read_bytes() for path in (work / "backup.zarr").rglob("*") if path.is_file()} == then
    held("ab" * (COUNT // 2), path="backup.zarr")
    held("ba" * (COUNT // 2))


FOLDERS = """
survey: s
release: "1"
size: 8
catalogue: {format: folders, file: "{class}/{id}.png", id: file}
files: {image: "{file}"}
split: {train: 0.5, validation: 0.25, test: 0.25}
stores:
  S: {labels: {source: column, column: class, classes: {a: [a], b: [b]}}}
"""


@pytest.fixture
def folders(work):
    """Pictures in a folder a class; b is a link to a folder elsewhere."""
    (work / "src/cat.csv").unlink()
    (work / "src/a").mkdir()
    (work / "v1").mkdir()
    for n in range(COUNT):
        (work / f"src/p{n:02d}.png").rename(work / ("v1" if n % 2 else "src/a") / f"p{n:02d}.png")
    (work / "src/b").symlink_to(work / "v1")
    (work / "recipe.yaml").write_text(FOLDERS)
    return work


def test_a_class_folder_is_a_link_that_points_elsewhere_now(folders):
    """To a folder of as many pictures of the same names, sizes and times."""
    assert preprocess() == EXIT_DONE
    assert told()["b/p01.png"][:2] == ("b", 5)
    shutil.copytree(folders / "v1", folders / "v2")
    exchange(folders / "v2/p01.png", lambda path: picture(path, 250))
    (folders / "src/b").unlink()
    (folders / "src/b").symlink_to(folders / "v2")
    assert preprocess() == EXIT_INPUT
    assert preprocess("--overwrite") == EXIT_DONE
    assert told()["b/p01.png"][:2] == ("b", 250)


def test_two_class_folders_that_exchange_their_names(folders):
    assert preprocess() == EXIT_DONE
    before = told()
    (folders / "src/a").rename(folders / "src/c")
    (folders / "src/b").rename(folders / "src/a")
    (folders / "src/c").rename(folders / "src/b")
    assert preprocess() == EXIT_INPUT
    assert preprocess("--overwrite") == EXIT_DONE
    after = told()
    assert {level: kind for kind, level, _ in after.values()} == {
        level: {"a": "b", "b": "a"}[kind] for kind, level, _ in before.values()
    }


def test_an_array_of_cutouts_exchanged_for_one_of_its_size_and_time(work):
    pixels = np.repeat(np.arange(COUNT, dtype=np.uint8) * 5, 8 * 8 * 3).reshape(COUNT, 8, 8, 3).astype(np.float32)
    pixels[:, 0, 0] = 255
    np.save(work / "src/all.npy", pixels.transpose(0, 3, 1, 2))
    (work / "recipe.yaml").write_text(
        RECIPE.replace(
            'files: {image: "{name}.png"}',
            "cutouts: {array: all.npy, unit: nJy, axes: object band y x, pixel_scale: 1}",
        )
        .replace("id: ID}", "id: ID, bands: [g, r, i]}")
        .replace("  S: {", "  S: {images: bands, ")
    )
    assert preprocess() == EXIT_DONE
    levels = brightness()
    assert (np.diff(levels) > 0).all()
    exchange(work / "src/all.npy", lambda path: np.save(path, pixels[::-1].transpose(0, 3, 1, 2)))
    assert preprocess() == EXIT_INPUT
    assert preprocess("--overwrite") == EXIT_DONE
    assert brightness().tolist() == levels[::-1].tolist()


def brightness():
    """Of the middle of each object's image, in the order of their ids."""
    store = stores.open_store("stores/S.zarr")
    return store.images(np.arange(COUNT))[np.argsort(store.table["object_id"]), 4, 4, 0]


# ---- fields


@pytest.fixture
def release(tmp_path, monkeypatch):
    """Two fields of four stars each, and where they lie on the sky; four objects a shard."""
    monkeypatch.setattr(layout, "CHUNK_BYTES", 16 * 16 * 4)
    monkeypatch.setattr(layout, "SHARD_ROWS", 4)
    places = np.array([[90.0, 80.0], [170.0, 80.0], [90.0, 140.0], [170.0, 140.0]])
    found = []
    for name, centre in (("F1", 150.0), ("F2", 150.2)):
        cards = sky.header(centre=(centre, 2.0))
        sky.write(tmp_path / f"{name}_r.fits", sky.stars((220, 260), places, noise=0.1), cards)
        found.append(sky.wcs(cards).all_pix2world(places, 1).T)
    ra, dec = np.concatenate(found, axis=1)
    sky.catalogue(tmp_path, ra, dec, field=["F1"] * 4 + ["F2"] * 4)
    return tmp_path


def drawn_anew(folder, name="F2", centre=150.2):
    """The same stars on a field that points 20 pixels beside: a coadd of the next release."""
    places = np.array([[110.0, 80.0], [190.0, 80.0], [110.0, 140.0], [190.0, 140.0]])
    cards = sky.header(centre=(centre, 2.0))
    cards["CRPIX1"] = cards["CRPIX1"] + 20
    exchange(folder / f"{name}_r.fits", lambda path: sky.write(path, sky.stars((220, 260), places, noise=0.1), cards))


def fields(folder, *more, recipe=""):
    (folder / "recipe.yaml").write_text(sky.RECIPE)
    settings = [word for one in ("catalogue.field=field", *recipe.split()) for word in ("--set", one)]
    command = ["preprocess", str(folder / "recipe.yaml"), "--source", str(folder), "--out", str(folder / "out")]
    return main([*command, "--workers", "1", *settings, *more])


def centred(folder):
    """Whether each cutout has its star in the middle."""
    store = stores.open_store(folder / "out/all.zarr")
    images = store.images(np.arange(len(store)))[..., 0]
    places = [np.unravel_index(image.argmax(), image.shape) for image in images]
    return len(store) == 8 and all(np.abs(np.array(place) - 7.5).max() <= 1 for place in places)


@pytest.mark.parametrize("edge", ["", "fields.edge=pad fields.max_bad=0.5"])
def test_a_field_exchanged_between_tasks(release, edge):
    """Positions on it are those of its header of then; its pixels are those of now."""
    assert fields(release, "--task", "1/2", recipe=edge) == EXIT_DONE
    drawn_anew(release)
    assert fields(release, "--task", "2/2", recipe=edge) == EXIT_DONE
    assert fields(release, "--task", "1/2", recipe=edge) == EXIT_DONE
    assert centred(release)


def test_a_field_exchanged_for_one_of_its_size_and_time(release):
    """The index of fields beside the release is not believed for it."""
    assert fields(release) == EXIT_DONE
    assert centred(release)
    drawn_anew(release)
    assert fields(release) == EXIT_INPUT
    assert fields(release, "--overwrite") == EXIT_DONE
    assert centred(release)


def test_an_index_of_fields_copied_from_the_release_before(release, tmp_path):
    """Its files have the same names, sizes and times, and lie elsewhere on the sky."""
    (tmp_path / "next").mkdir()
    for path in release.glob("*.fits"):
        shutil.copy2(path, tmp_path / "next" / path.name)
    shutil.copy2(release / "cat.csv", tmp_path / "next/cat.csv")
    assert fields(release) == EXIT_DONE
    drawn_anew(tmp_path / "next")
    for path in release.glob(".astrossl*"):
        shutil.copy2(path, tmp_path / "next" / path.name)
    assert fields(tmp_path / "next") == EXIT_DONE
    assert centred(tmp_path / "next")


# ---- spreadsheets


def test_a_table_that_ends_where_a_spreadsheet_does_is_told(work, capsys):
    """Public Health England, October 2020: 15,841 cases were lost since .xls ends at 65,536 lines."""
    rows = doubt.SHEETS[0] - 1 - COUNT
    text = (work / "src/cat.csv").read_text() + "".join(f"x{n},p00,c\n" for n in range(rows))
    (work / "src/cat.csv").write_text(text)
    assert preprocess() == EXIT_DONE
    said = capsys.readouterr()
    assert "the table has 65,536 lines, just as many as a spreadsheet holds" in said.out + said.err
    assert doubt.cut_off((1 << 20) - 1)
    assert not doubt.cut_off(1 << 20)
    assert not doubt.cut_off(COUNT)


def test_numbers_with_a_decimal_comma_are_no_other_numbers(work):
    """Saved by a spreadsheet of another country: 12,5 is neither 125 nor 12."""
    lines = [f"o{n:02d};p{n:02d};{'ab'[n % 2]};{n},5;-{n},25\n" for n in range(COUNT)]
    (work / "src/cat.csv").write_text("ID;name;class;ra;dec\n" + "".join(lines))
    (work / "recipe.yaml").write_text(RECIPE.replace("id: ID}", "id: ID, ra: ra, dec: dec}"))
    if preprocess() == EXIT_DONE:
        store = stores.open_store("stores/S.zarr")
        number = np.array([int(one[1:]) for one in store.table["object_id"]])
        assert np.array_equal(store.table["ra"], number + 0.5)
        assert np.array_equal(store.table["dec"], -(number + 0.25))
    else:
        assert not (work / "stores/S.zarr").exists()


def test_the_copy_of_a_table_beside_it_gives_no_object_twice(work):
    """cat (1).csv, from a second download, where a pattern stands for the tables."""
    (work / "recipe.yaml").write_text(RECIPE.replace("cat.csv", '"cat*.csv"'))
    shutil.copy2(work / "src/cat.csv", work / "src/cat (1).csv")
    assert preprocess() == EXIT_DONE
    held("ab" * (COUNT // 2))
    assert stores.open_store("stores/S.zarr").info.counts["rejected"] == {"repeated id": COUNT}
    table(work, "ba" * (COUNT // 2))  # the other is of last week: one id, two classes
    assert preprocess("--overwrite") == EXIT_INPUT
