"""A labelled set shares no object with what the weights have seen: by what the run kept, through its whole lineage."""

import json
import shutil
import sys

import numpy as np
import pytest
from training_toys import BRIEF, HEAD, make_run, make_store

from hpc_astrossl import config, names
from hpc_astrossl.cli import main
from hpc_astrossl.errors import EXIT_DONE, EXIT_INPUT, InputError
from hpc_astrossl.launch import compared
from hpc_astrossl.launch.grid import expand
from hpc_astrossl.launch.ledger import Ledger
from hpc_astrossl.specs.jobs import JobsSpec
from hpc_astrossl.training.folder import run_path
from hpc_astrossl.training.run import train

PRETEXT = make_run(HEAD, set="pretext", target="magnitudes", store="pre")


def run_id(run):
    return names.resolved(run).run_id


def on(run, **changes):
    """A run that begins with another's weights."""
    return make_run(HEAD, weights=f"run:{run_id(run)}", **changes)


@pytest.fixture
def workdir(tmp_path):
    make_store(tmp_path / "pre", prefix="P", ra=100)
    train(PRETEXT, tmp_path)
    return tmp_path


def test_a_run_keeps_the_objects_it_has_seen(workdir):
    folder = run_path(workdir, "toys", run_id(PRETEXT))
    kept = np.load(folder / "objects.npz")
    assert sorted(kept["object_id"]) == [f"P{number:04d}" for number in range(48)]
    assert kept["ra"].tolist() == [100.0 + number for number in range(48)]
    assert "objects.npz" in json.loads((folder / "result.json").read_text())["files"]


def test_a_store_that_lies_there_no_more_leaks_all_the_same(workdir):
    """What the run kept is compared, not what lies at the path today."""
    shutil.rmtree(workdir / "pre")
    make_store(workdir / "toy", prefix="P")  # by id
    with pytest.raises(InputError, match=r"toy: shares objects with pre, .*48 object ids, first P0000.*disjoint_from"):
        train(on(PRETEXT), workdir)
    shutil.rmtree(workdir / "toy")
    make_store(workdir / "toy", ra=147.0)  # by place: one
    with pytest.raises(InputError, match=r"1 places on the sky within 1″, first P0047 and T0000"):
        train(on(PRETEXT), workdir)


def test_a_pretext_store_made_anew_without_training_again_is_refused(workdir):
    make_store(workdir / "toy", prefix="P")
    shutil.rmtree(workdir / "pre")
    make_store(workdir / "pre", prefix="Q", ra=200)  # the objects are left out, and the run is the old one
    with pytest.raises(InputError, match=r"was trained on another store than lies at pre"):
        train(on(PRETEXT), workdir)


def test_the_whole_lineage_counts(workdir):
    make_store(workdir / "between", prefix="B", ra=200)
    between = on(PRETEXT, store="between")
    train(between, workdir)
    make_store(workdir / "toy", prefix="P")
    with pytest.raises(InputError, match=f"shares objects with pre, on which run {run_id(PRETEXT)}"):
        train(on(between), workdir)
    shutil.rmtree(workdir / "toy")
    make_store(workdir / "toy")
    told = train(on(between), workdir)["leakage"]
    assert [(one["run"], one["compared"], one["shared"]) for one in told] == [
        (run_id(between), 48, 0),
        (run_id(PRETEXT), 48, 0),
    ]


def test_objects_that_are_damaged_are_named(workdir):
    make_store(workdir / "toy")
    path = run_path(workdir, "toys", run_id(PRETEXT)) / "objects.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"objects\.npz: damaged or not there .* train that run again"):
        train(on(PRETEXT), workdir)


RECIPE = f"""\
experiment: toys
pretext: {{store: pre}}
sets:
  toy: {{store: toy}}
schemes: [features-magnitudes]
seeds: [0]
report: false
{BRIEF}"""


@pytest.mark.parametrize("command", [["plan"], ["submit", "--cluster", "local"]])
@pytest.mark.parametrize(("prefix", "ra", "what"), [("P", 10, "48 object ids"), ("T", 100, "48 places on the sky")])
def test_plan_and_submit_look_before_anything_is_trained(tmp_path, capsys, command, prefix, ra, what):
    make_store(tmp_path / "pre", prefix="P", ra=100)
    make_store(tmp_path / "toy", prefix=prefix, ra=ra)
    (tmp_path / "toys.yaml").write_text(RECIPE)
    verb, *options = command
    assert main([verb, str(tmp_path / "toys.yaml"), "--workdir", str(tmp_path), *options]) == EXIT_INPUT
    told = capsys.readouterr().err
    assert what in told
    assert "disjoint_from" in told
    assert not (tmp_path / "runs").exists()


def test_they_are_content_with_stores_that_share_nothing(tmp_path, capsys):
    make_store(tmp_path / "pre", prefix="P", ra=100)
    make_store(tmp_path / "toy")
    (tmp_path / "toys.yaml").write_text(RECIPE)
    assert main(["plan", str(tmp_path / "toys.yaml"), "--workdir", str(tmp_path)]) == EXIT_DONE
    capsys.readouterr()


def test_where_numpy_is_not_it_is_said(tmp_path, capsys, monkeypatch):
    make_store(tmp_path / "pre", prefix="P", ra=100)
    make_store(tmp_path / "toy", prefix="P")
    (tmp_path / "toys.yaml").write_text(RECIPE)
    monkeypatch.setitem(sys.modules, "hpc_astrossl.training.leakage", None)
    assert main(["plan", str(tmp_path / "toys.yaml"), "--workdir", str(tmp_path)]) == EXIT_DONE
    assert "are looked for before training" in capsys.readouterr().err


def test_what_was_compared_once_is_known_by_contents(tmp_path):
    make_store(tmp_path / "pre", prefix="P", ra=100)
    make_store(tmp_path / "toy")
    (tmp_path / "toys.yaml").write_text(RECIPE)
    plan = expand(config.load(tmp_path / "toys.yaml", JobsSpec))
    runs, ledger = {run.run_id for run in plan.runs}, Ledger(tmp_path, "toys")
    ledger.folder.mkdir(parents=True)
    found = compared.pairs(plan.runs, tmp_path, runs, set())
    assert [(pair.earlier.data.store, pair.run.data.store) for pair in found] == [("pre", "toy")]
    assert compared.pairs(plan.runs, tmp_path, runs, {"toy"}) == []  # it is to be made
    assert compared.Compared(ledger).open(found) == found
    compared.Compared(ledger).note(found)
    assert compared.Compared(ledger).open(found) == []
    shutil.rmtree(tmp_path / "toy")
    make_store(tmp_path / "toy", prefix="P")  # made anew, with the pretext's objects
    assert len(compared.Compared(ledger).open(compared.pairs(plan.runs, tmp_path, runs, set()))) == 1
    assert main(["plan", str(tmp_path / "toys.yaml"), "--workdir", str(tmp_path)]) == EXIT_INPUT
