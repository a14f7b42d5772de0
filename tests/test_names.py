"""The table of names: schemes as the paper states them, and what a resolved run holds."""

import dataclasses
import importlib
import importlib.util

import pytest

from hpc_astrossl import names
from hpc_astrossl.errors import InputError
from hpc_astrossl.specs.run import DataSpec, RunSpec


def run(**changes):
    values = {"experiment": "e", "set": "SG", "scheme": "scratch", "seed": 0, "data": DataSpec(store="s")} | changes
    return RunSpec(**values)


def test_the_five_schemes_are_the_paper_s():
    phases = {name: [(p.trains, p.optimizer, p.epochs) for p in names.SCHEMES[name].phases] for name in names.PAPER}
    assert phases == {
        "scratch": [("all", "adam", 200)],
        "features-imagenet": [("head", "adam", 100)],
        "features-magnitudes": [("head", "adam", 100)],
        "finetune-imagenet": [("head", "adam", 10), ("all", "sgd", 200)],
        "finetune-magnitudes": [("head", "adam", 10), ("all", "sgd", 200)],
    }
    assert [p.learning_rate for p in names.SCHEMES["pretext"].phases] == [1e-3]
    assert names.SCHEMES["finetune-imagenet"].phases[1].learning_rate == 1e-4


def test_scratch_uses_slow_sgd_when_labels_are_few():
    low = names.resolved(run(data=DataSpec(store="s", train_size=100)))
    assert [(p.optimizer, p.learning_rate) for p in low.phases] == [("sgd", 1e-4)]
    assert names.resolved(run()).phases[0].optimizer == "adam"


def test_scaling_follows_the_weights():
    assert names.resolved(run()).data.scaling == "unit"
    imagenet = names.resolved(run(scheme="features-imagenet", weights=names.IMAGENET))
    assert imagenet.data.scaling == "caffe"


def test_the_run_id_says_what_it_is_and_ignores_where_it_runs():
    here = names.resolved(run())
    assert here.run_id.startswith("SG_scratch_nall_s0-")
    assert dataclasses.replace(here, engine="horovod", device="cpu", threads=4).run_id == here.run_id
    assert dataclasses.replace(here, seed=1).run_id.split("-")[-1] != here.run_id.split("-")[-1]
    assert names.resolved(here) == here


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scheme": "finetune"}, "unknown scheme 'finetune'; allowed: features-imagenet"),
        ({"engine": "mpi"}, "unknown engine 'mpi'; allowed: horovod, single, torch"),
        ({"data": DataSpec(store="s", target="clases")}, "unknown target 'clases'.*did you mean 'classes'"),
    ],
)
def test_unknown_names_are_answered_with_the_allowed_ones(changes, words):
    with pytest.raises(InputError, match=words):
        names.resolved(run(**changes))


@pytest.mark.parametrize("bad", ["", "a b", "../x", "-x", "a/b"])
def test_names_that_become_folders_are_plain(bad):
    with pytest.raises(InputError, match="must begin with a letter or digit"):
        run(experiment=bad)


@pytest.mark.parametrize("table", [names.TARGETS, names.ENGINES, names.LOADERS, names.ENTRY])
def test_every_dotted_path_leads_somewhere(table):
    for path in table.values():
        if path.startswith("hpc_astrossl.engines.horovod:") and importlib.util.find_spec("horovod") is None:
            continue  # its build failed here, and make test has said so
        module, _, attribute = path.partition(":")
        assert hasattr(importlib.import_module(module), attribute), path
