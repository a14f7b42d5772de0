"""Objects that repeat one another compete only where all have pixels; rows of one id are one object, or are refused."""

import numpy as np
import pytest
import sky_survey as sky
from astropy.io import fits
from PIL import Image

from hpc_astrossl import files
from hpc_astrossl import store as stores
from hpc_astrossl.errors import InputError
from hpc_astrossl.ingest import board, looks
from hpc_astrossl.ingest.build import Options, build
from hpc_astrossl.objects import Objects
from hpc_astrossl.specs.recipe import load_recipe

FIELDS = """
survey: sky
release: test
size: 16
catalogue: {file: cat.csv, id: id, ra: ra, dec: dec, x: x, y: y, field: field, bands: [r], magnitude: "mag_{band}",
            reference: r}
fields: {bands: "{field}_{band}.fits", zero_point: 25}
split: {train: 1, validation: 0, test: 0}
stores: {all: {images: bands}}
"""
FILES = """
survey: sky
release: test
size: 16
catalogue: {file: cat.csv, id: id, ra: ra, dec: dec, bands: [r], magnitude: "mag_{band}", reference: r}
files: {image: "{name}.png", unreadable: reject}
split: {train: 1, validation: 0, test: 0}
stores: {all: {}}
"""


def made(folder, recipe, *settings):
    path = folder / "recipe.yaml"
    path.write_text(recipe)
    (one,) = build(load_recipe(path, settings), folder, folder / "out", Options(workers=1))
    return stores.open_store(one.path)


def ids(store):
    table = store.table
    return set(table["object_id"][table["split"] != stores.REJECTED].tolist())


@pytest.fixture
def overlap(tmp_path):
    """Eight sources, each in two fields; field A, in which they are brighter, has no pixels in its left half."""
    random = np.random.default_rng(0)
    places = np.stack([random.uniform(20, 240, 8), random.uniform(20, 200, 8)], axis=1)
    places[:, 0] = np.linspace(20, 240, 8)
    ra, dec = sky.wcs(sky.header()).all_pix2world(places, 1).T
    image = sky.stars((220, 260), places, noise=0.1)
    sky.write(tmp_path / "B_r.fits", image, sky.header())
    image[:, :130] = np.nan
    sky.write(tmp_path / "A_r.fits", image, sky.header())
    both = np.concatenate
    sky.catalogue(tmp_path, both([ra, ra]), both([dec, dec]), id=[f"{f}{n}" for f in "AB" for n in range(8)],
                  x=both([places[:, 0]] * 2), y=both([places[:, 1]] * 2), field=["A"] * 8 + ["B"] * 8,
                  mag_r=[18.0] * 8 + [18.1] * 8)  # fmt: skip
    return tmp_path


def test_a_twin_without_pixels_removes_nobody(overlap):
    store = made(overlap, FIELDS)
    assert ids(store) == {f"{'B' if n < 4 else 'A'}{n}" for n in range(8)}
    assert store.info.counts["rejected"] == {"pixels without a value": 4, "within 1 arcsec of a brighter object": 4}


def test_a_picture_with_calibrated_coadds_beside_it_is_looked_at(overlap, monkeypatch):
    """What is blank in field A's picture is left to B; the coadds are not opened for that."""
    for name in "AB":
        image = np.nan_to_num(fits.getdata(overlap / f"{name}_r.fits"))
        grey = np.clip(image / max(image.max(), 1) * 2000, 0, 255).astype(np.uint8)
        grey[image == 0] = 0
        Image.fromarray(np.repeat(grey[::-1, :, None], 3, axis=2)).save(overlap / f"{name}.png")
    held, hold = [], looks._reasons
    monkeypatch.setattr(looks, "_reasons", lambda *args, **more: held.append(more) or hold(*args, **more))
    recipe = FIELDS.replace("fields: {", 'fields: {rgb: "{field}.png", ').replace("images: bands", "images: rgb")
    found = ids(made(overlap, recipe))
    assert held[0] == {"alone": True}
    assert len(found) == 8
    assert {one[0] for one in found} == {"A", "B"}


