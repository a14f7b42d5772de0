"""The verb plan: an experiment before it exists."""

import json
import sys
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path

from hpc_astrossl.cli import add_verb
from hpc_astrossl.cli.follow import WORKDIR, tell_reasons
from hpc_astrossl.cli.screen import table


def add(verbs) -> None:
    """Add this module's verb."""
    plan = add_verb(
        verbs, "plan", about="show the grid of an experiment before it exists", handler=_plan,
        example="astrossl plan jobs/paper.yaml --cluster slurm_gpu",
    )  # fmt: skip
    plan.add_argument("jobs", metavar="JOBS.yaml", help="the experiment's recipe")
    plan.add_argument("--cluster", metavar="C", help="a name in jobs/clusters, or the path of a YAML file")
    plan.add_argument("--json", action="store_true", help="print JSON")
    plan.add_argument("--workdir", metavar="DIR", type=Path, default=Path(), help=WORKDIR)


def expand(arguments: Namespace):
    """Recipe, cluster and plan of the arguments."""
    from hpc_astrossl import config
    from hpc_astrossl.launch import foresight, grid, prepare
    from hpc_astrossl.specs.jobs import JobsSpec

    jobs = config.load(arguments.jobs, JobsSpec)
    cluster = prepare.as_it_is(prepare.find_cluster(arguments.cluster)) if arguments.cluster else None
    missing = prepare.unavailable(cluster, prepare.backbones_of(jobs))
    floats = foresight.float_stores(jobs, arguments.workdir)
    plan = grid.expand(jobs, cluster=cluster, unavailable=missing, where=arguments.jobs, floats=floats)
    for remark in foresight.remarks(plan, jobs, cluster, arguments.workdir):
        print(remark, file=sys.stderr)
    return jobs, cluster, plan


def _plan(arguments: Namespace) -> None:
    from hpc_astrossl.launch import cost, current, prepare

    _, cluster, plan = expand(arguments)
    found = current.standing(plan.items, plan.experiment, arguments.workdir)
    prepare.check_stores(plan, arguments.workdir, found.outdated)
    done = found.done
    look_for_leaks(plan, found, arguments.workdir)
    rates = cost.measured(plan, arguments.workdir) | (cluster.rates if cluster else {})
    costs = {stage.name: cost.cost(stage, done, arguments.workdir, rates) for stage in plan.stages}
    if arguments.json:
        record = _plan_record(plan, done, costs)
        told = {"rates": rates, "outdated": found.outdated, "made_before_identities": found.unmarked}
        print(json.dumps({**record, **told}, indent=1))
        return
    print(f"experiment {plan.experiment}: {len(plan.runs)} runs, {len(plan.skipped)} skipped\n")
    limit = cluster.max_array if cluster else 0
    head = ["stage", "items", "done", "tasks", "arrays", "after", "a task gets", "at most", "estimate"]
    print(table(head, [_plan_line(stage, done, costs[stage.name], limit) for stage in plan.stages]))
    _tell_costs(costs.values(), rates)
    tell_skipped(plan.skipped)
    tell_standing(found)


def _plan_line(stage, done: set[str], cost, max_array: int) -> list[str]:
    need = stage.resources
    made = sum(item.key in done for item in stage.items)
    arrays = -(-cost.tasks // max_array) if max_array else 1 if cost.tasks else 0
    memory = f", {need.memory_gb:g} GB" if need.memory_gb else ""
    each = f"{need.cpus} CPU{', 1 GPU' if need.gpus else ''}{memory}"
    gets = f"{need.world} × ({each})" if need.world > 1 else each
    after = ", ".join(stage.after) if len(stage.after) < 3 else "all"
    most = f"{cost.tasks} × {need.minutes} min" if cost.tasks else "-"
    hours = f"{cost.hours:.1f} {cost.device}-h" if cost.hours is not None else "-"
    return [stage.name, str(len(stage.items)), str(made), str(cost.tasks), str(arrays), after or "-", gets, most, hours]


def _tell_costs(costs, rates: Mapping[str, float]) -> None:
    """The sums, and what the estimate rests on."""
    for device in ("GPU", "core"):
        limit = sum(one.limit_hours for one in costs if one.device == device)
        known = [one.hours for one in costs if one.device == device and one.hours is not None]
        if limit:
            print(
                f"{device}-hours: time limits add up to {limit:.1f}" + (f"; estimate {sum(known):.1f}" if known else "")
            )
    print(f"disk: about {sum(one.disk_gb for one in costs):.1f} GB for what the runs leave, beside their checkpoints")
    if rates:
        told = ", ".join(f"{name} {value:.0f}" for name, value in rates.items())
        print(f"estimates: no run stops early; samples/s a device, from finished runs or the cluster file: {told}")
    else:
        print("no estimate: give rates in the cluster file, or run a part first; finished runs are measured")


def _plan_record(plan, done: set[str], costs) -> dict:
    from dataclasses import asdict

    from hpc_astrossl.config import plain
    from hpc_astrossl.launch.prepare import run_record

    stages = [
        {
            "stage": stage.name,
            "after": list(stage.after),
            "resources": plain(stage.resources),
            **asdict(costs[stage.name]),
            "items": [
                {"key": item.key, "command": list(item.command), "needs": list(item.needs), "done": item.key in done}
                for item in stage.items
            ],
        }
        for stage in plan.stages
    ]
    skipped = [{**run_record(run), "reason": reason} for run, reason in plan.skipped]
    return {"experiment": plan.experiment, "stages": stages, "skipped": skipped}


def tell_standing(found) -> None:
    """What is out of date, with the reasons, and what cannot be held against anything."""
    from hpc_astrossl.launch import current

    for line in current.told(found.outdated):
        print(f"out of date  {line}")
    if found.outdated:
        print("submit --remake sets these aside and makes them again")
    for line in current.unmarked_words(found.unmarked):
        print(f"done  {line}")


def look_for_leaks(plan, found, workdir: Path) -> list:
    """InputError when a run would begin from weights that have seen its objects: before a GPU is asked for.

    Stores that are still to be made are looked at before training; so are all of them where numpy or zarr is not here.
    Returns what was compared now, and not before.
    """
    from hpc_astrossl.launch import compared
    from hpc_astrossl.launch.ledger import Ledger

    made = {item.store.out for item in plan.items if item.store and item.key not in found.done}
    left = {run.run_id for run in plan.runs} - found.done
    new = compared.Compared(Ledger(workdir, plan.experiment)).open(compared.pairs(plan.runs, workdir, left, made))
    if not new:
        return []
    try:
        from hpc_astrossl.training.leakage import check_plan
    except ModuleNotFoundError as error:
        print(f"{error.name} is not here: objects that the pretext shares with a set are looked for before training",
              file=sys.stderr)  # fmt: skip
        return []
    for pair in new:
        check_plan(pair.earlier, pair.run, workdir)
    return new


def tell_skipped(skipped) -> None:
    """Why runs of the grid are none, most of them first."""
    tell_reasons([(run.run_id, reason) for run, reason in skipped])
