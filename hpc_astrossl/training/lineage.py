"""The runs that weights go back to: those of the experiment, and those behind weights that were exported and added."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl import cache, identity
from hpc_astrossl.errors import InputError
from hpc_astrossl.nets import seen as carrying
from hpc_astrossl.nets import weights
from hpc_astrossl.nets.seen import Carried
from hpc_astrossl.specs.backbones import backbone_of
from hpc_astrossl.specs.run import RunSpec
from hpc_astrossl.store import Store
from hpc_astrossl.training.folder import AGAIN, RunFolder, run_path
from hpc_astrossl.training.leakage import RADIUS, Seen, check_leakage, seen_behind, seen_by
from hpc_astrossl.training.source import same_channels

RUN = identity.RUN
GONE = "its weights lie no more in the cache, nor what they have seen"


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """A finished run that weights go back to."""

    folder: RunFolder
    result: dict[str, Any]
    made: identity.Made

    @property
    def record(self) -> dict[str, Any]:
        """As ``lineage`` of a result tells it."""
        made = self.made
        return {
            "run": made.run, "weights_sha256": made.own, "store": made.store, "store_sha256": made.store_sha256,
            "begun_from": {"name": made.weights, "sha256": made.weights_sha256},
        }  # fmt: skip

    def seen(self, workdir: Path) -> Seen:
        """Its objects."""
        return seen_by(self.folder.path, self.made, self.result.get("files", {}).get(identity.OBJECTS), workdir)


def back(name: str | None, experiment: str, workdir: Path) -> list[Earlier]:
    """Follow ``run:`` weights to the first run. InputError when one of them was edited, or is out of date."""
    found = []
    while name is not None and name.startswith(RUN):
        folder = RunFolder(run_path(workdir, experiment, name.removeprefix(RUN)))
        result, earlier = folder.held(AGAIN)
        if words := identity.misplaced(folder.path.name, result["run_id"]):
            raise InputError(f"{folder.path}: {words}; {AGAIN}")
        found.append(Earlier(folder=folder, result=result, made=identity.Made.of(result)))
        name = earlier.weights
    return found


def named(name: str) -> Carried | None:
    """What weights in the cache have seen; None where they were not exported from a run."""
    path = weights.cached(name)
    if not cache.seen_file(path).exists() and weights.marked(path) is None:
        return None  # those that came with the program, were fetched, or made elsewhere
    return weights.carried(path, weights.read(path, backbone_of(name)))


def check(run: RunSpec, workdir: Path, store: Store) -> tuple[tuple[dict[str, Any], ...], tuple[dict[str, Any], ...]]:
    """Hold what all runs have seen that a run's weights go back to against ``store``: (what was found, those runs).

    InputError when one of them has seen an object of it, or is out of date.
    """
    earlier, leakage = back(run.weights, run.experiment, workdir), []
    for one in earlier:
        channels = tuple(one.result["store"].get("channels", ()))
        if len(channels) == len(store.info.channels):  # other numbers are told of, or made to fit, later
            same_channels(str(store.path), store.info.channels, channels)
        leakage.append(check_leakage(one.seen(workdir), store))
    first = earlier[-1].made.weights if earlier else run.weights
    further, runs = _behind(first, earlier)
    for seen in further:
        leakage.append(check_leakage(seen, store))
    leakage += [{"store": one["store"], "run": one["run"], "compared": 0, "shared": None, "radius": RADIUS, "why": GONE}
                for one in runs[len(further) :]]  # fmt: skip
    return tuple(leakage), (*(one.record for one in earlier), *runs)


def _behind(name: str | None, earlier: list[Earlier]) -> tuple[list[Seen], list[Mapping[str, Any]]]:
    """(what is known to be seen, runs) behind named weights: of the cache, or as the last run's result tells them."""
    if name is None or name.startswith(RUN):
        return [], []
    told = list(earlier[-1].result.get("lineage", ())) if earlier else []
    if earlier and _sha256(name) != earlier[-1].made.weights_sha256:
        return [], told  # others are called so now
    carried = named(name)
    if carried is None:
        return [], told
    return seen_behind(carried), list(carried.runs)


def _sha256(name: str) -> str | None:
    try:
        return identity.Ground(Path(), "").named(name)
    except InputError:
        return None


def of_run(folder: Path, tensors: Mapping[str, Any]) -> Carried:
    """What the weights of a finished run have seen, for those who take them elsewhere: its own objects, and further.

    What cannot be told any more (a store or an earlier run that is gone) is marked as not certain.
    """
    place, home = folder.resolve(), RunFolder(folder)
    result, run = home.held(None)
    workdir = place.parents[2]
    chain = [Earlier(folder=home, result=result, made=identity.Made.of(result))]
    try:
        chain += back(run.weights, place.parent.name, workdir) if place.parents[1].name == "runs" else []
        further, told = _behind(chain[-1].made.weights, chain)
    except InputError:
        chain, further, told = chain[:1], [], list(result.get("lineage", ()))
    runs, of, columns = [], [], []
    for one in chain:
        _add(runs, of, columns, one.record, _seen(one, workdir))
    for number, record in enumerate(told):
        _add(runs, of, columns, dict(record), further[number] if further else None)
    whole = {name: np.concatenate([one[name] for one in columns]) for name in carrying.COLUMNS}
    return Carried(convolutions=weights.digest(tensors), runs=tuple(runs), of=np.concatenate(of), objects=whole)


def _seen(one: Earlier, workdir: Path) -> Seen | None:
    try:
        return one.seen(workdir)
    except InputError:
        return None


def _add(runs: list, of: list, columns: list, record: dict[str, Any], seen: Seen | None) -> None:
    nothing = {"object_id": np.empty(0, "U1"), "ra": np.empty(0), "dec": np.empty(0)}
    objects = seen.objects if seen else nothing
    of.append(np.full(len(objects["object_id"]), len(runs)))
    columns.append({name: np.asarray(objects[name]) for name in carrying.COLUMNS})
    runs.append(record | {"certain": bool(seen and seen.certain)})
