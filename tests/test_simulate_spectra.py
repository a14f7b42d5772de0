"""Colours through the passbands, against GalSim's own integration and against what the sky shows."""

import galsim
import numpy as np
import pytest

from hpc_astrossl.simulate import spectra
from hpc_astrossl.simulate.bands import BANDS, COLUMNS


def band(name: str) -> int:
    return COLUMNS.index(name)


def test_colours_are_those_that_galsim_computes():
    spectrum = spectra.quasars(np.array([1.3]), np.array([0.1]))
    sed = galsim.SED(galsim.LookupTable(spectra.WAVELENGTH, spectrum[0], interpolant="linear"), "A", "flambda")
    expected = []
    for properties, transmission in zip(BANDS, spectra.passbands(), strict=True):
        inside = transmission > 1e-6
        curve = galsim.LookupTable(spectra.WAVELENGTH[inside], transmission[inside], interpolant="linear")
        expected.append(sed.calculateMagnitude(galsim.Bandpass(curve, "A").withZeropoint("AB")))
        assert properties.centre == pytest.approx(np.average(spectra.WAVELENGTH, weights=transmission), abs=2)
    expected = np.array(expected) - expected[band("r")]
    assert spectra.colours(spectrum)[0] == pytest.approx(expected, abs=0.005)


def test_a_flat_spectrum_per_unit_frequency_has_no_colour():
    flat = spectra.WAVELENGTH[None, :] ** -2.0
    assert np.abs(spectra.colours(flat)).max() < 0.002


def test_cooler_stars_are_redder_in_every_broad_colour():
    temperature = np.array([3300.0, 4000.0, 5000.0, 6000.0, 8000.0, 11000.0])
    colours = spectra.colours(spectra.stars(temperature, np.full(6, 0.3)))
    for blue, red in (("uJAVA", "g"), ("g", "r"), ("r", "i"), ("i", "z")):
        assert (np.diff(colours[:, band(blue)] - colours[:, band(red)]) < 0).all()


def test_the_narrow_bands_see_the_lines_they_were_made_for():
    cool = spectra.colours(spectra.stars(np.array([5000.0]), np.array([0.3])))[0]
    assert cool[band("F395")] > cool[band("F378")]  # Ca H and K, although the continuum rises to the red
    quiet, forming = spectra.colours(spectra.galaxies(np.array([0.005, 0.005]), np.array([0.0, 0.6]), np.full(2, 0.5)))
    assert forming[band("F660")] < quiet[band("F660")] - 0.1  # Hα
    redshifts = np.array([2.53, 2.0])  # Lyman α in F430 and not
    inside, outside = spectra.colours(spectra.quasars(redshifts, np.zeros(2)))
    assert inside[band("F430")] < outside[band("F430")] - 0.5


def test_galaxies_redden_with_redshift_and_age():
    colours = spectra.colours(
        spectra.galaxies(np.array([0.02, 0.2, 0.2]), np.array([0.05, 0.05, 0.6]), np.full(3, 0.5))
    )
    g_r = colours[:, band("g")]
    assert g_r[1] > g_r[0] > g_r[2] - 0.1
    assert g_r[1] > g_r[2] + 0.3
