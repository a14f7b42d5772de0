"""What is known before a plan runs is told before: scaling, channels, stores that are not there, GPUs not asked for."""

import json

import pytest

from hpc_astrossl import config, manifest
from hpc_astrossl.cli import main
from hpc_astrossl.errors import InputError
from hpc_astrossl.launch import foresight, grid, prepare
from hpc_astrossl.specs.cluster import ClusterSpec
from hpc_astrossl.specs.jobs import JobsSpec

FITS = {
    "survey": "mine", "release": "1", "size": 32,
    "catalogue": {"file": "c.csv", "id": "ID", "bands": ["g", "r"], "magnitude": "m_{band}"},
    "cutouts": {"pixel_scale": 0.5, "bands": "{id}_{band}.fits"}, "stores": {"A": {"images": "bands"}},
}  # fmt: skip


def store(path, kind="float32", channels=5):
    (path / "images").mkdir(parents=True)
    attributes = {"format": "astrossl-store", "class_names": ["a", "b"], "counts": {"splits": {"train": 50}}}
    (path / "zarr.json").write_text(json.dumps({"attributes": attributes}))
    (path / "images/zarr.json").write_text(json.dumps({"data_type": kind, "shape": [60, 32, 32, channels]}))
    manifest.write_manifest(path, [])


def jobs(**more):
    data = {"experiment": "e", "sets": {"A": {"store": "stores/A.zarr"}}, "schemes": ["scratch", "features-imagenet"]}
    return config.parse(data | more, JobsSpec, "jobs")


def planned(recipe, workdir, **more):
    return grid.expand(recipe, floats=foresight.float_stores(recipe, workdir), **more)


def test_a_store_of_numbers_gets_a_scaling_that_works(tmp_path):
    store(tmp_path / "stores/A.zarr")
    assert {run.data.scaling for run in planned(jobs(), tmp_path).runs} == {"asinh"}


def test_a_store_of_bytes_keeps_the_scaling_and_the_run_ids_that_it_had(tmp_path):
    store(tmp_path / "stores/A.zarr", "uint8", 3)
    with_it, without = planned(jobs(), tmp_path), grid.expand(jobs())
    assert [run.run_id for run in with_it.runs] == [run.run_id for run in without.runs]
    assert {run.data.scaling for run in with_it.runs} == {"unit", "caffe"}


def test_a_store_that_is_yet_to_be_made_is_known_by_its_recipe(tmp_path):
    (tmp_path / "r.yaml").write_text(json.dumps(FITS))
    recipe = jobs(preprocess=[{"recipe": "r.yaml", "source": ".", "out": "stores/A.zarr"}])
    before = planned(recipe, tmp_path)
    store(tmp_path / "stores/A.zarr", channels=2)
    assert [run.run_id for run in before.runs] == [run.run_id for run in planned(recipe, tmp_path).runs]


@pytest.mark.parametrize(
    ("scaling", "kind", "channels", "words"),
    [
        ("unit", "float32", 5, "scaling unit of set A is for uint8 images, this store holds float32"),
        ("caffe", "uint8", 5, "is for red, green and blue, this store has 5 channels"),
    ],
)
def test_a_scaling_that_cannot_be_is_told_by_plan(tmp_path, capsys, scaling, kind, channels, words):
    store(tmp_path / "stores/A.zarr", kind, channels)
    recipe = jobs(overrides={"all": {"data": {"scaling": scaling}}})
    with pytest.raises(InputError, match=words):
        prepare.check_stores(planned(recipe, tmp_path), tmp_path)
    (tmp_path / "jobs.yaml").write_text(config.dump(recipe))
    assert main(["plan", str(tmp_path / "jobs.yaml"), "--workdir", str(tmp_path)]) == 2
    assert words in capsys.readouterr().err


def test_remarks_name_missing_stores_widened_filters_and_gpus_not_asked_for(tmp_path):
    recipe = jobs(sets={"A": {"store": "stores/A.zarr"}, "B": {"store": "stores/B.zarr"}})
    store(tmp_path / "stores/A.zarr")
    site = ClusterSpec(kind="slurm", partition="gpu")
    said = list(foresight.remarks(planned(recipe, tmp_path), recipe, site, tmp_path))
    assert said[0] == "stores/B.zarr: is not there, and this plan does not make it: submit will refuse"
    assert "stores/A.zarr has 5 channels: the first filters of imagenet-vgg16 take the mean" in said[1]
    assert "sent to partition gpu without a GPU; give resources gpus: 1 in the recipe" in said[2]
    told = ClusterSpec(kind="slurm", gpus_per_node=2)
    assert (
        "sent to the default partition without a GPU"
        in list(foresight.remarks(planned(recipe, tmp_path), recipe, told, tmp_path))[2]
    )
    unsaid = ClusterSpec(kind="slurm")
    assert len(list(foresight.remarks(planned(recipe, tmp_path), recipe, unsaid, tmp_path))) == 2
    enough = jobs(resources={"all": {"gpus": 1}})
    assert not any("partition" in one for one in foresight.remarks(planned(enough, tmp_path), enough, site, tmp_path))


@pytest.mark.parametrize(("more", "words"), [
    ({"overrides": {"all": {"data": {"batch_size": 4096}}}},
     ["set A: batch_size 4,096 is more than its 50 training objects, so that an epoch is one step"]),
    ({"overrides": {"all": {"data": {"batch_size": 50}}}}, []),
    ({"sizes": [1, "all"]}, ["set A: 1 training objects cannot show its 2 classes"]),
    ({}, []),
])  # fmt: skip
def test_batches_and_sizes_that_the_set_cannot_fill_are_told(tmp_path, more, words):
    store(tmp_path / "stores/A.zarr", "uint8", 3)
    recipe = jobs(**more)
    assert list(foresight.remarks(planned(recipe, tmp_path), recipe, None, tmp_path)) == words
