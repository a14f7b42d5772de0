"""Bad input, case by case: each ends with one clear message, or is taken in a way that is said.

The rows are in the modules ``bad_*.py`` beside this one. Every row begins from good input, which is tried as well.
"""

import re

import pytest
from launch_support import CHECKOUT, astrossl

from faults import bad_catalogues, bad_fits, bad_images, bad_recipes, bad_runs, bad_stores, bad_weights, small_release
from faults.cases import REFUSED, TOLERATED
from hpc_astrossl import cli

CASES = [
    *bad_recipes.CASES,
    *bad_weights.CASES,
    *bad_runs.CASES,
    *bad_fits.CASES,
    *bad_catalogues.CASES,
    *bad_images.CASES,
    *bad_stores.CASES,
]


def answer(arguments, capsys) -> tuple[int, str]:
    """Exit status of the command line, and what it printed."""
    status = cli.main(arguments)
    printed = capsys.readouterr()
    return status, printed.out + printed.err


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_bad_input_has_a_clear_answer(case, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("ASTROSSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    arguments = case.arrange(tmp_path)
    capsys.readouterr()
    status, printed = answer(arguments, capsys)
    assert not list(tmp_path.rglob("was-here*")), "code from the input was run"
    assert (status, "Traceback" in printed) == (case.status, False), printed
    assert re.search(case.words, printed), printed
    if status == REFUSED and arguments[0] != "check":  # whose findings are its output
        assert re.search(f"^astrossl {arguments[0]}: ", printed, re.MULTILINE), printed


@pytest.mark.parametrize("name", ["recipe-billion-laughs", "pickled-weights-code-in-a-pickle", "image-truncated"])
def test_in_a_process_of_its_own_it_is_the_same(name, tmp_path):
    (case,) = [case for case in CASES if case.id == name]
    done = astrossl(*case.arrange(tmp_path), cwd=tmp_path)
    assert done.returncode == case.status
    assert re.search(case.words, done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "was-here").exists()


KINDS = {
    "FITS images": ["fits"],
    "catalogues (CSV, FITS tables)": ["catalogue"],
    "image files of a set": ["image"],
    "pictures for `predict`": ["picture"],
    "stores": ["store"],
    "recipes: preprocess, jobs, cluster, run": ["recipe", "jobs", "cluster", "run"],
    "weights": ["weights", "pickled weights", "run's weights"],
    "run folders and studies": ["run folder", "study"],
}


def test_the_page_counts_the_rows_of_the_table():
    assert len({case.id for case in CASES}) == len(CASES)
    page = (CHECKOUT / "docs" / "reliability.md").read_text()
    assert f"a table of {len(CASES)} rows" in page
    for name, kinds in KINDS.items():
        found = [case.status for case in CASES if case.kind in kinds]
        assert f"| {name} | {len(found)} | {found.count(REFUSED)} | {found.count(TOLERATED)} |" in page
    assert {case.kind for case in CASES} == {kind for kinds in KINDS.values() for kind in kinds}


@pytest.mark.parametrize("make", [small_release.make])
def test_what_the_rows_spoil_is_good_before(make, tmp_path, capsys):
    assert answer(make(tmp_path), capsys)[0] == 0
