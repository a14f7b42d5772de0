"""Heads trained together are the heads trained alone: weights, metrics, stopping, rates; and as hard to lose."""

import dataclasses
import json
import shutil
import signal

import narrow
import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from training_toys import ALL, HEAD, make_run, make_store

from hpc_astrossl import config, names
from hpc_astrossl.cli import main
from hpc_astrossl.errors import EXIT_DONE, EXIT_INPUT, Interrupted, TrainingError
from hpc_astrossl.nets.vgg import Head
from hpc_astrossl.specs.heads import AT_ONCE, groups
from hpc_astrossl.specs.run import ModelSpec, TrainingSpec
from hpc_astrossl.targets.classes import Classes
from hpc_astrossl.training import checkpoint, together
from hpc_astrossl.training.folder import run_path
from hpc_astrossl.training.keeper import Keeper
from hpc_astrossl.training.optim import optimizer
from hpc_astrossl.training.run import Training, train
from hpc_astrossl.training.stack import Stack
from hpc_astrossl.training.together import train_together

pytestmark = pytest.mark.usefixtures("narrow")

# Products of a batch filled up with zeros, and of many heads at once, may round otherwise: a few units in the last
# place of a gradient, over a few hundred steps of Adam.
TOLERANCE = 1e-4
WARM = dataclasses.replace(HEAD, learning_rate=3e-3, epochs=7)
TRAINING = TrainingSpec(patience=4, plateau_patience=2)
TIMES = {"seconds", "samples_per_second", "data_wait"}


def folder(workdir, run):
    return run_path(workdir, run.experiment, names.resolved(run).run_id)


