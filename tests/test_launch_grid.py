"""The grid is a pure function of the recipe."""

import itertools

import pytest

from hpc_astrossl import config, names
from hpc_astrossl.errors import InputError
from hpc_astrossl.launch.grid import expand
from hpc_astrossl.launch.plan import pack
from hpc_astrossl.specs.cluster import ClusterSpec
from hpc_astrossl.specs.jobs import JobsSpec, resources_of

BASE = {
    "experiment": "e",
    "pretext": {"store": "stores/pretext.zarr"},
    "sets": {"SG": {"store": "stores/SG.zarr"}, "MG": {"store": "stores/MG.zarr"}},
    "seeds": [0, 1],
    "sizes": [64, "all"],
}


def jobs(**change) -> JobsSpec:
    return config.parse(config.merge(BASE, change), JobsSpec, "r.yaml")


def plan(*, cluster=None, unavailable=None, **change):
    return expand(jobs(**change), cluster=cluster, unavailable=unavailable, where="r.yaml")


def test_every_set_scheme_size_and_seed_once():
    runs = [run for run in plan().runs if run.set != "pretext"]
    cells = [(run.set, run.scheme, run.data.train_size, run.seed) for run in runs]
    assert len(cells) == len(set(cells))
    assert set(cells) == set(itertools.product(("SG", "MG"), names.PAPER, (64, None), (0, 1)))
    assert len({run.run_id for run in runs}) == len(runs)


def test_same_recipe_same_plan():
    assert plan() == plan()


def test_one_pretext_run_feeds_every_magnitudes_scheme():
    made = plan()
    (pretext,) = [run for run in made.runs if run.set == "pretext"]
    assert pretext.scheme == "pretext"
    assert pretext.data.target == "magnitudes"
    weights = {run.scheme: {r.weights for r in made.runs if r.scheme == run.scheme} for run in made.runs}
    assert weights == {
        "pretext": {None},
        "scratch": {None},
        "features-imagenet": {names.IMAGENET},
        "features-magnitudes": {f"run:{pretext.run_id}"},
        "finetune-imagenet": {names.IMAGENET},
        "finetune-magnitudes": {f"run:{pretext.run_id}"},
    }


def test_the_pretext_run_may_learn_what_is_measured_instead():
    made = plan(pretext={"store": "stores/pretext.zarr", "target": "measured"}, schemes=["features-magnitudes"])
    (pretext,) = [run for run in made.runs if run.set == "pretext"]
    assert pretext.data.target == "measured"
    assert {run.weights for run in made.runs} == {None, f"run:{pretext.run_id}"}


def test_runs_are_resolved():
    for run in plan().runs:
        assert run == names.resolved(run)
        assert run.phases
        assert run.data.scaling == ("caffe" if run.weights == names.IMAGENET else "unit")


def test_stages_follow_what_they_need():
    stages = {stage.name: stage for stage in plan().stages}
    assert list(stages) == ["pretext", *names.PAPER, "report"]
    assert stages["features-magnitudes"].after == ("pretext",)
    assert stages["features-imagenet"].after == stages["scratch"].after == ()
    assert set(stages["report"].after) == set(stages) - {"report"}
    assert [stage.name for stage in stages.values() if stage.regardless] == ["report"]


def test_a_store_may_be_made_by_several_tasks_and_is_then_checked():
    entry = {"recipe": "p.yaml", "source": "raw", "out": "stores/SG.zarr", "settings": ["size=64"], "tasks": 3}
    stages = {stage.name: stage for stage in plan(preprocess=[entry]).stages}
    tasks, (check,) = stages["preprocess"].items, stages["preprocess-check"].items
    assert [item.command[-4:] for item in tasks] == [("--set", "size=64", "--task", f"{i}/3") for i in (1, 2, 3)]
    assert [item.produces for item in tasks] == [f"stores/SG.tasks/{i}-of-3.json" for i in (1, 2, 3)]
    assert check.command == ("check", "stores/SG.zarr", "--deep")
    assert check.needs == tuple(item.key for item in tasks)
    assert stages["preprocess-check"].after == ("preprocess",)
    assert {item.needs for item in stages["scratch"].items if item.run.set == "SG"} == {("stores/SG.zarr",)}
    assert "preprocess-check" in stages["scratch"].after


