"""An experiment as a recipe, ``jobs/*.yaml``: stores, schemes, seeds and sizes, from which the grid of runs follows.

Every path is relative to the work directory.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from hpc_astrossl import config, names
from hpc_astrossl.errors import InputError, unknown
from hpc_astrossl.specs import pretexts
from hpc_astrossl.specs.run import require, require_name

ALL = "all"
MAGNITUDES = "magnitudes"  # the pretext that ``pretext:`` gives
KINDS = ("preprocess", "pretext", "features", "finetune", "scratch", "report")
TRAINING = ("pretext", "features", "finetune", "scratch")  # the kinds that may run on several ranks
# What the grid, the resources and the cluster decide; an override of these would contradict the recipe itself.
DECIDED = ("experiment", "set", "scheme", "seed", "weights", "threads", "data.store", "data.target", "data.train_size")


def kind_of(stage: str) -> str:
    """The kind of a stage, ``features`` of ``features-imagenet``; resources are given by kind or by stage."""
    return stage.partition("-")[0]


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What one task of a stage is given. ``minutes`` is the time limit that a scheduler is asked for.

    A training stage may run on several ranks, one a GPU; ``cpus`` and ``memory_gb`` are those of each rank.
    """

    cpus: int = 1
    gpus: int = 0  # of each node; what is wanted: a site without GPUs runs the stage on its CPUs
    memory_gb: float | None = 4.0  # null: none is asked for, and the site gives what it gives
    minutes: int = 60
    pack: int = 1  # runs that one task makes, one after another
    nodes: int = 1
    ranks: int | None = None  # of each node; null: one a GPU, and one without GPUs

    def __post_init__(self):
        for name in ("cpus", "minutes", "pack", "nodes"):
            require(getattr(self, name) >= 1, f"{name} must be at least 1, found {getattr(self, name)}")
        require(
            self.memory_gb is None or self.memory_gb > 0,
            f"memory_gb must be positive, or null to ask for none, found {self.memory_gb}",
        )
        require(self.gpus >= 0, f"gpus must not be negative, found {self.gpus}")
        require(self.ranks is None or self.ranks >= 1, f"ranks must be at least 1, found {self.ranks}")
        require(
            self.ranks is None or self.gpus in (0, self.ranks),
            f"ranks ({self.ranks}) and gpus ({self.gpus}) contradict each other: each GPU has one rank",
        )

    @property
    def per_node(self) -> int:
        """Ranks of each node."""
        return self.ranks or max(1, self.gpus)

    @property
    def world(self) -> int:
        """Ranks in all."""
        return self.nodes * self.per_node


@dataclass(frozen=True, kw_only=True)
class PreprocessSpec:
    """One store of a preprocessing recipe to make, at ``out``: FOLDER/NAME.zarr, where the recipe knows NAME.

    With ``tasks`` it is made by so many tasks of an array, then checked.
    """

    recipe: str
    source: str
    out: str
    settings: tuple[str, ...] = ()  # changes of the recipe, each as --set takes it: size=64
    tasks: int = 1

    def __post_init__(self):
        require(self.out.endswith(".zarr"), f"preprocess: out must end with .zarr, NAME.zarr, found {self.out!r}")
        require(self.tasks >= 1, f"preprocess {self.out}: tasks must be at least 1, found {self.tasks}")


@dataclass(frozen=True, kw_only=True)
class PretextSpec:
    """The one run whose convolutions all ``*-magnitudes`` schemes share, whatever their seed.

    ``target`` is what it learns: ``magnitudes``, or for images without a catalogue ``measured``.
    """

    store: str
    seed: int = 0
    target: Literal["magnitudes", "measured"] = "magnitudes"
    overrides: dict[str, Any] = field(default_factory=dict)  # a partial run (specs/run.py)