def test_a_damaged_field_leaves_the_seam_to_the_other(overlap):
    (overlap / "A_r.fits").write_bytes((overlap / "A_r.fits").read_bytes()[:100_000])
    assert ids(made(overlap, FIELDS, "fields.unreadable=reject")) == {f"B{n}" for n in range(8)}


def test_where_damage_stops_the_cutting_it_is_named(overlap):
    (overlap / "A_r.fits").write_bytes((overlap / "A_r.fits").read_bytes()[:100_000])
    with pytest.raises(InputError, match=r"A_r\.fits: truncated"):
        made(overlap, FIELDS)


def test_who_is_removed_by_a_good_twin_is_not_looked_at(overlap, monkeypatch):
    asked = []
    real = looks.look
    monkeypatch.setattr(looks, "look", lambda *args: asked.extend(args[2].objects.object_id.tolist()) or real(*args))
    made(overlap, FIELDS)
    assert sorted(asked) == [f"A{n}" for n in range(8)] + [f"B{n}" for n in range(4)]


def test_pixels_that_are_none_by_damage_are_no_reason_to_drop_a_twin(overlap):
    with fits.open(overlap / "A_r.fits", mode="update") as units:
        units[0].add_datasum()
        units[0].header["DATASUM"] = "1"
    with pytest.raises(InputError, match=r"A_r\.fits: damaged: its data do not add up"):
        made(overlap, FIELDS)
    assert ids(made(overlap, FIELDS, "fields.unreadable=reject")) == {f"B{n}" for n in range(8)}


def question(overlap, field, rows):
    table = np.genfromtxt(overlap / "cat.csv", delimiter=",", names=True, dtype=None, encoding="utf-8")
    some = table[table["field"] == field][rows]
    none = np.empty((len(some), 0))
    objects = Objects(object_id=some["id"], field=some["field"], ra=some["ra"], dec=some["dec"], x=some["x"],
                      y=some["y"], flag=None, magnitudes=none, errors=none, reference=none[:, :0].sum(axis=1),
                      columns={"field": some["field"]})  # fmt: skip
    return looks.Question(images="bands", objects=objects)


PICTURES = FIELDS.replace("fields: {", 'fields: {rgb: "{field}.png", ').replace("images: bands", "images: rgb")


@pytest.mark.parametrize(
    ("recipe", "workers", "memory", "threads"),
    [(PICTURES, 8, 2, 1), (PICTURES, 8, 3.5, 2), (PICTURES, 8, 64, 4), (PICTURES, 2, 64, 2), (PICTURES, 8, 0.1, 1),
     (FIELDS, 8, 0.1, 4), (FIELDS, 1, 64, 1)],
)  # fmt: skip
def test_as_many_whole_pictures_are_held_as_the_memory_allows(tmp_path, recipe, workers, memory, threads):
    path = tmp_path / "recipe.yaml"
    path.write_text(recipe)
    assert looks.lookers(load_recipe(path), workers, int(memory * 2**30)) == threads