def test_stores_alone_are_an_experiment():
    entry = {"recipe": "p.yaml", "source": "raw", "out": "stores/SG.zarr", "tasks": 2}
    alone = config.parse({"experiment": "e", "preprocess": [entry], "report": False}, JobsSpec, "r.yaml")
    assert [stage.name for stage in expand(alone).stages] == ["preprocess", "preprocess-check"]
    with pytest.raises(InputError, match="nothing to run: give preprocess, pretext, pretexts or sets"):
        config.parse({"experiment": "e"}, JobsSpec, "r.yaml")
    with pytest.raises(InputError, match=r"preprocess stores/SG.zarr: tasks must be at least 1, found 0"):
        config.parse({"experiment": "e", "preprocess": [entry | {"tasks": 0}]}, JobsSpec, "r.yaml")


def test_a_store_made_by_the_recipe_comes_first():
    made = plan(preprocess=[{"recipe": "p.yaml", "source": "raw", "out": "stores/SG.zarr"}])
    stages = {stage.name: stage for stage in made.stages}
    (item,) = stages["preprocess"].items
    assert item.command == ("preprocess", "p.yaml", "--source", "raw", "--out", "stores", "--store", "SG")
    needs = {item.run.set: item.needs for item in stages["scratch"].items}
    assert needs == {"SG": ("stores/SG.zarr",), "MG": ()}
    assert set(stages["scratch"].after) == {"preprocess"}
    assert stages["pretext"].after == ()


def test_a_command_trains_the_run_of_its_item():
    (item,) = plan().stages[0].items
    assert item.command == ("train", f"runs/e/{item.key}/config.yaml", "--workdir", ".")
    assert item.produces == f"runs/e/{item.key}/result.json"
    assert item.key == item.run.run_id


def test_weights_that_cannot_be_had_skip_their_runs():
    made = plan(unavailable={"imagenet": "no weights here"})
    assert {run.scheme for run, _ in made.skipped} == {"features-imagenet", "finetune-imagenet"}
    assert {reason for _, reason in made.skipped} == {"no weights here"}
    assert len(made.skipped) == 16
    assert not {run.run_id for run, _ in made.skipped} & {run.run_id for run in made.runs}


def test_overrides_apply_from_general_to_particular():
    made = plan(
        overrides={
            "all": {"data": {"batch_size": 8}, "model": {"hidden": 16}},
            "SG": {"data": {"batch_size": 9}},
            "scratch": {"model": {"hidden": 17}},
            "pretext": {"model": {"hidden": 18}},
        }
    )
    seen = {(run.set, run.scheme): (run.data.batch_size, run.model.hidden) for run in made.runs}
    assert seen["MG", "features-imagenet"] == (8, 16)
    assert seen["SG", "features-imagenet"] == (9, 16)
    assert seen["SG", "scratch"] == (9, 17)
    assert seen["pretext", "pretext"] == (8, 18)


def test_adding_a_seed_keeps_the_other_runs():
    few, more = plan(seeds=[0]), plan(seeds=[0, 1, 2])
    assert {run.run_id for run in few.runs} < {run.run_id for run in more.runs}


def test_the_site_changes_no_run_id():
    site = ClusterSpec(kind="slurm", engine="horovod", resources={"all": {"cpus": 7}}, gpus_per_node=0)
    here = plan(resources={"all": {"gpus": 1}})
    there = plan(cluster=site, resources={"all": {"gpus": 1}})
    assert [run.run_id for run in here.runs] == [run.run_id for run in there.runs]
    assert {(run.engine, run.threads) for run in there.runs} == {("horovod", 7)}
    assert {stage.resources.gpus for stage in here.stages} == {1}
    assert {stage.resources.gpus for stage in there.stages} == {0}


def test_resources_by_all_then_kind_then_stage_then_site():
    recipe = {"all": {"cpus": 2, "minutes": 5}, "features": {"cpus": 3, "pack": 4}, "features-imagenet": {"pack": 6}}
    assert resources_of("scratch", recipe).cpus == 2
    assert resources_of("features-magnitudes", recipe).pack == 4
    found = resources_of("features-imagenet", recipe, {"all": {"minutes": 9}})
    assert (found.cpus, found.minutes, found.pack) == (3, 9, 6)


