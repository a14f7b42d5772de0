"""Before anything is submitted: everything a plan needs is there, and its files are written."""

import contextlib
import json
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hpc_astrossl import cache, config, machine, manifest, names
from hpc_astrossl.errors import InputError, unknown
from hpc_astrossl.files import write_aside
from hpc_astrossl.launch.foresight import check_images
from hpc_astrossl.launch.ledger import Ledger
from hpc_astrossl.launch.plan import Item, Plan, Work, run_folder
from hpc_astrossl.launch.task import TaskSpec, events_file
from hpc_astrossl.specs.backbones import BACKBONES, imagenet
from hpc_astrossl.specs.cluster import ClusterSpec
from hpc_astrossl.specs.jobs import JobsSpec
from hpc_astrossl.specs.run import RunSpec

CLUSTERS = Path("jobs/clusters")

# Target -> (what a store must say, its word, what else to do).
NEEDED = {
    "classes": ("class_names", "classes", "make it again, with labels in its recipe"),
    "magnitudes": ("bands", "magnitudes", "take a target that needs none (pretext: {target: measured}, "
                   "docs/pretexts.md), or make it again with catalogue: magnitude or flux"),
}  # fmt: skip


def find_cluster(name: str) -> ClusterSpec:
    """The site of that name: a YAML file, or one in ``jobs/clusters`` here or of this checkout; "local" needs none."""
    if name.endswith((".yaml", ".yml")) or "/" in name:
        return config.load(name, ClusterSpec)
    folders = [CLUSTERS, Path(__file__).parents[2] / CLUSTERS]
    for folder in folders:
        if (folder / f"{name}.yaml").is_file():
            return config.load(folder / f"{name}.yaml", ClusterSpec)
    if name == "local":
        return ClusterSpec(kind="local")
    known = {path.stem for folder in folders for path in folder.glob("*.yaml")} | {"local"}
    raise InputError(f"{unknown('cluster', name, known)}; or give the path of a YAML file")


def as_it_is(cluster: ClusterSpec) -> ClusterSpec:
    """The cluster with as many GPUs as there are, where it is this machine."""
    if cluster.kind != "local":
        return cluster
    there, most = len(machine.visible_gpus()), cluster.gpus_per_node
    return replace(cluster, gpus_per_node=there if most is None else min(there, most))


def unavailable(cluster: ClusterSpec | None, backbones: Iterable[str] = ("vgg16",)) -> dict[str, str]:
    """Kinds of initial weights that cannot be had, with the reason: ImageNet's when the cache lacks them."""
    held = os.environ.get("ASTROSSL_CACHE")
    with contextlib.ExitStack() as stack:
        if cluster is not None and "ASTROSSL_CACHE" in cluster.environment:
            os.environ["ASTROSSL_CACHE"] = cluster.environment["ASTROSSL_CACHE"]
            stack.callback(_restore, "ASTROSSL_CACHE", held)
        files = {name: cache.weights_file(name) for name in map(imagenet, backbones)}
        there = {name for name in files if cache.found_weights(name) is not None}
    return {
        "imagenet" if name == names.IMAGENET else name: f"no ImageNet weights: bring them with astrossl weights fetch "
        f"{name}, or astrossl weights add FILE{_named(name)} (there is no {path})"
        for name, path in files.items()
        if name not in there
    }


def backbones_of(jobs: JobsSpec) -> set[str]:
    """The networks that runs of a recipe may have: VGG16, and those its overrides name."""
    changes = [*jobs.overrides.values(), *(one.get("overrides", {}) for one in jobs.pretexts.values())]
    models = [change.get("model", {}) for change in changes if isinstance(change, Mapping)]
    named = {str(model["backbone"]) for model in models if isinstance(model, Mapping) and "backbone" in model}
    return {"vgg16"} | (named & set(BACKBONES))


def _named(name: str) -> str:
    return "" if name == names.IMAGENET else f" --name {name}"


def _restore(name: str, value: str | None) -> None:
    if value is None:
        del os.environ[name]
    else:
        os.environ[name] = value


def validate(plan: Plan, jobs: JobsSpec, workdir: Path, again: Collection[str] = ()) -> None:
    """InputError for the first thing that a run of the plan would miss: recipes, sources, stores.

    The stores ``again`` are to be made though they lie there.
    """
    made = {item.out for item in jobs.preprocess}
    for item in jobs.preprocess:
        if (workdir / item.out / "zarr.json").exists() and item.out not in again:
            continue
        for what, path in (("recipe", item.recipe), ("source", item.source)):
            if not (workdir / path).exists():
                raise InputError(f"preprocess {item.out}: {what} {workdir / path} does not exist")
    # Of each store, the run with the most training objects asks for the most.
    runs = sorted(plan.runs, key=lambda run: run.data.train_size or 0)
    wanted = {(run.data.store, run.data.target): run for run in runs if run.data.store not in made}
    for (store, _), run in wanted.items():
        _check_store(workdir / store, run)
    check_stores(plan, workdir, again)


