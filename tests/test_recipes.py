"""Every recipe in preprocess/ loads strictly, and a wrong one is answered with what is allowed."""

import numpy as np
import pytest
from ingest_survey import RECIPES

from hpc_astrossl import config
from hpc_astrossl.errors import InputError
from hpc_astrossl.selection.select import codes
from hpc_astrossl.specs.recipe import LabelSpec, Recipe, load_recipe

PATHS = sorted(RECIPES.glob("*.yaml"))


def test_the_recipes_are_there():
    assert {path.stem for path in PATHS} >= {"efigi", "simulated", "splus_dr1"}
    assert [path.name for path in RECIPES.iterdir() if path.suffix != ".yaml"] == []  # recipes only, no logic


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_a_recipe_loads_opens_with_its_command_and_survives_a_round_trip(path):
    recipe = load_recipe(path)
    assert config.parse(config.plain(recipe), Recipe, "round trip") == recipe
    assert f"astrossl preprocess preprocess/{path.name} --source" in path.read_text().partition("survey:")[0]


def test_efigi_types_are_the_papers():
    codes = {name: store.labels.codes() for name, store in load_recipe(RECIPES / "efigi.yaml").stores.items()}
    assert codes["EF-2"] == {-6: 0, -5: 0, -4: 0} | dict.fromkeys(range(10), 1)
    assert codes["EF-4"] == codes["EF-2"] | {-3: 2, -2: 2, -1: 2, 10: 3}
    assert codes["EF-15"] == {t: code for code, t in enumerate([-5, *range(-3, 11)])}


def test_a_part_holds_what_one_store_depends_on():
    recipe = load_recipe(RECIPES / "simulated.yaml")
    assert list(recipe.part("SG").stores) == ["SG"]
    assert list(recipe.part("pretext").stores) == ["pretext", "SG", "SGQ"]


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("stores.SG.label=1", r"stores.SG: unknown key 'label'; allowed: .*labels.*did you mean 'labels'\?"),
        ("size=2", r"size must be in 4..1024 pixels, found 2"),
        ("catalogue.magnitude=r_auto", r"magnitude must contain \{band\}, found 'r_auto'"),
        ("catalogue.reference=R", r"unknown reference band 'R'; allowed: .*uJAVA"),
        ("catalogue.field_pattern='SPLUS.*'", r"must have a group \(\?P<field>…\)"),
        ("catalogue.field=FIELD", r"give either field or field_pattern"),
        ("fields.bands=null", r"bands and zero_points must be given together"),
        ("fields.band_names.G=g", r"unknown band in fields: band_names 'G'; allowed: .*g"),
        ("files.image='{id}.png'", r"give either fields or files"),
        ("spectra=null", r"stores.SG: labels from spectra need spectra"),
        ("stores.pretext.disjoint_from=[SGG]", r"unknown store in stores.pretext.disjoint_from 'SGG'.*'SG'\?"),
        ("stores.pretext.balanced=true", r"balanced: true needs labels"),
        ("stores.pretext.detected_in=13", r"stores.pretext: detected_in is 13, catalogue has 12 bands"),
        ("catalogue.error=null", r"stores.pretext: max_error needs catalogue: bands and error"),
        ("stores.SG.labels.column=T", r"give column with source: column, only then"),
        ("stores.SG.labels.classes.dwarf=[STAR]", r"value STAR belongs to two classes, star and dwarf"),
        ("stores.SG.labels.classes.dwarf=[3..1]", r"range 3..1 is empty"),
        ("split.test=0.2", r"must add up to 1"),
        ("split.by=column", r"give column with by: column, only then"),
        ("split.parts.trian=[a]", r"parts.*trian"),
        ("split.parts={train: [a], test: [a]}", r"parts lists a value twice: a, a"),
        ("split.by=sky", r"give cell, in degrees, with by: sky"),
        ("filters.magnitudes.R=[1, 2]", r"unknown band in filters: magnitudes 'R'"),
        ("filters.magnitudes.r=[22, 14]", r"magnitudes.r must be \[brightest, faintest\]"),
        ("stores.pretext.max_error={R: 0.1}", r"max_error"),
        ("fields.pixel_scale=0", r"pixel_scale must be positive, found 0"),
        ("compression=gzip", r"compression.* 'gzip'.*zstd"),
    ],
)  # fmt: skip
def test_a_wrong_key_or_value_is_named(setting, words):
    with pytest.raises(InputError, match=words) as caught:
        load_recipe(RECIPES / "simulated.yaml", [setting])
    assert str(RECIPES / "simulated.yaml") in str(caught.value)


def test_files_that_are_kept_as_delivered_are_not_compressed_again():
    with pytest.raises(InputError, match="compression is of pixels, and files: keep stores files as they are"):
        load_recipe(RECIPES / "image_folder.yaml", ["files.keep=jpeg", "compression=zstd"])


@pytest.mark.parametrize(("classes", "values"), [
    ({"low-z": ["0..0.1"], "high-z": ["0.1.."]}, {0: 0, 0.05: 0, 0.1: 1, 0.2: 1, 1e9: 1, -0.1: -1}),
    ({"faint": ["..-0.5"], "rest": ["-0.5..<2"], "star": [2]}, {-9: 0, -0.5: 1, 1.9: 1, 2: 2, 3: -1}),
    ({"a": ["..0"], "b": ["1.."]}, {-1: 0, 0: 0, 0.5: -1, 1: 1, 7: 1}),
    ({"a": ["...5"], "b": ["S.."]}, {0.5: 0, 0.6: -1, "S..": 1}),
])  # fmt: skip
def test_ranges_may_have_one_end_and_then_meet_another(classes, values):
    labels = config.parse({"source": "column", "column": "z", "classes": classes}, LabelSpec, "labels")
    texts = np.array([str(value) for value in values])
    assert codes(labels, texts).tolist() == list(values.values())


@pytest.mark.parametrize(
    "classes", [{"a": ["0..1"], "b": ["1..2"]}, {"a": ["0.."], "b": ["0.5.."]}, {"a": ["..3"], "b": [2]}]
)
def test_a_value_in_two_classes_is_refused(classes):
    with pytest.raises(InputError, match="belongs to two classes"):
        config.parse({"source": "column", "column": "z", "classes": classes}, LabelSpec, "labels")
