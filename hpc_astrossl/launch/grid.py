"""The grid as a pure function of the recipe: which runs there are, in which stages, and what each needs first."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath

from hpc_astrossl import config, names
from hpc_astrossl.errors import InputError, unknown
from hpc_astrossl.files import task_note
from hpc_astrossl.launch.plan import REPORT, Item, Plan, Stage, report_page, run_folder
from hpc_astrossl.specs import pretexts
from hpc_astrossl.specs.backbones import imagenet
from hpc_astrossl.specs.cluster import ClusterSpec
from hpc_astrossl.specs.jobs import (
    ALL,
    MAGNITUDES,
    JobsSpec,
    NamedPretext,
    PreprocessSpec,
    PretextSpec,
    Resources,
    resources_of,
    stage_of,
)
from hpc_astrossl.specs.run import RunSpec


def expand(
    jobs: JobsSpec,
    *,
    cluster: ClusterSpec | None = None,
    unavailable: Mapping[str, str] | None = None,
    where: str = "",
    floats: Collection[str] = (),
) -> Plan:
    """The plan of a recipe.

    ``unavailable`` maps a kind of initial weights ("imagenet") to the reason why it cannot be had: the runs that
    need it are skipped. ``where`` opens the messages about a wrong override. InputError for those. ``floats``: stores
    that hold numbers rather than bytes; scaling auto is asinh there.
    """
    unavailable = unavailable or {}
    made = {item.out for item in jobs.preprocess}
    trained = _pretext_runs(jobs, where, floats)
    runs: dict[str, list[RunSpec]] = {scheme: [] for scheme in jobs.schemes}
    skipped = []
    for run in _downstream_runs(jobs, trained, where, floats):
        if reason := _reason(run, unavailable):
            skipped.append((run, reason))
        else:
            runs[run.scheme].append(run)
    groups = {
        "preprocess": [item for spec in jobs.preprocess for item in _store_items(spec)],
        "preprocess-check": [_check_item(spec) for spec in jobs.preprocess if spec.tasks > 1],
    }
    groups.update({stage: [_run_item(run, made)] for stage, run in trained.values()})
    groups.update({scheme: [_run_item(run, made) for run in chosen] for scheme, chosen in runs.items()})
    if jobs.report:
        keys = tuple(item.key for items in groups.values() for item in items)
        groups[REPORT] = [_report_item(jobs.experiment, keys)]
    layers = (jobs.resources, cluster.resources) if cluster else (jobs.resources,)
    stages = _stages({name: items for name, items in groups.items() if items}, layers)
    plan = Plan(experiment=jobs.experiment, stages=stages, skipped=tuple(skipped))
    return fitted(plan, cluster) if cluster else plan


def _reason(run: RunSpec, unavailable: Mapping[str, str]) -> str | None:
    """Why a run's weights cannot be had: of its kind, or of its backbone's."""
    if names.scheme(run.scheme).weights != "imagenet":
        return unavailable.get(names.scheme(run.scheme).weights)
    return unavailable.get("imagenet" if run.weights == names.IMAGENET else run.weights)


def fitted(plan: Plan, cluster: ClusterSpec) -> Plan:
    """The plan as that site runs it: its engine, its GPUs, and as many CPU threads a run as a task has CPUs."""
    if cluster.engine is not None and cluster.engine not in {*names.ENGINES, "auto"}:
        raise unknown("engine", cluster.engine, {*names.ENGINES, "auto"})
    for stage in plan.stages:
        _check_ranks(stage, cluster)

    def item(old: Item, resources: Resources) -> Item:
        if old.run is None:
            return old
        engine = cluster.engine or old.run.engine
        return replace(old, run=replace(old.run, threads=resources.cpus, engine=engine))

    def stage(old: Stage) -> Stage:
        resources = _resources(old.resources, cluster)
        return replace(old, resources=resources, items=tuple(item(i, resources) for i in old.items))

    return replace(plan, stages=tuple(stage(s) for s in plan.stages))


def _resources(wanted: Resources, cluster: ClusterSpec) -> Resources:
    """What a site gives: on its CPUs where it has no GPUs, and on one rank where no scheduler starts more."""
    gpus = 0 if cluster.gpus_per_node == 0 else wanted.gpus
    if cluster.kind == "local":
        return replace(wanted, gpus=min(1, gpus), nodes=1, ranks=None)
    return replace(wanted, gpus=gpus)


def _check_ranks(stage: Stage, cluster: ClusterSpec) -> None:
    need = stage.resources
    if cluster.kind == "local":
        return
    world = _resources(need, cluster).world
    batch = next((item.key for item in stage.items if item.run is not None and item.run.model.norm == "batch"), None)
    if world > 1 and batch is not None:
        raise InputError(
            f"resources of {stage.name}: {world} ranks, and {batch} has model.norm batch, by which each would go by "
            "its own part of a batch; give the stage one rank, or set model.norm to frozen"
        )
    if cluster.gpus_per_node and need.gpus > cluster.gpus_per_node:
        raise InputError(
            f"resources of {stage.name}: gpus {need.gpus}, and a node of this cluster has {cluster.gpus_per_node}; "
            "take more nodes instead"
        )
    if world > 1 and cluster.engine not in (None, "auto", "horovod", "torch"):
        raise InputError(
            f"resources of {stage.name}: {world} ranks need engine horovod, and the cluster file says "
            f"{cluster.engine}; horovod, torch and auto will do"
        )


def _stages(groups: Mapping[str, list[Item]], layers: tuple) -> tuple[Stage, ...]:
    makers = {item.key: name for name, items in groups.items() for item in items}
    stages = []
    for name, items in groups.items():
        after = dict.fromkeys(makers[key] for item in items for key in item.needs if key in makers)
        stages.append(
            Stage(
                name=name,
                items=tuple(items),
                resources=resources_of(name, *layers),
                after=tuple(after),
                regardless=name == REPORT,
            )
        )
    return tuple(stages)


def _store_items(spec: PreprocessSpec) -> list[Item]:
    """What makes a store: one item, or one a task, each of which leaves a note beside the store when it has ended."""
    out = PurePosixPath(spec.out)
    command = ["preprocess", spec.recipe, "--source", spec.source, "--out", str(out.parent), "--store", out.stem]
    for setting in spec.settings:
        command += ["--set", setting]
    if spec.tasks == 1:
        return [Item(key=spec.out, command=tuple(command), produces=f"{spec.out}/zarr.json", store=spec)]
    return [
        Item(key=key, command=(*command, "--task", f"{number}/{spec.tasks}"),
             produces=str(out.parent / task_note(out.stem, number, spec.tasks)), store=spec)
        for number, key in enumerate(_task_keys(spec), start=1)
    ]  # fmt: skip


def _check_item(spec: PreprocessSpec) -> Item:
    """The store that several tasks have made: whoever needs it waits until it was checked."""
    command = ("check", spec.out, "--deep")
    produces = f"{spec.out}/zarr.json"
    return Item(key=spec.out, command=command, produces=produces, needs=_task_keys(spec), store=spec)


def _task_keys(spec: PreprocessSpec) -> tuple[str, ...]:
    return tuple(f"{spec.out}:{number}-of-{spec.tasks}" for number in range(1, spec.tasks + 1))


def _run_item(run: RunSpec, made: set[str]) -> Item:
    folder = run_folder(run)
    needs = [run.data.store] if run.data.store in made else []
    if run.weights and run.weights.startswith("run:"):
        needs.append(run.weights.removeprefix("run:"))
    return Item(
        key=run.run_id,
        command=("train", f"{folder}/config.yaml", "--workdir", "."),
        produces=f"{folder}/result.json",
        needs=tuple(needs),
        run=run,
    )


def _report_item(experiment: str, needs: tuple[str, ...]) -> Item:
    return Item(
        key=REPORT,
        command=("report", experiment, "--workdir", "."),
        produces=report_page(experiment),
        needs=needs,
    )


def _pretext_runs(jobs: JobsSpec, where: str, floats: Collection[str]) -> dict[str, tuple[str, RunSpec]]:
    """Name of each pretext -> its stage and its run."""
    found = {}
    if jobs.pretext is not None:
        found[MAGNITUDES] = ("pretext", _pretext_run(jobs, jobs.pretext, "pretext", where, floats))
    for name in jobs.pretexts:
        found[name] = (stage_of(name), _pretext_run(jobs, jobs.named(name), name, where, floats))
    return found


def _pretext_run(
    jobs: JobsSpec, pretext: PretextSpec | NamedPretext, name: str, where: str, floats: Collection[str]
) -> RunSpec:
    """The run of ``pretext:``, whose name is "pretext", or of one of ``pretexts:``."""
    data = {
        "experiment": jobs.experiment,
        "set": name,
        "scheme": "pretext",
        "seed": pretext.seed,
        "data": {"store": pretext.store, "target": pretext.target},
    }
    data = config.merge(data, pretexts.DEFAULTS.get(pretext.target, {}))
    for key in (ALL, "pretext", stage_of(name)):
        data = config.merge(data, jobs.overrides.get(key, {}))
    data = config.merge(data, pretext.overrides)
    if isinstance(pretext, NamedPretext):
        data["pretext"] = pretext.switches
    return _run(data, f"{where}: {'pretext' if isinstance(pretext, PretextSpec) else f'pretexts.{name}'}", floats)


def _downstream_runs(
    jobs: JobsSpec, trained: Mapping[str, tuple[str, RunSpec]], where: str, floats: Collection[str]
) -> Iterator[RunSpec]:
    weights = {scheme: _weights(scheme, trained) for scheme in jobs.schemes}
    for set_name, labelled in jobs.sets.items():
        for scheme in jobs.schemes:
            for size in jobs.sizes:
                data = {
                    "experiment": jobs.experiment,
                    "set": set_name,
                    "scheme": scheme,
                    "seed": jobs.seeds[0],
                    "weights": weights[scheme],
                    "data": {
                        "store": labelled.store,
                        "target": labelled.target,
                        "train_size": None if size == ALL else size,
                    },
                }
                if (source := trained.get(names.pretext_of(scheme))) is not None and source[1].model.sobel:
                    data["model"] = {"sobel": True}  # or its weights would be shown what they have never seen
                for name in (ALL, set_name, scheme):
                    data = config.merge(data, jobs.overrides.get(name, {}))
                if names.scheme(scheme).weights == "imagenet":
                    data["weights"] = imagenet(_backbone(data))
                first = _run(data, f"{where}: set {set_name}, scheme {scheme}", floats)
                if (name := names.pretext_of(scheme)) in trained:
                    _check_backbones(first, trained[name][1], where)
                yield from (replace(first, seed=seed) for seed in jobs.seeds)


def _backbone(data: Mapping) -> str:
    model = data.get("model", {})
    return str(model.get("backbone", "vgg16")) if isinstance(model, Mapping) else "vgg16"


def _check_backbones(run: RunSpec, pretext: RunSpec, where: str) -> None:
    """InputError unless a run has the network whose weights it begins with."""
    for key in ("backbone", "sobel"):
        mine, theirs = (str(getattr(one.model, key)) for one in (run, pretext))
        if mine != theirs:
            raise InputError(f"{where}: set {run.set}, scheme {run.scheme}: model.{key} {mine}, and pretext "
                             f"{pretext.set} trains {theirs}; give both the same, in overrides.all")  # fmt: skip


def _weights(scheme: str, trained: Mapping[str, tuple[str, RunSpec]]) -> str | None:
    """What a scheme's convolutions begin with; None too where the pretext is not trained, and no set needs it."""
    if (name := names.pretext_of(scheme)) is not None:
        return f"run:{trained[name][1].run_id}" if name in trained else None
    return names.IMAGENET if names.scheme(scheme).weights == "imagenet" else None


def _run(data: dict, where: str, floats: Collection[str]) -> RunSpec:
    where = where.removeprefix(": ")
    run = config.parse(data, RunSpec, where)
    try:
        return names.resolved(run, floats=run.data.store in floats)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