@pytest.mark.parametrize("size", [1, 2, 3, 8, 100])
def test_packing_is_complete_and_disjoint(size):
    preprocess = [{"recipe": "p.yaml", "source": "raw", "out": "stores/SG.zarr"}]
    stage = plan(preprocess=preprocess, resources={"scratch": {"pack": size}}).stages[2]
    assert stage.name == "scratch"
    works = pack(stage, stage.items)
    packed = [item.key for work in works for item in work.items]
    assert sorted(packed) == sorted(item.key for item in stage.items)
    assert all(1 <= len(work.items) <= size for work in works)
    assert all(len({item.needs for item in work.items}) == 1 for work in works)
    assert len({work.name for work in works}) == len(works)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schemes": ["scrach"]}, "unknown scheme 'scrach'; allowed: .* did you mean 'scratch'"),
        ({"pretext": None}, "scheme features-magnitudes begins with the weights of the pretext run: add pretext"),
        ({"sets": {}, "pretext": None}, "nothing to run: give preprocess, pretext, pretexts or sets"),
        ({"sizes": [0]}, "sizes are positive whole numbers or 'all', found 0"),
        ({"sizes": ["most"]}, "sizes are positive whole numbers or 'all', found 'most'"),
        ({"seeds": [1, 1]}, "seeds repeats a value: 1, 1"),
        ({"seeds": []}, "seeds is empty"),
        ({"overrides": {"GS": {}}}, "unknown name in overrides 'GS'; allowed: MG, SG, all, "),
        ({"overrides": {"SG": {"seed": 3}}}, "overrides.SG: seed cannot be overridden"),
        ({"overrides": {"all": {"data": {"store": "x"}}}}, "overrides.all: data.store cannot be overridden"),
        ({"resources": {"feature": {}}}, "unknown stage in resources 'feature'"),
        ({"resources": {"all": {"cpu": 1}}}, "resources.all: unknown key 'cpu'; allowed: .*did you mean 'cpus'"),
        ({"resources": {"all": {"gpus": 2, "ranks": 3}}}, "contradict each other: each GPU has one rank"),
        ({"resources": {"all": {"gpus": -1}}}, "gpus must not be negative, found -1"),
        ({"resources": {"all": {"pack": 0}}}, "pack must be at least 1, found 0"),
        ({"preprocess": [{"recipe": "p", "source": "s", "out": "stores"}]}, "out must end with .zarr"),
        ({"sets": {"all": {"store": "x"}}}, "a set cannot be called 'all'"),
    ],
)
def test_a_wrong_recipe_is_answered_with_what_is_allowed(change, words):
    data = {key: value for key, value in {**BASE, **change}.items() if value is not None}
    with pytest.raises(InputError, match=f"r.yaml: .*{words}"):
        config.parse(data, JobsSpec, "r.yaml")


def test_a_wrong_override_names_set_and_scheme():
    with pytest.raises(InputError, match=r"r\.yaml: set SG, scheme scratch: data: unknown key 'bach_size'"):
        plan(overrides={"scratch": {"data": {"bach_size": 3}}})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({"kind": "pbs"}, "found 'pbs'; allowed: local, slurm"),
        ({"kind": "local", "partition": "gpu"}, "partition means nothing for kind local; remove it"),
        ({"kind": "slurm", "environment": {"A B": "1"}}, "'A B' is no name of a variable"),
        ({"kind": "slurm", "max_array": 0}, "max_array must be at least 1, found 0"),
        ({"kind": "slurm", "resources": {"all": {"gpu": 1}}}, "unknown key 'gpu'"),
    ],
)
def test_a_wrong_site_is_answered_with_what_is_allowed(data, words):
    with pytest.raises(InputError, match=words):
        config.parse(data, ClusterSpec, "c.yaml")


def test_an_unknown_engine_is_found_before_anything_is_sent():
    with pytest.raises(InputError, match="unknown engine 'mpi'; allowed: auto, horovod, single, torch"):
        plan(cluster=ClusterSpec(kind="local", engine="mpi"))
