"""The report averages over one store and one pretext run only; others are named, and the page says what is alike."""

import hashlib

import pytest
from run_folders import result, spec, write_run

from hpc_astrossl.identity import UNKNOWN
from hpc_astrossl.report.base.current import sameness
from hpc_astrossl.report.base.desk import Desk
from hpc_astrossl.report.base.runs import read_study
from hpc_astrossl.report.controls.section import controls


def stored(run, sha256, date="2026-01-01"):
    """Keys of a result of a run on the store with that manifest."""
    base = result(run)
    return {"store": {**base["store"], "sha256": sha256}, "provenance": {**base["provenance"], "date": date}}


def lying(workdir, words="a manifest"):
    """A store of which the manifest alone matters, and its SHA-256."""
    path = workdir / "stores/SG.zarr/images/manifest.json"
    path.parent.mkdir(parents=True)
    path.write_text(words)
    return hashlib.sha256(words.encode()).hexdigest()


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "runs/study"


def seeds(study):
    return [run.seed for run in study.runs]


def test_a_cell_takes_the_runs_of_the_store_of_today_and_names_the_others(tmp_path, folder):
    now = lying(tmp_path)
    for seed, sha256 in enumerate([now, "0" * 64, now]):
        run = spec(seed=seed)
        write_run(folder, run, **stored(run, sha256, date=f"2026-01-0{seed + 1}"))
    study = read_study(folder)
    assert seeds(study) == [0, 2]
    (problem,) = study.problems
    assert problem.name == spec(seed=1).run_id
    assert (
        f"out of date: it was trained on another store than lies at stores/SG.zarr (SHA-256 {'0' * 12}"
        in problem.reason
    )
    assert "are the same by SHA-256" in sameness(study.runs)


def test_where_the_store_is_gone_those_of_the_newest_are_taken(folder):
    for seed, sha256 in enumerate(["a" * 64, "b" * 64, "b" * 64]):
        run = spec(seed=seed)
        write_run(folder, run, **stored(run, sha256, date=f"2026-01-0{seed + 1}"))
    study = read_study(folder)
    assert seeds(study) == [1, 2]
    assert "another one than of newer runs" in study.problems[0].reason


def test_runs_on_other_weights_of_the_same_pretext_run_are_not_averaged(folder):
    for seed, sha256 in enumerate(["a" * 64, "b" * 64]):
        run = spec(scheme="features-magnitudes", seed=seed)
        more = stored(run, "c" * 64, date=f"2026-01-0{seed + 1}")
        write_run(folder, run, weights={"name": run.weights, "sha256": sha256}, **more)
    study = read_study(folder)
    assert seeds(study) == [1]
    assert "its weights run:pretext" in study.problems[0].reason


def test_runs_of_before_are_taken_alone_and_said_to_be_so(folder):
    for seed in (0, 1):
        write_run(folder, spec(seed=seed))
    study = read_study(folder)
    assert seeds(study) == [0, 1]
    assert not study.problems
    assert f"2 were {UNKNOWN}" in sameness(study.runs)
    newer = spec(seed=2)
    write_run(folder, newer, **stored(newer, "a" * 64))
    study = read_study(folder)
    assert seeds(study) == [2]  # whether the others belong to it is not known
    assert all(UNKNOWN in problem.reason for problem in study.problems)


def test_a_leakage_check_of_before_is_certified_by_nobody(folder):
    """Its run said 0 of whatever store lay there when it began."""
    told = [{"store": "pre", "run": "p", "compared": 48, "shared": 0, "radius": 1.0}]
    before = spec(seed=0)
    write_run(folder, before, leakage=told)
    assert leaks(folder) == [None]
    newer = spec(seed=1)
    write_run(folder, newer, leakage=told, **stored(newer, "a" * 64))
    assert leaks(folder) == [0]


def leaks(folder):
    """Column "shared" of the report's table."""
    (table,) = [one for one in controls(Desk.of(read_study(folder), folder)).tables if one.name == "leakage"]
    return [row[table.columns.index("shared")].value for row in table.rows]
