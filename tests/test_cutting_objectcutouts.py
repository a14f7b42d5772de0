"""FITS cutouts and cubes of single objects, zero points in one table, and colours made from bands."""

import numpy as np
import pytest
from astropy.io import fits as astropy_fits
from ingest_survey import RECIPES, SCALE, Survey, blobs

from hpc_astrossl import cli
from hpc_astrossl.cutting import lupton
from hpc_astrossl.cutting.cutouts import open_source
from hpc_astrossl.errors import InputError
from hpc_astrossl.ingest import build
from hpc_astrossl.selection.catalogue import read_objects
from hpc_astrossl.specs.images import LuptonSpec
from hpc_astrossl.specs.recipe import load_recipe
from hpc_astrossl.store import open_store

BANDS = ("u", "J0378", "J0395", "J0410", "J0430", "g", "J0515", "r", "J0660", "i", "J0861", "z")
FILES = {"u": "U", "g": "G", "r": "R", "i": "I", "z": "Z"} | {b: f"F{b[2:]}" for b in BANDS if b[0] == "J"}
ZERO_POINTS = 20 + 0.1 * np.arange(12)
# 40 × 30 pixels: the object in the middle, (20, 15) as an index, a companion above it and another to its right.
SCENE = blobs([(21, 16)], 40, 30) + 0.5 * blobs([(21, 21)], 40, 30) + 0.25 * blobs([(26, 16)], 40, 30)


class Set:
    """A folder of cutouts of two objects in fields A and B."""

    def __init__(self, folder):
        self.folder, self.made = folder, 0
        folder.mkdir()
        columns = [f"{b}_auto,e_{b}_auto" for b in BANDS]
        rows = [f"{name},{10 + n},0.5,{name}," + ",".join(["17,0.01"] * 12) for n, name in enumerate("AB")]
        (folder / "catalogue.csv").write_text("\n".join(["ID,RA,DEC,Field," + ",".join(columns), *rows]))
        points = [f"{field}," + ",".join(f"{p + shift}" for p in ZERO_POINTS) for field, shift in (("A", 0), ("B", 1))]
        (folder / "zero_points.csv").write_text("\n".join(["Field," + ",".join(f"ZP_{b}" for b in BANDS), *points]))

    def bands(self, compressed=False):
        for name in "AB":
            for b, band in enumerate(BANDS):
                self.write(name, band, SCENE * (b + 1), compressed)
        return self

    def write(self, name, band, scene, compressed=False):
        unit = astropy_fits.CompImageHDU(scene, compression_type="GZIP_2", quantize_level=0) if compressed else None
        units = [astropy_fits.PrimaryHDU(), unit] if compressed else [astropy_fits.PrimaryHDU(scene)]
        astropy_fits.HDUList(units).writeto(self.folder / f"{name}_{FILES[band]}.fits", overwrite=True)

    def cubes(self, planes=12):
        for name in "AB":
            cube = np.stack([SCENE * (b + 1) for b in range(planes)])
            astropy_fits.PrimaryHDU(cube).writeto(self.folder / f"{name}.fits")
        return self

    def make(self, *settings, size=12):
        recipe = load_recipe(RECIPES / "fits_cutouts.yaml", [f"size={size}", *settings])
        self.made += 1
        (made,) = build(recipe, self.folder, self.folder.parent / f"stores-{self.made}")
        return made, open_store(made.path)


CUBE = ("cutouts.bands=null", "cutouts.cube='{id}.fits'")


def expected(name):
    """The middle 12 pixels, the right way up, calibrated."""
    factors = 1e5 * 10 ** (-0.4 * (ZERO_POINTS + (name == "B"))) / SCALE**2 * np.arange(1, 13)
    return SCENE[::-1][9:21, 14:26, None] * factors


@pytest.mark.parametrize("kind", ["bands", "compressed", "cubes"])
def test_the_middle_is_cut_calibrated_and_the_right_way_up(tmp_path, kind, capsys):
    files = Set(tmp_path / "set")
    if kind == "cubes":
        made, store = files.cubes().make(*CUBE)
    else:
        made, store = files.bands(compressed=kind == "compressed").make()
    assert store.info.channels == BANDS
    for name, image in zip(store.table["object_id"].tolist(), store.images(np.arange(2)), strict=True):
        np.testing.assert_allclose(image, expected(name), rtol=1e-5)
        assert image[2, 6, 7] > image[6, 10, 7] > image[10, 6, 7]  # the companions: above, to the right
    assert cli.main(["info", str(made.path)]) == 0
    assert f"unverified  {2 if kind == 'cubes' else 24} FITS files" in capsys.readouterr().out