@pytest.mark.parametrize("end", ["answered", "killed"])
def test_tasks_that_wait_look_at_twins(overlap, monkeypatch, end):
    (overlap / "recipe.yaml").write_text(FIELDS)
    recipe, out = load_recipe(overlap / "recipe.yaml"), overlap / "out"
    space = files.aside_of(board.workspace(out / "all"))
    helper, stranger = (board.Helper(recipe, overlap, out / "all", key) for key in ("ours", "another"))
    questions = [question(overlap, "AB"[n % 2], [n // 2, n // 2 + 3]) for n in range(6)]
    expected = [looks.look(recipe, overlap, one) for one in questions]
    assert {word for answer in expected for word in answer} == {"", "pixels without a value"}
    own = []
    if end == "killed":
        monkeypatch.setattr(board, "look", lambda *_: (_ for _ in ()).throw(OSError("gone")))

    def mine(one):
        if not own:
            helper.help()
            stranger.help()
            helper.help()
        own.append(one)
        return looks.look(recipe, overlap, one)

    assert board.Board(space, "ours", 1).answers(questions, mine) == expected
    assert len(own) == {"answered": 4, "killed": 6}[end]


def test_a_field_that_was_mended_is_looked_at_again(overlap):
    whole = (overlap / "B_r.fits").read_bytes()
    made(overlap, FIELDS)
    (overlap / "A_r.fits").write_bytes(whole)
    recipe = load_recipe(overlap / "recipe.yaml")
    with pytest.raises(InputError, match="already there, made by another recipe or from other inputs"):
        build(recipe, overlap, overlap / "out", Options(workers=1))
    (one,) = build(recipe, overlap, overlap / "out", Options(workers=1, overwrite=True))
    assert ids(stores.open_store(one.path)) == {f"A{n}" for n in range(8)}


def pictures(folder, **spoilt):
    random = np.random.default_rng(1)
    for name in ("bright", "faint", "third", "alone"):
        image = random.integers(0, 256, (16, 16, 3), dtype=np.uint8)
        Image.fromarray(spoilt.get(name, image)).save(folder / f"{name}.png")
    sky.catalogue(folder, [10, 10, 10, 20], [0, 0, 0, 0], id=["o1", "o2", "o3", "o4"],
                  name="cat.csv", mag_r=[15, 16, 17, 15])  # fmt: skip
    lines = (folder / "cat.csv").read_text().splitlines()
    names = ["name", "bright", "faint", "third", "alone"]
    (folder / "cat.csv").write_text("\n".join(f"{a},{b}" for a, b in zip(lines, names, strict=True)) + "\n")
    return folder


@pytest.mark.parametrize(("spoilt", "left"), [((), "o1"), (("bright",), "o2"), (("bright", "faint"), "o3")])
def test_a_twin_with_a_blank_picture_removes_nobody(tmp_path, spoilt, left):
    pictures(tmp_path, **dict.fromkeys(spoilt, np.zeros((16, 16, 3), np.uint8)))
    assert ids(made(tmp_path, FILES)) == {left, "o4"}


def test_a_twin_whose_picture_is_missing_removes_nobody(tmp_path):
    (pictures(tmp_path) / "bright.png").unlink()
    assert ids(made(tmp_path, FILES)) == {"o2", "o4"}


def table(folder, *rows, names="id,ra,dec,mag_r,name,kind"):
    pictures(folder)
    (folder / "cat.csv").write_text("\n".join([names, *rows]) + "\n")
    return folder


LABELLED = FILES.replace("all: {}", "all: {labels: {source: column, column: kind, classes: {a: [a], b: [b]}}}")
SPOILT = {
    "numbers that begin anew in every field": ("1,10,0,15,bright,a", "2,12,0,15,faint,b", "1,50,7,16,bright,a"),
    "votes of several people": ("1,10,0,15,bright,a", "2,12,0,15,faint,b", "1,10,0,15,bright,b"),
    "several pictures": ("1,10,0,15,bright,a", "2,12,0,15,faint,b", "1,10,0,15,third,a"),
}


@pytest.mark.parametrize("rows", SPOILT.values(), ids=SPOILT)
def test_rows_of_one_id_that_are_not_one_object_are_refused(tmp_path, rows):
    table(tmp_path, *rows)
    words = r"1 rows have the id of another object: '1' in rows 1 and 3 of the table, .*filters.repeated_ids: reject"
    with pytest.raises(InputError, match=words):
        made(tmp_path, LABELLED)
    store = made(tmp_path, LABELLED, "filters.repeated_ids=reject")
    assert store.info.counts["rejected"] == {"repeated id": 1}


def test_an_object_that_is_listed_twice_is_left_out_once(tmp_path):
    table(tmp_path, "1,10,0,15,bright,a", "2,12,0,15,faint,b", "1,10.01,0,15,bright,a")
    assert made(tmp_path, LABELLED).info.counts["rejected"] == {"repeated id": 1}


def test_a_pole_is_one_place(tmp_path):
    table(tmp_path, "1,10,90,15,bright,a", "2,12,0,15,faint,b", "3,200,90,15.5,third,a")
    assert made(tmp_path, LABELLED).info.counts["rejected"] == {"within 1 arcsec of a brighter object": 1}