@dataclass(frozen=True, kw_only=True)
class NamedPretext:
    """One of several pretexts, ``pretexts.NAME``: gives the schemes ``features-NAME`` and ``finetune-NAME``."""

    store: str
    target: str  # its kind
    seed: int = 0
    overrides: dict[str, Any] = field(default_factory=dict)
    switches: dict[str, Any] = field(default_factory=dict)  # of its kind (specs/pretexts.py)


@dataclass(frozen=True, kw_only=True)
class SetSpec:
    """A labelled set."""

    store: str
    target: str = "classes"


@dataclass(frozen=True, kw_only=True)
class JobsSpec:
    """An experiment: every set × scheme × size × seed, after one pretext run, or one of each of ``pretexts``.

    ``pretexts`` maps a name to ``{store, kind, …}``: seed, overrides and the switches of the kind (specs/pretexts.py).
    Without ``schemes`` an experiment has the paper's, and features-NAME and finetune-NAME of each pretext.

    ``overrides`` lays partial runs over the generated ones: those of ``all`` first, then of the set, then of the
    scheme. ``resources`` are merged in the same manner: ``all``, then the kind of stage, then the stage.
    """

    experiment: str
    preprocess: tuple[PreprocessSpec, ...] = ()
    pretext: PretextSpec | None = None
    pretexts: dict[str, dict[str, Any]] = field(default_factory=dict)
    sets: dict[str, SetSpec] = field(default_factory=dict)
    schemes: tuple[str, ...] | None = None  # null: see above
    seeds: tuple[int, ...] = (0, 1, 2)
    sizes: tuple[int | str, ...] = (ALL,)
    overrides: dict[str, dict[str, Any]] = field(default_factory=dict)
    resources: dict[str, dict[str, Any]] = field(default_factory=dict)
    report: bool = True

    def __post_init__(self):
        require_name("experiment", self.experiment)
        something = self.sets or self.pretext is not None or self.pretexts or self.preprocess
        require(bool(something), "nothing to run: give preprocess, pretext, pretexts or sets")
        self._check_pretexts()
        if self.schemes is None:
            object.__setattr__(self, "schemes", self._default_schemes())
        for scheme in self.schemes:
            if scheme not in self.allowed_schemes:
                raise unknown("scheme", scheme, self.allowed_schemes)
            needs = self.sets and names.pretext_of(scheme) == MAGNITUDES and MAGNITUDES not in self.pretexts
            require(
                not needs or self.pretext is not None,
                f"scheme {scheme} begins with the weights of the pretext run: add pretext: {{store: …}}",
            )
        for size in self.sizes:
            require(
                size == ALL or (isinstance(size, int) and size >= 1),
                f"sizes are positive whole numbers or 'all', found {size!r}",
            )
        for name in ("schemes", "seeds", "sizes"):
            values = getattr(self, name)
            require(len(values) > 0, f"{name} is empty; leave the key out for the default")
            require(len(set(values)) == len(values), f"{name} repeats a value: {', '.join(map(str, values))}")
        for name in self.sets:
            require(
                name not in {ALL, *names.SCHEMES, *self.allowed_schemes, *self.pretexts},
                f"a set cannot be called {name!r}: overrides by that name would be ambiguous",
            )
        outs = [item.out for item in self.preprocess]
        require(len(set(outs)) == len(outs), f"preprocess makes one store twice: {', '.join(outs)}")
        self._check_overrides()
        check_resources(self.resources, tuple(self.pretexts))

    @property
    def allowed_schemes(self) -> tuple[str, ...]:
        """Every downstream scheme that this experiment may have."""
        return (*names.DOWNSTREAM, *(s for s in schemes_of(self.pretexts) if s not in names.DOWNSTREAM))

    def named(self, name: str) -> NamedPretext:
        """One of ``pretexts``; InputError when it is not as its kind wants it."""
        common, switches = pretexts.split(name, self.pretexts[name])
        if common["target"] in pretexts.KINDS:
            switches = pretexts.options(common["target"], switches, f"pretexts.{name}")
        return config.parse(common | {"switches": switches}, NamedPretext, f"pretexts.{name}")

    def _default_schemes(self) -> tuple[str, ...]:
        if not self.pretexts:
            return names.PAPER
        own = schemes_of(self.pretexts)
        kept = [s for s in names.PAPER if names.pretext_of(s) is None or self.pretext is not None]
        return tuple(dict.fromkeys((*kept, *own)))

    def _check_pretexts(self) -> None:
        for name in self.pretexts:
            require_name("pretexts: a name", name)
            taken = {"imagenet": "ImageNet's", "random": "random"}.get(name)
            require(taken is None, f"pretexts.{name}: features-{name} are those of {taken} weights; take another name")
            found = self.named(name)
            fits = name != MAGNITUDES or (self.pretext is None and found.target in pretexts.TARGETS)
            require(fits, f"pretexts.{name}: this name is for pretext: alone, or for kind magnitudes or measured")
            require(name not in {ALL, *KINDS, *names.SCHEMES}, f"pretexts.{name}: overrides by that name would be "
                                                              "ambiguous; take another name")  # fmt: skip
            refuse_decided(found.overrides, f"pretexts.{name}.overrides")
            require("pretext" not in found.overrides, f"pretexts.{name}.overrides: pretext cannot be overridden; put "
                                                      "its switches beside kind")  # fmt: skip

    def _check_overrides(self) -> None:
        allowed = [ALL, *self.sets, *names.SCHEMES, *self.allowed_schemes, *map(stage_of, self.pretexts)]
        for name, change in self.overrides.items():
            if name not in allowed:
                raise unknown("name in overrides", name, allowed)
            refuse_decided(change, f"overrides.{name}")
        if self.pretext is not None:
            refuse_decided(self.pretext.overrides, "pretext.overrides")


