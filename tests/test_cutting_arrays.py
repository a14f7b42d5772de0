"""Cutouts in one array of a .npy or .npz file, beside a table."""

import io
import zipfile

import numpy as np
import pytest

from hpc_astrossl import cli
from hpc_astrossl.errors import InputError
from hpc_astrossl.ingest import build
from hpc_astrossl.specs.recipe import load_recipe
from hpc_astrossl.store import open_store

OBJECTS, BANDS, SIDE = 20, 3, 9
RECIPE = """\
survey: mine
release: "1"
size: 6
catalogue: {file: table.csv, id: id, bands: [g, r, i]}
cutouts: {array: cutouts.npy}
split: {train: 1, validation: 0, test: 0}
stores:
  mine:
    images: bands
"""


def pixels(kind=np.float32, bands=BANDS):
    """(object, band, y, x), each value another one."""
    count = OBJECTS * bands * SIDE * SIDE
    return (1 + np.random.default_rng(0).permutation(count).reshape(OBJECTS, bands, SIDE, SIDE) % 251).astype(kind)


@pytest.fixture
def make(tmp_path):
    """Make a store of an array: (array or files to write, settings) -> (what was made, images in the table's order)."""
    source, count = tmp_path / "source", iter(range(99))
    source.mkdir()
    (source / "table.csv").write_text("id,class,at\n" + "".join(f"o{i:02},{'ab'[i % 2]},{i}\n" for i in range(OBJECTS)))
    (tmp_path / "recipe.yaml").write_text(RECIPE)

    def made(array=None, *settings, recipe=tmp_path / "recipe.yaml"):
        if array is not None:
            np.save(source / "cutouts.npy", array)
        (found,) = build(load_recipe(recipe, settings), source, tmp_path / f"out{next(count)}")
        store = open_store(found.path)
        order = np.argsort(store.table["object_id"])
        return found, store.images(np.arange(len(order)))[order]

    made.source = source
    return made


def middle(array):
    """What is stored of (object, band, y, x): the middle 6 of 9 pixels; an odd pixel too many is at the end."""
    return array[:, :, 2:8, 2:8].transpose(0, 2, 3, 1)


@pytest.mark.parametrize("kind", ["f4", ">f4", "f8", "f2", "u1", "i2", ">u2", "i8"])
def test_every_kind_of_number_is_read_and_the_middle_is_cut(make, kind):
    array = pixels(kind)
    _, images = make(array)
    assert images.dtype == np.float32
    np.testing.assert_array_equal(images, middle(array).astype(np.float32))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("form", ["bands first", "bands last", "one band", "one band, three axes"])
def test_where_the_bands_are_is_told_by_the_shape(make, form, order):
    array = pixels(bands=1 if "one" in form else BANDS)
    given = {"bands first": array, "bands last": array.transpose(0, 2, 3, 1), "one band": array.transpose(0, 2, 3, 1),
             "one band, three axes": array[:, 0]}[form]  # fmt: skip
    settings = ("catalogue.bands=[g]",) if "one" in form else ()
    _, images = make(np.asarray(given, order=order), *settings)
    np.testing.assert_array_equal(images, middle(array))


def test_where_that_is_ambiguous_it_must_be_said(make):
    array = np.arange(OBJECTS * 3 * 6 * 3, dtype=np.float32).reshape(OBJECTS, 3, 6, 3) % 97
    with pytest.raises(InputError, match=r"20 × 3 × 6 × 3, bands may be its second or its last axis; say which: "
                                         r"cutouts.axes='object band y x' or 'object y x band'"):  # fmt: skip
        make(array, "size=4")
    square = np.random.default_rng(1).normal(size=(OBJECTS, 6, 6, 6)).astype(np.float32)
    names = "catalogue.bands=[a, b, c, d, e, f]"
    _, first = make(square, names, "cutouts.axes=object band y x")
    _, last = make(square, names, "cutouts.axes=object y x band")
    np.testing.assert_array_equal(first, square.transpose(0, 2, 3, 1))
    np.testing.assert_array_equal(last, square)


def test_the_bottom_row_first_as_in_data_of_fits_files(make):
    array = pixels()
    _, images = make(array, "cutouts.first_row=bottom")
    np.testing.assert_array_equal(images, middle(array[:, :, ::-1]))


def test_colours_of_uint8_are_rgb_with_magnitudes_or_without(make):
    array = pixels(np.uint8).transpose(0, 2, 3, 1)
    _, images = make(array, "stores.mine.images=rgb", "catalogue.bands=[]")
    assert images.dtype == np.uint8
    np.testing.assert_array_equal(images, middle(pixels(np.uint8)))
    table = make.source / "table.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([lines[0] + ",m_g", *(f"{line},{17 + i / 8}" for i, line in enumerate(lines[1:]))]))
    found, again = make(array, "stores.mine.images=rgb", "catalogue.bands=[g]", "catalogue.magnitude='m_{band}'")
    np.testing.assert_array_equal(again, images)
    assert found.info.bands == ("g",)


