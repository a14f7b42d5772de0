"""Mean, standard deviation and noise of each channel over the training split, for the attributes of a store.

Chunks are read in order and every sum is taken in float64 (or, of uint8, exactly), then rounded to seven digits: the
same pixels give the same statistics wherever they are computed.
"""

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

SAMPLE = 1024  # objects, evenly spread over the split, of which the noise is taken
MAD = 1.4826  # standard deviation over median absolute deviation of a normal distribution


def statistics(chunk: Callable[[int], np.ndarray], rows: np.ndarray, chunk_rows: int) -> dict[str, Any]:
    """Statistics of the images of ``rows`` (ascending), read once through ``chunk(index)``; {} when there is no row.

    ``objects`` counts them; ``mean``, ``std`` and ``noise`` hold one number a channel, in the units of the pixels.
    The noise is 1.4826 × the median absolute deviation of the pixels from their median: of sky-dominated cutouts,
    the noise of the sky.
    """
    rows = np.asarray(rows, dtype=np.int64)
    if not len(rows):
        return {}
    chosen = np.unique(rows[np.linspace(0, len(rows) - 1, min(SAMPLE, len(rows))).round().astype(np.int64)])
    count, total, squares, sample = 0, 0.0, 0.0, []
    shift: np.ndarray | None = None
    for index, here in _by_chunk(rows, chunk_rows):
        images = chunk(index)
        pixels = images[here - index * chunk_rows].reshape(-1, images.shape[-1]).astype(np.float64)
        if shift is None:  # near the mean, so that the squares of faint fluxes are not lost in rounding
            shift = np.round(pixels.mean(axis=0), 3) if images.dtype.kind == "f" else np.zeros(images.shape[-1])
        pixels -= shift
        count, total, squares = count + len(pixels), total + pixels.sum(axis=0), squares + (pixels**2).sum(axis=0)
        sample.append(images[np.intersect1d(here, chosen) - index * chunk_rows].reshape(-1, images.shape[-1]))
    mean = total / count
    flat = np.concatenate(sample).astype(np.float32)
    middle = np.median(flat, axis=0)
    return {
        "objects": len(rows),
        "mean": _rounded(shift + mean),
        "std": _rounded(np.sqrt(np.maximum(squares / count - mean**2, 0))),
        "noise": _rounded(MAD * np.median(np.abs(flat - middle), axis=0)),
    }


def _by_chunk(rows: np.ndarray, chunk_rows: int) -> Iterable[tuple[int, np.ndarray]]:
    for index in np.unique(rows // chunk_rows).tolist():
        first, last = np.searchsorted(rows, [index * chunk_rows, (index + 1) * chunk_rows])
        yield index, rows[first:last]


def _rounded(values: np.ndarray) -> list[float]:
    return [float(f"{value:.7g}") for value in values]
