"""Labels laid on an embedding: which rows they name, their classes in order, and what is too little of them."""

import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_astrossl import provenance
from hpc_astrossl.classify.scores import FEW
from hpc_astrossl.errors import InputError, unknown
from hpc_astrossl.ids import folded
from hpc_astrossl.labels import KEPT, ROUNDED, is_rounded, read_labels, words_of
from hpc_astrossl.store.embedding import Opened
from hpc_astrossl.terminal import quoted, shown

LEAST = 2  # labels of a class: one to learn from while the other is held out


@dataclass(frozen=True, kw_only=True)
class Truth:
    """``rows`` (n,) of the embedding, ascending, their classes ``truth`` (n,) as places in ``names``.

    ``elsewhere`` are labelled objects that the embedding does not hold; ``left_out`` counts labels of unwanted classes.
    """

    rows: np.ndarray
    truth: np.ndarray
    names: tuple[str, ...]
    elsewhere: tuple[str, ...]
    left_out: int
    path: Path

    @property
    def counts(self) -> list[int]:
        """Labels a class."""
        return np.bincount(self.truth, minlength=len(self.names)).tolist()

    def words(self) -> list[str]:
        """What a reader must know of the labels: classes with few of them, and labels that were not used."""
        few = [f"{shown(name)}: {count} labels; below {FEW}, its recall and precision are guesses: label more of it"
               for name, count in zip(self.names, self.counts, strict=True) if count < FEW]  # fmt: skip
        few += [f"{shown(one)} and {shown(other)} are two classes; if they are one, give them one name"
                for one, other in _alike(self.names)]  # fmt: skip
        if self.elsewhere:
            few.append(f"{words_of(self.elsewhere)} that the embedding does not hold: not used")
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
    if not wanted:
        raise InputError(f"{path}: --without leaves no label; keep two classes or more")
    known = folded(found.object_id)
    here = np.flatnonzero(np.isin(known, np.array(list(wanted), dtype=str)))
    if not len(here):
        there = shown(found.object_id[0]) if len(found) else "nothing: it is empty"
        raise InputError(f"{path}: none of its {len(wanted):,} objects is in {found.path}; ids there look like "
                         f"{there}, in the labels like {shown(next(iter(wanted)))}: are they of another embedding?"
                         f"{f' ({ROUNDED})' if is_rounded(next(iter(wanted))) else ''}")  # fmt: skip
    _require_digits(path, wanted, found)
    ids, times = np.unique(known[here], return_counts=True)
    if (times > 1).any():
        raise InputError(f"{found.path}: object {shown(ids[times > 1][0])} stands in it {times[times > 1][0]} times; "
                         "which of them the label means cannot be told: take its label out, or embed a store in which "
                         "ids are unique")  # fmt: skip
    called = [wanted[one] for one in known[here].tolist()]
    there = set(ids.tolist())
    names = _ordered(set(called), found.about.get("class_names", ()))
    place = {name: number for number, name in enumerate(names)}
    made = Truth(
        rows=here,
        truth=np.array([place[name] for name in called]),
        names=names,
        elsewhere=tuple(one for one in wanted if one not in there),
        left_out=len(labels) - len(wanted),
        path=path,
    )
    _check(made)
    return made


def _require_digits(path: Path, wanted: Iterable[str], found: Opened) -> None:
    """InputError where all long ids of the labels end in zeros, and those of the embedding do not: a rounded id may be
    that of another object."""
    long = [one for one in wanted if one.isdecimal() and len(one) > KEPT]
    if len(long) > 1 and all(map(is_rounded, long)) and not all(map(is_rounded, found.object_id.tolist())):
        raise InputError(f"{path}: all ids of more than {KEPT} digits end in zeros, such as {long[0]}: {ROUNDED}")


def _ordered(used: set[str], known: Sequence[str]) -> tuple[str, ...]:
    """Classes that the embedding knows in its order, then the others by name."""
    return (*(name for name in known if name in used), *sorted(used - set(known)))


def _alike(names: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Pairs of classes whose names differ in case, spaces or the way that letters are encoded alone."""
    seen: dict[str, str] = {}
    for name in names:
        key = "".join(unicodedata.normalize("NFKC", name).casefold().split())
        if key in seen:
            yield seen[key], name
        seen.setdefault(key, name)


def _check(made: Truth) -> None:
    if len(made.names) < 2:
        raise InputError(f"{made.path}: all {len(made.rows)} labels in the embedding are {quoted(made.names[0])}; a "
                         "classifier needs two classes or more: label some others")  # fmt: skip
    for name, count in zip(made.names, made.counts, strict=True):
        if count < LEAST:
            raise InputError(
                f"{made.path}: class {quoted(name)} has {count} label in the embedding; cross-validation holds one "
                f"out and learns from another, so {LEAST} are needed ({FEW} tell something): label more, or "
                f"--without {quoted(name)}"
            )
