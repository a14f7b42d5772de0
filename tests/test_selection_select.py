"""Selection: every filter, label and exclusion by itself, each counted under its own reason."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from ingest_survey import RECIPES, Survey

from hpc_astrossl.errors import InputError
from hpc_astrossl.selection import crossmatch
from hpc_astrossl.selection.catalogue import read_objects
from hpc_astrossl.selection.select import codes, require_classes, select
from hpc_astrossl.specs.recipe import LabelSpec, load_recipe
from hpc_astrossl.store import StoreInfo, create

ARCSEC = 1 / 3600


@pytest.fixture
def survey(tmp_path):
    """Ten objects of one field, 20″ and more apart, no spectra."""
    survey = Survey(tmp_path / "survey", fields=("SIM-1",), per_field=0)
    for n in range(10):
        survey.add("SIM-1", n, 20 + 20 * n, 90, ra=(359.99 + 0.01 * n) % 360, dec=0.1)
    return survey


def spectrum(survey, row, kind, *, offset=0.0, warning=0):
    """Put a spectrum ``offset`` arcsec north of an object."""
    survey.spectra.append({"ra": row["RA"], "dec": row["Dec"] + offset * ARCSEC, "class": kind, "redshift": 0,
                           "zWarning": warning})  # fmt: skip


def chosen(survey, *settings):
    folder = survey.write() if survey.spectra else _with_a_far_spectrum(survey).write()
    recipe = load_recipe(RECIPES / "simulated.yaml", settings)
    return select(recipe, read_objects(recipe, folder), folder)


def _with_a_far_spectrum(survey):
    survey.spectra.append({"ra": 180, "dec": -50, "class": "STAR", "redshift": 0, "zWarning": 0})
    return survey


def test_all_objects_pass_when_nothing_is_wrong(survey):
    selections = chosen(survey)
    assert selections["pretext"].rows.tolist() == list(range(10))
    assert set(selections["pretext"].labels) == {-1}
    assert Counter(selections["SG"].reasons) == {"no spectrum within 1 arcsec": 10}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"RA": "nan"}, "position unknown"),
        ({"Dec": "inf"}, "position unknown"),
        ({"Dec": 91}, "position out of range: ra 0..360, dec -90..90 degrees"),
        ({"RA": -0.5}, "position out of range: ra 0..360, dec -90..90 degrees"),
        ({"RA": 361}, "position out of range: ra 0..360, dec -90..90 degrees"),
        ({"X": "nan"}, "pixel position unknown"),
        ({"PhotoFlag": 4}, "flagged"),
        ({"F378_auto": 99.0, "eF378_auto": 99.0}, "detected in fewer than 12 bands"),
        ({"z_auto": -99}, "detected in fewer than 12 bands"),
        ({"z_auto": "inf"}, "detected in fewer than 12 bands"),
        ({"F395_auto": "nan"}, "detected in fewer than 12 bands"),
        ({"eg_auto": 0.1001}, "uncertainty above 0.1 mag or unknown"),
        ({"eg_auto": 1432.7}, "uncertainty above 0.1 mag or unknown"),
        ({"eg_auto": -0.01}, "uncertainty above 0.1 mag or unknown"),
        ({"eg_auto": 99}, "uncertainty above 0.1 mag or unknown"),
        ({"eg_auto": "nan"}, "uncertainty above 0.1 mag or unknown"),
    ],
)
def test_an_object_that_fails_one_filter(survey, change, reason):
    survey.rows[3] |= change
    selection = chosen(survey)["pretext"]
    assert selection.reasons.tolist() == [""] * 3 + [reason] + [""] * 6


def test_the_limits_themselves_pass(survey):
    for row in survey.rows:
        row |= {"eg_auto": 0.1, "PhotoFlag": 2}
    assert len(chosen(survey, "filters.flags=[0, 2]")["pretext"].rows) == 10


def test_sentinels_never_reach_the_magnitudes(survey):
    survey.rows[0] |= {"g_auto": 99.0, "eg_auto": 0.01, "F430_auto": -99, "z_auto": "inf"}
    recipe = load_recipe(RECIPES / "simulated.yaml")
    objects = read_objects(recipe, survey.write())
    assert np.isnan(objects.magnitudes[0]).sum() == 3
    assert np.isnan(objects.errors[0, [4, 5, 11]]).all()
    assert np.isfinite(objects.magnitudes[1:]).all()


def test_duplicates_keep_the_brighter_one(survey):
    survey.rows[1] |= {"ID": survey.rows[0]["ID"], "r_auto": 12}
    survey.rows[5] |= {"RA": survey.rows[4]["RA"], "Dec": 0.1 + 0.9 * ARCSEC, "r_auto": 20}
    survey.rows[7] |= {"RA": survey.rows[6]["RA"], "Dec": 0.1 + 1.1 * ARCSEC}
    reasons = chosen(survey)["pretext"].reasons
    assert {i: reason for i, reason in enumerate(reasons) if reason} == {
        0: "repeated id",
        5: "within 1 arcsec of a brighter object",
    }


def test_a_flagged_object_does_not_remove_its_good_double(survey):
    survey.rows[4] |= {"PhotoFlag": 1, "r_auto": 10}
    survey.rows[5] |= {"RA": survey.rows[4]["RA"], "Dec": survey.rows[4]["Dec"]}
    reasons = chosen(survey)["pretext"].reasons
    assert (reasons[4], reasons[5]) == ("flagged", "")


def test_labels_from_spectra_and_the_reasons_to_have_none(survey):
    rows = survey.rows
    spectrum(survey, rows[0], "STAR", offset=0.9)
    spectrum(survey, rows[1], "GALAXY", offset=-0.5)
    spectrum(survey, rows[2], "QSO")
    spectrum(survey, rows[3], "STAR", warning=4)
    spectrum(survey, rows[4], "STAR")
    spectrum(survey, rows[4], "GALAXY", offset=0.3)
    spectrum(survey, rows[5], "STAR", offset=1.1)
    rows[7] |= {"RA": rows[6]["RA"], "Dec": rows[6]["Dec"] + 1.5 * ARCSEC}
    spectrum(survey, rows[6], "STAR", offset=0.6)
    selections = chosen(survey)
    assert selections["SG"].reasons.tolist() == [
        "", "", "class not asked for: QSO", "redshift with a warning", "spectra of different classes",
        "no spectrum within 1 arcsec", "", "the spectrum belongs to a nearer object",
        "no spectrum within 1 arcsec", "no spectrum within 1 arcsec",
    ]  # fmt: skip
    assert selections["SG"].labels[[0, 1, 6]].tolist() == [0, 1, 0]
    assert selections["SGQ"].labels[[0, 1, 2, 6]].tolist() == [0, 1, 2, 0]


def test_the_pretext_set_shares_nothing_with_labelled_sets(survey):
    spectrum(survey, survey.rows[0], "STAR")
    spectrum(survey, survey.rows[1], "QSO")
    selections = chosen(survey)
    assert selections["pretext"].reasons[:3].tolist() == [
        "in SG or within 1 arcsec of it", "in SGQ or within 1 arcsec of it", ""]  # fmt: skip


def test_a_planted_leak_by_position_is_found_across_ra_0(survey):
    survey.rows[0] |= {"RA": 359.99995, "Dec": 0.0}
    survey.rows[1] |= {"RA": 0.00005, "Dec": 0.0}  # 0.36″ away, under its own id
    spectrum(survey, survey.rows[0], "STAR", offset=-0.1)
    selections = chosen(survey, "filters.duplicates=0")
    assert selections["SG"].rows.tolist() == [0]
    assert 1 not in selections["pretext"].rows
    assert selections["pretext"].reasons[1] == "in SG or within 1 arcsec of it"


def test_codes_of_text_and_numbers():
    spec = LabelSpec(source="column", column="T", classes={"early": ("-6..-1",), "late": (1, 2), "odd": ("dE",)})
    assert codes(spec, np.array(["-6", "-1.0", "0", "2", "dE", "x", "nan"])).tolist() == [0, 0, -1, 1, 2, -1, -1]
    assert codes(spec, np.array([-3.0, 2.0, np.nan, 2.5])).tolist() == [0, 1, -1, -1]


def test_an_id_without_a_field_is_named(survey):
    survey.rows[2]["ID"] = "SPLUS-7"
    with pytest.raises(InputError, match=r"master_catalog.cat: id 'SPLUS-7' does not match .*its field is unknown"):
        chosen(survey)


def test_the_field_may_be_a_column(survey):
    survey.write()
    path = survey.folder / "master_catalog.cat"
    header, *rows = path.read_text().splitlines()
    path.write_text("\n".join([f"{header} FIELD", *(f"{row} SIM-9" for row in rows)]))
    recipe = load_recipe(RECIPES / "simulated.yaml", ["catalogue.field=FIELD", "catalogue.field_pattern=null"])
    assert set(read_objects(recipe, survey.folder).field) == {"SIM-9"}


def test_limits_of_a_band_and_ranges_of_magnitudes(survey):
    survey.rows[0]["er_auto"], survey.rows[1]["euJAVA_auto"], survey.rows[2]["r_auto"] = 0.06, 0.09, 22.5
    found = chosen(survey, "stores.pretext.max_error={r: 0.05}", "filters.magnitudes.r=[14, 22]")["pretext"]
    assert found.reasons[0] == "uncertainty above the limit of its band or unknown"
    assert found.reasons[1] == ""
    assert found.reasons[2] == "r outside 14..22 mag or unknown"


def test_a_store_of_another_recipe_is_not_shared_by_id_or_position(survey, tmp_path):
    rows = survey.rows
    other = tmp_path / "other.zarr"
    writer = create(other, shape=(2, 4, 4, 3), dtype=np.uint8, bands=0)
    writer.write_images(0, np.full((2, 4, 4, 3), 7, np.uint8))
    writer.write_table({
        "object_id": np.array([rows[3]["ID"], "its name in the other release"]), "ra": np.array([12.0, rows[5]["RA"]]),
        "dec": np.array([-40.0, rows[5]["Dec"] + 0.7 * ARCSEC]), "split": np.zeros(2, np.uint8),
        "label": np.full(2, -1, np.int16),
    })  # fmt: skip
    writer.finish(StoreInfo(name="SG", survey="test", release="1", bands=(), channels=("R", "G", "B"), class_names=(),
                            pixel_scale=0.55, counts={"kept": 2, "rejected": {}}, recipe={},
                            provenance={"digest": "0"}))  # fmt: skip
    found = chosen(survey, f"stores.pretext.disjoint_from=[SG, SGQ, '{other}']")["pretext"]
    assert np.flatnonzero(found.reasons).tolist() == [3, 5]
    assert found.reasons[3] == found.reasons[5] == f"in {other} or within 1 arcsec of it"


def twins(tmp_path, places, recipe_text, table="t.csv"):
    """The selection of objects at ``places``: (id, ra, magnitude, class) at dec 0."""
    (tmp_path / table).write_text("id,ra,dec,x,y,field,r,class\n" + "".join(
        f"{name},{ra},0,50,50,F,{magnitude},{label}\n" for name, ra, magnitude, label in places))  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(recipe_text)
    recipe = load_recipe(tmp_path / "recipe.yaml")
    return recipe, read_objects(recipe, tmp_path)


TWINS = """
survey: s
release: r
size: 16
catalogue: {file: t.csv, id: id, ra: ra, dec: dec, x: x, y: y, field: field, bands: [r], magnitude: "{band}",
            reference: r}
