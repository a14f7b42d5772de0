"""The sky in zones of declination, so that who is near whom is found a zone at a time; and ids in bins of their hash.

What is within a radius of a zone's border lies in the zone beyond it, too, as its margin, so that no pair is lost. A
zone is as high as the workspace's memory allows, all of the sky when that is enough.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpc_astrossl.selection.workspace import BLOCK, Partitions, Workspace
from hpc_astrossl.store.sweep import hashes

EACH = 256  # bytes that a position takes while its neighbours are looked for
LOWEST = 0.01  # degrees: of a zone
FEW = 8  # zones that are gone through without a word


@dataclass(frozen=True)
class Masked:
    """The rows of a catalogue where a mask is True: a byte a row, where their numbers would take eight."""

    mask: np.ndarray

    def __len__(self) -> int:
        return int(np.count_nonzero(self.mask))


Rows = np.ndarray | Masked


def every(count: int) -> Masked:
    """All of so many rows."""
    return Masked(np.broadcast_to(True, count))


def pieces(rows: Rows) -> Iterator[np.ndarray]:
    """The rows in stretches, in their order; at least one stretch."""
    if isinstance(rows, Masked):
        for start in range(0, max(len(rows.mask), 1), BLOCK):
            yield start + np.flatnonzero(rows.mask[start : start + BLOCK])
    else:
        for start in range(0, max(len(rows), 1), BLOCK):
            yield rows[start : start + BLOCK]


def without(rows: Rows, some: np.ndarray) -> Rows:
    """The rows but for some of them."""
    if not isinstance(rows, Masked):
        return rows[~np.isin(rows, some)] if len(some) else rows
    mask = rows.mask.copy()
    mask[some] = False
    return Masked(mask)


@dataclass(frozen=True, kw_only=True)
class Places:
    """Positions of some rows (ascending) of a catalogue, degrees; columns are arrays or lie in files. ``up`` and
    ``down``: whether the zone above and below knows those that are near its border. ``strict``: those out of range
    are nowhere; else angles are angles."""

    rows: Rows
    ra: Any
    dec: Any
    up: bool = False
    down: bool = False
    strict: bool = False

    def blocks(self) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """(rows, ra, dec) of those that have a position, block by block; at least one block."""
        for rows in pieces(self.rows):
            ra, dec = self.ra[rows], self.dec[rows]
            known = np.isfinite(ra) & np.isfinite(dec)
            if self.strict:
                known &= (np.abs(ra) <= 360) & (np.abs(dec) <= 90)
            yield (rows, ra, dec) if known.all() else (rows[known], ra[known], dec[known])


@dataclass(frozen=True, kw_only=True)
class Zone:
    """Rows in a zone, ascending, and their positions; ``own`` is False for those of its margin."""

    rows: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    own: np.ndarray


def zones(sets: Sequence[Places], radius: float, space: Workspace) -> Iterator[list[Zone]]:
    """The zones from the south on, each with what it holds of every set; ``radius`` in arcsec, of the margins."""
    if sum(len(one.rows) for one in sets) <= space.rows(EACH):
        yield [_whole(one) for one in sets]
        return
    margin = radius / 3600 * 1.000001 + 1e-9
    height = max(LOWEST, 2 * margin)
    zone_of = _borders(sets, height, space.rows(EACH))
    parts = [Partitions(space, int(zone_of[-1]) + 1) for _ in sets]
    for one, into in zip(sets, parts, strict=True):
        for rows, ra, dec in one.blocks():
            own = zone_of[_band(dec, height)]
            into.add(own, rows, ra, dec, np.ones(len(rows), dtype=bool))
            for wanted, shift in ((one.up, margin), (one.down, -margin)):
                other = zone_of[_band(_shifted(dec, shift), height)]
                if wanted and len(near := np.flatnonzero(other != own)):
                    into.add(other[near], rows[near], ra[near], dec[near], np.zeros(len(near), dtype=bool))
    count = int(zone_of[-1]) + 1
    for number in range(count):
        if count >= FEW and number % (count // 4) == 0:
            space.say(f"neighbours within {radius:g} arcsec: zone {number + 1} of {count}")
        found = [into.take(number, 4) for into in parts]
        yield [_none() if part is None else _zone(*part) for part in found]


def _borders(sets: Sequence[Places], height: float, most: int) -> np.ndarray:
    """The zone of each band of declination, so that a zone holds no more than so many, or is one band high."""
    counts = np.zeros(int(180 / height) + 2, dtype=np.int64)
    for one in sets:
        for _, _, dec in one.blocks():
            counts += np.bincount(_band(dec, height), minlength=len(counts))
    zone_of, zone, held = np.zeros(len(counts), dtype=np.int64), 0, 0
    for band, count in enumerate(counts.tolist()):
        if held and held + count > most:
            zone, held = zone + 1, 0
        zone_of[band], held = zone, held + count
    return zone_of


def _band(dec: np.ndarray, height: float) -> np.ndarray:
    beyond = np.abs(dec) > 90  # over a pole
    if beyond.any():
        dec = np.where(beyond, np.degrees(np.arcsin(np.sin(np.radians(dec)))), dec)
    return np.floor((dec + 90) / height).astype(np.int64)


def _shifted(dec: np.ndarray, shift: float) -> np.ndarray:
    """Declinations nearer to a pole or farther from it, none beyond it."""
    inside = np.abs(dec) <= 90
    return np.clip(np.where(inside, dec, np.degrees(np.arcsin(np.sin(np.radians(dec))))) + shift, -90, 90)


def _whole(places: Places) -> Zone:
    rows, ra, dec = (np.concatenate(part) for part in zip(*places.blocks(), strict=True))
    return Zone(rows=rows, ra=ra, dec=dec, own=np.ones(len(rows), dtype=bool))


def _zone(rows: np.ndarray, ra: np.ndarray, dec: np.ndarray, own: np.ndarray) -> Zone:
    order = np.argsort(rows, kind="stable")
    return Zone(rows=rows[order], ra=ra[order], dec=dec[order], own=own[order])


def _none() -> Zone:
    none = np.empty(0)
    return Zone(rows=none.astype(np.int64), ra=none, dec=none, own=none.astype(bool))


def by_hash(sets: Sequence[tuple[Any, Rows]], space: Workspace) -> Iterator[list[tuple[np.ndarray, np.ndarray]]]:
    """Rows of columns of text, given as (column, rows), in bins: equal texts are in one bin. Of each set the bin's
    (rows, hashes); equal hashes need not be equal texts."""
    count = -(-sum(len(rows) for _, rows in sets) // space.rows(EACH // 4))
    parts = [Partitions(space, max(1, count)) for _ in sets]
    for (column, rows), into in zip(sets, parts, strict=True):
        for part in pieces(rows):
            found = hashes(column[part])
            into.add((found >> np.uint64(32)).astype(np.int64) % len(into), part, found)
    none = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.uint64)
    for number in range(max(1, count)):
        yield [into.take(number, 2) or none for into in parts]
