"""What can be known of a plan before it runs: which stores hold numbers, what is not there, and what looks like a slip.

The metadata of a Zarr v3 array are plain JSON, so that a login node needs no Zarr to read them.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from hpc_astrossl import names
from hpc_astrossl.errors import InputError
from hpc_astrossl.launch.plan import Plan
from hpc_astrossl.specs.cluster import ClusterSpec
from hpc_astrossl.specs.jobs import TRAINING, JobsSpec, kind_of
from hpc_astrossl.specs.recipe import load_recipe
from hpc_astrossl.specs.run import DataSpec, RunSpec

BYTES = ("unit", "caffe")  # scalings of uint8 images


def array(store: Path) -> dict | None:
    """The metadata of a store's images; None where they lie elsewhere (kept files) or cannot be read."""
    try:
        found = json.loads((store / "images" / "zarr.json").read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def float_stores(jobs: JobsSpec, workdir: Path) -> frozenset[str]:
    """Stores that hold numbers rather than bytes: those that are there as they are, the others by their recipe."""
    paths = {one.store for one in (*jobs.sets.values(), *([jobs.pretext] if jobs.pretext else []))}
    paths |= {str(one["store"]) for one in jobs.pretexts.values() if "store" in one}
    recipes = {item.out: item for item in jobs.preprocess}
    return frozenset(path for path in paths if _holds_floats(workdir, path, recipes.get(path)))


def _holds_floats(workdir: Path, path: str, item) -> bool:
    if (workdir / path / "zarr.json").exists():
        return str((array(workdir / path) or {}).get("data_type", "")).startswith("float")
    if item is None or not (workdir / item.recipe).is_file():
        return False
    try:
        store = load_recipe(workdir / item.recipe, item.settings).stores.get(Path(path).stem)
    except InputError:
        return False  # told by the task that makes the store
    return store is not None and store.images == "bands"


def floats(run: RunSpec, workdir: Path) -> bool:
    """Whether the store of a single run holds numbers."""
    return _holds_floats(workdir, run.data.store, None)


def check_images(store: Path, run: RunSpec) -> None:
    """InputError when the run's scaling cannot be of the store's images."""
    found = array(store) or {}
    kind, shape = str(found.get("data_type", "")), found.get("shape") or ()
    if kind.startswith("float") and run.data.scaling in BYTES:
        raise InputError(
            f"store {store}: scaling {run.data.scaling} of set {run.set} is for uint8 images, this store holds {kind}; "
            "set data.scaling to asinh, standard or none, or leave it out"
        )
    if run.data.scaling == "caffe" and len(shape) == 4 and shape[3] != 3:
        raise InputError(
            f"store {store}: scaling caffe of set {run.set} is for red, green and blue, this store has {shape[3]} "
            "channels; set data.scaling to unit"
        )


def remarks(plan: Plan, jobs: JobsSpec, cluster: ClusterSpec | None, workdir: Path) -> Iterator[str]:
    """What a person would want to know before the plan runs."""
    made = {item.out for item in jobs.preprocess}
    for store in dict.fromkeys(run.data.store for run in plan.runs):
        if store not in made and not (workdir / store / "zarr.json").exists():
            yield f"{store}: is not there, and this plan does not make it: submit will refuse"
    yield from dict.fromkeys(_widened(run, workdir) for run in plan.runs if _widened(run, workdir))
    yield from dict.fromkeys(line for run in plan.runs for line in _too_few(run, workdir))
    if cluster is not None and cluster.kind == "slurm" and cluster.gpus_per_node != 0:
        without = [stage.name for stage in plan.stages if kind_of(stage.name) in TRAINING and not stage.resources.gpus]
        partition = cluster.partition or "the default partition"
        if without and (cluster.gpus_per_node or "gpu" in partition.lower()):
            where = partition if cluster.partition is None else f"partition {partition}"
            stages = ", ".join(without)
            yield f"{stages}: sent to {where} without a GPU; give resources gpus: 1 in the recipe or the cluster file"


def _too_few(run: RunSpec, workdir: Path) -> Iterator[str]:
    """Where a store has fewer training objects than a batch that was asked for, or a size is less than its classes."""
    try:
        about = json.loads((workdir / run.data.store / "zarr.json").read_bytes())["attributes"]
        there, classes = about["counts"]["splits"]["train"], len(about["class_names"])
    except (OSError, ValueError, KeyError, TypeError):
        return  # told by prepare
    if run.data.batch_size > max(there, DataSpec.batch_size):
        yield (f"set {run.set}: batch_size {run.data.batch_size:,} is more than its {there:,} training objects, so "
               "that an epoch is one step")  # fmt: skip
    if run.data.target == "classes" and (run.data.train_size or there) < classes:
        yield f"set {run.set}: {run.data.train_size or there:,} training objects cannot show its {classes:,} classes"


def _widened(run: RunSpec, workdir: Path) -> str:
    """What becomes of ImageNet's filters where images have other channels than red, green and blue."""
    shape = (array(workdir / run.data.store) or {}).get("shape") or ()
    if run.weights != names.IMAGENET or len(shape) != 4 or shape[3] == 3:
        return ""
    return (f"{run.data.store} has {shape[3]} channels: the first filters of {names.IMAGENET} take the mean of their "
            f"three colours, times 3/{shape[3]}, in each")  # fmt: skip