def refuse_decided(change: Mapping[str, Any], where: str) -> None:
    """InputError when an override sets what the grid itself decides."""
    for key in DECIDED:
        outer, _, inner = key.partition(".")
        held = change.get(outer)
        if (inner and isinstance(held, Mapping) and inner in held) or (not inner and outer in change):
            raise InputError(f"{where}: {key} cannot be overridden; the recipe's own keys decide it")


def schemes_of(named: Iterable[str]) -> list[str]:
    """The schemes that pretexts of these names give."""
    return [f"{kind}-{name}" for kind in ("features", "finetune") for name in named]


def stage_of(pretext: str) -> str:
    """The stage that trains the pretext of that name."""
    return f"pretext-{pretext}"


def check_resources(given: Mapping[str, Mapping[str, Any]], named: tuple[str, ...] = ()) -> None:
    """InputError for an unknown stage, an unknown resource or a value that cannot be, in a ``resources`` mapping.

    ``named`` are the experiment's pretexts.
    """
    allowed = {ALL, *KINDS, "preprocess-check", *names.DOWNSTREAM, *schemes_of(named), *map(stage_of, named)}
    for stage, values in given.items():
        if stage not in allowed:
            raise unknown("stage in resources", stage, allowed)
        config.parse(values, Resources, f"resources.{stage}")


def resources_of(stage: str, *layers: Mapping[str, Mapping[str, Any]]) -> Resources:
    """The resources of a stage: each layer (recipe, then cluster) by ``all``, kind and stage name, the last wins."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for name in dict.fromkeys((ALL, kind_of(stage), stage)):
            merged.update(layer.get(name, {}))
    found = config.parse(merged, Resources, f"resources of {stage}")
    if found.world > 1 and kind_of(stage) not in TRAINING:
        raise InputError(
            f"resources of {stage}: runs as one process, and was given {found.nodes} nodes of {found.per_node} ranks; "
            f"set them for {', '.join(TRAINING)} instead of all, or give {stage} its own gpus, nodes and ranks"
        )
    return found
