"""Pictures that are the same, pixel for pixel, under other names: found by keys taken while they were cut, which few
others share, and then by hashes of those few.

Tasks cut without a word to one another, so this is decided by the one that finishes the store: equal pictures share a
split, and with them all that belongs together on the sky. The test set wins over validation, and that over training, so
that what a catalogue calls its test set stays whole.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from hpc_astrossl import store as stores
from hpc_astrossl.ingest.plans import Job
from hpc_astrossl.manifest import Record
from hpc_astrossl.selection import crossmatch


@dataclass(frozen=True, kw_only=True)
class Equal:
    """N rows: their splits after equal pictures were put together; how many there are, how many were moved, and the
    ids of pictures that stand in two classes, in pairs."""

    split: np.ndarray
    count: int = 0
    moved: int = 0
    contrary: tuple[tuple[str, str], ...] = ()

    @property
    def facts(self) -> dict[str, int | list]:
        """For the store's counts; empty when no two pictures are equal."""
        if not self.count:
            return {}
        return {"equal_pixels": {"objects": self.count, "moved": self.moved, "in_two_classes": len(self.contrary),
                                 "first": [list(pair) for pair in self.contrary[:10]]}}  # fmt: skip

    def words(self, name: str) -> list[str]:
        """What is to be said of it, a line each."""
        if not self.count:
            return []
        lines = [f"{name}: {self.count:,} objects have the pixels of another one; {self.moved:,} were moved so that "
                 "equal pictures share a split"]  # fmt: skip
        if self.contrary:
            one, other = self.contrary[0]
            lines.append(f"{name}: {len(self.contrary):,} pairs of equal pictures stand in different classes, first "
                         f"{one} and {other}; correct the labels")  # fmt: skip
        return lines


def put_together(job: Job, records: Sequence[Record], split: np.ndarray,
                 hashes: Callable[[np.ndarray], np.ndarray]) -> Equal:  # fmt: skip
    """Let equal pictures among the rows that are not rejected share a split; ``hashes`` gives those of some rows."""
    kept = np.flatnonzero(split != stores.REJECTED)
    picture, twice = _pictures(kept, records, hashes)
    if not twice.any():
        return Equal(split=split)
    ids, place = job.column("object_id")[kept], np.arange(len(kept))
    if job.recipe.split.by != "column":
        position = (job.column("ra")[kept], job.column("dec")[kept])
        place = crossmatch.groups(ids, position, job.recipe.split.together)
    member = crossmatch.joined(picture, place)
    concerned = np.bincount(member, weights=twice)[member] > 0
    highest = np.zeros(member.max() + 1, dtype=split.dtype)
    np.maximum.at(highest, member, split[kept])
    new = split.copy()
    new[kept[concerned]] = highest[member[concerned]]
    return Equal(split=new, count=int(twice.sum()), moved=int((new != split).sum()),
                 contrary=_contrary(picture, job.column("label")[kept], ids))  # fmt: skip


def _pictures(rows: np.ndarray, records: Sequence[Record], hashes: Callable[[np.ndarray], np.ndarray]) \
        -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """(number of each row's picture, whether another row has it); (len(rows),) both."""
    keys = np.frombuffer(bytes.fromhex("".join(record.keys for record in records)), "<u8")
    picture = np.unique(keys[rows], return_inverse=True)[1]
    alike = np.flatnonzero(np.bincount(picture, minlength=1)[picture] > 1)
    if len(alike):
        pairs = np.zeros(len(rows), dtype=[("key", "i8"), ("hash", "S10")])
        pairs["key"] = picture
        pairs["hash"][alike] = hashes(rows[alike])
        picture = np.unique(pairs, return_inverse=True)[1]
    return picture, np.bincount(picture, minlength=1)[picture] > 1


def _contrary(picture: np.ndarray, labels: np.ndarray, ids: np.ndarray) -> tuple[tuple[str, str], ...]:
    """Pairs of ids whose pictures are equal and whose labels are not: each with the first of its picture."""
    first = np.unique(picture, return_index=True)[1][picture]
    different = np.flatnonzero((labels != labels[first]) & (labels >= 0) & (labels[first] >= 0))
    return tuple((str(ids[first[row]]), str(ids[row])) for row in different)
