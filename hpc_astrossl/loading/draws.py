"""What an object draws in an epoch: bits hashed from (stream, seed, epoch, number), and the augmentation made of them.

A hash depends neither on the number of ranks, nor on the batch size, nor on where an epoch is resumed, nor on the
version of a random number library.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

# Streams keep draws for different purposes apart.
AUGMENTATION, CHUNKS, PLACES, ENDS, ANGLE, SHIFT_Y, SHIFT_X = range(7)
BLOCK = 1 << 15  # numbers that are hashed at a time: they stay beside the processor


def splitmix64(values: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele, Lea & Flood 2014): uint64 to uint64, one to one, all bits mixed."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def unmixed(values: np.ndarray) -> np.ndarray:
    """What ``splitmix64`` was given; uint64."""
    values = values ^ (values >> np.uint64(31)) ^ (values >> np.uint64(62))
    values = values * np.uint64(pow(0x94D049BB133111EB, -1, 1 << 64))
    values = values ^ (values >> np.uint64(27)) ^ (values >> np.uint64(54))
    values = values * np.uint64(pow(0xBF58476D1CE4E5B9, -1, 1 << 64))
    return (values ^ (values >> np.uint64(30)) ^ (values >> np.uint64(60))) - np.uint64(0x9E3779B97F4A7C15)


def key(stream: int, seed: int, epoch: int) -> np.uint64:
    """64 bits that tell the draws of a purpose, a seed and an epoch from all others."""
    found = np.zeros(1, dtype=np.uint64)
    for part in (stream, seed, epoch):
        found = splitmix64(found ^ np.uint64(part))
    return found[0]


def hashed(stream: int, seed: int, epoch: int, numbers: np.ndarray) -> np.ndarray:
    """64 hashed bits for each of ``numbers`` (not negative), uint64."""
    found, own = np.asarray(numbers).astype(np.uint64), key(stream, seed, epoch)
    for block in _blocks(len(found)):
        found[block] = splitmix64(own ^ found[block])
    return found


def shuffled(stream: int, seed: int, epoch: int, numbers: np.ndarray) -> np.ndarray:
    """``numbers``, no two of them equal, in the order of what is hashed from them; int64.

    A hash tells its number: sorting hashes alone is several times as fast as finding out where each comes.
    """
    drawn, own = hashed(stream, seed, epoch, numbers), key(stream, seed, epoch)
    drawn.sort()
    for block in _blocks(len(drawn)):
        drawn[block] = own ^ unmixed(drawn[block])
    return drawn.view(np.int64)


def _blocks(count: int) -> Iterator[slice]:
    return (slice(start, start + BLOCK) for start in range(0, count, BLOCK))


def uniform(stream: int, seed: int, epoch: int, numbers: np.ndarray) -> np.ndarray:
    """float64 in [0, 1) for each of ``numbers``."""
    return (hashed(stream, seed, epoch, numbers) >> np.uint64(11)) * 2.0**-53


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """How each of B objects is put: mirrored left-right, then upside down, then turned by quarters, then warped.

    ``horizontal`` and ``vertical`` are bool (B,), ``turns`` uint8 (B,): quarter turns anticlockwise as shown with
    row 0 on top, as ``numpy.rot90`` does. ``warp`` is float64 (B, 3), or None when nothing is warped: the angle in
    radians and the shift down and right in pixels by which the picture moves.
    """

    horizontal: np.ndarray
    vertical: np.ndarray
    turns: np.ndarray
    warp: np.ndarray | None = None

    def of(self, places: np.ndarray | slice) -> "Augmentation":
        """The augmentation of some of the objects."""
        warp = None if self.warp is None else self.warp[places]
        return Augmentation(horizontal=self.horizontal[places], vertical=self.vertical[places],
                            turns=self.turns[places], warp=warp)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Augmenting:
    """What may be drawn. ``rotation`` is the largest angle in degrees, ``shift`` the largest shift in pixels."""

    flips: bool = True
    turns: bool = True
    rotation: float = 0.0
    shift: float = 0.0

    def __bool__(self) -> bool:
        return bool(self.flips or self.turns or self.warps)

    @property
    def warps(self) -> bool:
        """Whether pixels are interpolated."""
        return self.rotation > 0 or self.shift > 0


def augmentation(seed: int, epoch: int, rows: np.ndarray, what: Augmenting) -> Augmentation:
    """The augmentation of ``rows`` in an epoch.

    Each flip has probability 1/2, each of four turns 1/4; angle and shifts are uniform between minus and plus the
    largest.
    """
    bits = hashed(AUGMENTATION, seed, epoch, rows)
    one, warp = np.uint64(1), None
    if what.warps:
        largest = ((ANGLE, np.radians(what.rotation)), (SHIFT_Y, what.shift), (SHIFT_X, what.shift))
        warp = np.stack([(2 * uniform(stream, seed, epoch, rows) - 1) * most for stream, most in largest], axis=1)
    return Augmentation(
        horizontal=((bits >> np.uint64(63)) & one).astype(bool) & what.flips,
        vertical=((bits >> np.uint64(62)) & one).astype(bool) & what.flips,
        turns=((bits >> np.uint64(60)) & np.uint64(3)).astype(np.uint8) * np.uint8(what.turns),
        warp=warp,
    )
