"""The published constants agree with each other and with the paper's own arithmetic."""

from dataclasses import replace

import pytest
from run_folders import result, spec

from hpc_astrossl import config
from hpc_astrossl.names import PAPER
from hpc_astrossl.report.base.published import (
    ANCHORS,
    CITATIONS,
    PAPER_SETS,
    PRETEXT_MAE,
    PRETEXT_MAE_MAGNITUDES,
    TABLE_II,
    TABLE_III,
    not_the_papers,
)
from hpc_astrossl.report.base.records import StoreRecord


@pytest.mark.parametrize(
    ("name", "images", "share"),
    [
        ("EF-15", 4327, 0.1195),
        ("EF-2", 3604, 0.9198),
        ("EF-4", 4389, 0.7553),
        ("MG", 15766, 0.6335),
        ("SGQ", 54000, 0.3333),
        ("SG", 50090, 0.5586),
    ],
)
def test_majority_shares_follow_from_the_class_counts(name, images, share):
    assert PAPER_SETS[name].images == images
    assert PAPER_SETS[name].majority_share == pytest.approx(share, abs=5e-5)


def test_every_set_has_a_number_for_every_scheme():
    assert list(TABLE_II) == list(PAPER_SETS)
    assert all(tuple(row) == PAPER for row in TABLE_II.values())
    assert all(0 < mean < 1 and 0 <= std < 0.05 for row in TABLE_II.values() for mean, std in row.values())


def test_the_efigi_sets_are_parts_of_one_catalogue():
    fifteen, four, two = (PAPER_SETS[name].classes for name in ("EF-15", "EF-4", "EF-2"))
    assert sum(fifteen[str(t)] for t in (-3, -2, -1)) == four["lenticular"]
    assert sum(fifteen[str(t)] for t in range(10)) == four["spiral"] == two["spiral"]
    assert fifteen["10"] == four["irregular"]
    assert fifteen["-5"] < four["elliptical"] == two["elliptical"]


def test_mg_from_scratch_is_a_collapsed_run():
    mean, std = TABLE_II["MG"]["scratch"]
    assert std == 0
    assert mean == pytest.approx(PAPER_SETS["MG"].majority_share, abs=2e-4)


def test_the_two_pretext_errors_are_one_number():
    assert pytest.approx(PRETEXT_MAE_MAGNITUDES, abs=0.005) == PRETEXT_MAE * 30


def test_table_three_differences_are_computed():
    row = TABLE_III["SG"]
    assert row["features-magnitudes"] - row["features-imagenet"] == pytest.approx(0.1025)  # the paper prints .1015
    assert "scratch" not in row


def test_every_anchor_cites_something():
    assert {anchor.source for anchor in ANCHORS} <= set(CITATIONS)
    assert all(citation.url.startswith("https://") for citation in CITATIONS)


def test_a_set_is_the_papers_only_with_its_survey_and_its_count():
    full = StoreRecord(name="EF-4", survey="EFIGI", counts={"kept": 4389})
    assert not_the_papers("EF-4", full) == ""
    subset = StoreRecord(name="EF-4", survey="EFIGI", counts={"kept": 600})
    assert "600 objects of survey “EFIGI” (a subset or another selection)" in not_the_papers("EF-4", subset)
    assert not_the_papers("own-set", subset) == ""
    sizes = {"e": 289, "s": 3315, "l": 537, "i": 248}  # by any names
    assert not_the_papers("EF-4", replace(full, counts={"kept": 4389, "classes": sizes})) == ""
    other = replace(full, counts={"kept": 4389, "classes": sizes | {"l": 536, "i": 249}})
    said = "(in classes of 249, 289, 536, 3,315), the paper's is 4,389 of EFIGI, in classes of 248, 289, 537, 3,315"
    assert said in not_the_papers("EF-4", other)


def test_a_simulated_survey_is_never_the_papers():
    store = StoreRecord(name="SG", survey="S-PLUS simulated", counts={"kept": 50090})
    assert "another survey" in not_the_papers("SG", store)
    record = config.parse(result(spec("SG"))["store"], StoreRecord, "store")
    assert "1,000 objects of survey “simulated”" in not_the_papers("SG", record)
