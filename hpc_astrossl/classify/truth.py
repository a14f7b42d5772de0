"""Labels laid on an embedding: which rows they name, their classes in order, and what is too little of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_astrossl import provenance
from hpc_astrossl.classify.scores import FEW
from hpc_astrossl.errors import InputError, unknown
from hpc_astrossl.labels import read_labels
from hpc_astrossl.store.embedding import Opened

LEAST = 2  # labels of a class: one to learn from while the other is held out


@dataclass(frozen=True, kw_only=True)
class Truth:
    """``rows`` (n,) of the embedding, ascending, their classes ``truth`` (n,) as places in ``names``.

    ``elsewhere`` counts labels of objects that the embedding does not hold, ``left_out`` those of classes not wanted.
    """

    rows: np.ndarray
    truth: np.ndarray
    names: tuple[str, ...]
    elsewhere: int
    left_out: int
    path: Path

    @property
    def counts(self) -> list[int]:
        """Labels a class."""
        return np.bincount(self.truth, minlength=len(self.names)).tolist()

    def words(self) -> list[str]:
        """What a reader must know of the labels: classes with few of them, and labels that were not used."""
        few = [f"{name}: {count} labels; below {FEW}, its recall and precision are guesses: label more of it"
               for name, count in zip(self.names, self.counts, strict=True) if count < FEW]  # fmt: skip
        if self.elsewhere:
            many = "1 label is of an object" if self.elsewhere == 1 else f"{self.elsewhere:,} labels are of objects"
            few.append(f"{many} that the embedding does not hold: not used")
        if self.left_out:
            few.append(f"{self.left_out:,} labels are of classes left out by --without")
        return few

    @property
    def identity(self) -> str:
        """SHA-256 of the file of labels."""
        return provenance.sha256(self.path)


def lay(path: Path, found: Opened, without: Sequence[str] = ()) -> Truth:
    """Read labels and find their objects.

    InputError when none is in the embedding, an object stands there twice, or fewer than two classes or two labels of
    a class are left.
    """
    labels = read_labels(path)
    known = {label.name for label in labels.values()}
    for name in without:
        if name not in known:
            raise unknown("class in --without", name, known)
    wanted = {one: label.name for one, label in labels.items() if label.name not in without}
    here = np.flatnonzero(np.isin(found.object_id, np.array(list(wanted), dtype=str)))
    if not len(here):
        raise InputError(f"{path}: none of its {len(wanted):,} objects is in {found.path}; ids there look like "
                         f"{found.object_id[0]}, in the labels like {next(iter(labels))}")  # fmt: skip
    ids, times = np.unique(found.object_id[here], return_counts=True)
    if (times > 1).any():
        raise InputError(f"{found.path}: object {ids[times > 1][0]} stands in it {times.max()} times; "
                         "which of them the label means cannot be told")  # fmt: skip
    called = [wanted[one] for one in found.object_id[here].tolist()]
    names = _ordered(set(called), found.about.get("class_names", ()))
    place = {name: number for number, name in enumerate(names)}
    made = Truth(
        rows=here,
        truth=np.array([place[name] for name in called]),
        names=names,
        elsewhere=len(wanted) - len(here),
        left_out=len(labels) - len(wanted),
        path=path,
    )
    _check(made)
    return made


def _ordered(used: set[str], known: Sequence[str]) -> tuple[str, ...]:
    """Classes that the embedding knows in its order, then the others by name."""
    return (*(name for name in known if name in used), *sorted(used - set(known)))


def _check(made: Truth) -> None:
    if len(made.names) < 2:
        raise InputError(f"{made.path}: all {len(made.rows)} labels are {made.names[0]!r}; a classifier needs two "
                         "classes or more")  # fmt: skip
    for name, count in zip(made.names, made.counts, strict=True):
        if count < LEAST:
            raise InputError(
                f"{made.path}: class {name!r} has {count} label in the embedding; cross-validation holds one out and "
                f"learns from another, so {LEAST} are needed ({FEW} tell something): label more, or --without {name!r}"
            )
