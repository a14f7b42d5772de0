"""Spectra of stars, galaxies and quasars, and their colours through the twelve passbands.

Thin but honest: stars are black bodies with the blanketing and the strongest absorption features that the narrow bands
of S-PLUS were placed on; galaxies mix an old and a young stellar spectrum with nebular lines, redshifted; quasars are a
power law with the broad emission lines of Vanden Berk et al. 2001 (AJ 122, 549) and the forest blueward of Lyman α.
Wavelengths are Å, spectra are flux per unit wavelength in arbitrary units.
"""

import numpy as np

from hpc_astrossl.simulate.bands import BANDS, REFERENCE

WAVELENGTH = np.arange(3200.0, 9700.0, 5.0)

# Absorption of cool stars: centre, Gaussian width, depth at 5000 K (Ca H and K, G band, Mg b, TiO).
_COOL = ((3950, 35, 0.45), (4300, 40, 0.20), (5175, 45, 0.18))
_TITANIUM = ((6200, 90, 0.25), (7150, 120, 0.30), (8500, 150, 0.15))
_BALMER = ((4102, 20, 0.35), (4341, 20, 0.30), (4861, 20, 0.25), (6563, 18, 0.20))
# Nebular lines of a star-forming population: rest wavelength, equivalent width at a young share of one.
_NEBULAR = ((3727, 60), (4861, 20), (5007, 30), (6563, 110))
# Quasars: rest wavelength, rest equivalent width (Vanden Berk et al. 2001, table 2), rounded.
_QUASAR = ((1216, 93), (1549, 24), (1909, 21), (2798, 32), (4861, 46), (5007, 13), (6563, 195))
_QUASAR_SLOPE, _QUASAR_VELOCITY = -0.44, 0.008  # of flux per unit frequency; Gaussian sigma over wavelength


def passbands() -> np.ndarray:
    """Transmission, (bands, wavelengths): flat tops, soft edges, the real centres and widths."""
    centre = np.array([band.centre for band in BANDS])[:, None]
    width = np.array([band.width for band in BANDS])[:, None]
    return np.exp(-np.log(2) * (2 * (WAVELENGTH - centre) / width) ** 8)


def colours(spectra: np.ndarray) -> np.ndarray:
    """AB magnitude minus AB magnitude in r, (n, bands), of spectra (n, wavelengths); photons are counted."""
    flux = []
    for transmission in passbands():
        inside = transmission > 1e-6
        t, wavelength = transmission[inside], WAVELENGTH[inside]
        flux.append((spectra[:, inside] * (t * wavelength)).sum(axis=1) / (t / wavelength).sum())
    magnitudes = -2.5 * np.log10(np.stack(flux, axis=1))
    return magnitudes - magnitudes[:, REFERENCE : REFERENCE + 1]


def stars(temperature: np.ndarray, blanketing: np.ndarray, wavelength: np.ndarray = WAVELENGTH) -> np.ndarray:
    """Stellar spectra (n, wavelengths), one at 5500 Å. ``blanketing``: magnitudes lost at 3500 Å to metal lines."""
    t, wavelength = temperature[:, None], np.atleast_2d(wavelength)
    body = (5500.0 / wavelength) ** 5 * np.expm1(1.4388e8 / (5500.0 * t)) / np.expm1(1.4388e8 / (wavelength * t))
    spectrum = body * 10 ** (-0.4 * blanketing[:, None] * np.clip((4700 - wavelength) / 1200, 0, 1.5))
    cool, hot = np.clip((7500 - t) / 2500, 0, 1.5), np.clip((t - 6000) / 3000, 0, 1)
    spectrum *= _absorbed(wavelength, _COOL, cool) * _absorbed(wavelength, _BALMER, hot)
    spectrum *= _absorbed(wavelength, _TITANIUM, np.clip((4000 - t) / 600, 0, 1.5))
    return spectrum * np.where(wavelength < 3680, 1 - 0.45 * hot, 1)  # the Balmer jump


def galaxies(redshift: np.ndarray, young: np.ndarray, metals: np.ndarray) -> np.ndarray:
    """Spectra (n, wavelengths) of populations whose share ``young`` of the light at rest 5500 Å is young."""
    rest = WAVELENGTH / (1 + redshift[:, None])
    old = stars(np.full(len(redshift), 5000.0), metals, rest)
    blue = stars(np.full(len(redshift), 9000.0), np.full(len(redshift), 0.1), rest)
    share = young[:, None]
    lines = _emission(rest, _NEBULAR, 0.004)
    return (1 - share) * old + share * blue + share**2 * lines


def quasars(redshift: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """Spectra (n, wavelengths); ``slope`` is added to the mean exponent of flux per unit frequency."""
    rest = WAVELENGTH / (1 + redshift[:, None])
    continuum = (rest / 3000) ** (-2 - (_QUASAR_SLOPE + slope[:, None]))
    spectrum = continuum * (1 + _emission(rest, _QUASAR, _QUASAR_VELOCITY))
    forest = 0.004 * (WAVELENGTH / 1216) ** 3.2 * 0.9  # mean optical depth of the Lyman α forest, rising with redshift
    spectrum *= np.where(rest < 1216, np.exp(-forest), 1)
    return spectrum * np.where(rest < 912, 0.05, 1)


def _absorbed(wavelength: np.ndarray, lines: tuple, strength: np.ndarray) -> np.ndarray:
    left = np.ones(np.broadcast_shapes(wavelength.shape, strength.shape))
    for centre, width, depth in lines:
        left *= 1 - np.clip(depth * strength, 0, 0.9) * np.exp(-0.5 * ((wavelength - centre) / width) ** 2)
    return left


def _emission(rest: np.ndarray, lines: tuple, velocity: float) -> np.ndarray:
    """Line flux over continuum: Gaussians whose integral over rest wavelength is the equivalent width."""
    total = np.zeros_like(rest)
    for centre, equivalent_width in lines:
        sigma = velocity * centre
        total += equivalent_width / (np.sqrt(2 * np.pi) * sigma) * np.exp(-0.5 * ((rest - centre) / sigma) ** 2)
    return total
