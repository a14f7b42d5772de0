"""Mean, standard deviation and noise of each channel over the training split, for the attributes of a store.

Mean and standard deviation come from the moments of each row, which are taken when its shard is written; only the rows
of which the noise is taken are read again. All sums are float64, and rounded to seven digits: the same pixels give the
same statistics wherever, and in whatever order, they are computed.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

SAMPLE = 1024  # objects, evenly spread over the split, of which the noise is taken
MAD = 1.4826  # standard deviation over median absolute deviation of a normal distribution
BLOCK = 1 << 16  # pixels whose moments are taken in one go: twice float64 of them stay in the processor's cache


def moments(images: np.ndarray, planes_first: bool) -> np.ndarray:
    """Mean of each image's channels, and the sum of the squares of what differs from it; float64 (N, channels, 2).

    ``images`` is (N, channels, height, width) with ``planes_first``, else (N, height, width, channels).
    """
    planes = images if planes_first else images.transpose(0, 3, 1, 2)
    count, channels, pixels = *planes.shape[:2], int(np.prod(planes.shape[2:]))
    found, step = np.empty((count, channels, 2)), max(1, BLOCK // (channels * pixels))
    memory = np.empty((min(step, count), *planes.shape[1:]))
    for first in range(0, count, step):
        some = planes[first : first + step]
        values = memory[: len(some)]
        np.copyto(values, some)
        values = values.reshape(len(some), channels, pixels)
        mean = values.mean(axis=2)
        values -= mean[..., None]
        found[first : first + step, :, 0] = mean
        np.einsum("ncp,ncp->nc", values, values, out=found[first : first + step, :, 1])
    return found


def statistics(told: np.ndarray, rows: np.ndarray, sample: Callable[[np.ndarray], Iterable[np.ndarray]],
               pixels: int) -> dict[str, Any]:  # fmt: skip
    """Statistics of the images of ``rows`` (ascending); {} when there is no row.

    ``told`` are the moments of all rows, ``pixels`` is how many a channel of an image has, and ``sample`` gives the
    images of some rows, ascending, in parts (n, height, width, channels). ``objects`` counts the rows; ``mean``,
    ``std`` and ``noise`` hold one number a channel, in the units of the pixels. The noise is 1.4826 × the median
    absolute deviation of the pixels from their median: of sky-dominated cutouts, the noise of the sky.
    """
    rows = np.asarray(rows, dtype=np.int64)
    if not len(rows):
        return {}
    chosen = np.unique(rows[np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).round().astype(np.int64)])
    means, squares = told[rows, :, 0], told[rows, :, 1]
    mean = means.mean(axis=0)
    variance = (squares.mean(axis=0) / pixels) + ((means - mean) ** 2).mean(axis=0)
    parts = [part.reshape(-1, part.shape[-1]) for part in sample(chosen)]
    return {
        "objects": len(rows),
        "mean": _rounded(mean),
        "std": _rounded(np.sqrt(variance)),
        "noise": _rounded([_noise([part[:, channel] for part in parts]) for channel in range(told.shape[1])]),
    }


def _noise(parts: list[np.ndarray]) -> float:
    if all(part.dtype == np.uint8 for part in parts):
        return _noise_of_bytes(sum(np.bincount(part.ravel(), minlength=256) for part in parts))
    values = np.concatenate(parts).astype(np.float32)
    values -= _median(values.copy())
    return MAD * _median(np.abs(values, out=values))


def _median(values: np.ndarray) -> np.float32:
    """That of ``np.median``, of float32 without NaN, which are put into another order; it takes half the time."""
    middle = len(values) // 2
    values.partition(middle)
    if len(values) % 2:
        return values[middle]
    return np.mean([values[:middle].max(), values[middle]])


def _noise_of_bytes(counts: np.ndarray) -> float:
    """The same to the last bit, of so many pixels of each value from 0 to 255: they need no order."""
    off = np.arange(256, dtype=np.float32)
    off = np.abs(off - _median_of(off, counts))
    order = np.argsort(off)
    return MAD * _median_of(off[order], counts[order])


def _median_of(values: np.ndarray, counts: np.ndarray) -> np.float32:
    """``_median`` of ascending values that are there so many times."""
    upto = np.cumsum(counts)
    below, above = np.searchsorted(upto, [(upto[-1] - 1) // 2, upto[-1] // 2], side="right")
    return np.mean([values[below], values[above]])


def _rounded(values: Iterable[float]) -> list[float]:
    return [float(f"{value:.7g}") for value in values]
