"""What a result was made from stands in it, and is held against what lies there now on every use."""

import dataclasses
import json
import shutil
import zipfile

import pytest
from safetensors.numpy import load_file
from training_toys import HEAD, make_run, make_store, replace_weights

from hpc_astrossl import config, identity, names, provenance
from hpc_astrossl.cli import main
from hpc_astrossl.errors import EXIT_DONE, EXIT_INPUT, InputError
from hpc_astrossl.store import embedding
from hpc_astrossl.training import apply, keeper
from hpc_astrossl.training.export import export
from hpc_astrossl.training.folder import run_path
from hpc_astrossl.training.run import train

pytestmark = pytest.mark.usefixtures("narrow")

PRETEXT = make_run(HEAD, set="pretext", target="magnitudes", store="pre")
PRETEXT_ID = names.resolved(PRETEXT).run_id
LATER = make_run(HEAD, weights=f"run:{PRETEXT_ID}")


def folder(workdir, run):
    return run_path(workdir, run.experiment, names.resolved(run).run_id)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A pretext run on the store "pre", a run on its convolutions and the store "toy", and an embedding by that."""
    workdir = tmp_path_factory.mktemp("study")
    make_store(workdir / "pre", prefix="P", ra=100)
    make_store(workdir / "toy")
    train(PRETEXT, workdir)
    train(LATER, workdir)
    command = ["embed", str(folder(workdir, LATER)), str(workdir / "toy"), "--out", str(workdir / "e.zarr")]
    assert main(command) == EXIT_DONE
    return workdir


@pytest.fixture
def workdir(study, tmp_path):
    """A copy of the study, to be changed; its embedding is of the copy."""
    place = shutil.copytree(study, tmp_path / "work")
    attributes = json.loads((place / "e.zarr/zarr.json").read_text())
    text = json.dumps(attributes).replace(str(study.resolve()), str(place.resolve()))
    (place / "e.zarr/zarr.json").write_text(text)
    return place


def sha(path):
    return provenance.sha256(path)


def remade(path, **changes):
    """The store made anew of other objects."""
    shutil.rmtree(path)
    return make_store(path, seed=5, **changes)


def trained_again(run):
    """A finished run as if it had been trained again, to other weights."""
    tensors = load_file(run / "weights.safetensors")
    replace_weights(run, {**tensors, "features.0.bias": tensors["features.0.bias"] + 1})


def result_of(run):
    return json.loads((run / "result.json").read_text())


def test_a_result_tells_its_store_and_all_weights_it_goes_back_to(study):
    pretext, later = folder(study, PRETEXT), result_of(folder(study, LATER))
    assert later["store"]["sha256"] == sha(study / "toy/images/manifest.json")
    assert later["weights"] == {"name": f"run:{PRETEXT_ID}", "sha256": sha(pretext / "weights.safetensors")}
    assert later["lineage"] == [
        {
            "run": PRETEXT_ID,
            "weights_sha256": sha(pretext / "weights.safetensors"),
            "store": "pre",
            "store_sha256": sha(study / "pre/images/manifest.json"),
            "begun_from": {"name": None, "sha256": None},
        }
    ]


@pytest.mark.parametrize("suffix", ["csv", "npz", "parquet"])
def test_tables_keep_what_they_were_made_from(study, tmp_path, suffix):
    if suffix == "parquet":
        parquet = pytest.importorskip("pyarrow.parquet")
    run, out = folder(study, LATER), tmp_path / f"p.{suffix}"
    assert apply.predict(apply.Job(run=run, source=study / "toy", outs=[out])).objects == 48
    if suffix == "csv":
        about = json.loads((tmp_path / "p.csv.json").read_text())
    elif suffix == "npz":
        about = json.loads(zipfile.ZipFile(out).comment)
    else:
        about = json.loads(parquet.read_schema(out).metadata[b"about"])
    assert about["weights_sha256"] == sha(run / "weights.safetensors")
    assert about["store_sha256"] == about["trained_on"] == sha(study / "toy/images/manifest.json")


def uses(workdir):
    """Every use of the later run, by name."""
    run, toy, out = folder(workdir, LATER), workdir / "toy", workdir / "out.csv"
    again = dataclasses.replace(LATER, seed=1, weights=f"run:{names.resolved(LATER).run_id}")
    return {
        "predict": lambda: main(["predict", str(run), str(toy), "--out", str(out)]),
        "embed": lambda: main(["embed", str(run), str(toy), "--out", str(workdir / "out.npz")]),
        "export": lambda: main(["weights", "export", str(run), str(workdir / "out.safetensors")]),
        "weights": lambda: train_command(workdir, again),
        "explore": lambda: main(["explore", str(workdir / "e.zarr"), "--out", str(workdir / "explored")]),
    }


def train_command(workdir, run):
    (workdir / "again.yaml").write_text(config.dump(run))
    return main(["train", str(workdir / "again.yaml"), "--workdir", str(workdir)])


@pytest.mark.parametrize("use", ["predict", "embed", "export", "weights", "explore"])
def test_a_store_made_anew_is_named_by_every_use(workdir, capsys, use):
    then = sha(workdir / "toy/images/manifest.json")
    remade(workdir / "toy")
    now = sha(workdir / "toy/images/manifest.json")
    assert uses(workdir)[use]() == EXIT_INPUT
    told = capsys.readouterr().err
    assert then[:12] in told
    assert now[:12] in told
    assert "again" in told  # the remedy
    assert not list(workdir.glob("out.*"))


@pytest.mark.parametrize("use", ["predict", "embed", "export", "weights"])
def test_first_weights_that_are_others_now_are_named_by_every_use(workdir, capsys, use):
    trained_again(folder(workdir, PRETEXT))
    assert uses(workdir)[use]() == EXIT_INPUT
    assert f"began from other weights than run {PRETEXT_ID} has now" in capsys.readouterr().err


def test_so_is_a_store_behind_them(workdir, capsys):
    remade(workdir / "pre", prefix="P", ra=100)
    assert uses(workdir)["predict"]() == EXIT_INPUT
    words = f"began from run {PRETEXT_ID}, which was trained on another store than lies at pre"
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("use", ["predict", "embed", "export", "explore"])
def test_anyway_uses_the_run_as_it_is(workdir, use):
    remade(workdir / "toy")
    again = {"predict": 2, "embed": 2, "export": 2, "explore": 2}
    assert again[use] == uses(workdir)[use]()
    calls = {
        "predict": ["predict", str(folder(workdir, LATER)), str(workdir / "toy"), "--out", str(workdir / "out.csv")],
        "embed": ["embed", str(folder(workdir, LATER)), str(workdir / "toy"), "--out", str(workdir / "out.npz")],
        "export": ["weights", "export", str(folder(workdir, LATER)), str(workdir / "out.safetensors")],
        "explore": ["explore", str(workdir / "e.zarr"), "--out", str(workdir / "explored")],
    }
    assert main([*calls[use], "--anyway"]) == EXIT_DONE


def test_an_embedding_of_a_run_that_was_trained_again_is_named(workdir, capsys):
    trained_again(folder(workdir, LATER))
    assert uses(workdir)["explore"]() == EXIT_INPUT
    assert "was made by other weights than run" in capsys.readouterr().err


def test_an_edited_configuration_of_a_finished_run_is_refused(workdir, capsys):
    path = folder(workdir, LATER) / "config.yaml"
    path.write_text(path.read_text().replace("scaling: unit", "scaling: none"))
    calls = [uses(workdir)[use] for use in ("predict", "embed", "export", "weights")]
    for call in [*calls, lambda: main(["train", str(path), "--workdir", str(workdir)])]:
        assert call() == EXIT_INPUT
        assert "config.yaml: was edited after the run" in capsys.readouterr().err


@pytest.mark.parametrize("key", ["class_names", "bands", "metrics", "target"])
def test_an_edited_result_is_refused_by_every_use(workdir, capsys, key):
    """Class names the other way round would turn every answer into the other one."""
    path = folder(workdir, LATER) / "result.json"
    result = json.loads(path.read_text())
    edits = {"class_names": result["class_names"][::-1], "bands": ["u"], "metrics": {}, "target": "magnitudes"}
    path.write_text(json.dumps(result | {key: edits[key]}))
    calls = [uses(workdir)[use] for use in ("predict", "embed", "export", "weights")]
    for call in [*calls, lambda: main(["train", str(path.with_name("config.yaml")), "--workdir", str(workdir)])]:
        assert call() == EXIT_INPUT
        assert "has a result.json that was edited after the run" in capsys.readouterr().err


def test_a_copied_folder_is_not_another_run(workdir, capsys):
    """Seed 0 copied to the name of seed 1 would be averaged with itself."""
    other = dataclasses.replace(LATER, seed=1)
    shutil.copytree(folder(workdir, LATER), folder(workdir, other))
    with pytest.raises(
        InputError, match=f"holds the result of run {names.resolved(LATER).run_id}: its folder was copied"
    ):
        train(other, workdir)
    with pytest.raises(InputError, match="its folder was copied or renamed; train it again"):
        train(make_run(HEAD, weights=f"run:{names.resolved(other).run_id}"), workdir)
    elsewhere = shutil.copytree(folder(workdir, LATER), workdir / "best")  # to be used, it may be called anything
    assert main(["predict", str(elsewhere), str(workdir / "toy"), "--out", str(workdir / "p.csv")]) == EXIT_DONE


def test_what_decides_nothing_may_be_edited(workdir):
    path = folder(workdir, LATER) / "config.yaml"
    path.write_text(path.read_text().replace("threads: 1", "threads: 2"))
    assert uses(workdir)["predict"]() == EXIT_DONE


def test_parts_of_a_run_that_was_trained_again_between_tasks_are_not_mixed(workdir):
    work = apply.Job(run=folder(workdir, LATER), source=workdir / "toy", outs=[workdir / "f.npz"], part_rows=24)
    assert apply.embed(dataclasses.replace(work, task=(0, 2))).objects is None
    trained_again(folder(workdir, LATER))
    with pytest.raises(InputError, match="holds parts of other work"):
        apply.embed(dataclasses.replace(work, task=(1, 2)))


def test_a_table_of_another_run_with_parts_left_beside_it_is_not_taken_for_this_one(workdir, monkeypatch):
    """Killed while it removed its parts, of one run; then another run is asked to write the same file."""
    out = workdir / "f.npz"
    other = dataclasses.replace(LATER, seed=1)
    train(other, workdir)
    with monkeypatch.context() as patch:
        patch.setattr("hpc_astrossl.training.parts.Parts.remove", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            apply.embed(apply.Job(run=folder(workdir, LATER), source=workdir / "toy", outs=[out]))
    with pytest.raises(InputError, match="is there already, and was made from something else"):
        apply.embed(apply.Job(run=folder(workdir, other), source=workdir / "toy", outs=[out]))
    assert apply.embed(apply.Job(run=folder(workdir, LATER), source=workdir / "toy", outs=[out])).objects == 48


def interrupted(workdir, run, monkeypatch, after=2):
    """Begin a run, and end it after so many epochs, each with a checkpoint."""
    count = []

    def epoch(self, record, better):
        original(self, record, better)
        self.save(None)
        count.append(record)
        if len(count) == after:
            raise KeyboardInterrupt

    original = keeper.Keeper.epoch
    with monkeypatch.context() as patch:
        patch.setattr(keeper.Keeper, "epoch", epoch)
        with pytest.raises(KeyboardInterrupt):
            train(run, workdir)


def test_a_run_does_not_go_on_from_other_first_weights(workdir, monkeypatch):
    run = dataclasses.replace(LATER, seed=3)
    interrupted(workdir, run, monkeypatch)
    trained_again(folder(workdir, PRETEXT))
    with pytest.raises(InputError, match=rf"weights run:{PRETEXT_ID}: are others since .* was begun \(SHA-256 "):
        train(run, workdir)


def test_a_checkpoint_of_before_goes_on_and_its_result_is_marked(workdir, monkeypatch, capsys):
    run = dataclasses.replace(LATER, seed=3)
    with monkeypatch.context() as patch:
        patch.setattr(keeper.Keeper, "save", saved_as_before(keeper.Keeper.save))
        interrupted(workdir, run, patch)
    result = train(run, workdir)
    assert result["weights"]["sha256"] is None
    assert identity.UNKNOWN in capsys.readouterr().out
    assert not identity.Made.of(result).known


def saved_as_before(save):
    """``Keeper.save`` as version 0.1.0 had it: the checkpoint does not tell the first weights."""

    def older(self, place):
        keep = self.training.checkpoints.save
        self.training.checkpoints.save = lambda at, state: keep(
            at, {key: value for key, value in state.items() if key != "weights"}
        )
        try:
            save(self, place)
        finally:
            self.training.checkpoints.save = keep

    return older


def made_before(run):
    """A run folder as version 0.1.0 left it."""
    result = result_of(run)
    del result["store"]["sha256"], result["lineage"], result["files"]["objects.npz"]
    (run / "objects.npz").unlink()
    (run / "result.json").write_text(json.dumps(result))


def test_runs_of_before_are_read_and_marked_and_never_certified(workdir, capsys):
    for run in (PRETEXT, LATER):
        made_before(folder(workdir, run))
    assert uses(workdir)["predict"]() == EXIT_DONE
    assert identity.UNKNOWN in capsys.readouterr().err
    assert json.loads((workdir / "out.csv.json").read_text())["trained_on"] == identity.UNKNOWN
    card = export(folder(workdir, LATER), workdir / "w.pth").read_text()
    assert f"manifest SHA-256 {identity.UNKNOWN}" in card
    result = train(dataclasses.replace(LATER, seed=1), workdir)
    assert [one["shared"] for one in result["leakage"]] == [None]
    assert result["leakage"][0]["why"] == identity.UNKNOWN


def test_an_embedding_of_before_is_explored_and_marked(study, tmp_path, capsys):
    found = embedding.read(study / "e.zarr")
    part = {"object_id": found.object_id, "features": found.features, "label": found.label}
    about = {"run": "r", "store": str(study / "toy"), "contents": found.about["store_sha256"], "class_names": []}
    embedding.write(tmp_path / "e.zarr", [part], rows=48, about=about)
    assert main(["explore", str(tmp_path / "e.zarr"), "--out", str(tmp_path / "x")]) == EXIT_DONE
    assert identity.UNKNOWN in capsys.readouterr().out
