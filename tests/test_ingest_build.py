"""astrossl preprocess, info and check from the outside: what is made, what is said, and what is never left behind."""

import csv
import hashlib
import json
import resource
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import zarr
from astropy.coordinates import SkyCoord
from ingest_survey import BANDS, RECIPES, Survey, blobs, write_band
from PIL import Image

from hpc_astrossl import cli
from hpc_astrossl.store import check, open_store

EFIGI = Path(__file__).parent.parent / "examples" / "efigi"


def make_survey(folder: Path) -> Survey:
    """90 objects in two fields, 60 of them with a spectrum; one is flagged, one uncertain, two near the edge."""
    survey = Survey(folder / "survey")
    survey.rows[-1]["PhotoFlag"] = 1
    survey.rows[-2]["eF378_auto"] = 0.3
    survey.rows[-3]["X"] = 3
    survey.rows[0]["Y"] = 178
    return survey


@pytest.fixture
def survey(tmp_path):
    return make_survey(tmp_path)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(survey, folder of its three stores), to look at only."""
    folder = tmp_path_factory.mktemp("made")
    survey = make_survey(folder)
    assert preprocess(survey.write(), folder / "out") == 0
    return survey, folder / "out"


@pytest.fixture(scope="module")
def efigi(tmp_path_factory):
    """The stores of the bundled galaxies, to look at only."""
    out = tmp_path_factory.mktemp("efigi")
    assert preprocess(EFIGI, out, "--set", "size=16", recipe="efigi") == 0
    return out


def preprocess(source, out, *options, recipe="simulated"):
    return cli.main(
        ["preprocess", str(RECIPES / f"{recipe}.yaml"), "--source", str(source), "--out", str(out), *options]
    )


def fingerprint(folder: Path) -> dict[str, str]:
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def refused(capsys, status: int) -> str:
    """The message of a command that ended with status 2."""
    assert status == 2
    return capsys.readouterr().err.splitlines()[-1]


class TestSurvey:
    """The simulated recipe on a small survey."""

    def test_counts(self, made):
        counts = {name: open_store(made[1] / f"{name}.zarr").info.counts for name in ("pretext", "SG", "SGQ")}
        assert counts["pretext"]["kept"] == 90 - 60 - 3
        assert counts["pretext"]["rejected"] == {
            "in SG or within 1 arcsec of it": 44, "in SGQ or within 1 arcsec of it": 15,
            "near the edge": 2, "flagged": 1, "uncertainty above 0.1 mag or unknown": 1,
        }  # fmt: skip
        assert counts["SG"]["classes"] == {"star": 29, "galaxy": 15}
        assert counts["SG"]["rejected"] == {
            "no spectrum within 1 arcsec": 29, "class not asked for: QSO": 15, "near the edge": 1, "flagged": 1,
        }  # fmt: skip
        assert counts["SGQ"]["classes"] == {"star": 15, "galaxy": 15, "quasar": 15}
        assert counts["SGQ"]["rejected"]["beyond the size of the smallest class"] == 14
        assert counts["SGQ"]["splits"] == {"train": 35, "validation": 5, "test": 5}

    def test_a_line_is_printed_for_each_store(self, survey, tmp_path, capsys):
        assert preprocess(survey.write(), tmp_path / "out", "--store", "SG") == 0
        assert capsys.readouterr().out == (
            "SG: kept 44 · left out no spectrum within 1 arcsec 29, class not asked for: QSO 15, near the edge 1, "
            f"flagged 1 · train 34, validation 6, test 4 · star 29, galaxy 15 · {tmp_path}/out/SG.zarr\n"
        )

    def test_the_table_is_the_catalogues(self, made):
        survey, out = made
        store = open_store(out / "SG.zarr")
        rows = {row["ID"]: row for row in survey.rows}
        kinds = {(spectrum["ra"], spectrum["dec"]): spectrum["class"] for spectrum in survey.spectra}
        table = store.table
        for i, name in enumerate(table["object_id"]):
            row = rows[name]
            position = row["RA"], row["Dec"]
            assert (table["ra"][i], table["dec"][i]) == position
            assert store.info.class_names[table["label"][i]] == kinds[position].lower()
            np.testing.assert_allclose(table["magnitudes"][i], [row[f"{band}_auto"] for band in BANDS], rtol=1e-6)
            np.testing.assert_allclose(table["magnitude_errors"][i], 0.02, rtol=1e-6)
        images = store.images(np.arange(len(store)))
        assert images[:, 15:17, 15:17].min() > 150  # every image has its object in the centre
        fields = [rows[name]["field"] for name in table["object_id"]]
        assert fields == sorted(fields)
        order = list(zip(fields, table["split"].tolist(), strict=True))
        moved = sum(one != other for one, other in zip(order, sorted(order), strict=True))
        assert moved <= 4  # in a field one split after the other, but for equal pictures, which share one

    def test_the_pretext_set_is_disjoint_from_the_labelled_ones(self, made):
        pretext, sg, sgq = (open_store(made[1] / f"{name}.zarr").table for name in ("pretext", "SG", "SGQ"))
        for labelled in (sg, sgq):
            assert not set(pretext["object_id"]) & set(labelled["object_id"])
            here, there = (SkyCoord(table["ra"], table["dec"], unit="deg") for table in (pretext, labelled))
            assert here.match_to_catalog_sky(there)[1].arcsec.min() > 1
        assert set(pretext["label"]) == {-1}

    def test_what_is_left_out_is_listed_beside_the_store(self, made):
        survey, out = made
        for name in ("pretext", "SG", "SGQ"):
            store = open_store(out / f"{name}.zarr")
            with (out / f"{name}.rejected.csv").open() as stream:
                listed = list(csv.DictReader(stream))
            assert Counter(row["reason"] for row in listed) == store.info.counts["rejected"]
            ids = [row["object_id"] for row in listed] + store.table["object_id"].tolist()
            assert sorted(ids) == sorted(row["ID"] for row in survey.rows)

    def test_sound(self, made, efigi):
        for path in [*made[1].glob("*.zarr"), *efigi.glob("*.zarr")]:
            assert check(path, deep=True) == []

    def test_the_same_input_gives_the_same_bytes(self, survey, tmp_path):
        preprocess(survey.write(), tmp_path / "one")
        preprocess(survey.folder, tmp_path / "two")
        assert fingerprint(tmp_path / "one") == fingerprint(tmp_path / "two")
        shutil.copytree(survey.folder, tmp_path / "elsewhere")
        preprocess(tmp_path / "elsewhere", tmp_path / "three", "--store", "SG")
        third = fingerprint(tmp_path / "three")
        del third["SG.tasks/inputs.json"]  # when each input was touched last
        assert third.items() < fingerprint(tmp_path / "one").items()

    def test_a_second_time_nothing_is_done(self, survey, tmp_path, capsys):
        preprocess(survey.write(), tmp_path / "out")
        capsys.readouterr()
        before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
        assert preprocess(survey.folder, tmp_path / "out") == 0
        lines = capsys.readouterr().out.splitlines()
        assert all(line.endswith("was there, same recipe and inputs: left as it is") for line in lines)
        assert len(lines) == 3
        assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before

    @pytest.mark.parametrize("change", ["recipe", "catalogue", "image"])
    def test_another_recipe_or_input_needs_overwrite(self, survey, tmp_path, capsys, change):
        preprocess(survey.write(), tmp_path / "out", "--store", "SG")
        before = fingerprint(tmp_path / "out")
        options = ["--store", "SG"]
        if change == "recipe":
            options += ["--set", "split.seed=1"]
        elif change == "catalogue":
            survey.rows[5]["r_auto"] = 15.5
            survey.write()
        else:
            survey.rows[7]["X"] += 1
            survey.write()
            survey.rows[7]["X"] -= 1
        message = refused(capsys, preprocess(survey.folder, tmp_path / "out", *options))
        assert "SG.zarr: already there, made by another recipe or from other inputs; say --overwrite" in message
        assert fingerprint(tmp_path / "out") == before
        assert preprocess(survey.folder, tmp_path / "out", *options, "--overwrite") == 0
        assert fingerprint(tmp_path / "out") != before
        assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["SG.rejected.csv", "SG.tasks", "SG.zarr"]

    def test_bands_and_rgb_hold_the_same_objects_in_the_same_order(self, survey, tmp_path, capsys):
        survey.write(bands=True)
        preprocess(survey.folder, tmp_path / "rgb", "--store", "SG")
        assert preprocess(survey.folder, tmp_path / "out", "--store", "SG", "--set", "stores.SG.images=bands") == 0
        rgb, bands = open_store(tmp_path / "rgb" / "SG.zarr"), open_store(tmp_path / "out" / "SG.zarr")
        assert bands.image_shape == (32, 32, 12)
        assert bands.dtype == np.float32
        assert bands.info.channels == BANDS
        assert rgb.table["object_id"].tolist() == bands.table["object_id"].tolist()
        assert rgb.table["split"].tolist() == bands.table["split"].tolist()

    def test_a_fault_in_one_field_leaves_nothing(self, survey, tmp_path, capsys):
        survey.write(bands=True)
        write_band(survey.folder / "SIM-2_I_swp.fits.fz", blobs([(50, 60)], width=100))
        options = ["--set", "stores.SG.images=bands", "--set", "stores.pretext.images=bands"]
        message = refused(capsys, preprocess(survey.folder, tmp_path / "out", *options))
        assert "SIM-2_I_swp.fits.fz: is 100 × 180 pixels" in message
        left = sorted(path.name for path in (tmp_path / "out").iterdir())
        assert left == ["SGQ.rejected.csv", "SGQ.tasks", "SGQ.zarr"]
        assert not list((tmp_path / "out").glob("*artial*")) + list((tmp_path / "out").glob(".*"))

    @pytest.mark.parametrize(
        ("spoil", "words"),
        [
            (lambda folder: (folder / "SIM-2_trilogy.png").unlink(), "SIM-2_trilogy.png: no such file; objects of"),
            (
                lambda folder: (folder / "SIM-2_trilogy.png").write_bytes(b"\x89PNG"),
                "SIM-2_trilogy.png: unreadable or truncated image",
            ),
            (lambda folder: (folder / "master_catalog.cat").unlink(), "master_catalog.cat: no such file"),
            (lambda folder: (folder / "spec.csv").unlink(), "spec.csv: no such file"),
            (
                lambda folder: (folder / "spec.csv").write_text("ra,dec,class,redshift,ZWARN\n1,1,STAR,0,0\n"),
                "spec.csv: no column 'zWarning'; nearest: ZWARN",
            ),
            (lambda folder: shutil.rmtree(folder), "survey: no such folder; --source is the folder that holds master"),
        ],
    )
    def test_bad_input_is_named_and_nothing_is_left(self, survey, tmp_path, capsys, spoil, words):
        spoil(survey.write())
        assert words in refused(capsys, preprocess(survey.folder, tmp_path / "out"))
        assert list((tmp_path / "out").glob("*")) == []

    def test_a_catalogue_without_a_needed_column(self, survey, tmp_path, capsys):
        for row in survey.rows:
            row["e_F515_auto"] = row.pop("eF515_auto")
        message = refused(capsys, preprocess(survey.write(), tmp_path / "out"))
        assert "master_catalog.cat: no column 'eF515_auto'; nearest: e_F515_auto" in message

    def test_an_empty_result_says_which_filter_took_them(self, survey, tmp_path, capsys):
        message = refused(
            capsys, preprocess(survey.write(), tmp_path / "out", "--set", "stores.pretext.max_error=0.01")
        )
        assert "store pretext: no object is left of 90. Left out: uncertainty above 0.01 mag or unknown 89" in message
        assert "Loosen the filters" in message
        assert not (tmp_path / "out").exists()

    def test_an_empty_result_after_cutting(self, survey, tmp_path, capsys):
        message = refused(capsys, preprocess(survey.write(), tmp_path / "out", "--set", "size=200"))
        assert "no object is left of 90" in message
        assert "near the edge" in message
        assert not (tmp_path / "out").exists()

    @pytest.mark.parametrize(
        ("options", "words"),
        [
            (["--store", "SQ"], "unknown store 'SQ'; allowed: SG, SGQ, pretext; did you mean 'SGQ'?"),
            (["--set", "sise=3"], "unknown key 'sise'; allowed: catalogue,"),
            (["--set", "size"], "--set 'size': expected KEY=VALUE"),
        ],
    )
    def test_a_wrong_option(self, survey, tmp_path, capsys, options, words):
        assert words in refused(capsys, preprocess(survey.write(), tmp_path / "out", *options))

    def test_overwrite_removes_stores_only(self, survey, tmp_path, capsys):
        (tmp_path / "out" / "SG.zarr").mkdir(parents=True)
        (tmp_path / "out" / "SG.zarr" / "thesis.tex").write_text("precious")
        assert "not a Zarr v3 group, or its zarr.json is damaged. To replace it say --overwrite" in refused(
            capsys, preprocess(survey.write(), tmp_path / "out")
        )
        assert "is no Zarr group, so --overwrite will not remove it" in refused(
            capsys, preprocess(survey.folder, tmp_path / "out", "--overwrite")
        )
        assert (tmp_path / "out" / "SG.zarr" / "thesis.tex").read_text() == "precious"

    @pytest.mark.parametrize("size", [30_000, 70_000])  # enough for nothing; enough for cutouts, not for the store
    def test_a_full_disk_leaves_nothing(self, survey, tmp_path, capsys, size):
        survey.write()
        for field in survey.fields:  # noise, which no compression makes small
            noise = np.random.default_rng(0).integers(0, 256, (180, 260, 3), dtype=np.uint8)
            Image.fromarray(noise).save(survey.folder / f"{field}_trilogy.png")
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))  # a write beyond it fails, as on a full disk
        try:
            status = preprocess(survey.folder, tmp_path / "out", "--store", "SG", "--set", "size=24")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert "out: cannot be written (File too large)" in refused(capsys, status)
        assert list((tmp_path / "out").glob("*.zarr*")) + list((tmp_path / "out").glob(".*")) == []

    def test_an_output_folder_that_cannot_be_made(self, survey, tmp_path, capsys):
        (tmp_path / "out").write_text("a file")
        assert "pretext.zarr: cannot be written (File exists)" in refused(
            capsys, preprocess(survey.write(), tmp_path / "out")
        )


class TestEfigi:
    """The bundled subset of real galaxies; preprocess/efigi.yaml tells the counts of the complete set."""

    def test_counts(self, efigi):
        classes = {
            name: open_store(efigi / f"{name}.zarr").info.counts["classes"] for name in ("EF-2", "EF-4", "EF-15")
        }
        assert classes["EF-2"] == {"elliptical": 57, "spiral": 401}
        assert classes["EF-4"] == classes["EF-2"] | {"lenticular": 89, "irregular": 35}
        assert list(classes["EF-15"].values()) == [33, 31, 31, 27, 31, 36, 33, 51, 48, 39, 47, 38, 42, 36, 35]
        assert list(classes["EF-15"]) == [f"T={t}" for t in (-5, *range(-3, 11))]

    def test_labels_and_images_are_those_of_the_folder(self, efigi):
        types = dict(
            line.split()[:2] for line in (EFIGI / "EFIGI_attributes.txt").read_text().splitlines() if line[0] != "#"
        )
        store = open_store(efigi / "EF-15.zarr")
        names = [store.info.class_names[label] for label in store.table["label"]]
        assert names == [f"T={types[name]}" for name in store.table["object_id"]]
        assert store.image_shape == (16, 16, 3)
        assert np.isnan(store.table["ra"]).all()
        assert "magnitudes" not in store.table

    def test_every_class_is_in_every_split(self, efigi):
        table = open_store(efigi / "EF-15.zarr").table
        for label in range(15):
            counts = np.bincount(table["split"][table["label"] == label], minlength=3)
            np.testing.assert_allclose(counts, np.multiply((0.8, 0.1, 0.1), counts.sum()), atol=1)

    def test_images_without_a_row_are_counted(self, tmp_path, capsys):
        source = self.small_copy(tmp_path)
        lines = (source / "EFIGI_attributes.txt").read_text().splitlines()
        (source / "EFIGI_attributes.txt").write_text("\n".join(lines[:-3]))
        assert preprocess(source, tmp_path / "out", "--store", "EF-4", "--set", "size=16", recipe="efigi") == 0
        info = open_store(tmp_path / "out" / "EF-4.zarr").info
        assert info.counts["rejected"]["image without a row in the table"] == 3
        assert f"{lines[-1].split()[0]},image without a row" in (tmp_path / "out" / "EF-4.rejected.csv").read_text()

    def test_an_unreadable_image_stops_or_is_counted(self, tmp_path, capsys):
        source = self.small_copy(tmp_path)
        image = sorted(source.glob("*.jpg"))[2]
        image.write_bytes(image.read_bytes()[:700])
        options = ["--store", "EF-4", "--set", "size=16"]
        message = refused(capsys, preprocess(source, tmp_path / "out", *options, recipe="efigi"))
        assert f"{image.name}: unreadable or truncated image" in message
        assert list((tmp_path / "out").iterdir()) == []
        options += ["--set", "files.unreadable=reject"]
        assert preprocess(source, tmp_path / "out", *options, recipe="efigi") == 0
        assert open_store(tmp_path / "out" / "EF-4.zarr").info.counts["rejected"]["unreadable image"] == 1

    def small_copy(self, tmp_path) -> Path:
        """Every twelfth galaxy of the bundled ones."""
        source = tmp_path / "efigi"
        source.mkdir()
        lines = (EFIGI / "EFIGI_attributes.txt").read_text().splitlines()
        kept = [line for line in lines if line[0] != "#"][::12]
        (source / "EFIGI_attributes.txt").write_text("\n".join(["# a comment", *kept]))
        for line in kept:
            shutil.copy(EFIGI / f"{line.split()[0]}.jpg", source)
        return source


class TestInfoAndCheck:
    @pytest.fixture
    def store(self, made):
        return made[1] / "SG.zarr"

    def test_info_for_a_person(self, store, capsys):
        assert cli.main(["info", str(store)]) == 0
        page = capsys.readouterr().out
        for line in (
            f"SG          simulated, release 1   {store}",
            "objects     44   (train 34, validation 6, test 4)",
            "images      32 × 32 × 3 uint8 (red, green, blue), 0.55 arcsec/pixel",
            "magnitudes  uJAVA, F378, F395, F410, F430, g, F515, r, F660, i, F861, z",
            "classes     star 29, galaxy 15",
            "majority    0.6591 of the objects in one class",
            "left out    29 no spectrum within 1 arcsec",
            "input       2 image files, ",
            "made by     hpc_astrossl ",
        ):
            assert f"\n{line}" in f"\n{page}"

    def test_info_for_a_script(self, store, capsys):
        assert cli.main(["info", str(store), "--json"]) == 0
        facts = json.loads(capsys.readouterr().out)
        assert facts["objects"] == facts["counts"]["kept"] == sum(facts["counts"]["splits"].values())
        assert facts["image_shape"] == [32, 32, 3]
        assert facts["bands"] == list(BANDS)
        assert facts["recipe"]["stores"]["SG"]["labels"]["classes"] == {"star": ["STAR"], "galaxy": ["GALAXY"]}
        assert [entry["file"] for entry in facts["provenance"]["inputs"]["tables"]] == [
            "master_catalog.cat",
            "spec.csv",
        ]
        assert facts["provenance"]["inputs"]["images"]["files"] == 2

    @pytest.mark.parametrize("options", [[], ["--deep"]])
    def test_a_sound_store_has_no_fault(self, store, capsys, options):
        assert cli.main(["check", str(store), *options]) == 0
        assert capsys.readouterr().out == f"{store}: no fault found\n"

    def test_a_flipped_bit_is_found_when_looking_deep(self, store, tmp_path, capsys):
        damaged = shutil.copytree(store, tmp_path / "damaged.zarr")
        shard = next(path for path in (damaged / "images" / "c").rglob("*") if path.is_file())
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 1
        shard.write_bytes(data)
        assert cli.main(["check", str(damaged)]) == 0
        assert cli.main(["check", str(damaged), "--deep"]) == 2
        assert "array images, chunk 0, rows 0..43 (objects " in capsys.readouterr().out

    @pytest.mark.parametrize("verb", ["info", "check"])
    def test_a_store_of_another_version_is_refused(self, store, tmp_path, capsys, verb):
        newer = shutil.copytree(store, tmp_path / "newer.zarr")
        zarr.open_group(newer, mode="r+").attrs["version"] = 7
        message = refused(capsys, cli.main([verb, str(newer)]))
        assert "newer.zarr: store format version 7, this program reads version 1; make the store again" in message

    @pytest.mark.parametrize("verb", ["info", "check"])
    def test_a_store_that_is_not_there(self, tmp_path, capsys, verb):
        assert "absent.zarr: no such store" in refused(capsys, cli.main([verb, str(tmp_path / "absent.zarr")]))
