"""``pretexts:`` of a jobs recipe: runs, schemes, stages and weights that follow from it, and what it refuses."""

import pytest
from test_launch_grid import BASE, plan

from hpc_astrossl import config, names
from hpc_astrossl.errors import InputError
from hpc_astrossl.launch.grid import expand
from hpc_astrossl.specs.jobs import JobsSpec

STORE = "stores/images.zarr"
TURNED = {"store": STORE, "kind": "rotation", "disc": False, "seed": 3}
TWO = {"turned": TURNED, "sizes": {"store": STORE, "kind": "measured"}}


def test_each_pretext_is_one_run_and_two_schemes_beside_those_that_need_none():
    made = plan(pretext=None, pretexts=TWO)
    turned, sizes = (next(run for run in made.runs if run.set == name) for name in TWO)
    assert (turned.scheme, turned.seed, turned.data.target, turned.data.flips) == ("pretext", 3, "rotation", False)
    assert turned.pretext == {"disc": False, "mirror": False}
    assert (sizes.scheme, sizes.data.target, sizes.pretext) == ("pretext", "measured", {})
    weights = {run.scheme: run.weights for run in made.runs if run.set == "SG"}
    assert weights == {
        "scratch": None, "features-imagenet": names.IMAGENET, "finetune-imagenet": names.IMAGENET,
        "features-turned": f"run:{turned.run_id}", "finetune-turned": f"run:{turned.run_id}",
        "features-sizes": f"run:{sizes.run_id}", "finetune-sizes": f"run:{sizes.run_id}",
    }  # fmt: skip
    after = {stage.name: stage.after for stage in made.stages}
    assert (after["pretext-turned"], after["features-turned"], after["finetune-sizes"]) == (
        (), ("pretext-turned",), ("pretext-sizes",))  # fmt: skip
    assert (
        next(run for run in made.runs if run.scheme == "finetune-turned").phases
        == names.SCHEMES["finetune-magnitudes"].phases
    )


def test_beside_pretext_alone_nothing_of_it_changes():
    alone, beside = plan(), plan(pretexts=TWO)
    assert {run.run_id for run in alone.runs} < {run.run_id for run in beside.runs}


def test_overrides_and_resources_reach_one_pretext_or_all():
    overrides = {"pretext": {"model": {"hidden": 18}}, "pretext-turned": {"model": {"dropout": 0.1}}}
    resources = {"pretext": {"minutes": 7}, "pretext-turned": {"minutes": 9}, "features-turned": {"pack": 2}}
    made = plan(pretexts=TWO, overrides=overrides, resources=resources)
    models = {run.set: run.model for run in made.runs if run.scheme == "pretext"}
    assert {(m.hidden, m.dropout) for m in (models["pretext"], models["sizes"])} == {(18, 0.5)}
    assert models["turned"].dropout == 0.1
    stages = {stage.name: stage.resources for stage in made.stages}
    assert [stages[name].minutes for name in ("pretext", "pretext-turned", "pretext-sizes")] == [7, 9, 7]
    assert stages["features-turned"].pack == 2


@pytest.mark.parametrize(("change", "words"), [
    ({"pretexts": {"a": {"store": STORE}}}, "pretexts.a: missing key kind, one of magnitudes, measured, rotation"),
    ({"pretexts": {"a": {"store": STORE, "kind": "rotations"}}}, "unknown kind 'rotations'.*did you mean 'rotation'"),
    ({"pretexts": {"a": {"kind": "rotation"}}}, "missing key store"),
    ({"pretexts": {"a": {"store": STORE, "kind": "rotation", "k": 3}}}, "unknown key 'k'; allowed: disc, kind, mirror"),
    ({"pretexts": {"a": {"store": STORE, "kind": "rotation", "disc": 3}}}, "disc: expected true or false, found 3"),
    ({"pretexts": {"a": {"store": STORE, "kind": "measured", "disc": True}}}, "unknown key 'disc'"),
    ({"pretexts": {"imagenet": {"store": STORE, "kind": "rotation"}}}, "features-imagenet are those of ImageNet's"),
    ({"pretexts": {"magnitudes": {"store": STORE, "kind": "magnitudes"}}}, "this name is for pretext: alone"),
    ({"pretexts": {"a/b": {"store": STORE, "kind": "rotation"}}}, "a name must begin with a letter"),
    ({"pretexts": {"a": {"store": STORE, "kind": "rotation", "overrides": {"seed": 3}}}}, "seed cannot be overridden"),
    ({"pretexts": {"SG": {"store": STORE, "kind": "rotation"}}}, "a set cannot be called 'SG'"),
    ({"schemes": ["features-turned"]}, "unknown scheme 'features-turned'"),
    ({"pretexts": TWO, "overrides": {"pretext-turnt": {}}}, "unknown name in overrides 'pretext-turnt'"),
    ({"pretexts": TWO, "overrides": {"pretext": {"data": {"flips": True}}}}, r"pretexts.turned: .*data.flips turns"),
])  # fmt: skip
def test_what_is_wrong_is_refused(change, words):
    with pytest.raises(InputError, match=words):
        expand(config.parse(config.merge(BASE, change), JobsSpec, "r.yaml"), where="r.yaml")
