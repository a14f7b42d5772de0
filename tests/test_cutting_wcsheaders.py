"""Headers that programs read in different ways: as their author meant, or refused with the remedy.

Rebuilt from public reports: SIP terms without -SIP (astropy 4803, 5145: drizzled CANDELS mosaics), a PC matrix beside
CD (astrometry.net 176), a PC matrix that holds the scale (astropy 9311), unsigned bytes in a compressed image (astropy
19736), one NaN in a tile (fitsio 356, astropy 11212), blanks of compressed integers (astropy 15236, 16550), alternate
WCSs beside one with SIP (astropy 18404), headers of Swift without a primary WCS (astropy 5442).
"""

import numpy as np
import pytest
from astropy.io import fits as astropy_fits
from sky_survey import SCALE, header, wcs

from hpc_astrossl.cutting import fits
from hpc_astrossl.cutting.badfile import BadFile
from hpc_astrossl.cutting.sky import separation, sky_of

SHAPE = (220, 260)
X, Y = np.array([130.5, 1.0, 260.0, 17.25, 240.1]), np.array([110.5, 1.0, 220.0, 203.5, 8.75])


def same(cards, truth, tmp_path):
    """Whether a header puts pixels where the other, read by astropy alone, does."""
    sky = sky_of(cards, SHAPE, tmp_path)
    return separation(*wcs(truth).all_pix2world(X, Y, 1), *sky.sky(X, Y)).max() < 1e-6


def changed(more, projection="TAN", without=()):
    cards = header(SHAPE, projection=projection)
    for key in without:
        del cards[key]
    cards.update(more)
    return cards


TAN = {"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"}
PC = {"PC1_1": 1.0, "PC2_2": 1.0, "PC1_2": 0.0, "PC2_1": 0.0}
STEPS = {"CDELT1": -SCALE / 3600, "CDELT2": SCALE / 3600}


@pytest.mark.parametrize(("cards", "words"), [
    (changed(TAN, "SIP"), r"SIP terms .* move a corner by \d\.\d pixels, .*end both CTYPE in -SIP if they are"),
    (changed({"CTYPE1": "RA---TAN"}, "SIP"), "CTYPE does not end in -SIP"),
    (changed(PC | {"PC1_2": 0.1} | STEPS), "both a CD and a PC matrix, which differ; delete the one"),
    (changed(PC), "both a CD and a PC matrix, which differ"),
    (changed({"CRVAL1": "10:00:00"}), r"CRVAL1, where the reference point is, is '10:00:00', no number"),
    (changed({"CRVAL1": "150.0"}), r"CRVAL1, .* is '150\.0', no number"),
    (changed({}, without=["CRVAL2"]), "CRVAL2, .* is missing; correct the header"),
    (changed({}, without=["CRPIX1"]), "CRPIX1, which pixel is at the reference point, is missing"),
    (changed({}, without=["CD1_1", "CD1_2", "CD2_1", "CD2_2"]), "nothing gives its scale"),
    (changed({"CTYPE1": "RA---TNX", "CTYPE2": "DEC--TNX"}), "TNX and ZPX are not read; rewrite its WCS as TPV or SIP"),
    (changed({"CPDIS1": "LOOKUP", "CPDIS2": "LOOKUP"}), "in tables of other units .*; drizzle the image first"),
])  # fmt: skip
def test_what_is_not_clear_is_refused(tmp_path, cards, words):
    with pytest.raises(BadFile, match=words):
        sky_of(cards, SHAPE, tmp_path / "a.fits")


def test_left_over_sip_terms_that_do_not_matter_or_cannot_be_meant(tmp_path):
    small = changed({"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-6, "B_0_2": 1e-6})
    assert same(small, header(SHAPE), tmp_path)
    left = changed({"A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-4, "B_0_2": -1e-4}, "TPV")
    assert same(left, header(SHAPE, projection="TPV"), tmp_path)


def test_two_matrices_that_agree_are_one_and_cdelt_beside_cd_does_not_count(tmp_path):
    assert same(changed(PC | STEPS), header(SHAPE), tmp_path)
    assert same(changed({"CDELT1": 5e-4, "CDELT2": 5e-4, "CROTA2": 30.0}), header(SHAPE), tmp_path)


def test_a_pc_matrix_that_holds_the_scale(tmp_path):
    """As WCS.to_header of astropy writes a CD."""
    cards = wcs(header(SHAPE, turn=20.0)).to_header()
    assert "PC1_1" in cards
    assert "CD1_1" not in cards
    assert same(cards, header(SHAPE, turn=20.0), tmp_path)


def test_an_alternate_wcs_changes_nothing_and_is_none_by_itself(tmp_path):
    alternate = {f"{key}S": value for key, value in header(SHAPE, (20.0, 60.0)).items() if key != "RADESYS"}
    cards = header(SHAPE, projection="SIP")
    cards.update(alternate)
    assert same(cards, header(SHAPE, projection="SIP"), tmp_path)
    assert sky_of(astropy_fits.Header(alternate), SHAPE, tmp_path) is None


def test_nothing_is_printed_about_a_header(tmp_path, capfd):
    for cards in (header(SHAPE, projection="SIP"), changed({"A_ORDER": 2, "A_2_0": 1e-7})):
        sky_of(cards, SHAPE, tmp_path).sky(X, Y)
    assert "".join(capfd.readouterr()) == ""


@pytest.mark.parametrize("kind", ["int8", "uint8", "uint16", "uint32", "int64", "uint64"])
def test_numbers_with_an_offset_in_plain_and_compressed_images(tmp_path, kind):
    values = np.arange(35).reshape(5, 7).astype(kind)
    for unit in (astropy_fits.ImageHDU(values), astropy_fits.CompImageHDU(values, compression_type="GZIP_1")):
        astropy_fits.HDUList([astropy_fits.PrimaryHDU(), unit]).writeto(tmp_path / "a.fits", overwrite=True)
        np.testing.assert_array_equal(fits.read_image(tmp_path / "a.fits")[::-1], values.astype(np.float32))


def test_a_pixel_without_a_value_stays_one_in_compressed_images(tmp_path):
    values = np.random.default_rng(0).normal(100, 5, (20, 30)).astype(np.float32)
    values[4, 7] = np.nan
    unit = astropy_fits.CompImageHDU(values, quantize_level=16)
    astropy_fits.HDUList([astropy_fits.PrimaryHDU(), unit]).writeto(tmp_path / "a.fits")
    np.testing.assert_array_equal(np.isnan(fits.read_image(tmp_path / "a.fits")[::-1]), np.isnan(values))
    counts = np.arange(600, dtype=np.int16).reshape(20, 30)
    counts[4, 7] = -32768
    unit = astropy_fits.CompImageHDU(counts, astropy_fits.Header({"BLANK": -32768}), compression_type="RICE_1")
    astropy_fits.HDUList([astropy_fits.PrimaryHDU(), unit]).writeto(tmp_path / "b.fits")
    np.testing.assert_array_equal(np.argwhere(np.isnan(fits.read_image(tmp_path / "b.fits")[::-1])), [[4, 7]])
