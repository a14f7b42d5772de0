"""One table of names: schemes as records, and targets, engines and loaders as dotted paths resolved late.

A login node lists everything here without importing numpy or torch.
"""

import dataclasses
import importlib
from dataclasses import dataclass
from typing import Any, Literal

from hpc_astrossl.errors import InputError, unknown
from hpc_astrossl.specs import pretexts
from hpc_astrossl.specs.backbones import BACKBONES, imagenet
from hpc_astrossl.specs.run import PhaseSpec, RunSpec

IMAGENET = "imagenet-vgg16"


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """Where the convolutions' weights come from, and the phases of training (Martinazzo et al. 2020, sec. III)."""

    weights: Literal["none", "imagenet", "pretext"]
    phases: tuple[PhaseSpec, ...]
    low_data_phases: tuple[PhaseSpec, ...] | None = None  # when a training size is given; None: the same
    about: str


_HEAD = PhaseSpec(trains="head", optimizer="adam", learning_rate=1e-3, epochs=100)
_TOP_FIRST = PhaseSpec(trains="head", optimizer="adam", learning_rate=1e-3, epochs=10)
_FINE = PhaseSpec(trains="all", optimizer="sgd", learning_rate=1e-4, epochs=200)

SCHEMES: dict[str, Scheme] = {
    "pretext": Scheme(
        weights="none",
        phases=(PhaseSpec(trains="all", optimizer="sgd", learning_rate=1e-3, epochs=200),),
        about="predict the magnitudes from the image, from scratch",
    ),
    "scratch": Scheme(
        weights="none",
        phases=(PhaseSpec(trains="all", optimizer="adam", learning_rate=1e-4, epochs=200),),
        low_data_phases=(_FINE,),
        about="everything trained on the labels alone",
    ),
    "features-imagenet": Scheme(weights="imagenet", phases=(_HEAD,), about="frozen ImageNet convolutions"),
    "features-magnitudes": Scheme(weights="pretext", phases=(_HEAD,), about="frozen magnitudes convolutions"),
    "finetune-imagenet": Scheme(
        weights="imagenet", phases=(_TOP_FIRST, _FINE), about="ImageNet convolutions, fine-tuned"
    ),
    "finetune-magnitudes": Scheme(
        weights="pretext", phases=(_TOP_FIRST, _FINE), about="magnitudes convolutions, fine-tuned"
    ),
    "features-random": Scheme(
        weights="none", phases=(_HEAD,), about="frozen convolutions as they are drawn from the seed: a floor to beat"
    ),
}
DOWNSTREAM = tuple(name for name in SCHEMES if name != "pretext")
PAPER = DOWNSTREAM[:5]  # the five schemes of the paper, in the order of its tables

# Pretexts that are more than a target: they show the network views of an image (specs/pretexts.py has their switches).
PRETEXTS = {
    "rotation": "hpc_astrossl.pretexts.rotation:Rotation",
    "patches": "hpc_astrossl.pretexts.patches:Patches",
    "clusters": "hpc_astrossl.pretexts.clusters:Clusters",
    "simclr": "hpc_astrossl.pretexts.simclr:Contrastive",
    "byol": "hpc_astrossl.pretexts.byol:Averaged",
}
TARGETS = {
    "magnitudes": "hpc_astrossl.targets.magnitudes:Magnitudes",
    "classes": "hpc_astrossl.targets.classes:Classes",
    "measured": "hpc_astrossl.targets.measured:Measured",
}
ENGINES = {
    "single": "hpc_astrossl.engines.single:Single",
    "horovod": "hpc_astrossl.engines.horovod:Horovod",
    "torch": "hpc_astrossl.engines.torch_distributed:TorchDistributed",
}
LOADERS = {
    "dali": "hpc_astrossl.loading.dali:DaliLoader",
    "vectorised": "hpc_astrossl.loading.vectorised:VectorisedLoader",
    "reference": "hpc_astrossl.loading.reference:ReferenceLoader",
}
# What a cluster task calls with the arguments of one command.
ENTRY = {"astrossl": "hpc_astrossl.cli:main"}


def scheme(name: str) -> Scheme:
    """The scheme of that name: of the table, or ``features-NAME`` and ``finetune-NAME`` of a pretext called NAME."""
    if name not in SCHEMES:
        kind, _, pretext = name.partition("-")
        if kind in ("features", "finetune") and pretext:
            return dataclasses.replace(SCHEMES[f"{kind}-magnitudes"], about=f"{kind} of pretext {pretext}")
    return lookup(SCHEMES, name, "scheme")


def pretext_of(scheme_name: str) -> str | None:
    """The name of the pretext whose weights a scheme begins with; None for schemes that begin otherwise."""
    return scheme_name.partition("-")[2] if scheme(scheme_name).weights == "pretext" else None


def lookup(table: dict[str, Any], name: str, kind: str) -> Any:
    """The entry of a table, or InputError with the allowed names."""
    if name not in table:
        raise unknown(kind, name, table)
    return table[name]


def resolve(table: dict[str, str], name: str, kind: str) -> Any:
    """The object that a table's dotted path ``module:attribute`` names."""
    module, _, attribute = lookup(table, name, kind).partition(":")
    return getattr(importlib.import_module(module), attribute)


def resolved(run: RunSpec, *, floats: bool = False) -> RunSpec:
    """The run with everything that its scheme decides written out; its ``run_id`` is final.

    ``floats``: its store holds numbers rather than bytes, of which scaling auto makes asinh.
    """
    found = scheme(run.scheme)
    if run.scheme not in SCHEMES and not (run.weights or "").startswith("run:"):
        raise InputError(
            f"{unknown('scheme', run.scheme, SCHEMES)}; or it is of a pretext of yours: then weights must be run:RUN_ID"
        )
    lookup(TARGETS | PRETEXTS, run.data.target, "target")
    if run.engine != "auto":
        lookup(ENGINES, run.engine, "engine")
    if (run.weights or "").startswith("imagenet-") and run.weights != imagenet(run.model.backbone):
        raise InputError(f"weights {run.weights} are not for backbone {run.model.backbone}; take weights "
                         f"{imagenet(run.model.backbone)}, or set model.backbone")  # fmt: skip
    if run.model.sobel and (run.weights or "").startswith("imagenet-"):
        raise InputError(f"weights {run.weights} were learnt from images as they are; leave model.sobel out for scheme "
                         f"{run.scheme} (set it in a pretext's overrides; what begins from it has it too)")  # fmt: skip
    phases = run.phases
    if not phases:
        low_data = run.data.train_size is not None and found.low_data_phases
        phases = found.low_data_phases if low_data else found.phases
    scaling = run.data.scaling
    if scaling == "auto":
        of_imagenet = run.weights in map(imagenet, BACKBONES)
        scaling = "caffe" if run.weights == IMAGENET else "imagenet" if of_imagenet else "unit"
        scaling = "asinh" if floats else scaling
    whole = dataclasses.replace(run, phases=phases, data=dataclasses.replace(run.data, scaling=scaling))
    if run.data.target not in PRETEXTS:
        if run.pretext:
            raise InputError(f"pretext: {', '.join(run.pretext)} belong to targets {', '.join(PRETEXTS)}; the run's "
                             f"target is {run.data.target}")  # fmt: skip
        return whole
    pretexts.check(whole)
    return dataclasses.replace(whole, pretext=pretexts.options(run.data.target, run.pretext, "pretext"))
