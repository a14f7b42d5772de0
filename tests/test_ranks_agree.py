"""One process, two Horovod ranks and two torch ranks train the same run to the same weights."""

import dataclasses
import functools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from training_toys import ALL, HEAD, make_run, make_store

from hpc_astrossl import config, names

# Gradients are summed in another order on two ranks, and convolutions of another batch size round otherwise: float32
# differences of about 1e-6 of a gradient, over ten steps. In float64 the sums agree to 1e-15 (test_nets_vgg.py).
TOLERANCE = 1e-5
BIN = Path(sys.executable).parent
LAUNCHERS = {
    "single": [sys.executable],
    "horovod": [str(BIN / "horovodrun"), "-np", "2", "--gloo", sys.executable],
    "torch": [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"],
}
# 17 objects in batches of 8: the last batch holds one object, and the second rank's part of it none.
RUN = make_run(HEAD, dataclasses.replace(ALL, epochs=2), train_size=17)
ALIKE = [make_run(HEAD, seed=seed, scheme="features-imagenet", weights="imagenet-vgg16") for seed in (0, 1)]
MAGNITUDES = make_run(dataclasses.replace(HEAD, optimizer="sgd"), target="magnitudes", train_size=17)


ODD = """
import sys
from hpc_astrossl.training import loop

whole = loop.train_step

def drifting(phase, request):
    loss = whole(phase, request)
    phase.head.output.bias.data += phase.engine.rank
    return loss

loop.train_step = drifting
from hpc_astrossl.cli import main
sys.exit(main(["train", "run.yaml"]))
"""


def start(engine, workdir, run, program=("-m", "hpc_astrossl", "train", "run.yaml")):
    (workdir / "run.yaml").write_text(config.dump(run))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
    return subprocess.run([*LAUNCHERS[engine], *program], cwd=workdir,
                          env=environment, capture_output=True, text=True, timeout=200)  # fmt: skip


def outcome(workdir, run):
    folder = workdir / "runs" / run.experiment / names.resolved(run).run_id
    result = json.loads((folder / "result.json").read_text())
    return result, load_file(folder / "weights.safetensors"), np.load(folder / "predictions.npz")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Work directory in which one process has trained both runs."""
    workdir = tmp_path_factory.mktemp("alone")
    make_store(workdir / "toy")
    for run in (RUN, MAGNITUDES):
        done = start("single", workdir, run)
        assert done.returncode == 0, done.stderr
    return workdir


@pytest.fixture(scope="module")
def ranks(alone, tmp_path_factory):
    """Of an engine: the work directory in which one command has trained all runs, one after the other, on two ranks."""

    @functools.cache
    def trained(engine):
        workdir = tmp_path_factory.mktemp(engine)
        shutil.copytree(alone / "toy", workdir / "toy")
        others = {"second.yaml": MAGNITUDES, "third.yaml": ALIKE[0], "fourth.yaml": ALIKE[1]}
        for name, run in others.items():
            (workdir / name).write_text(config.dump(run))
        done = start(engine, workdir, RUN, program=("-m", "hpc_astrossl", "train", "run.yaml", *others))
        assert done.returncode == 0, done.stdout + done.stderr
        return workdir

    return trained


@pytest.mark.parametrize("run", [RUN, MAGNITUDES], ids=["classes", "magnitudes"])
@pytest.mark.parametrize("engine", [pytest.param("horovod", marks=pytest.mark.horovod), "torch"])
def test_two_ranks_give_the_weights_of_one_process(alone, ranks, engine, run):
    result, weights, predictions = outcome(ranks(engine), run)
    expected_result, expected, expected_predictions = outcome(alone, run)
    assert (result["engine"]["name"], result["engine"]["ranks"]) == (engine, 2)
    assert weights.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(weights[name], values, rtol=0, atol=TOLERANCE, err_msg=name)
    assert (predictions["object_id"] == expected_predictions["object_id"]).all()
    np.testing.assert_allclose(predictions["output"], expected_predictions["output"], rtol=1e-3, atol=TOLERANCE)
    assert result["metrics"]["test"]["loss"] == pytest.approx(expected_result["metrics"]["test"]["loss"], rel=1e-3)


@pytest.mark.parametrize("engine", [pytest.param("horovod", marks=pytest.mark.horovod), "torch"])
def test_heads_that_one_process_would_train_together_are_trained_one_after_the_other(ranks, engine):
    for run in ALIKE:
        result = outcome(ranks(engine), run)[0]
        assert (result["engine"]["name"], result["engine"]["ranks"]) == (engine, 2)


def test_what_is_wrong_is_told_by_every_rank_and_hangs_none(alone, tmp_path):
    done = start("torch", tmp_path, RUN)
    assert done.returncode != 0
    assert "toy: no such store; make it with astrossl preprocess" in done.stderr


@pytest.mark.parametrize("engine", [pytest.param("horovod", marks=pytest.mark.horovod), "torch"])
def test_ranks_whose_weights_drift_apart_are_stopped_after_the_epoch(alone, tmp_path, engine):
    shutil.copytree(alone / "toy", tmp_path / "toy")
    (tmp_path / "odd.py").write_text(ODD)
    done = start(engine, tmp_path, RUN, program=["odd.py"])
    assert done.returncode != 0
    assert "weights after epoch 1: rank 1 of 2 differs from rank 0" in done.stdout + done.stderr
    assert not list(tmp_path.rglob("result.json"))
