"""Pixels that are none: without a value, values that no detector delivers, and the zeros of a coadd without data.

SWarp and many other coadders write 0 where no exposure contributed (and -1e30 without resampling); files that were
saved again after a lossy compression hold numbers about -2e9 for no value. A zero of a sky-subtracted image is a number
like any other, so zeros count as no data only where they lie together in a block, beside pixels that scatter: neither
is so in an image without noise, nor in one of whole counts. A block of one negative value far below the
sky is none either. Tile compression of floats (fpack without -qz) turns zeros into numbers up to half a step of its
quantisation from 0, also where it dithers, so that a block of such numbers is one of zeros.
"""

import numpy as np

LOWEST, HIGHEST = -1e9, 1e25  # stored values beyond are no pixels
_BLOCK = np.ones((3, 3), dtype=bool)  # of zeros, the least that is a place without data, unless it is a whole edge
_DEEP = 20  # times the scatter: so far below its sky no pixel is
_SMALL = 5  # pixels along a block of numbers that quantisation may have made of zeros; beyond the edge all are
_RIM = 2  # pixels along the edge: what lies there alone, around zeros, is where the data end
_RUN = 3  # zeros along the edge that may be the tip of a place without data
_OFTEN = 4  # times the commonest other value: zeros so often are no numbers like any other
_STEP = 0.05  # of the scatter: what pixels beside zeros must reach, or the zeros are the end of a smooth wing


def nobody(raw: np.ndarray, no_value: tuple[float, ...] | None,
           steps: np.ndarray | None = None) -> np.ndarray | None:  # fmt: skip
    """True where stored pixels, float32 (M, height, width), are none; None where all are good.

    ``no_value`` None: also look for blocks of zeros, and of a sentinel such as -999. ``steps`` are those of the
    pixels' quantisation, (M, height, width or 1), 0 where there was none.
    """
    stored = raw
    raw = raw if steps is None or no_value is not None else with_zeros_again(raw, steps)
    flat = raw.reshape(len(raw), -1)
    lowest, highest = flat.min(axis=1), flat.max(axis=1)  # NaN if one is among them
    with np.errstate(invalid="ignore"):
        whole = bool(((lowest > LOWEST) & (highest < HIGHEST)).all())
    zeros = _with_zeros(raw) if no_value is None else ()
    suspects = range(0)
    if no_value is None:
        suspects = _with_sentinel(lowest) if whole else range(len(raw))
    if whole and not len(zeros) and not len(suspects) and not no_value:
        return None
    with np.errstate(invalid="ignore"):
        bad = ~((raw > LOWEST) & (raw < HIGHEST))
    for value in no_value or ():
        bad |= raw == np.float32(value)
    for i in zeros:
        bad[i] |= empty(raw[i]) if raw[i].any() or not stored[i].any() else True
    for i in suspects:
        bad[i] |= sunk(raw[i])
    return bad if bad.any() else None


def _with_sentinel(lowest: np.ndarray) -> np.ndarray:
    """Which images have a negative whole number as their lowest pixel: few whose pixels are no counts."""
    return np.flatnonzero((lowest < 0) & (lowest == np.round(lowest)))


def _with_zeros(raw: np.ndarray) -> np.ndarray:
    """Which images have so many zeros that they may fill a block, an edge or the tip of one."""
    zeros, least = raw == 0, min(_RUN, *raw.shape[1:])
    if np.count_nonzero(zeros) < least:
        return np.empty(0, dtype=np.int64)
    return np.flatnonzero(np.count_nonzero(zeros, axis=(1, 2)) >= least)


def with_zeros_again(raw: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """The images with 0 in blocks of numbers that are 0 but for the quantisation; a copy if there are any."""
    small = np.pad(np.abs(raw) <= steps * np.float32(0.505), ((0, 0), (_SMALL // 2,) * 2, (_SMALL // 2,) * 2),
                   constant_values=True)  # fmt: skip
    for axis in (1, 2):  # where all around are small
        length = small.shape[axis] - _SMALL + 1
        small = np.logical_and.reduce([small.take(range(i, i + length), axis) for i in range(_SMALL)])
    found = np.flatnonzero(small.any(axis=(1, 2)) & (steps > 0).any(axis=(1, 2)))
    if not len(found):
        return raw
    from scipy import ndimage

    raw = raw.copy()
    for i in found:
        raw[i][ndimage.binary_dilation(small[i], structure=np.ones((_SMALL,) * 2, dtype=bool))] = 0
    return raw


def sunk(raw: np.ndarray) -> np.ndarray:
    """True where the lowest pixel of an image, a whole number, lies in a block far below its sky, as -32768 does."""
    from scipy import ndimage

    none = np.zeros(raw.shape, dtype=bool)
    good = raw[(raw > LOWEST) & (raw < HIGHEST)]
    lowest = good.min(initial=0)
    found = raw == lowest
    if lowest == 0 or lowest != np.round(lowest) or np.count_nonzero(found) < _BLOCK.size:
        return none
    values = good[good != lowest].astype(np.float64)
    if not len(values):
        return none
    middle = np.median(values)
    scatter = 1.4826 * np.median(np.abs(values - middle))
    deep = middle - lowest > _DEEP * scatter > 0
    return found if deep and ndimage.binary_opening(found, structure=_BLOCK).any() else none


def empty(raw: np.ndarray) -> np.ndarray:
    """True at the zeros of one image, (height, width), that are places without data."""
    from scipy import ndimage  # most images have none, and it takes as long to load as all the rest

    zeros, none = raw == 0, np.zeros(raw.shape, dtype=bool)
    seeds = ndimage.binary_opening(zeros, structure=_BLOCK)
    for edge in ((0, slice(None)), (-1, slice(None)), (slice(None), 0), (slice(None), -1)):
        if zeros[edge].all():
            seeds[edge] = True
        elif zeros[edge].any():
            seeds[edge] |= ndimage.binary_opening(zeros[edge], structure=np.ones(_RUN, dtype=bool))
    if not seeds.any() or zeros.all():
        return none
    region = ndimage.binary_propagation(seeds, structure=_BLOCK, mask=zeros)
    values = raw[~zeros & np.isfinite(raw)].astype(np.float64)
    if not len(values) or (values == np.round(values)).all():  # whole counts, of which 0 is one
        return none
    if _tips(zeros, seeds) and np.unique(values, return_counts=True)[1].max() * _OFTEN > np.count_nonzero(zeros):
        return none
    if min(zeros.shape) > 4 * _RIM and zeros[_RIM:-_RIM, _RIM:-_RIM].all():
        return region
    scatter = 1.4826 * np.median(np.abs(values - np.median(values)))
    beside = ndimage.binary_dilation(region, structure=_BLOCK) & ~zeros
    step = np.median(np.abs(raw[beside])) if beside.any() else 0.0
    return region if step > _STEP * scatter > 0 else none


def _tips(zeros: np.ndarray, seeds: np.ndarray) -> bool:
    """Whether there are but runs along the edge: no block, and no whole edge."""
    inner = seeds[1:-1, 1:-1].any()
    return not inner and not any(zeros[edge].all() for edge in (0, -1, (slice(None), 0), (slice(None), -1)))
