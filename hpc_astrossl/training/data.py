"""What a run is trained on, checked before anything is computed: the store, the target, the rows, the first weights."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from hpc_astrossl import identity, names, provenance
from hpc_astrossl.errors import InputError
from hpc_astrossl.nets import weights
from hpc_astrossl.pretexts import open_pretext
from hpc_astrossl.specs.run import RunSpec
from hpc_astrossl.store import SPLITS, RowSet, Store, nearest, open_store, sweep
from hpc_astrossl.training import control, truth
from hpc_astrossl.training.folder import WEIGHTS, RunFolder, run_path
from hpc_astrossl.training.lineage import check
from hpc_astrossl.training.subset import subset

RUN = identity.RUN


@dataclass(frozen=True, kw_only=True)
class Data:
    """The store, the target, the target's truth of every row, and by split the rows that are used."""

    store: Store
    target: Any
    truth: np.ndarray
    rows: dict[str, RowSet]

    def learnt(self) -> Iterator[np.ndarray]:
        """The truth of the training rows, in stretches."""
        return truth.stretches(self.truth, self.rows["train"])


def open_data(run: RunSpec, workdir: Path) -> Data:
    """The data of a run; InputError when the store does not fit the target, or has too few objects.

    The store is read from its copy on the node's own disk where the site names one.
    """
    store = open_store(nearest(workdir / run.data.store, partial(print, flush=True)))
    target = open_target(run, store)
    table = target.columns(store)
    rows, known = _known(target, table, store)
    for split, found in rows.items():
        if not len(found):
            raise InputError(f"{store.path}: no object of split {split} can be used for target {run.data.target}; "
                             "look at astrossl info, and make the store again with other fractions")  # fmt: skip
    size, train = run.data.train_size, rows["train"]
    if size is not None:
        if size > len(train):
            raise InputError(
                f"train_size {size} is more than the {len(train)} training objects of {store.path}; "
                "take a smaller one, or null for all of them"
            )
        rows["train"] = subset(train, partial(_strata, target, table, train), size, run.seed)
    if run.data.control == control.SHUFFLED:
        control.shuffle(known, rows, run.seed)
    data = Data(store=store, target=target, truth=known, rows=rows)
    target.prepare(data.learnt())
    return data


def _known(target: Any, table: Any, store: Store) -> tuple[dict[str, RowSet], np.ndarray]:
    """(by split the rows that can be used, the truth of every row). Columns are gone through in stretches, and not
    kept; ids are looked at too, for they are needed in the end."""
    count, bits = len(store), {name: RowSet.room(len(store)) for name in SPLITS}

    def truths() -> Iterator[np.ndarray]:
        for part in sweep.parts(table, count):
            usable, codes = target.usable(part), store.table.part("split", part.start, part.stop)
            for code, name in enumerate(SPLITS):
                RowSet.mark(bits[name], part.start + np.flatnonzero(usable & (codes == code)))
            yield target.truth(part)

    known = truth.laid(truths(), count)
    _ = store.table.id_type
    return {name: RowSet(one, count) for name, one in bits.items()}, known


def _strata(target: Any, table: Any, rows: RowSet) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(some of ``rows``, what a subset keeps the proportions of), in stretches."""
    for part in sweep.parts(table, rows.total):
        own = rows.between(part.start, part.stop)
        if len(own):
            yield own, target.strata(part)[own - part.start]


def open_target(run: RunSpec, store: Store) -> Any:
    """The run's target, or its pretext, which has a target's manners."""
    if run.data.target in names.PRETEXTS:
        return open_pretext(run, store.image_shape)
    return names.resolve(names.TARGETS, run.data.target, "target")(store.info, run.data)


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where the convolutions' first weights come from; ``tensors`` is empty for a run from scratch."""

    name: str | None
    sha256: str | None
    tensors: dict[str, Tensor]
    leakage: tuple[dict[str, Any], ...] = ()  # what the leakage check found, of each run that the weights go back to
    lineage: tuple[dict[str, Any], ...] = ()  # those runs, the nearest first, and what each was made from


def open_source(run: RunSpec, workdir: Path, store: Store) -> Source:
    """The first weights of a run.

    InputError when they are missing, are for another number of channels, or come from a run that is out of date, or
    that has seen objects of ``store``.
    """
    if run.weights is None:
        return Source(name=None, sha256=None, tensors={})
    noted = None
    if run.weights.startswith(RUN):
        folder = RunFolder(run_path(workdir, run.experiment, run.weights.removeprefix(RUN)))
        path = folder.path / WEIGHTS
        if folder.result() is None or not path.exists():
            raise InputError(f"weights {run.weights}: {folder.path} is no finished run's folder; train it first")
        noted = folder.weights_digest()
    else:
        path = weights.cached(run.weights)
    leakage, lineage = check(run, workdir, store)
    sha256 = provenance.sha256(path)
    if noted not in (None, sha256):
        raise InputError(f"{path}: damaged: it is not the file that its run wrote; bring it back, or train that run "
                         f"again, by astrossl submit --remake ({identity.both(noted, sha256)})")  # fmt: skip
    backbone = run.model.backbone
    tensors = weights.read(path, backbone)
    if provenance.sha256(path) != sha256:
        raise InputError(f"{path}: was replaced while it was read; run this again")
    if (weights.GRADIENTS in tensors) != run.model.sobel:
        learnt = "gradients (model.sobel)" if weights.GRADIENTS in tensors else "images as they are"
        raise InputError(f"weights {run.weights}: learnt from {learnt}, and this run has model.sobel "
                         f"{str(run.model.sobel).lower()}; give both the same")  # fmt: skip
    channels, needed = tensors[weights.first_layer(backbone)].shape[1], store.image_shape[2]
    if channels == 3 and needed != 3:
        tensors = weights.widened(tensors, needed, backbone)
    elif channels != needed:
        raise InputError(f"weights {run.weights}: they take {channels} channels, {store.path} has {needed}")
    return Source(name=run.weights, sha256=sha256, tensors=tensors, leakage=leakage, lineage=lineage)
