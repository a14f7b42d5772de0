"""What of the making of stores is done here, and how."""

from dataclasses import dataclass

from hpc_astrossl.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Options:
    """What of the work is done here, and how: store ``only``, part ``task`` of ``tasks`` (from 1), so many processes.

    ``workers`` None means the cores that this process may use. ``memory_gb`` is what the selection may take: what it
    needs beyond that lies in files beside the stores while it is made.
    """

    only: str | None = None
    task: int = 1
    tasks: int = 1
    workers: int | None = None
    overwrite: bool = False
    memory_gb: float = 2

    def __post_init__(self):
        if not 1 <= self.task <= self.tasks:
            raise InputError(f"task {self.task}/{self.tasks}: expected I/N with 1 ≤ I ≤ N")
        if self.workers is not None and self.workers < 1:
            raise InputError(f"workers must be at least 1, found {self.workers}")
        if not self.memory_gb > 0:
            raise InputError(f"memory_gb must be positive, found {self.memory_gb:g}")
        if self.overwrite and self.tasks > 1:
            raise InputError("--overwrite is for one process: a task that comes late would remove what others made. "
                             "Remove the old store, then start the tasks")  # fmt: skip

    def own(self, count: int) -> range:
        """Which of ``count`` shards this task writes: one after another, every shard by exactly one task."""
        return range(count * (self.task - 1) // self.tasks, count * self.task // self.tasks)