def test_values_that_are_calibrated_already_are_kept(tmp_path):
    _, store = Set(tmp_path / "set").bands().make("cutouts.zero_points=null", "cutouts.zero_point_column=null")
    np.testing.assert_allclose(store.images(np.arange(1))[0, ..., 2], SCENE[::-1][9:21, 14:26] * 3, rtol=1e-6)


def test_a_cube_with_other_planes_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"A.fits: has 11 planes, the catalogue has 12 bands"):
        Set(tmp_path / "set").cubes(11).make(*CUBE)


def test_a_missing_band_stops_or_is_counted(tmp_path):
    files = Set(tmp_path / "set").bands()
    (files.folder / "A_F515.fits").unlink()
    with pytest.raises(InputError, match=r"A_F515.fits: no such file, but the catalogue has a row.*unreadable=reject"):
        files.make()
    made, _ = files.make("cutouts.unreadable=reject", "split={train: 1, validation: 0, test: 0}")
    assert made.info.counts["rejected"] == {"no file": 1}


def test_small_empty_and_holed_cutouts_have_a_reason(tmp_path):
    files = Set(tmp_path / "set").bands()
    for b, band in enumerate(BANDS):
        files.write("A", band, SCENE[:11] * (b + 1))
    reasons = "cutouts.unreadable=reject", "split={train: 1, validation: 0, test: 0}"
    assert files.make(*reasons)[0].info.counts["rejected"] == {"image smaller than the cutout": 1}
    files.bands().write("A", "r", np.full_like(SCENE, np.nan))
    assert files.make(*reasons)[0].info.counts["rejected"] == {"pixels without a value": 1}
    files.bands().write("A", "r", np.ones_like(SCENE))
    assert files.make(*reasons)[0].info.counts["rejected"] == {"blank image": 1}


def test_a_field_without_zero_points_is_named(tmp_path):
    files = Set(tmp_path / "set").bands()
    table = files.folder / "zero_points.csv"
    table.write_text(table.read_text().replace("\nB,", "\nC,"))
    with pytest.raises(InputError, match=r"zero_points.csv: no row for field 'B' in column Field"):
        files.make()
    table.write_text(table.read_text().replace("\nC,21.0", "\nB,nan"))
    with pytest.raises(InputError, match=r"zero_points.csv: no zero point for band u in the row of field 'B'"):
        files.make()


class TestLupton:
    """RGB images that no survey delivered."""

    SPEC = LuptonSpec(red="i", green="r", blue="g", stretch=1.0, q=8.0, minimum=0.1)

    def test_a_colour_depends_on_its_own_pixel_alone(self):
        bands = np.random.default_rng(0).gamma(1, size=(300, 8, 8, 3)).astype(np.float32)
        whole = lupton.colours(bands, self.SPEC)
        np.testing.assert_array_equal(lupton.colours(bands[299:, 2:4, 5:7], self.SPEC), whole[299:, 2:4, 5:7])

    def test_black_is_the_minimum_and_colours_keep_their_order(self):
        pixels = np.array([[[[0.1, 0.1, 0.1], [0.9, 0.3, 0.2], [50, 50, 50], [np.nan, np.nan, np.nan]]]], np.float32)
        black, red, white, nothing = lupton.colours(pixels, self.SPEC)[0, 0].astype(int)
        assert black.tolist() == nothing.tolist() == [0, 0, 0]
        assert red[0] > 2 * red[1] > red[2] > 0
        assert white.min() > 220

    @pytest.mark.parametrize("kind", ["bands", "cubes"])
    def test_colours_of_cutouts_are_those_of_their_bands(self, tmp_path, kind):
        files = getattr(Set(tmp_path / "set"), kind)()
        options = CUBE if kind == "cubes" else ()
        spec = "cutouts.lupton={red: z, green: r, blue: u, stretch: 0.01}"
        _, store = files.make("stores.cutouts.images=rgb", spec, *options)
        assert store.dtype == np.uint8
        for name, image in zip(store.table["object_id"].tolist(), store.images(np.arange(2)), strict=True):
            bands = expected(name)[None, ..., [11, 7, 0]].astype(np.float32)
            colours = lupton.colours(bands, LuptonSpec(red="z", green="r", blue="u", stretch=0.01))
            assert np.abs(image.astype(int) - colours[0]).max() <= 1

    def test_fields_without_colour_images(self, tmp_path):
        survey = Survey(tmp_path / "survey").write(bands=True)
        for path in survey.glob("*.png"):
            path.unlink()
        settings = ["size=16", "fields.rgb=null", "fields.lupton={red: i, green: r, blue: g, stretch: 0.01}"]
        recipe = load_recipe(RECIPES / "simulated.yaml", settings)
        objects = read_objects(recipe, survey)
        source = open_source(recipe, survey, objects, "rgb")
        assert source.channels == ("red", "green", "blue")
        for unit in source.units(np.arange(len(objects))):
            out = np.zeros((len(unit.rows), 16, 16, 3), dtype=source.dtype)
            assert not source.cut(unit, out).any()
            assert (out[:, 7:9, 7:9].min(axis=(1, 2, 3)) > 3 * np.maximum(out[:, 0].max(axis=(1, 2)), 1)).all()
            assert [path.name[6:] for path in source.files(unit)] == ["I_swp.fits.fz", "R_swp.fits.fz",
                                                                       "G_swp.fits.fz", "ZP.cat"]  # fmt: skip


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("cutouts.bands='{id}.fits'", r"bands must contain \{band\}, found '\{id\}.fits' for the bands"),
        ("cutouts.cube='{id}.fits'", r"give one of bands, cube .* and array .*, found bands and cube"),
        ("cutouts.zero_point_column=null", r"zero_points must contain \{field\}, found 'zero_points.csv'"),
        ("cutouts.zero_point_column=ZP", r"zero_point_column must contain \{band\}, found 'ZP'"),
        ("cutouts.zero_points=null", r"zero_point_column needs zero_points"),
        ("cutouts.lupton.red=R", r"unknown band in cutouts: lupton 'R'; allowed: .*r"),
        ("cutouts.lupton.stretch=0", r"stretch must be positive, found 0"),
        ("cutouts.band_names.U=u", r"unknown band in cutouts: band_names 'U'"),
        ("catalogue.field=null", r"zero points belong to fields, so catalogue needs either field or field_pattern"),
        ("files.image='{id}.jpg'", r"give either fields or files or cutouts"),
    ],
)
def test_a_wrong_key_is_named(setting, words):
    with pytest.raises(InputError, match=words):
        load_recipe(RECIPES / "fits_cutouts.yaml", [setting])