fields: {rgb: "{field}.png", pixel_scale: 1}
stores: {S: {}}
"""


def test_a_twin_that_fails_elsewhere_removes_nobody(tmp_path):
    places = [("bright", 10, 15.0, "a"), ("faint", 10, 15.1, "a"), ("alone", 20, 16.0, "b")]
    recipe, objects = twins(tmp_path, places, TWINS)
    assert select(recipe, objects, tmp_path)["S"].rows.tolist() == [0, 2]

    class Edge:
        def outside(self, store, rows):
            return objects.object_id == "bright"

        def useless(self, store, rows, others):
            return np.full(len(rows), "", dtype=object)

    chosen = select(recipe, objects, tmp_path, Edge())["S"]
    assert chosen.reasons.tolist() == ["near the edge", "", ""]


def test_placeholder_positions_cost_no_more_than_others(tmp_path):
    many = [(f"p{i}", 0, 18.0, "a") for i in range(3000)]
    recipe, objects = twins(tmp_path, [("g", 10, 15.0, "a"), *many], TWINS)
    reasons = select(recipe, objects, tmp_path)["S"].reasons
    assert (reasons == "").sum() == 2
    assert (reasons == "within 1 arcsec of a brighter object").sum() == 2999


LABELLED = TWINS.replace("S: {}", "S: {labels: {source: column, column: class, classes: CLASSES}}")


@pytest.mark.parametrize(
    ("values", "classes", "codes"),
    [
        (["-0.5", "0.5", "0.75", "3"], "{low: [-1..<0.5], high: [0.5..1]}", [0, 1, 1, -1]),
        (["True", "FALSE", "t", "x"], "{no: [false], yes: [true]}", [1, 0, 1, -1]),
        (["4.5", "9", "10", "1_0"], "{disc: [0..9], irregular: [10]}", [0, 0, 1, -1]),
        (["0.5", "0.50", "half", ""], "{a: [0.5], b: [half]}", [0, 0, 1, -1]),
    ],
)
def test_values_and_ranges_of_classes(tmp_path, values, classes, codes):
    places = [(f"o{i}", 10 * i, 15.0, value) for i, value in enumerate(values)]
    recipe, objects = twins(tmp_path, places, LABELLED.replace("CLASSES", classes))
    chosen = select(recipe, objects, tmp_path)["S"]
    assert chosen.labels.tolist() == codes
    expected = [
        f"class not asked for: {value or 'no value'}" for value, code in zip(values, codes, strict=True) if code < 0
    ]
    assert [reason for reason in chosen.reasons if reason] == expected


@pytest.mark.parametrize(
    ("classes", "words"),
    [
        ("{a: [0..0.5], b: [0.5..1]}", r"value 0.5 belongs to two classes, a and b; a range without its upper end"),
        ("{a: [0..5], b: [3]}", r"value 3.0 belongs to two classes, b and a"),
        ("{a: [5..1], b: [3]}", r"range 5..1 is empty"),
    ],
)
def test_ranges_that_meet_are_refused(tmp_path, classes, words):
    with pytest.raises(InputError, match=words):
        twins(tmp_path, [("o", 1, 1.0, "1")], LABELLED.replace("CLASSES", classes))


def test_more_classes_than_a_store_can_tell_apart():
    with pytest.raises(InputError, match="classes must name 2 to 32,767 classes, found 32,768"):
        LabelSpec(source="column", column="class", classes={f"c{i}": (i,) for i in range(32768)})


def test_a_class_without_an_object_is_refused_with_what_is_there(tmp_path):
    places = [("o1", 1, 15.0, "star"), ("o2", 2, 15.0, "galaxy"), ("o3", 3, 15.0, "galaxy")]
    text = LABELLED.replace("CLASSES", "{star: [star], galaxy: [glaaxy]}")
    recipe, objects = twins(tmp_path, places, text)
    labels = recipe.stores["S"].labels
    with pytest.raises(InputError, match=r"store S: no object of class 'galaxy' is left; column 'class' has: galaxy 2, "
                       r"star 1. Left out: class not asked for: galaxy 2"):  # fmt: skip
        require_classes("S", labels, select(recipe, objects, tmp_path)["S"])
    allowed = text.replace("classes:", "allow_empty: true, classes:")
    recipe, objects = twins(tmp_path, places, allowed)
    require_classes("S", recipe.stores["S"].labels, select(recipe, objects, tmp_path)["S"])


def test_an_object_without_an_id(tmp_path):
    recipe, objects = twins(tmp_path, [("", 1, 15.0, "a"), ("o", 2, 15.0, "a")], TWINS)
    assert select(recipe, objects, tmp_path)["S"].reasons.tolist() == ["id unknown", ""]


def test_looking_at_the_brightest_alone_keeps_what_looking_at_all_keeps(tmp_path):
    random = np.random.default_rng(2)
    for _ in range(60):
        count = int(random.integers(4, 24))
        at = random.integers(0, 14, count) * 0.4 / 3600
        names = [f"o{n}" for n in random.integers(0, count, count)]
        places = [(name, 10 + place, float(mag), "a") for name, place, mag in
                  zip(names, at, random.integers(15, 20, count), strict=True)]  # fmt: skip
        folder = tmp_path / f"{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        recipe, objects = twins(folder, places, TWINS.replace("stores:", "filters: {repeated_ids: reject}\nstores:"))
        objects = replace(objects, field=random.choice(["f", "g", "h"], count))
        bad = np.isin(objects.field, list("fgh")[: int(random.integers(0, 3))])

        class Images:
            def __init__(self, bad):
                self.bad, self.asked = bad, set()

            def outside(self, store, rows):
                return np.zeros(len(self.bad), dtype=bool)

            def useless(self, store, rows, others):
                assert set(rows.tolist()) <= set(others.tolist())
                self.asked |= set(rows.tolist())
                return np.where(self.bad[rows], "blank image", "").astype(object)

        looked = Images(bad)
        kept = select(recipe, objects, folder, looked)["S"].rows
        assert kept[~bad[kept]].tolist() == _all_looked_at(objects, bad)
        assert not set(kept[bad[kept]].tolist()) & looked.asked


def _all_looked_at(objects, bad):
    """Rows that are kept and good if all that repeat others in another field are looked at first."""
    rows, tried = np.arange(len(bad)), set()
    while True:
        found = crossmatch.repeats(objects.object_id, (objects.ra, objects.dec), objects.reference, rows, 1.0)
        pairs = found.pairs[objects.field[found.pairs[:, 0]] != objects.field[found.pairs[:, 1]]]
        new = set(np.unique(pairs).tolist()) - tried
        if not new:
            return np.setdiff1d(rows[~bad[rows]], np.concatenate([found.same_id, found.near])).tolist()
        tried |= new
        rows = rows[~(np.isin(rows, list(new)) & bad[rows])]
