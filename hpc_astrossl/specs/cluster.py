"""A site in a dozen lines, ``jobs/clusters/*.yaml``: facts about a machine are data, never host-name guessing."""

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any, Literal

from hpc_astrossl.specs.jobs import check_resources
from hpc_astrossl.specs.run import require

SCRATCH = "ASTROSSL_SCRATCH"  # how a task is told of the folder, see hpc_astrossl/store/staging.py
SLURM_ONLY = (
    "partition", "account", "qos", "constraint", "setup", "max_array", "signal_delay", "attempts", "retries", "sbatch",
    "memory", "gpus",
)  # fmt: skip
# Options of sbatch that are decided elsewhere, and where.
DECIDED = {
    "array": "max_array and parallel",
    "output": "the experiment's folder",
    "error": "the experiment's folder",
    "open-mode": "the experiment's folder",
    "dependency": "the recipe",
    "signal": "signal_delay",
    "time": "minutes of the resources",
    "nodes": "nodes of the resources",
    "ntasks": "ranks and gpus of the resources",
    "ntasks-per-node": "ranks and gpus of the resources",
    "cpus-per-task": "cpus of the resources",
    "test-only": "astrossl submit --dry-run",
    "wait": "astrossl status --watch",
    "wrap": "the recipe",
}
SINGLE = ("nodes", "ntasks-per-node", "cpus-per-task")  # may be left out, where one is wanted
ELSEWHERE = ("clusters", "cluster", "M", "cluster-constraint")


@dataclass(frozen=True, kw_only=True)
class ClusterSpec:
    """Where tasks run. ``kind: local`` is this machine without a scheduler; the keys for Slurm are refused there."""

    kind: Literal["local", "slurm"]
    python: str | None = None  # shell command that starts Python where tasks run; null: this interpreter
    environment: dict[str, str] = field(default_factory=dict)  # variables of every task
    scratch: str | None = None  # folder on a node's own disk to which stores are copied before they are trained on
    engine: str | None = None  # null: each run's own choice
    gpus_per_node: int | None = None  # 0: no GPUs here; null: local counts them, slurm has them
    parallel: int | None = None  # tasks at once; null: local as many as fit, slurm 64
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)  # laid over the recipe's
    rates: dict[str, float] = field(default_factory=dict)  # samples/s a device, for plan's estimate: all, head
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    constraint: str | None = None
    setup: tuple[str, ...] = ()  # shell lines at the head of the batch script
    max_array: int = 1000  # elements an array; the site's MaxArraySize, where that is smaller and can be asked for
    signal_delay: int = 120  # seconds before the time limit at which a task is told to save and requeue
    attempts: int = 10  # time limits a task may meet before it counts as failed
    retries: int = 2  # times a task that was killed from outside (memory, an operator, a lost rank) is started again
    memory: Literal["node", "cpu", "gpu", "none"] = "node"  # what memory_gb is asked for by: --mem, --mem-per-cpu …
    gpus: str = (
        "gpus-per-node"  # the option that asks for GPUs, also gpus-per-task, gpus, or a GRES: gpu:a100, gres/NAME
    )
    sbatch: dict[str, str | int | bool] = field(default_factory=dict)  # further options of sbatch, name: value;
    # true: an option without a value; false: one that is not to be given

    @property
    def partitions(self) -> tuple[str, ...]:
        """The partitions named, in their order; sbatch takes no blanks between them."""
        given = str(self.sbatch.get("partition") or self.partition or "")
        return tuple(name for part in given.split(",") if (name := part.strip()))

    @property
    def variables(self) -> dict[str, str]:
        """What every task finds in its environment."""
        return self.environment | ({SCRATCH: self.scratch} if self.scratch else {})

    def __post_init__(self):
        if self.kind == "local":
            defaults = {f.name: f for f in dataclasses.fields(self)}
            for name in SLURM_ONLY:
                given = defaults[name]
                usual = given.default if given.default is not dataclasses.MISSING else given.default_factory()
                require(getattr(self, name) == usual, f"{name} means nothing for kind local; remove it")
        require(
            self.scratch is None or self.scratch.startswith(("/", "$")),
            f"scratch must be a whole path, which may begin with a variable of the node, found {self.scratch!r}",
        )
        for name in self.environment:
            require(
                re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) is not None,
                f"environment: {name!r} is no name of a variable (letters, digits and _)",
            )
        require(
            re.fullmatch(r"(gpus(-per-node|-per-task)?|gpu|gres/\w+)(:(?!\d{1,2}$)[\w.+-]+)?", self.gpus) is not None,
            "gpus must be gpus-per-node, gpus-per-task or gpus (each also with a type: gpus-per-node:a100), or a GRES: "
            f"gpu, gpu:a100, or gres/NAME where the site has another name for it; found {self.gpus!r}",
        )
        for name in self.sbatch:
            self._check_option(name)
        self._check_lines()
        for name in ("parallel", "max_array", "signal_delay", "attempts"):
            value = getattr(self, name)
            require(value is None or value >= 1, f"{name} must be at least 1, found {value}")
        for name, rate in self.rates.items():
            require(name in ("all", "head") and rate > 0, f"rates: all and head, each positive; found {name}: {rate}")
        require(self.retries >= 0, f"retries must not be negative, found {self.retries}")
        require(
            self.gpus_per_node is None or self.gpus_per_node >= 0,
            f"gpus_per_node must not be negative, found {self.gpus_per_node}",
        )
        check_resources(self.resources)

    def _check_option(self, name: str) -> None:
        """InputError for an option of sbatch that this program decides, or that it cannot follow."""
        require(
            name not in ELSEWHERE,
            f"sbatch: {name} sends jobs to another cluster, where they cannot be followed; log in to that cluster and "
            "submit there",
        )
        require(re.fullmatch(r"[a-z][a-z0-9-]*", name) is not None, f"sbatch: {name!r} is no name of an option")
        if name in SINGLE and self.sbatch[name] is False:
            return
        require(name not in DECIDED, f"sbatch: {name} is decided by {DECIDED.get(name)}; remove it")
        # sbatch takes abbreviations.
        whole = next((one for one in (*DECIDED, *ELSEWHERE) if one.startswith(name)), None)
        require(
            len(name) > 1 and whole is None,
            f"sbatch: {name} is short for another option{f', as {whole}' if whole else ''}; write its whole long name",
        )

    def _check_lines(self) -> None:
        """InputError for values that would not stay on their line of the batch script."""
        lines = {name: getattr(self, name) for name in ("partition", "account", "qos", "constraint")}
        for name, value in {**lines, **{f"sbatch: {key}": value for key, value in self.sbatch.items()}}.items():
            require(str(value).isprintable(), f"{name} must be one line of plain text, found {value!r}")
