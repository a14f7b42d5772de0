"""Training subsets for the low-data regime: of exact size, stratified, and nested (the 100 are part of the 200)."""

import numpy as np


def subset(rows: np.ndarray, strata: np.ndarray, size: int, seed: int) -> np.ndarray:
    """``size`` of ``rows``, ascending, with the proportions of ``strata`` (one number a row of ``rows``).

    Within a stratum the order is drawn from ``seed``; the j-th of n objects (j from 0) then stands at (j + ½) / n of
    the whole, and the subset is what stands first. That is Webster's (Sainte-Laguë) apportionment of the size to the
    strata: each gets its share to within a rounding, and a larger subset contains every smaller one.
    """
    place = np.empty(len(rows))
    source = np.random.default_rng(seed)
    for stratum in np.unique(strata):
        members = np.flatnonzero(strata == stratum)
        place[source.permutation(members)] = (np.arange(len(members)) + 0.5) / len(members)
    first = np.lexsort((strata, place))[:size]
    return np.sort(rows[first])
