"""Fluxes as magnitudes: AB magnitudes m = ZP − 2.5 log10 f (Pogson 1856; zero of the AB system: Oke & Gunn 1983,
ApJ 266, 713).

The magnitudes that SDSS publishes are asinh magnitudes (Lupton, Gunn & Szalay 1999, AJ 118, 1406) and are taken as they
are: a recipe names them as ``magnitude``. Fluxes of SDSS and of the Legacy Surveys, in nanomaggies, are not asinh.
"""

import math

import numpy as np

# The AB magnitude of a flux of 1. m = −2.5 log10(f / (erg/s/cm²/Hz)) − 48.60 gives 8.90 for 1 Jy = 1e-23 erg/s/cm²/Hz;
# a maggy is the flux of magnitude 0, so a nanomaggy has 22.5.
ZERO_POINTS = {"nanomaggy": 22.5, "nJy": 31.4, "uJy": 23.9, "µJy": 23.9, "mJy": 16.4, "Jy": 8.9}


def zero_point(unit: str | float) -> float:
    """The magnitude of a flux of 1 in this unit; a number is that magnitude itself."""
    return ZERO_POINTS[unit] if isinstance(unit, str) else float(unit)


def magnitudes(flux: np.ndarray, unit: str | float) -> np.ndarray:
    """ZP − 2.5 log10 f of each flux; NaN, for undetected, where it is not positive and finite."""
    known = np.isfinite(flux) & (flux > 0)
    found = np.full(flux.shape, np.nan)
    found[known] = zero_point(unit) - 2.5 * np.log10(flux[known])
    return found


def errors(flux: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Standard deviation of the magnitude, to first order 2.5/ln 10 · σ/f; NaN where flux or σ is not positive."""
    known = np.isfinite(flux) & (flux > 0) & np.isfinite(sigma) & (sigma > 0)
    found = np.full(flux.shape, np.nan)
    found[known] = 2.5 / math.log(10) * sigma[known] / flux[known]
    return found


def sigma(inverse_variance: np.ndarray) -> np.ndarray:
    """σ = 1/√(inverse variance); NaN where that is not positive: nothing was measured."""
    known = np.isfinite(inverse_variance) & (inverse_variance > 0)
    found = np.full(inverse_variance.shape, np.nan)
    found[known] = 1 / np.sqrt(inverse_variance[known])
    return found
