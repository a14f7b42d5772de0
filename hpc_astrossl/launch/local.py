"""A plan on this machine, without a scheduler: as many tasks at once as it has cores, memory and GPUs for.

The tasks run through submitit, as on a cluster, in processes of their own; this one stays in the foreground.
"""

import contextlib
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from hpc_astrossl import locks, machine
from hpc_astrossl.errors import EXIT_FAULT
from hpc_astrossl.launch import executors
from hpc_astrossl.launch.ledger import Entry, Ledger, process, this_process
from hpc_astrossl.launch.plan import Item, Plan, Stage, Work, pack
from hpc_astrossl.launch.prepare import write_task
from hpc_astrossl.launch.state import last_words, outcome
from hpc_astrossl.launch.task import Task, note
from hpc_astrossl.specs.cluster import ClusterSpec

POLL = 0.2  # seconds


@dataclass(kw_only=True)
class Machine:
    """What is free here: cores, memory in GB, the numbers of GPUs, and places under the cluster's ``parallel``."""

    cpus: int
    memory_gb: float
    gpus: list[int]
    places: int

    @classmethod
    def here(cls, cluster: ClusterSpec) -> "Machine":
        """This machine, as far as this process may use it."""
        gpus = machine.visible_gpus()
        if cluster.gpus_per_node is not None:
            gpus = gpus[: cluster.gpus_per_node]
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30
        cpus = len(os.sched_getaffinity(0))
        return cls(cpus=cpus, memory_gb=memory, gpus=gpus, places=cluster.parallel or 2**31)

    def fits(self, stage: Stage) -> bool:
        """Whether a task of that stage can start beside what runs."""
        need = stage.resources
        return (
            self.places > 0
            and need.cpus <= self.cpus
            and (need.memory_gb or 0) <= self.memory_gb
            and need.gpus <= len(self.gpus)
        )

    def take(self, stage: Stage) -> list[int]:
        """Book a task's resources; the numbers of its GPUs."""
        self.cpus -= stage.resources.cpus
        self.memory_gb -= stage.resources.memory_gb or 0
        self.places -= 1
        return [self.gpus.pop(0) for _ in range(min(stage.resources.gpus, len(self.gpus)))]

    def give_back(self, stage: Stage, gpus: list[int]) -> None:
        """Free what ``take`` booked."""
        self.cpus += stage.resources.cpus
        self.memory_gb += stage.resources.memory_gb or 0
        self.places += 1
        self.gpus = sorted([*self.gpus, *gpus])


@dataclass(kw_only=True)
class Running:
    """A started task."""

    work: Work
    job: object
    entry: Entry
    gpus: list[int]


@dataclass
class Tally:
    """What became of the items so far: by key, None when made, else the reason why not."""

    ended: dict[str, str | None] = field(default_factory=dict)

    @property
    def failed(self) -> dict[str, str]:
        """Keys and reasons of what was not made."""
        return {key: reason for key, reason in self.ended.items() if reason is not None}


class Foreground:
    """Runs the works of a plan on this machine and waits for them."""

    def __init__(self, plan: Plan, *, cluster: ClusterSpec, ledger: Ledger, workdir: Path):
        self.cluster, self.ledger, self.workdir = cluster, ledger, workdir
        self.machine = Machine.here(cluster)
        # A machine with fewer GPUs than wanted runs the stage on what it has, down to its CPUs.
        most = len(self.machine.gpus)
        self.stages = {
            stage.name: replace(stage, resources=replace(stage.resources, gpus=min(stage.resources.gpus, most)))
            for stage in plan.stages
        }
        self.waiting: list[Work] = []
        self.running: list[Running] = []
        self.tally = Tally()
        self._beat = contextlib.ExitStack()

    def claim(self, todo: Mapping[str, list[Item]]) -> int:
        """Write the tasks and enter them in the ledger as this process's; their number. To be done under the lock."""
        self.waiting = [work for name, stage in self.stages.items() for work in pack(stage, todo[name])]
        for work in self.waiting:
            write_task(work, self.ledger, self.workdir)
        entries = [_entry(work, None, this_process()) for work in self.waiting]
        if entries:
            self._beat.enter_context(locks.beating(self.ledger.beat_of(entries[0])))
        self.ledger.add(entries)
        return len(self.waiting)

    def run(self, busy: set[str], tell: Callable[["Foreground", list[str]], None]) -> Tally:
        """Run everything claimed. ``busy`` are keys that others are making; ``tell`` hears what ended, each round."""
        try:
            while self.waiting or self.running:
                news = self._settle() + self._start(busy)
                tell(self, news)
                time.sleep(POLL if self.running else 0)
        except BaseException:
            self._end()
            raise
        finally:
            self._beat.close()
        return self.tally

    def _start(self, busy: set[str]) -> list[str]:
        """Start what may start; give up what never can. Keys of the latter."""
        lost = []
        for work in list(self.waiting):
            stage, needs = self.stages[work.stage], {key for item in work.items for key in item.needs}
            unmade = [key for key in needs if self.tally.ended.get(key) is not None or key in busy]
            if unmade and not stage.regardless:
                self.waiting.remove(work)
                lost += self._give_up(work, unmade[0], "another submission makes" if unmade[0] in busy else "failed")
            elif not needs & self._open() and (self.machine.fits(stage) or not self.running):
                self.waiting.remove(work)
                self._launch(work, stage)
        return lost

    def _give_up(self, work: Work, need: str, why: str) -> list[str]:
        reason = f"not started: it needs {need}, which {why}"
        for number, item in zip(work.makers, work.items, strict=True):
            note(self.ledger.task_file(work.name), number, "end", status=EXIT_FAULT, reason=reason)
            self.tally.ended[item.key] = reason
        return [item.key for item in work.items]

    def _open(self) -> set[str]:
        works = [*self.waiting, *(run.work for run in self.running)]
        return {item.key for work in works for item in work.items}

    def _launch(self, work: Work, stage: Stage) -> None:
        gpus = self.machine.take(stage)
        task = self.ledger.task_file(work.name)
        job = executors.start_local(Task(str(task)), self.ledger.logs, stage, self.cluster, gpus)
        entry = _entry(work, job.job_id, process(int(job.job_id)))
        self.ledger.add([entry])
        self.running.append(Running(work=work, job=job, entry=entry, gpus=gpus))

    def _settle(self) -> list[str]:
        """Keys of the items whose task has just ended."""
        news = []
        for run in [run for run in self.running if run.job.done()]:
            self.running.remove(run)
            self.machine.give_back(self.stages[run.work.stage], run.gpus)
            for item in run.work.items:
                result = outcome(
                    run.entry, item.key, ledger=self.ledger, phase=None,
                    produced=(self.workdir / item.produces).exists(), ended=self._last_words,
                )  # fmt: skip
                self.tally.ended[item.key] = None if result.state == "done" else result.reason
                news.append(item.key)
        return news

    def _last_words(self, entry: Entry, begun: bool) -> str:
        return last_words(self.ledger.log_file(entry.job), begun=begun) or "its log is empty"

    def _end(self) -> None:
        """End the children: an interrupt first, which leaves them a second to save, then a kill."""
        for run in self.running:
            run.job.cancel()
        limit = time.monotonic() + 10
        while any(not run.job.done() for run in self.running) and time.monotonic() < limit:
            time.sleep(0.1)


def _entry(work: Work, job: str | None, who: dict[str, object]) -> Entry:
    keys = tuple(item.key for item in work.items)
    return Entry(kind="local", stage=work.stage, task=work.name, items=keys, commands=work.makers, job=job, **who)