def test_places_by_a_column_and_objects_without_one(make):
    array, table = pixels(), make.source / "table.csv"
    rng = np.random.default_rng(2).permutation(OBJECTS)
    table.write_text("id,at\n" + "".join(f"o{i:02},{place}\n" for i, place in enumerate(rng)))
    _, images = make(array, "cutouts.array_row=at")
    np.testing.assert_array_equal(images, middle(array)[rng])
    table.write_text("id,at\no1,0\no2,\no3,20\no4,19.0\n")
    with pytest.raises(InputError, match=r"holds 20 images, and the table gives object 'o2' no place"):
        make(array, "cutouts.array_row=at")
    found, images = make(array, "cutouts.array_row=at", "cutouts.unreadable=reject")
    assert found.info.counts["rejected"] == {"no image in the array": 2}
    np.testing.assert_array_equal(images[[0, 3]], middle(array)[[0, 19]])
    table.write_text("id,at\no1,0\no2,20\n")
    with pytest.raises(InputError, match=r"gives object 'o2' place 20, counted from 0"):
        make(array, "cutouts.array_row=at")
    table.write_text("id,at\no1,0\no2,-1\n")
    with pytest.raises(InputError, match=r"at of row 2 is '-1', no place in an array"):
        make(array, "cutouts.array_row=at")


def test_table_and_array_of_other_lengths_are_refused(make):
    with pytest.raises(InputError, match=r"cutouts.npy: holds 19 images, the table 20 rows.*cutouts.array_row"):
        make(pixels()[:19])
    with pytest.raises(InputError, match="holds 0 images, the table 20 rows"):
        make(pixels()[:0])


def test_rows_that_filters_leave_out_do_not_move_the_others(make):
    array, label = pixels(), "stores.mine.labels={source: column, column: class, classes: {a: [a], b: [b], c: [x]}, "
    found, images = make(array, label + "allow_empty: true}", "catalogue.null_words=[o03]")
    assert found.info.counts["rejected"] == {"id unknown": 1}
    np.testing.assert_array_equal(images, np.delete(middle(array), 3, axis=0))


def test_pixels_without_a_value_have_a_reason_or_are_filled(make):
    array = pixels()
    array[3, 1, 4, 4] = np.nan
    array[4, 0, 4, 4] = np.inf
    array[5, 2] = 7
    array[6, 1, 0, 0] = np.nan  # outside the middle
    found, _ = make(array)
    assert found.info.counts["rejected"] == {"pixels without a value": 2, "blank image": 1}
    found, images = make(array, "cutouts.max_bad=0.1")
    assert found.info.counts["rejected"] == {"blank image": 1}
    inside = middle(array)[3, ..., 1]
    assert images[3, 2, 2, 1] == np.median(inside[np.isfinite(inside)])
    assert make(array, "cutouts.no_value=[1]")[0].info.counts["rejected"]["pixels without a value"] > 2


def test_what_float32_cannot_hold_is_no_value(make):
    array = pixels(np.float64)
    array[2, 0, 4, 4] = 1e300
    assert make(array)[0].info.counts["rejected"] == {"pixels without a value": 1}


def test_cutouts_smaller_than_the_recipe_are_named(make):
    with pytest.raises(InputError, match="image smaller than the cutout 20"):
        make(pixels(), "size=10")


def test_units_and_colours_by_lupton_are_those_of_other_doors(make):
    array = pixels()
    _, images = make(array, "cutouts.unit=nJy", "cutouts.pixel_scale=0.5")
    np.testing.assert_allclose(images, middle(array) * (1e-9 / 3631 * 1e5 / 0.25), rtol=1e-6)
    _, colours = make(array, "stores.mine.images=rgb", "cutouts.lupton={red: i, green: r, blue: g, stretch: 99}")
    assert colours.dtype == np.uint8
    assert (colours[..., 0] > colours[..., 2]).mean() > 0.4


