"""The switches of each kind of pretext, as they stand under ``pretext`` of a run and beside ``kind`` in a jobs recipe.

A run's configuration holds all of them, so that what was chosen is recorded and reported. A login node reads them.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from hpc_astrossl import config
from hpc_astrossl.errors import InputError, unknown
from hpc_astrossl.specs.run import RunSpec, require


@dataclass(frozen=True, kw_only=True)
class Rotation:
    """Which of four quarter turns a copy was given (Gidaris et al. 2018); all four copies are in the batch."""

    disc: bool = True  # hide what is outside the largest disc: corners would tell the turn
    mirror: bool = False  # mirror half of the images before they are turned, as published


@dataclass(frozen=True, kw_only=True)
class Clusters:
    """Which of k clusters of the network's own features an image is in (Caron et al. 2018, DeepCluster)."""

    k: int = 100  # clusters; published: ten times the classes, and at most a tenth of the images
    reassign: int = 1  # epochs between two clusterings
    components: int = 256  # of the PCA with whitening, before features are brought to length one
    uniform: bool = True  # clusters count alike, whatever their sizes

    def __post_init__(self):
        require(2 <= self.k <= 100_000, f"k must be 2 to 100000 clusters, found {self.k}")
        require(self.reassign >= 1, f"reassign must be at least 1 epoch, found {self.reassign}")
        require(self.components >= 1, f"components must be at least 1, found {self.components}")


@dataclass(frozen=True, kw_only=True)
class Augmentations:
    """How two views of an image differ. What takes size or colour away is off: those are what objects are told by."""

    flips: bool = True
    turns: bool = True  # quarter turns
    shift: float = 2.0  # pixels, each way
    noise: float = 0.0  # of Gaussian noise, in standard deviations of the image's own pixels
    crop: float = 1.0  # the least part of the area that is cut out and enlarged; 1: nothing is cut (published: 0.08)
    colour: float = 0.0  # strength of brightness, contrast and channel jitter; 0: none (published: 1.0)

    def __post_init__(self):
        require(self.shift >= 0, f"shift must not be negative, found {self.shift}")
        require(self.noise >= 0, f"noise must not be negative, found {self.noise}")
        require(0 < self.crop <= 1, f"crop must be in (0, 1], found {self.crop}")
        require(0 <= self.colour <= 1.2, f"colour must be 0 to 1.2, found {self.colour}")


@dataclass(frozen=True, kw_only=True)
class Contrastive(Augmentations):
    """Which of all other views in the batch is of the same image (Chen et al. 2020, SimCLR)."""

    temperature: float = 0.1
    width: int = 128  # of the space in which views are compared

    def __post_init__(self):
        super().__post_init__()
        require(self.temperature > 0, f"temperature must be positive, found {self.temperature}")
        require(self.width >= 2, f"width must be at least 2, found {self.width}")


@dataclass(frozen=True, kw_only=True)
class Averaged(Augmentations):
    """Predict what a slow average of the network makes of another view (Grill et al. 2020, BYOL); no negatives."""

    momentum: float = 0.99  # of the average at first; it rises to 1 by a cosine, as published (0.996 for long runs)
    width: int = 128  # of the space in which views are compared

    def __post_init__(self):
        super().__post_init__()
        require(0 <= self.momentum < 1, f"momentum must be in [0, 1), found {self.momentum}")
        require(self.width >= 2, f"width must be at least 2, found {self.width}")


@dataclass(frozen=True, kw_only=True)
class Patches:
    """Where a neighbour lies of the patch in the centre of a 3 × 3 grid (Doersch et al. 2015).

    Null means: from the image's side s, so that the grid fills it in the published proportions: a patch of s / 4.15, a
    gap of half a patch, and the rest as jitter.
    """

    patch: int | None = None  # pixels
    gap: int | None = None  # pixels between two patches
    jitter: int | None = None  # pixels by which each patch is moved, each way
    enlarge: int | None = None  # pixels to which a patch is enlarged; null: as it is, or 32, the least that VGG16 takes
    plane: bool = True  # take a plane fitted to each channel off: the gradient of a known centre tells the place
    channels: Literal["keep", "shift", "drop"] = (
        "keep"  # shift: each by up to half a pixel; drop: all but one, as published
    )

    def __post_init__(self):
        for name, least in (("patch", 4), ("gap", 0), ("jitter", 0), ("enlarge", 1)):
            value = getattr(self, name)
            require(value is None or value >= least, f"{name} must be at least {least} pixels, found {value}")


KINDS: dict[str, type] = {
    "rotation": Rotation,
    "patches": Patches,
    "clusters": Clusters,
    "simclr": Contrastive,
    "byol": Averaged,
}
TARGETS = ("magnitudes", "measured")  # pretexts without switches: the run's target, one view
# What a run of a kind begins from in a jobs recipe, where neither overrides nor the pretext's own say otherwise.
PLAIN_HEAD = {"model": {"dropout": 0.0, "max_norm": None}}  # a projection as published
DEFAULTS: dict[str, dict[str, Any]] = {
    "rotation": {"data": {"flips": False}},
    "clusters": {},
    "simclr": PLAIN_HEAD,
    "byol": PLAIN_HEAD,
    "patches": {},
}


def options(kind: str, given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """All switches of a kind, those that are not given at their defaults; InputError names a wrong one."""
    return config.plain(config.parse(dict(given), KINDS[kind], where))


def check(run: RunSpec) -> None:
    """InputError when a run of a pretext asks for what would undo it, or for what it has no use of."""
    kind, data, where = run.data.target, run.data, f"target {run.data.target}"
    for phase in run.phases:
        require(phase.trains == "all", f"{where}: a phase that trains the head alone never sees the pretext's views; "
                                       "set trains: all")  # fmt: skip
    require(len(run.phases) == 1, f"{where}: a pretext has one phase, found {len(run.phases)}")
    require(data.control != "shuffled-labels", f"{where}: there are no labels to shuffle; set data.control to none")
    require(data.class_weights == "none", f"{where}: there are no classes to weigh; set data.class_weights to none")
    require(not data.bands, f"{where}: it predicts no bands; leave data.bands out")
    if kind == "rotation":
        asked = [name for name in ("flips", "turns", "rotation") if getattr(data, name)]
        require(not asked, f"{where}: data.{asked[0] if asked else ''} turns images at random before they are turned "
                           "by what is to be told, so that nothing could be; set it to false (0), and take "
                           "pretext.mirror for the published mirroring")  # fmt: skip


def split(name: str, entry: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """(what all pretexts of a recipe have, switches of its kind) of ``pretexts.NAME``; InputError for a stranger."""
    where = f"pretexts.{name}"
    if "kind" not in entry:
        raise InputError(f"{where}: missing key kind, one of {', '.join((*TARGETS, *KINDS))}")
    kind = entry["kind"]
    if kind not in (*TARGETS, *KINDS):
        raise InputError(f"{where}: {unknown('kind', str(kind), (*TARGETS, *KINDS))}")
    common = {key: entry[key] for key in ("store", "seed", "overrides") if key in entry}
    rest = {key: value for key, value in entry.items() if key not in (*common, "kind")}
    known = [field.name for field in fields(KINDS[kind])] if kind in KINDS else []
    for key in rest:
        if key not in known:
            raise InputError(f"{where}: {unknown('key', key, ['store', 'kind', 'seed', 'overrides', *known])}")
    return common | {"target": kind}, rest
