"""Fluxes as magnitudes, against astropy's AB magnitudes, and as a recipe asks for them."""

import astropy.units as u
import numpy as np
import pytest
from astropy.table import Table

from hpc_astrossl.errors import InputError
from hpc_astrossl.selection import photometry
from hpc_astrossl.selection.catalogue import read_objects
from hpc_astrossl.specs.recipe import load_recipe


@pytest.mark.parametrize(
    ("unit", "one"), [("nJy", u.nJy), ("uJy", u.uJy), ("µJy", u.uJy), ("mJy", u.mJy), ("Jy", u.Jy)]
)
def test_magnitudes_are_astropys(unit, one):
    flux = np.array([1e-3, 1.0, 99.0, 3631.0])
    np.testing.assert_allclose(photometry.magnitudes(flux, unit), (flux * one).to_value(u.ABmag), atol=1e-9)


def test_a_nanomaggy_has_magnitude_22_5_and_a_zero_point_is_its_own():
    assert photometry.magnitudes(np.array([1.0, 100.0]), "nanomaggy").tolist() == [22.5, 17.5]
    assert photometry.magnitudes(np.array([1.0, 10.0]), 30.0).tolist() == [30.0, 27.5]


def test_uncertainties_agree_with_a_small_change_of_the_flux():
    flux, sigma = np.array([50.0, 3.0]), np.array([1e-4, 1e-6])
    change = photometry.magnitudes(flux - sigma, "nJy") - photometry.magnitudes(flux, "nJy")
    np.testing.assert_allclose(photometry.errors(flux, sigma), change, rtol=1e-5)
    np.testing.assert_array_equal(photometry.sigma(np.array([4.0, 0.0, -1.0, np.nan])), [0.5, np.nan, np.nan, np.nan])


RECIPE = """
survey: s
release: r
size: 16
catalogue: {file: t.fits, id: ID, bands: [g, r], flux: "FLUX_{band}", KEYS, band_names: {g: G, r: R}, reference: r}
files: {image: "{id}.png"}
stores: {S: {detected_in: 1}}
"""


def read(tmp_path, keys):
    flux = {"FLUX_G": [100.0, 0.0, 99.0], "FLUX_R": [10.0, -1.0, np.nan]}
    more = {
        "FLUX_IVAR_G": [4.0, 1.0, 0.0],
        "FLUX_IVAR_R": [1.0, 1.0, 1.0],
        "SIGMA_G": [0.5, 1, -1],
        "SIGMA_R": [1.0, 1, 1],
    }
    Table({"ID": [1, 2, 3], **flux, **more}).write(tmp_path / "t.fits", overwrite=True)
    (tmp_path / "r.yaml").write_text(RECIPE.replace("KEYS", keys))
    return read_objects(load_recipe(tmp_path / "r.yaml"), tmp_path)


@pytest.mark.parametrize("uncertainty", ['flux_ivar: "FLUX_IVAR_{band}"', 'flux_error: "SIGMA_{band}"'])
def test_a_recipe_with_fluxes(tmp_path, uncertainty):
    objects = read(tmp_path, f"unit: nanomaggy, {uncertainty}")
    np.testing.assert_allclose(objects.magnitudes[0], [17.5, 20.0])
    assert np.isnan(objects.magnitudes[1]).all()
    assert objects.magnitudes[2, 0] == pytest.approx(22.5 - 2.5 * np.log10(99))  # no sentinel: 99 is a flux
    np.testing.assert_allclose(objects.errors[0], [1.0857362 * 0.5 / 100, 1.0857362 / 10], rtol=1e-6)
    assert np.isnan(objects.errors[2]).all()
    assert objects.notes == ("flux not positive, counted as undetected: g 1, r 1",)


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("unit: counts", r"unknown unit 'counts'; allowed: .*nanomaggy"),
        ("", "flux and unit must be given together"),
        ('unit: nJy, magnitude: "M_{band}"', "give either magnitude or flux"),
        ('unit: nJy, flux_error: "A_{band}", flux_ivar: "B_{band}"', "give either flux_error or flux_ivar"),
        ('unit: nJy, flux_error: "FLUX_{band}"', "flux and its uncertainty name the same columns"),
        ('unit: nJy, error: "E_{band}"', "error belongs to magnitude"),
    ],
)
def test_keys_that_do_not_fit(tmp_path, keys, words):
    with pytest.raises(InputError, match=words):
        read(tmp_path, keys or "names: []")