def lines(workdir, run):
    found = [json.loads(line) for line in (folder(workdir, run) / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in found]


def same(workdir, other, run):
    ours, alone = (json.loads((folder(place, run) / "result.json").read_text()) for place in (workdir, other))
    assert [ours[key] for key in ("epochs", "best_epoch", "stopped", "run_id", "objects", "engine")] == [
        alone[key] for key in ("epochs", "best_epoch", "stopped", "run_id", "objects", "engine")
    ]
    for here, there in zip(lines(workdir, run), lines(other, run), strict=True):
        assert here == pytest.approx(there, rel=1e-3, abs=TOLERANCE)
    for name, values in load_file(folder(other, run) / "weights.safetensors").items():
        found = load_file(folder(workdir, run) / "weights.safetensors")[name]
        np.testing.assert_allclose(found, values, rtol=0, atol=TOLERANCE, err_msg=name)
    metrics = [{k: v for k, v in one["metrics"]["test"].items() if k != "mae_by_band"} for one in (ours, alone)]
    assert metrics[0] == pytest.approx(metrics[1], rel=1e-3, abs=TOLERANCE)
    assert sorted(path.name for path in folder(workdir, run).iterdir()) == sorted(
        path.name for path in folder(other, run).iterdir()
    )


class EndOfProcess(Exception):
    """Stands for a kill."""


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A work directory with a pretext run whose convolutions others begin from, and its run id."""
    return begun(tmp_path_factory.mktemp("source"))


@pytest.fixture(scope="module")
def whole_source(tmp_path_factory):
    """The same of the whole network."""
    with narrow.channels(1):
        return begun(tmp_path_factory.mktemp("source"))


def begun(workdir):
    make_store(workdir / "toy")
    make_store(workdir / "other", objects=72, seed=1, prefix="L", ra=100)
    earlier = make_run(dataclasses.replace(ALL, epochs=1), set="pretext", target="magnitudes")
    train(earlier, workdir)
    return workdir, f"run:{names.resolved(earlier).run_id}"


def heads(source, **changes):
    """Runs of two seeds, two sizes, and one on all objects: 3, 5 and 6 steps an epoch."""
    common = {"store": "other", "weights": source[1], "training": TRAINING} | changes
    phase = common.pop("phase", WARM)
    sizes = [(0, 20), (1, 20), (0, 33), (0, None)]
    return [names.resolved(make_run(phase, seed=seed, train_size=size, **common)) for seed, size in sizes]


@pytest.fixture
def workdir(source, tmp_path):
    shutil.copytree(source[0], tmp_path / "work")
    return tmp_path / "work"


def alone(runs, workdir):
    for run in runs:
        train(run, workdir)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"phase": dataclasses.replace(WARM, optimizer="sgd", learning_rate=1e-3), "target": "magnitudes"},
        {"max_norm": 0.5, "feature_views": 8, "batch_size": 7},
        {"dropout": 0.0, "pooling": "flatten", "phase": dataclasses.replace(WARM, optimizer="sgd", momentum=0.0)},
    ],
    ids=["adam", "sgd of magnitudes", "views and max-norm", "plain"],
)
def test_each_head_is_the_head_trained_alone(request, tmp_path, changes):
    if not changes:
        request.getfixturevalue("whole")
    source = request.getfixturevalue("source" if changes else "whole_source")
    runs, workdir = heads(source, **changes), tmp_path / "work"
    for place in (workdir, tmp_path / "alone"):
        shutil.copytree(source[0], place)
    alone(runs, tmp_path / "alone")
    results = train_together(runs, workdir)
    assert [result["run_id"] for result in results] == [run.run_id for run in runs]
    for run in runs:
        same(workdir, tmp_path / "alone", run)


def test_heads_stop_each_at_its_own_epoch(source, workdir):
    runs = heads(source, phase=dataclasses.replace(WARM, learning_rate=0.05, epochs=60))
    results = train_together(runs, workdir)
    assert len({result["epochs"] for result in results}) > 1
    assert {result["stopped"] for result in results} == {"patience"}


def test_begun_together_and_ended_alone_and_the_other_way_round(source, workdir, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "COST_SHARE", 1e9)
    runs = heads(source)[:3]
    shutil.copytree(source[0], tmp_path / "alone")
    alone(runs, tmp_path / "alone")
    step, steps = together._step, []

    def asking(*arguments):
        steps.append(1)
        if len(steps) == 8:
            signal.raise_signal(signal.SIGTERM)
        return step(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(together, "_step", asking)
        with pytest.raises(Interrupted, match="stopped by SIGTERM in epoch"):
            train_together(runs, workdir)
    assert len(steps) == 8
    assert all((folder(workdir, run) / "checkpoint").exists() for run in runs)
    train(runs[0], workdir)
    train_together(runs, workdir)
    assert "and 2 steps" in (folder(workdir, runs[0]) / "log").read_text()
    for run in runs:
        same(workdir, tmp_path / "alone", run)


def test_cut_off_between_the_last_epoch_and_the_results_they_end_once(source, workdir, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "COST_SHARE", 1e9)
    runs = heads(source)[:3]
    shutil.copytree(source[0], tmp_path / "alone")
    alone(runs, tmp_path / "alone")
    finish, ended = Training.finish, []

    def dying(self, *arguments, **more):
        raise EndOfProcess

    with monkeypatch.context() as patch:
        patch.setattr(Training, "finish", dying)
        with pytest.raises(EndOfProcess):
            train_together(runs, workdir)
    monkeypatch.setattr(
        Training, "finish", lambda self, *a, **more: (ended.append(self.run), finish(self, *a, **more))[1]
    )
    train_together(runs, workdir)
    assert sorted(run.run_id for run in ended) == sorted(run.run_id for run in runs)
    for run in runs:
        same(workdir, tmp_path / "alone", run)


def test_asked_to_stop_while_one_of_them_saves_all_save(source, workdir, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint, "COST_SHARE", 1e9)
    runs = heads(source, training=dataclasses.replace(TRAINING, checkpoint_minutes=0.0))[:3]
    shutil.copytree(source[0], tmp_path / "alone")
    alone(runs, tmp_path / "alone")
    within, saved = Keeper.within, []

    def asking(self, place):
        saved.append(self.training.run.run_id)
        if len(saved) == 4:  # the first head's second step
            signal.raise_signal(signal.SIGTERM)
        within(self, place)

    with monkeypatch.context() as patch:
        patch.setattr(Keeper, "within", asking)
        with pytest.raises(Interrupted, match="stopped by SIGTERM in epoch"):
            train_together(runs, workdir)
    assert [saved.count(run.run_id) for run in runs] == [3, 2, 2]
    train_together(runs, workdir)
    for run in runs:
        same(workdir, tmp_path / "alone", run)


def test_a_head_that_fails_leaves_the_others_alone(source, workdir, monkeypatch):
    losses = Classes.losses

    def poisoned(self, raw, truth):
        found = losses(self, raw, truth)
        return found if raw.requires_grad or len(calls) else (calls.append(1), found * float("nan"))[1]

    calls = []
    runs = heads(source)[:3]
    monkeypatch.setattr(Classes, "losses", poisoned)
    with pytest.raises(TrainingError, match=r"loss of epoch 1, validation batch 1 is not a finite number"):
        train_together(runs, workdir)
    assert [(folder(workdir, run) / "result.json").exists() for run in runs] == [False, True, True]


def test_a_stacked_step_is_torchs_own():
    """The optimisers' formulas, apart from all else: the same gradients give the same bits."""
    for kind in ("adam", "sgd"):
        phase = dataclasses.replace(WARM, optimizer=kind)
        nets = [Head(5, 2, ModelSpec(hidden=4)) for _ in range(3)]
        twins = [Head(5, 2, ModelSpec(hidden=4)) for _ in range(3)]
        for net, twin in zip(nets, twins, strict=True):
            twin.load_state_dict(net.state_dict())
        ones, others = ([optimizer(net, phase) for net in group] for group in (nets, twins))
        for number, (one, other) in enumerate(zip(ones, others, strict=True)):
            one.param_groups[0]["lr"] = other.param_groups[0]["lr"] = 10.0**-number
        stack = Stack(nets, ones)
        for _ in range(5):
            for name, gradients in stack.gradients.items():
                for twin, gradient in zip(twins, gradients.normal_(), strict=True):
                    twin.get_parameter(name).grad = gradient.clone()
            stack.optimize()
            for twin, other in zip(twins, others, strict=True):
                other.step()
                twin.constrain()
        for net, twin in zip(nets, twins, strict=True):
            for name, value in twin.state_dict().items():
                assert torch.equal(net.state_dict()[name], value)


def test_runs_are_grouped_when_only_seed_and_size_differ(source):
    runs = heads(source)
    fine = names.resolved(make_run(HEAD, ALL))
    hot = names.resolved(make_run(dataclasses.replace(WARM, learning_rate=1.0), store="other"))
    assert groups([fine, *runs, hot]) == [[fine], runs, [hot]]
    many = [dataclasses.replace(runs[0], seed=seed) for seed in range(AT_ONCE + 3)]
    assert [len(group) for group in groups(many)] == [AT_ONCE, 3]


def test_the_command_takes_several_runs_and_trains_them_all(source, workdir, capsys):
    runs = [*heads(source)[:2], names.resolved(make_run(HEAD, store="other", seed=9))]
    paths = [workdir / f"{number}.yaml" for number in range(4)]
    for path, run in zip(paths, [*runs, make_run(HEAD, store="gone")], strict=False):
        path.write_text(config.dump(run))
    assert main(["train", *map(str, paths[:3]), "--workdir", str(workdir)]) == EXIT_DONE
    assert "2 runs trained together" in capsys.readouterr().out
    assert all((folder(workdir, run) / "result.json").exists() for run in runs)
    assert main(["train", *map(str, paths), "--workdir", str(workdir)]) == EXIT_INPUT
    assert "gone: no such store" in capsys.readouterr().err
