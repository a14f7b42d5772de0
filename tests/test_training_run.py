"""Whole runs in this process: the run folder, determinism, phases, early stopping, what is refused before it begins."""

import dataclasses
import json

import numpy as np
import pytest
from safetensors.numpy import load_file
from training_toys import ALL, BANDS, HEAD, make_run, make_store, replace_weights

from hpc_astrossl import config, names
from hpc_astrossl.engines import open_engine
from hpc_astrossl.errors import InputError, TrainingError
from hpc_astrossl.nets import vgg
from hpc_astrossl.specs.run import RunSpec, TrainingSpec
from hpc_astrossl.store import open_store
from hpc_astrossl.training import progress
from hpc_astrossl.training.folder import EVENTS, RunFolder, run_path
from hpc_astrossl.training.run import train

pytestmark = pytest.mark.usefixtures("narrow")

LONG_HEAD = dataclasses.replace(HEAD, learning_rate=3e-3, epochs=25)


@pytest.fixture
def workdir(tmp_path):
    make_store(tmp_path / "toy")
    return tmp_path


def folder(workdir, run):
    return run_path(workdir, run.experiment, names.resolved(run).run_id)


def metrics(path):
    return [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.usefixtures("whole")
def test_a_run_learns_and_leaves_the_folder_that_the_contract_describes(workdir):
    run = make_run(LONG_HEAD, train_size=24)
    result = train(run, workdir)
    path = folder(workdir, run)
    assert sorted(p.name for p in path.iterdir()) == [
        ".lock", "config.yaml", "cutouts.npz", EVENTS, "features.npz", "log", "metrics.jsonl", "objects.npz",
        "predictions.npz", "result.json", "weights.safetensors",
    ]  # fmt: skip
    assert json.loads((path / "result.json").read_text()) == result
    assert result["metrics"]["test"]["accuracy"] > 0.9
    assert result["objects"] == {"train": 24, "validation": 8, "test": 8}
    assert result["majority_share"] == {"validation": 0.5, "test": 0.5}
    assert (result["collapsed"], result["stopped"], result["epochs"]) == (False, "epochs", 25)
    assert result["engine"]["name"] == "single"
    assert config.load(path / "config.yaml", RunSpec) == names.resolved(run)
    assert (path / "log").read_text().count("  epoch ") == 25

    lines = metrics(path)
    assert [line["epoch"] for line in lines] == list(range(1, 26))
    assert set(lines[0]) == {
        "phase", "epoch", "train_loss", "validation_loss", "learning_rate", "seconds", "samples_per_second",
        "data_wait", "validation_accuracy",
    }  # fmt: skip

    table, predictions = open_store(workdir / "toy").table, np.load(path / "predictions.npz")
    order = np.searchsorted(table["object_id"], predictions["object_id"])
    assert (table["label"][order] == predictions["truth"]).all()
    assert predictions["split"].tolist() == ["validation"] * 8 + ["test"] * 8
    assert predictions["output"].sum(axis=1) == pytest.approx(np.ones(16))
    right = predictions["output"].argmax(axis=1) == predictions["truth"]
    assert right[8:].mean() == result["metrics"]["test"]["accuracy"]
    features, cutouts = np.load(path / "features.npz"), np.load(path / "cutouts.npz")
    assert (features["features"].shape, features["features"].dtype) == ((8, vgg.CHANNELS), np.float32)
    assert (cutouts["images"] == open_store(workdir / "toy").images(order[:8])).all()


@pytest.mark.parametrize("slow", [True, False])
def test_a_run_whose_precision_the_processor_emulates_says_so(workdir, monkeypatch, slow):
    monkeypatch.setattr(progress, "emulated", lambda precision, device: slow)
    run = make_run(dataclasses.replace(HEAD, epochs=1), train_size=12)
    train(run, workdir)
    first = (folder(workdir, run) / "log").read_text().splitlines()[0]
    assert first.endswith("model.precision=float32 is many times faster here") is slow


def test_a_finished_run_is_not_touched(workdir, capsys):
    run = make_run(HEAD)
    result, path = train(run, workdir), folder(workdir, run)
    before = {p: p.stat().st_mtime_ns for p in path.iterdir()}
    capsys.readouterr()
    assert train(run, workdir) == result
    assert "this run is done already" in capsys.readouterr().out
    assert {p: p.stat().st_mtime_ns for p in path.iterdir()} == before


@pytest.mark.usefixtures("whole")
def test_the_same_configuration_gives_the_same_bits(workdir, tmp_path_factory):
    run, other = make_run(HEAD, ALL), tmp_path_factory.mktemp("other")
    make_store(other / "toy")
    train(run, workdir)
    train(run, other)
    first, again = (folder(place, run) / "weights.safetensors" for place in (workdir, other))
    assert first.read_bytes() == again.read_bytes()
    assert [line["epoch"] for line in metrics(first.parent)] == [1, 2, 3, 4, 5]
    assert [line["phase"] for line in metrics(first.parent)] == [0, 0, 0, 1, 1]


def test_a_head_phase_leaves_the_convolutions_and_pushes_images_through_once(workdir, monkeypatch):
    from hpc_astrossl.nets.vgg import VGG16, build

    seen = []
    encode = VGG16.encode
    monkeypatch.setattr(VGG16, "encode", lambda self, images: (seen.append(len(images)), encode(self, images))[1])
    run = make_run(HEAD)
    train(run, workdir)
    assert seen == [32, 32, 32]  # train, validation, test: batches are always filled up
    fresh = build(run.model, shape=(32, 32, 3), outputs=2, seed=0).state_dict()
    saved = load_file(folder(workdir, run) / "weights.safetensors")
    assert all((saved[name] == fresh[name].numpy()).all() for name in saved if name.startswith("features."))
    assert (saved["head.hidden.weight"] != fresh["head.hidden.weight"].numpy()).any()


def test_max_norm_holds_in_the_weights_of_a_run(workdir):
    run = make_run(LONG_HEAD, max_norm=0.5)
    train(run, workdir)
    norms = np.linalg.norm(load_file(folder(workdir, run) / "weights.safetensors")["head.hidden.weight"], axis=1)
    assert norms.max() == pytest.approx(0.5, rel=1e-5)


def test_patience_ends_a_phase_and_the_best_weights_are_kept(workdir):
    hot = dataclasses.replace(HEAD, learning_rate=0.3, epochs=60)
    run = make_run(hot, training=TrainingSpec(patience=3, plateau_patience=None))
    result = train(run, workdir)
    losses = [line["validation_loss"] for line in metrics(folder(workdir, run))]
    assert result["stopped"] == "patience"
    assert result["best_epoch"] == np.argmin(losses) + 1 == result["epochs"] - 3
    assert result["metrics"]["validation"]["loss"] == pytest.approx(min(losses), rel=1e-5)


def test_magnitudes_are_learnt_from_their_mean_on(workdir):
    run = make_run(LONG_HEAD, target="magnitudes")
    result = train(run, workdir)
    lines = metrics(folder(workdir, run))
    assert lines[0]["validation_mae"] < 0.1  # 3 magnitudes: an output that starts at 0 would be off by 0.6
    assert result["metrics"]["test"]["mae_magnitudes"] < 1.2
    assert list(result["metrics"]["test"]["mae_by_band"]) == list(BANDS)
    assert "majority_share" not in result
    truth = np.load(folder(workdir, run) / "predictions.npz")["truth"]
    assert truth.min() > 10  # in magnitudes


def test_a_run_begins_from_the_convolutions_of_an_earlier_one(workdir):
    earlier = make_run(ALL, set="pretext", target="magnitudes")
    train(earlier, workdir)
    make_store(workdir / "other", seed=1, prefix="L", ra=100)
    run_id = names.resolved(earlier).run_id
    later = make_run(HEAD, store="other", weights=f"run:{run_id}")
    result = train(later, workdir)
    before, after = (load_file(folder(workdir, run) / "weights.safetensors") for run in (earlier, later))
    assert (before["features.0.weight"] == after["features.0.weight"]).all()
    assert result["weights"]["name"] == f"run:{run_id}"
    assert len(result["weights"]["sha256"]) == 64


@pytest.mark.parametrize(
    ("prefix", "ra", "what"),
    [("T", 100, "48 object ids, first T0000"), ("L", 10, "48 places on the sky within 1″, first T0000 and L0000")],
)
def test_objects_of_the_pretext_store_may_not_be_in_the_labelled_one(workdir, prefix, ra, what):
    earlier = make_run(HEAD, set="pretext", target="magnitudes")
    train(earlier, workdir)
    make_store(workdir / "other", prefix=prefix, ra=ra)
    run = make_run(HEAD, store="other", weights=f"run:{names.resolved(earlier).run_id}")
    with pytest.raises(InputError, match=f"shares objects with .*{what}"):
        train(run, workdir)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"store": "none"}, "none: no such store; make it with astrossl preprocess"),
        ({"train_size": 33}, "train_size 33 is more than the 32 training objects"),
        ({"weights": "imagenet-vgg16"}, r"run astrossl weights add FILE, or with internet astrossl weights fetch imag"),
        ({"weights": "mine"}, r"weights 'mine': there is no .*mine.safetensors; run astrossl weights add FILE$"),
        ({"weights": "run:gone"}, r"weights run:gone: .*gone is no finished run's folder; train it first"),
        (
            {"target": "classs"},
            "unknown target 'classs'; allowed: byol, classes, clusters, magnitudes, .*; did you mean 'classes'",
        ),
    ],
)
def test_what_is_wrong_is_told_before_anything_is_written(workdir, monkeypatch, no_bundled_weights, changes, message):
    monkeypatch.setenv("ASTROSSL_CACHE", str(workdir / "cache"))
    with pytest.raises(InputError, match=message):
        train(make_run(HEAD, **changes), workdir)
    assert not (workdir / "runs").exists()