def check_stores(plan: Plan, workdir: Path, again: Collection[str] = ()) -> None:
    """InputError for the first run that cannot learn from its store, of those that are there now, and to stay."""
    runs = sorted(plan.runs, key=lambda run: run.data.train_size or 0)
    wanted = {(run.data.store, run.data.target, run.data.scaling): run for run in runs}
    for (store, *_), run in wanted.items():
        if store not in again and (workdir / store / "zarr.json").exists():
            _check_store(workdir / store, run)


def _check_store(path: Path, run: RunSpec) -> None:
    """Whether the run can learn from it. A Zarr v3 group's attributes are plain JSON, which needs no Zarr to read."""
    try:
        attributes = dict(json.loads((path / "zarr.json").read_bytes()).get("attributes", {}))
    except (FileNotFoundError, NotADirectoryError):
        raise InputError(
            f"store {path} of set {run.set} does not exist; make it with astrossl preprocess, or list it under "
            "preprocess in the recipe"
        ) from None
    except (ValueError, TypeError, AttributeError, RecursionError):
        raise InputError(f"store {path}: its zarr.json is damaged; make the store again") from None
    if attributes.get("format") != "astrossl-store":
        raise InputError(f"{path} is no astrossl store (attribute format is {attributes.get('format')!r})")
    if faults := manifest.faults(path):
        raise InputError(f"store {path} of set {run.set} is damaged: {'; '.join(faults[:3])}. astrossl check says all; "
                         "make the store again with astrossl preprocess")  # fmt: skip
    column, what, remedy = NEEDED.get(run.data.target, ("", "", ""))
    if column and not attributes.get(column):
        raise InputError(f"store {path} has no {what}, so it cannot be learnt with target {run.data.target}; {remedy}")
    counts = attributes.get("counts", {}).get("splits", {})
    if empty := [name for name, count in counts.items() if count == 0]:
        told = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        raise InputError(
            f"store {path} of set {run.set} has no object for {' and '.join(empty)} ({told}), and a run needs some of "
            "each; make it again with more objects, or other shares (split: {train: 0.6, validation: 0.2, test: 0.2})"
        )
    there = counts.get("train")
    if there is not None and (run.data.train_size or 0) > there:
        raise InputError(
            f"store {path} has {there} training objects, and set {run.set} is to be trained on {run.data.train_size}; "
            f"take sizes of at most {there}, or 'all'"
        )
    check_images(path, run)


def write_experiment(plan: Plan, recipe: str, workdir: Path) -> None:
    """``experiment.json``: what all recipes of this experiment plan together, and what was skipped and why.

    Each recipe's own part lies in ``.tasks/plans``: submitting an edited recipe replaces that part alone.
    """
    folder = workdir / "runs" / plan.experiment
    own = {
        "planned": [run_record(run) for run in plan.runs],
        "skipped": [{**run_record(run), "reason": reason} for run, reason in plan.skipped],
        "items": [_item_record(item) for item in plan.items],
    }
    parts = folder / ".tasks" / "plans"
    _write(parts / f"{recipe}.json", json.dumps(own, indent=1))
    planned: dict[str, Any] = {}
    skipped: dict[str, Any] = {}
    items: dict[str, Any] = {}
    for part in sorted(parts.glob("*.json")):
        try:
            data = json.loads(part.read_text(encoding="utf-8"))
            planned.update({record["run_id"]: record for record in data["planned"]})
            skipped.update({record["run_id"]: record for record in data["skipped"]})
            items.update({record["key"]: record for record in data.get("items", [])})  # younger than 0.1.0
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{part}: damaged ({error}); remove it, and submit its recipe again") from None
    skipped = {key: record for key, record in skipped.items() if key not in planned}
    whole = {"experiment": plan.experiment, "planned": [*planned.values()], "skipped": [*skipped.values()],
             "items": [*items.values()]}  # fmt: skip
    _write(folder / "experiment.json", json.dumps(whole, indent=1) + "\n")


def _item_record(item: Item) -> dict[str, Any]:
    """What ``status`` needs to tell whether an item is out of date."""
    store = config.plain(item.store) if item.store else None
    return {"key": item.key, "produces": item.produces, "needs": list(item.needs), "store": store}


def recorded_items(records: Iterable[Any]) -> list[Item]:
    """The items that ``experiment.json`` tells of; those that are not to be read are left out."""
    found = []
    for record in records:
        with contextlib.suppress(InputError, TypeError, AttributeError):
            found.append(config.parse({**record, "command": []}, Item, "experiment.json"))
    return found


def run_record(run: RunSpec) -> dict[str, Any]:
    """The keys by which ``experiment.json`` and ``status`` know a run."""
    return {
        "run_id": run.run_id,
        "set": run.set,
        "scheme": run.scheme,
        "seed": run.seed,
        "train_size": run.data.train_size,
    }


def write_task(work: Work, ledger: Ledger, workdir: Path) -> Path:
    """The task's YAML and the ``config.yaml`` of its runs. Notes of an earlier attempt are removed."""
    for item in work.items:
        if item.run is not None:
            _write(workdir / run_folder(item.run) / "config.yaml", config.dump(item.run))
    path = ledger.task_file(work.name)
    spec = TaskSpec(workdir=str(workdir), commands=tuple(tuple(command) for command in work.commands))
    events_file(path).unlink(missing_ok=True)
    _write(path, config.dump(spec))
    return path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, text.encode())
