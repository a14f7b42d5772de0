"""What every pretext keeps to: one, two and three ranks agree, nobody sees a kill, embed and export as ever."""

import contextlib
import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from pretext_toys import make_images_store, pretext_run
from safetensors.numpy import load_file

from hpc_astrossl import config, names
from hpc_astrossl.errors import InputError
from hpc_astrossl.training import run as running
from hpc_astrossl.training.apply import Job, embed, predict
from hpc_astrossl.training.checkpoint import Checkpoints
from hpc_astrossl.training.export import export
from hpc_astrossl.training.folder import run_path
from hpc_astrossl.training.run import train

KINDS = tuple(names.PRETEXTS)
SWITCHES: dict[str, dict] = {
    "clusters": {"k": 3, "components": 4},
    "simclr": {"crop": 0.5, "colour": 0.5},
    "patches": {"channels": "shift"},
}
PLACES = [(0, 1), (0, 2), (1, 0), (1, 1), (1, 2), (2, 0)]  # epochs and steps of the next one: where a run may be killed
# Gradients are summed in another order, see test_ranks_agree.py; Adam divides by their size.
TOLERANCE = 1e-4


def spec(kind):
    """Two epochs of two steps; 7 objects in batches of 5, so that with three ranks one has none in the last step."""
    run = pretext_run(kind, epochs=2, batch_size=5, train_size=7, hidden=8, rate=1e-4)
    sgd = dataclasses.replace(run.phases[0], optimizer="sgd", learning_rate=1e-3)
    training = dataclasses.replace(run.training, checkpoint_minutes=0.0)
    return dataclasses.replace(run, phases=(sgd,), training=training, pretext=SWITCHES.get(kind, {}))


def workplace(path):
    source = np.random.default_rng(5)
    colour = source.uniform(20, 230, (3, 3))[np.arange(24) % 3]
    pixels = source.normal(colour[:, None, None], 20, (24, 32, 32, 3))
    make_images_store(path / "toy", np.clip(pixels, 0, 255).astype(np.uint8))
    return path


def folder(workdir, run):
    return run_path(workdir, run.experiment, names.resolved(run).run_id)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """By kind, the folder of a run that nobody touched."""
    workdir, done = workplace(tmp_path_factory.mktemp("alone")), {}

    def made(kind):
        if kind not in done:
            train(spec(kind), workdir)
            done[kind] = folder(workdir, spec(kind))
        return done[kind]

    return made


def same(path, other):
    assert (path / "weights.safetensors").read_bytes() == (other / "weights.safetensors").read_bytes()
    first, second = (json.loads((p / "result.json").read_text()) for p in (path, other))
    for key in ("metrics", "epochs", "best_epoch", "pretext"):
        assert first[key] == second[key], key


class Killed(Exception):
    """Ends a run from inside."""


@pytest.mark.parametrize("kind", KINDS)
def test_killed_in_and_after_every_step_it_ends_in_the_same_bits(alone, tmp_path, monkeypatch, kind):
    workplace(tmp_path)
    save, saved = Checkpoints.save, []

    def killed(self, place, state):
        save(self, place, state)
        saved.append(place)
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "save", killed)
        patch.setattr(Checkpoints, "due", lambda self, within=False: True)
        for _ in range(1 + len(PLACES)):
            with contextlib.suppress(Killed):
                train(spec(kind), tmp_path)
    assert saved == PLACES, (folder(tmp_path, spec(kind)) / "log").read_text()
    same(folder(tmp_path, spec(kind)), alone(kind))


@pytest.mark.parametrize("ranks", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_ranks_agree_with_one_process(alone, tmp_path, kind, ranks):
    workplace(tmp_path)
    (tmp_path / "run.yaml").write_text(config.dump(spec(kind)))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, "-m", "hpc_astrossl", "train", "run.yaml"], cwd=tmp_path, env=environment,
                          capture_output=True, text=True, timeout=300)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    path, other = folder(tmp_path, spec(kind)), alone(kind)
    weights, expected = (load_file(p / "weights.safetensors") for p in (path, other))
    for name, values in expected.items():
        np.testing.assert_allclose(weights[name], values, rtol=0, atol=TOLERANCE, err_msg=name)
    first, second = (json.loads((p / "result.json").read_text()) for p in (path, other))
    assert first["engine"]["ranks"] == ranks
    assert first["metrics"]["test"]["loss"] == pytest.approx(second["metrics"]["test"]["loss"], rel=1e-3)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_something_and_is_used_like_any_other_run(alone, tmp_path, kind):
    path = alone(kind)
    result = json.loads((path / "result.json").read_text())
    assert result["pretext"]["kind"] == kind
    assert result["pretext"]["switches"] == names.resolved(spec(kind)).pretext
    assert np.isfinite(result["metrics"]["test"][result["pretext"]["headline"]])
    weights = load_file(path / "weights.safetensors")
    assert all(name.startswith(("features.", "head.")) for name in weights)
    fresh = running.build(spec(kind).model, shape=(32, 32, 3), outputs=2, seed=0).state_dict()
    assert (weights["features.0.weight"] != fresh["features.0.weight"].numpy()).any()
    embed(Job(run=path, source=path.parents[2] / "toy", outs=[tmp_path / "features.npz"]))
    with np.load(tmp_path / "features.npz") as found:
        assert found["features"].shape == (24, 512)
    card = export(path, tmp_path / "own.safetensors")
    assert kind in card.read_text()
    with pytest.raises(InputError, match=f"was trained on pretext {kind}"):
        predict(Job(run=path, source=path.parents[2] / "toy", outs=[tmp_path / "answers.csv"]))


def test_a_pretexts_weights_reach_a_labelled_set_and_shared_objects_are_refused(alone):
    path = alone("rotation")
    workdir, head = path.parents[2], dataclasses.replace(spec("rotation").phases[0], trains="head")
    pixels, label = np.random.default_rng(1).integers(0, 255, (24, 32, 32, 3), dtype=np.uint8), np.arange(24) % 2
    make_images_store(workdir / "elsewhere", pixels, label, prefix="L", ra=200.0)
    make_images_store(workdir / "near", pixels, label, prefix="L")
    data = dataclasses.replace(spec("rotation").data, store="elsewhere", target="classes", train_size=None, flips=True)
    run = dataclasses.replace(spec("rotation"), set="labelled", scheme="features-rotation", data=data, phases=(head,),
                              weights=f"run:{path.name}")  # fmt: skip
    result = train(run, workdir)
    assert result["weights"]["name"] == f"run:{path.name}"
    assert [one["shared"] for one in result["leakage"]] == [0]
    begun, ended = (load_file(p / "weights.safetensors") for p in (path, folder(workdir, run)))
    assert (begun["features.0.weight"] == ended["features.0.weight"]).all()
    with pytest.raises(InputError, match="shares objects with"):
        train(dataclasses.replace(run, data=dataclasses.replace(data, store="near")), workdir)
    with pytest.raises(InputError, match=r"unknown scheme 'features-turning'.*weights must be run:RUN_ID"):
        names.resolved(dataclasses.replace(run, scheme="features-turning", weights=None))
