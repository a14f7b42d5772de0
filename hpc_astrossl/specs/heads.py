"""Which runs can be trained together: heads on the same frozen features, that differ in seed and training size only."""

import dataclasses
from collections.abc import Iterable

from hpc_astrossl import config
from hpc_astrossl.specs.run import RunSpec

AT_ONCE = 64  # heads in one computation: about 1.2 GB with 2,048 hidden units, their gradients and Adam's state


def alike(run: RunSpec) -> str | None:
    """A key that is equal for runs whose heads can be trained together; None for a run that trains anything else.

    ``run`` must be resolved (``names.resolved``).
    """
    if len(run.phases) != 1 or run.phases[0].trains != "head" or run.engine not in ("auto", "single"):
        return None
    if run.weights is None:  # each seed draws convolutions of its own
        return None
    if run.data.control == "shuffled-labels":  # each seed has labels of its own, and heads trained together share them
        return None
    data = dataclasses.replace(run.data, train_size=None)
    return config.dump(dataclasses.replace(run, seed=0, data=data, set="any", scheme="any"))


def groups(runs: Iterable[RunSpec]) -> list[list[RunSpec]]:
    """The runs in groups that can be trained together, at most ``AT_ONCE`` in one; in the order of their firsts."""
    found: dict[str, list[list[RunSpec]]] = {}
    order: list[list[RunSpec]] = []
    for run in runs:
        key = alike(run)
        if key is None:
            order.append([run])
            continue
        here = found.setdefault(key, [])
        if not here or len(here[-1]) == AT_ONCE:
            here.append([])
            order.append(here[-1])
        here[-1].append(run)
    return order