class TestNpz:
    """Archives of several arrays."""

    @pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
    def test_the_only_array_of_images_is_found(self, make, save):
        array = pixels()
        save(make.source / "cutouts.npz", images=array, labels=np.arange(OBJECTS), names=np.array(["a", "b"]))
        _, images = make(None, "cutouts.array=cutouts.npz")
        np.testing.assert_array_equal(images, middle(array))

    def test_one_of_several_is_named(self, make):
        array = pixels()
        np.savez(make.source / "cutouts.npz", train=array, test=array + 1)
        with pytest.raises(InputError, match=r"2 of its arrays may be the cutouts.*train \(20 × 3 × 9 × 9\), test .*"
                                             "name one: cutouts.array_name"):  # fmt: skip
            make(None, "cutouts.array=cutouts.npz")
        _, images = make(None, "cutouts.array=cutouts.npz", "cutouts.array_name=test")
        np.testing.assert_array_equal(images, middle(array + 1))
        with pytest.raises(InputError, match=r"cutouts.array_name.*'tset'.*allowed: test, train; did you mean 'test'"):
            make(None, "cutouts.array=cutouts.npz", "cutouts.array_name=tset")

    def test_an_archive_of_labels_alone_is_told(self, make):
        np.savez(make.source / "cutouts.npz", labels=np.arange(OBJECTS))
        with pytest.raises(InputError, match=r"none of its arrays may be the cutouts.*it holds labels \(20\)"):
            make(None, "cutouts.array=cutouts.npz")

    def test_what_an_array_claims_is_doubted_before_memory_is_asked_for(self, make):
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": (10**6,) * 3})
        with zipfile.ZipFile(make.source / "cutouts.npz", "w") as archive:
            archive.writestr("images.npy", header.getvalue())
        with pytest.raises(InputError, match=r"images claims 4000000000.0 GB, in 0.0 MB of file"):
            make(None, "cutouts.array=cutouts.npz")

    def test_a_flipped_bit_is_found(self, make):
        np.savez(make.source / "cutouts.npz", images=pixels())
        raw = bytearray((make.source / "cutouts.npz").read_bytes())
        raw[len(raw) // 2] ^= 4
        (make.source / "cutouts.npz").write_bytes(raw)
        with pytest.raises(InputError, match=r"cannot be read as an array of numbers \(Bad CRC-32"):
            make(None, "cutouts.array=cutouts.npz")


def _header(shape, kind="<f4"):
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": kind, "fortran_order": False, "shape": shape})
    return stream.getvalue()


def _saved(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


BAD = {
    "truncated": (
        _saved(pixels())[:-4],
        r"truncated: its header says 20 × 3 × 9 × 9 of float32, 19,440 bytes, .*19,436",
    ),
    "claims": (
        _header((10**9, 3, 9, 9)),
        r"truncated: its header says 1000000000 × 3 × 9 × 9 of float32, 972,000,000,000",
    ),
    "negative": (_header((-20, -1, 9, 9)) + bytes(6480), "truncated: its header says -20"),
    "two arrays": (
        _saved(pixels()[:10]) + _saved(pixels()[10:]),
        "bytes follow its array of 10 × 3 × 9 × 9: more than",
    ),
    "complex": (_saved(pixels().astype(complex)), "holds values of type complex128, no real numbers"),
    "booleans": (_saved(pixels() > 9), "holds values of type bool"),
    "records": (_saved(np.zeros(20, [("image", "f4", (9, 9))])), "holds values of type .*no real numbers"),
    "objects": (_header((20,), "|O") + b"x" * 160, "holds values of type object"),
    "no array": (b"\x89HDF\r\n\x1a\n" + bytes(99), r"cannot be read as an array of numbers \(the magic string"),
    "empty": (b"", "cannot be read as an array of numbers"),
    "two axes": (_saved(pixels()[:, 0, 0]), r"shape 20 × 9 does not fit 3 bands .*cutouts have three axes, or four"),
    "one number": (_saved(np.float32(1)), "shape one number does not fit 3 bands"),
    "other bands": (
        _saved(pixels(bands=4)),
        r"20 × 4 × 9 × 9 does not fit 3 bands \(catalogue.bands: g, r, i\): neither",
    ),
    "no bands": (_saved(pixels()[:, 0]), "does not fit 3 bands .*three axes are objects, y and x of one band"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_is_no_array_of_cutouts_is_told_in_words(make, case):
    content, words = BAD[case]
    (make.source / "cutouts.npy").write_bytes(content)
    with pytest.raises(InputError, match=words):
        make()


def test_other_axes_than_the_recipe_says_are_refused(make):
    with pytest.raises(InputError, match=r"by cutouts.axes it has 9; correct catalogue.bands or cutouts.axes"):
        make(pixels(), "cutouts.axes=object y x band")
    with pytest.raises(InputError, match="does not fit 3 bands"):
        make(pixels(), "cutouts.axes=object y x")


def test_fluxes_are_no_colours(make):
    rgb = "stores.mine.images=rgb", "catalogue.bands=[]"
    with pytest.raises(InputError, match=r"images: rgb takes arrays of uint8 .*holds float32; say images: bands"):
        make(pixels(), *rgb)
    with pytest.raises(InputError, match=r"does not fit 3 bands \(red, green, blue of images: rgb\)"):
        make(pixels(np.uint8, bands=5), *rgb)


def preprocess(make, folder):
    """The command that makes the store of the recipe there."""
    return ["preprocess", str(folder / "recipe.yaml"), "--source", str(make.source), "--out", str(folder / "out")]


@pytest.mark.parametrize(("settings", "words"), [
    (["cutouts.array=cutouts.h5"], "array must be the name of a .npy or .npz file, found 'cutouts.h5'"),
    (["cutouts.cube={id}.fits"], "give one of bands, cube .* and array .*, found cube and array"),
    (["cutouts.array_name=images"], "array_name is for .npz files"),
    (["cutouts.hdu=1"], "hdu is of FITS files"),
    (["cutouts.mask={file: m.fits}"], "mask is for cutouts in files of their own, not for array"),
    (["cutouts.resample={pixel_scale: 1}"], "resample is for cutouts in files of their own, not for array"),
    (["cutouts.zero_point=MAGZERO"], "zero_point: an array has no header keywords, found 'MAGZERO'"),
    (["cutouts.unreadable=reject"], "unreadable: reject leaves out objects without a place in the array"),
    (["cutouts.array='{id}.npy'"], "unknown word in braces in array 'id'"),
    (["cutouts.array_row=where"], "no column 'where'"),
    (["stores.mine.images=rgb"], "bands are given, so magnitude .*images have none"),
    (["filters.magnitudes={g: [1, 2]}"], "filters: magnitudes needs catalogue: bands and magnitude"),
    (["stores.mine.detected_in=1"], "detected_in is 1, catalogue has 0 bands with a magnitude"),
    (["stores.mine.max_error=1"], "max_error needs catalogue: bands and error"),
    (["catalogue.reference=g"], "reference is the band whose magnitude decides"),
    (["catalogue.error='e_{band}'"], "error belongs to magnitude"),
    (["cutouts={bands: '{id}.fits'}"], "bands must contain {band}, found '{id}.fits' for the bands g, r, i"),
    (["cutouts={bands: 'x.fits'}"], "bands must contain {id}, or columns of the catalogue in braces, found 'x.fits'"),
    (["cutouts={cube: '{id}_{band}.fits'}"], "cube holds all bands of an object, so {band} has no place in its name"),
    (["cutouts={cube: '{id}.fits', first_row: bottom}"], "first_row is of array, which is not given"),
    (["cutouts={cube: '{id}.fits', edge: pad, max_bad: 0.5}"], "edge is for windows cut out of fields"),
    (["cutouts={cube: '{id}.fits', axes: object y x}"], "axes is of array, which is not given"),
])  # fmt: skip
def test_keys_that_make_no_sense_are_refused(make, capsys, tmp_path, settings, words):
    np.save(make.source / "cutouts.npy", pixels())
    sets = [part for setting in settings for part in ("--set", setting)]
    command = preprocess(make, tmp_path)
    assert cli.main([*command, *sets]) == 2
    said = capsys.readouterr().err
    assert all(part in " ".join(said.split()) for part in words.split(" .*")), said


def test_an_array_that_changes_makes_another_store(make, tmp_path, capsys):
    np.save(make.source / "cutouts.npy", pixels())
    command = preprocess(make, tmp_path)
    assert cli.main(command) == 0
    assert cli.main(command) == 0
    np.save(make.source / "cutouts.npy", pixels()[::-1])
    capsys.readouterr()
    assert cli.main(command) == 2
    assert "already there, made" in capsys.readouterr().err


def test_the_same_store_whatever_the_number_of_processes(make, tmp_path):
    array = np.random.default_rng(3).normal(size=(OBJECTS, 3, 9, 9)).astype(np.float32)
    np.save(make.source / "cutouts.npy", array)
    command = ["preprocess", str(tmp_path / "recipe.yaml"), "--source", str(make.source)]
    assert cli.main([*command, "--out", str(tmp_path / "one"), "--workers", "1"]) == 0
    assert cli.main([*command, "--out", str(tmp_path / "two"), "--task", "1/2"]) == 0
    assert cli.main([*command, "--out", str(tmp_path / "two"), "--task", "2/2"]) == 0
    one, two = (open_store(tmp_path / name / "mine.zarr") for name in ("one", "two"))
    np.testing.assert_array_equal(one.images(np.arange(OBJECTS)), two.images(np.arange(OBJECTS)))


def test_the_places_are_those_of_the_table_s_order_when_it_is_read_in_blocks(make, tmp_path, monkeypatch):
    monkeypatch.setattr("hpc_astrossl.selection.catalogue.BLOCK", 3)
    np.save(make.source / "cutouts.npy", pixels())
    command = ["preprocess", str(tmp_path / "recipe.yaml"), "--source", str(make.source), "--memory-gb", "0.00001"]
    assert cli.main([*command, "--out", str(tmp_path / "out")]) == 0
    store = open_store(tmp_path / "out/mine.zarr")
    order = np.argsort(store.table["object_id"])
    np.testing.assert_array_equal(store.images(np.arange(OBJECTS))[order], middle(pixels()))
