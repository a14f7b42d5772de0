"""A labelled set shares no object with what the weights have seen: by what the run kept, through its whole lineage."""

import json
import shutil
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
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

pytestmark = pytest.mark.usefixtures("narrow")

PRETEXT = make_run(HEAD, set="pretext", target="magnitudes", store="pre")


def run_id(run):
    return names.resolved(run).run_id


def on(run, **changes):
    """A run that begins with another's weights."""
    return make_run(HEAD, weights=f"run:{run_id(run)}", **changes)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The store "pre" and the pretext run on it."""
    workdir = tmp_path_factory.mktemp("trained")
    make_store(workdir / "pre", prefix="P", ra=100)
    train(PRETEXT, workdir)
    return workdir


@pytest.fixture
def workdir(trained, tmp_path):
    """A copy of what was trained, to be changed."""
    return shutil.copytree(trained, tmp_path, dirs_exist_ok=True)


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


class TestExported:
    """Weights that went out and came back under a name of the cache."""

    NAMED = make_run(HEAD, weights="mine")

    @pytest.fixture(autouse=True)
    def out_and_back(self, workdir, tmp_path, monkeypatch):
        monkeypatch.setenv("ASTROSSL_CACHE", str(tmp_path / "cache"))
        self.workdir, self.run = workdir, run_path(workdir, PRETEXT.experiment, run_id(PRETEXT))
        self.file = tmp_path / "out.safetensors"

    def export(self, suffix=".safetensors", *options):
        self.file = self.file.with_suffix(suffix)
        assert main(["weights", "export", str(self.run), str(self.file)]) == EXIT_DONE
        assert main(["weights", "add", str(self.file), "--name", "mine", *options]) == EXIT_DONE

    @pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
    @pytest.mark.parametrize(("prefix", "ra", "what"), [("P", 10, "48 object ids"), ("T", 100, "48 places on the sky")])
    def test_they_leak_all_the_same(self, suffix, prefix, ra, what):
        self.export(suffix)
        shutil.rmtree(self.run)  # elsewhere there is no such run, and no such store
        shutil.rmtree(self.workdir / "pre")
        make_store(self.workdir / "toy", prefix=prefix, ra=ra)
        with pytest.raises(InputError, match=f"shares objects with pre, on which run {run_id(PRETEXT)} was .*{what}"):
            train(self.NAMED, self.workdir)

    def test_plan_looks_too(self, capsys):
        self.export()
        make_store(self.workdir / "toy", prefix="P")
        recipe = RECIPE.replace("features-magnitudes", "features-imagenet").replace("pretext: {store: pre}\n", "")
        (self.workdir / "toys.yaml").write_text(recipe)
        for name in ("mine.safetensors", "mine.safetensors.seen.npz"):
            kept = self.workdir / "cache/weights" / name
            kept.rename(kept.with_name(name.replace("mine", "imagenet-vgg16")))
        assert main(["plan", str(self.workdir / "toys.yaml"), "--workdir", str(self.workdir)]) == EXIT_INPUT
        assert "shares objects with pre" in capsys.readouterr().err

    def test_others_are_taken_and_the_result_names_the_run(self):
        self.export()
        make_store(self.workdir / "toy")
        result = train(self.NAMED, self.workdir)
        assert [one["run"] for one in result["lineage"]] == [run_id(PRETEXT)]
        assert [(one["store"], one["shared"]) for one in result["leakage"]] == [("pre", 0)]
        later = train(make_run(HEAD, weights=f"run:{result['run_id']}", seed=3, store="toy2"), self._second("T2"))
        assert [one["run"] for one in later["lineage"]] == [result["run_id"], run_id(PRETEXT)]
        with pytest.raises(InputError, match="shares objects with pre"):
            train(make_run(HEAD, weights=f"run:{result['run_id']}", seed=4, store="toy3"), self._second("P", "toy3"))
        (self.workdir / "cache/weights/mine.safetensors").unlink()  # what it has seen cannot be told any more
        later = train(make_run(HEAD, weights=f"run:{result['run_id']}", seed=5, store="toy3"), self.workdir)
        assert [one["shared"] for one in later["leakage"]] == [0, None]

    def _second(self, prefix, name="toy2"):
        make_store(self.workdir / name, prefix=prefix, ra=200)
        return self.workdir

    @pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
    def test_without_what_they_have_seen_they_are_refused(self, suffix, capsys):
        self.export(suffix)
        self.file.with_name(self.file.name + ".seen.npz").unlink()
        assert main(["weights", "add", str(self.file), "--name", "mine"]) == EXIT_INPUT
        assert f"holds the weights of run {run_id(PRETEXT)}" in capsys.readouterr().err
        assert main(["weights", "add", str(self.file), "--name", "mine", "--anyway"]) == EXIT_DONE
        make_store(self.workdir / "toy")
        assert [one["shared"] for one in train(self.NAMED, self.workdir)["leakage"]] == [None]

    def test_what_is_of_other_weights_is_refused(self, capsys):
        self.export()
        seen = self.workdir / "cache/weights/mine.safetensors.seen.npz"
        kept = seen.read_bytes()
        other = {name: tensor + 1 for name, tensor in load_file(self.file).items()}
        save_file(other, self.file)  # no word of a run
        assert main(["weights", "add", str(self.file), "--name", "mine"]) == EXIT_INPUT  # FILE.seen.npz is of others
        assert "tells of other weights" in capsys.readouterr().err
        self.file.with_name(self.file.name + ".seen.npz").unlink()
        assert main(["weights", "add", str(self.file), "--name", "mine"]) == EXIT_DONE
        assert not seen.exists()
        seen.write_bytes(kept)
        make_store(self.workdir / "toy")
        with pytest.raises(InputError, match="tells of other weights"):
            train(self.NAMED, self.workdir)