def test_two_processes_do_not_train_the_same_run(workdir):
    run = make_run(HEAD)
    engine = open_engine("single", "cpu")
    with (
        RunFolder(folder(workdir, run)).locked(engine),
        pytest.raises(InputError, match="another process is training this run; wait for it, or end it first"),
    ):
        train(run, workdir)
    assert train(run, workdir)["epochs"] == 3


def test_weights_that_are_no_numbers_any_more_stop_the_run_by_epoch_and_objects(workdir):
    run = make_run(dataclasses.replace(ALL, learning_rate=1e30), dropout=0.0, max_norm=None)
    with pytest.raises(TrainingError, match=r"the loss of epoch 1, step [2-4] is not a finite number; objects .*T00"):
        train(run, workdir)
    assert "not a finite number" in (folder(workdir, run) / "log").read_text()
    assert not (folder(workdir, run) / "result.json").exists()


def test_weights_for_another_number_of_channels_are_refused(workdir):
    run = make_run(HEAD)
    train(run, workdir)
    path = folder(workdir, run) / "weights.safetensors"
    tensors = load_file(path)
    tensors["features.0.weight"] = np.zeros((vgg.BLOCKS[0][0], 12, 3, 3), dtype=np.float32)
    replace_weights(path.parent, tensors)
    make_store(workdir / "other", prefix="L", ra=100)
    with pytest.raises(InputError, match=r"they take 12 channels, .*other has 3"):
        train(make_run(HEAD, store="other", weights=f"run:{names.resolved(run).run_id}"), workdir)