def test_images_rgb_without_a_way_to_make_them_is_refused():
    with pytest.raises(InputError, match=r"images: rgb needs fields: rgb, or lupton"):
        load_recipe(RECIPES / "fits_cutouts.yaml", ["cutouts.lupton=null", "stores.cutouts.images=rgb"])


class TestWithoutMagnitudes:
    """Bands that only name the images of objects, whose file names are made of any columns."""

    RECIPE = """\
survey: mine
release: "1"
size: 12
catalogue: {file: table.csv, id: id, bands: [g, r]}
cutouts: {bands: "{run}/{id}_{band}.fits"}
split: {train: 1, validation: 0, test: 0}
stores:
  mine:
    images: bands
    labels: {source: column, column: class, classes: {a: [a], b: [b]}}
"""

    @pytest.fixture
    def folder(self, tmp_path):
        folder = tmp_path / "set"
        (tmp_path / "recipe.yaml").write_text(self.RECIPE)
        for n, (run, name) in enumerate([("01", "x"), ("1", "y"), ("01", "z")]):
            (folder / run).mkdir(parents=True, exist_ok=True)
            for b, band in enumerate("gr"):
                scene = (SCENE * (10 * n + b + 1)).astype(np.float32)
                astropy_fits.PrimaryHDU(scene).writeto(folder / run / f"{name}_{band}.fits")
        (folder / "table.csv").write_text("id,run,class,size\nx,01,a,big\ny,1,b,big\nz,01,a,big\n")
        return folder

    def make(self, folder, *settings):
        (made,) = build(load_recipe(folder.parent / "recipe.yaml", settings), folder, folder.parent / "out")
        return made, open_store(made.path)

    def test_any_column_is_part_of_a_file_name_as_it_is_written(self, folder):
        made, store = self.make(folder)
        assert made.info.bands == ()
        assert made.info.channels == ("g", "r")
        assert "magnitudes" not in store.table
        images = dict(zip(store.table["object_id"].tolist(), store.images(np.arange(3)), strict=True))
        for n, name in enumerate("xyz"):
            for b in range(2):
                wanted = (SCENE * (10 * n + b + 1)).astype(np.float32)[::-1][9:21, 14:26]
                np.testing.assert_array_equal(images[name][..., b], wanted)

    def test_info_check_and_a_picture_know_no_magnitudes(self, folder, capsys, tmp_path):
        made, _ = self.make(folder)
        for words in (["info"], ["check", "--deep"], ["info", "--image", str(tmp_path / "sheet.png")]):
            assert cli.main([words[0], str(made.path), *words[1:]]) == 0
        assert "no fault found" in capsys.readouterr().out
        assert (tmp_path / "sheet.png").stat().st_size > 1000

    def test_a_pretext_on_magnitudes_is_refused_in_words(self, folder, tmp_path, capsys):
        self.make(folder)
        (tmp_path / "jobs.yaml").write_text("experiment: e\npretext: {store: out/mine.zarr}\nsets: {}\nseeds: [0]\n")
        assert cli.main(["plan", str(tmp_path / "jobs.yaml"), "--workdir", str(tmp_path)]) == 2
        assert "no magnitudes" in capsys.readouterr().err

    def test_cubes_and_one_band_too(self, folder):
        cube = np.stack([SCENE, SCENE * 2]).astype(np.float32)
        for name in "xyz":
            astropy_fits.PrimaryHDU(cube).writeto(folder / f"{name}_big.fits")
        _, store = self.make(folder, "cutouts={cube: '{id}_{size}.fits'}")
        np.testing.assert_array_equal(store.images(np.arange(1))[0], cube.transpose(1, 2, 0)[::-1][9:21, 14:26])
        recipe = load_recipe(folder.parent / "recipe.yaml", ["cutouts.bands={run}/{id}_g.fits", "catalogue.bands=[g]"])
        (made,) = build(recipe, folder, folder.parent / "one")
        assert open_store(made.path).image_shape == (12, 12, 1)

    def test_a_column_that_is_not_there_and_one_that_leads_out_are_refused(self, folder):
        with pytest.raises(InputError, match="no column 'field'"):
            self.make(folder, "cutouts.bands={field}_{id}_{band}.fits")
        table = folder / "table.csv"
        table.write_text(table.read_text().replace("y,1,", "y,../..,"))
        with pytest.raises(InputError, match=r"'../..' cannot be part of a file's name, as \{run\}"):
            self.make(folder)

    def test_an_empty_value_is_a_missing_file(self, folder):
        table = folder / "table.csv"
        table.write_text(table.read_text().replace("y,1,", "y,,").replace("01,", "1,"))
        settings = "cutouts.bands=0{run}/{id}_{band}.fits", "stores.mine.labels.allow_empty=true"
        with pytest.raises(InputError, match=r"0/y_g.fits: no such file, but the catalogue has a row for it"):
            self.make(folder, *settings)
        made, _ = self.make(folder, *settings, "cutouts.unreadable=reject")
        assert made.info.counts["rejected"] == {"no file": 1}

    def test_what_a_few_cutouts_show_is_told_before_the_making(self, folder, tmp_path, capsys):
        command = ["preprocess", str(tmp_path / "recipe.yaml"), "--source", str(folder), "--dry-run"]
        assert cli.main(command) == 0
        assert "tried" not in capsys.readouterr().out
        first, *_ = sorted(folder.rglob("*_g.fits"))
        whole = first.read_bytes()
        first.write_bytes(whole[:4000])
        assert cli.main([*command, "--set", "cutouts.unreadable=reject"]) == 0
        assert "of 3 cutouts that were tried 1 would be left out: " in capsys.readouterr().out
        first.write_bytes(whole)
        with astropy_fits.open(first, mode="append") as file:
            file.append(astropy_fits.ImageHDU(file[0].data, name="WEIGHT"))
        for unreadable, words in (("stop", True), ("reject", False)):
            told = [f"cutouts.unreadable={unreadable}"]
            assert cli.main([*command, "--set", *told]) == 2
            assert "holds several images: 0" in capsys.readouterr().err
            with pytest.raises(InputError, match="hdu: 0") as caught:
                self.make(folder, *told)
            assert ("or set cutouts.unreadable=reject" in str(caught.value)) == words

    def test_names_that_fit_no_file_are_told_with_one_of_them_and_stand_in_nobody_s_way(self, folder, tmp_path, capsys):
        wrong = ("cutouts.bands=fits/{id}_{band}.fits", "cutouts.unreadable=reject")
        command = ["preprocess", str(tmp_path / "recipe.yaml"), "--source", str(folder)]
        sets = [word for pair in wrong for word in ("--set", pair)]
        assert cli.main([*command, "--dry-run", *sets]) == 0
        said = capsys.readouterr().out
        assert "3 of the first 3 objects have no file; " in said
        assert "_g.fits is not there" in said
        with pytest.raises(
            InputError, match=r"can be used: no file 3. The first that is not there is .*/fits/._g.fits; "
        ):
            self.make(folder, *wrong)
        assert not list(tmp_path.glob("out/*.partial"))
        assert self.make(folder)[0].info.counts["kept"] == 3
        assert cli.main([*command, "--dry-run"]) == 0
        assert "is not there" not in capsys.readouterr().out

    def test_a_damaged_file_and_a_missing_table_name_keys_of_cutouts(self, folder):
        with pytest.raises(InputError, match=r"points.csv: no such file; correct cutouts.zero_points"):
            self.make(folder, "cutouts.zero_points=points.csv", "cutouts.zero_point_column='z_{band}'",
                      "catalogue.field=run", "cutouts.pixel_scale=0.5")  # fmt: skip
        (folder / "01/x_g.fits").write_bytes(b"no image")
        with pytest.raises(InputError, match=r"x_g.fits: .* or set cutouts.unreadable=reject"):
            self.make(folder)
