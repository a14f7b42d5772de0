"""What a plan is made of: items to make, stages of items alike, and the tasks they are packed into."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePosixPath

from hpc_astrossl import config
from hpc_astrossl.files import task_note
from hpc_astrossl.specs.jobs import PreprocessSpec, Resources, kind_of
from hpc_astrossl.specs.run import RunSpec

REPORT = "report"


@dataclass(frozen=True, kw_only=True)
class Item:
    """One thing to make: a store, a run or the report.

    ``key`` names it (store path, run id, "report"), ``command`` is the astrossl command line that makes it in the
    work directory, ``produces`` the file (relative) whose presence means done, ``needs`` the keys of this plan that
    must be made before. ``store`` is what the recipe says of the store that it makes, or has a part in.
    """

    key: str
    command: tuple[str, ...]
    produces: str
    needs: tuple[str, ...] = ()
    run: RunSpec | None = None
    store: PreprocessSpec | None = None

    @property
    def trains(self) -> bool:
        """Whether it is a run."""
        return self.produces.endswith("/result.json")


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Items that are alike in resources: one Slurm array. ``regardless``: it starts however its needs ended."""

    name: str
    items: tuple[Item, ...]
    resources: Resources
    after: tuple[str, ...] = ()
    regardless: bool = False


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The whole experiment: stages in an order that respects their needs, and the runs left out with the reason."""

    experiment: str
    stages: tuple[Stage, ...]
    skipped: tuple[tuple[RunSpec, str], ...] = ()

    @property
    def runs(self) -> list[RunSpec]:
        """Every planned run, in order."""
        return [item.run for stage in self.stages for item in stage.items if item.run is not None]

    @property
    def items(self) -> list[Item]:
        """Every item, each after those that it needs."""
        return [item for stage in self.stages for item in stage.items]

    def item(self, key: str) -> Item:
        """The item of that key; KeyError when the plan has none."""
        for stage in self.stages:
            for item in stage.items:
                if item.key == key:
                    return item
        raise KeyError(key)


@dataclass(frozen=True, kw_only=True)
class Work:
    """One task: items of one stage made by one job, one after another; frozen features' runs by one command.

    That command trains the heads together that differ in seed and training size only.
    """

    stage: str
    items: tuple[Item, ...]

    @property
    def commands(self) -> list[list[str]]:
        """The command lines, as they stand in the task's YAML."""
        if not self._together:
            return [list(item.command) for item in self.items]
        verb, _, *options = self.items[0].command
        return [[verb, *(item.command[1] for item in self.items), *options]]

    @property
    def makers(self) -> tuple[int, ...]:
        """Of each item, which of the commands makes it."""
        return (0,) * len(self.items) if self._together else tuple(range(len(self.items)))

    @property
    def _together(self) -> bool:
        return kind_of(self.stage) == "features" and len(self.items) > 1

    @property
    def name(self) -> str:
        """Stage and hash of the commands: equal work has an equal name."""
        return f"{self.stage}-{config.digest(self.commands)}"


def pack(stage: Stage, items: Iterable[Item]) -> list[Work]:
    """The tasks for those items of a stage, ``pack`` items a task; items of one task have the same needs."""
    size, works = stage.resources.pack, []
    for _, group in groupby(sorted(items, key=lambda item: item.needs), key=lambda item: item.needs):
        alike = tuple(group)
        works += [Work(stage=stage.name, items=alike[i : i + size]) for i in range(0, len(alike), size)]
    return works


def run_folder(run: RunSpec) -> str:
    """The run's folder, relative to the work directory."""
    return f"runs/{run.experiment}/{run.run_id}"


def report_page(experiment: str) -> str:
    """The report's page, relative to the work directory."""
    return f"reports/{experiment}/report.html"


def product_of(key: str, experiment: str) -> str:
    """What makes a store, a task of one, a run or the report "done", below the work directory, by its key alone."""
    if key == REPORT:
        return report_page(experiment)
    if key.endswith(".zarr"):
        return f"{key}/zarr.json"
    store, _, task = key.partition(".zarr:")
    if not task:
        return f"runs/{experiment}/{key}/result.json"
    number, _, tasks = task.partition("-of-")
    path = PurePosixPath(store)
    return str(path.parent / task_note(path.name, int(number), int(tasks)))
