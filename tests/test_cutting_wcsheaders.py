"""Headers that programs read in different ways: as their author meant, or refused with the remedy.

Rebuilt from public reports: SIP terms without -SIP (astropy 4803, 5145: drizzled CANDELS mosaics), a PC matrix beside
CD (astrometry.net 176), a PC matrix that holds the scale (astropy 9311), unsigned bytes in a compressed image (astropy
19736), one NaN in a tile (fitsio 356, astropy 11212), blanks of compressed integers (astropy 15236, 16550), alternate
WCSs beside one with SIP (astropy 18404), headers of Swift without a primary WCS (astropy 5442).
"""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
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
CD = ["CD1_1", "CD1_2", "CD2_1", "CD2_2"]
SIP = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"}
ECLIPTIC = {"CTYPE1": "ELON-TAN", "CTYPE2": "ELAT-TAN"}


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
    (changed({"D2IMDIS1": "LOOKUP"}), "in tables of other units .*D2IMDIS"),
    (changed({"CTYPE1": "RA---TAB", "CTYPE2": "DEC--TAB"}), r"a table of coordinates \(-TAB\) is not read; rewrite"),
    (changed({"CTYPE1": "RA", "CTYPE2": "DEC"}), "name no projection, so that programs differ: write RA---TAN"),
    (changed({"CTYPE1": "FREQ", "CTYPE2": "RA---TAN", "CTYPE3": "DEC--TAN"}), "first two axes are not the celestial"),
    (changed({"CD1_1": "-1e-4"}), "CD1_1 is '-1e-4', no number"),
    (changed(STEPS | {"CDELT1": "-1e-4"}, without=CD), "CDELT1 is '-1e-4', no number"),
    (changed({"CDELT1": -1e-4}, without=CD), "only one of CDELT1 and CDELT2"),
    (changed(STEPS | {"CD1_1": 1.0, "CD2_2": 1.0}), "CD matrix is 1, so a pixel is a degree, but CDELT1"),
    (changed(STEPS | {"CROTA1": 30.0}, without=CD), "CROTA1 is 30, CROTA2 0: the rotation is that of the latitude"),
    (changed(STEPS | PC | {"CROTA2": 30.0}, without=CD), r"both a PC matrix and CROTA2 \(30\), which differ"),
    (changed({}, "SIP", without=["A_ORDER", "B_ORDER"]), "SIP terms without A_ORDER .*are not applied"),
    (changed({"A_ORDER": 2, "A_3_0": 1e-7}, "SIP"), r"or beyond them, which move a corner by 0\.\d pixels"),
    (changed(SIP | {"AP_ORDER": 2, "BP_ORDER": 2, "AP_2_0": 1e-4}), "only the reverse SIP terms"),
    (changed({"PV1_0": 0.0, "PV1_1": 1.0, "PV2_1": 1.0, "PV2_4": 0.05}, "SIP"), "both SIP and PV terms; delete those"),
    (changed({"RADESYS": "FK4", "RADECSYS": "FK5"}), "RADESYS is FK4, RADECSYS FK5; delete the wrong one"),
    (changed({"RADESYS": "J2000"}), "RADESYS 'J2000' is none of ICRS, FK5, FK4, FK4-NO-E"),
    (changed({"RADESYS": "FK4", "EQUINOX": 2000.0}), "FK4 belongs to equinoxes before 1984"),
    (changed({"EQUINOX": 0.0}, without=["RADESYS"]), r"EQUINOX is 0\.0, no year of an equinox"),
    (changed({"EQUINOX": "now"}, without=["RADESYS"]), "EQUINOX is 'now', no year of an equinox"),
    (changed({"EPOCH": 2008.3}, without=["RADESYS"]), r"EPOCH 2008\.3 may be the equinox of its positions or the time"),
    (changed(ECLIPTIC | {"RADESYS": "FK5", "EQUINOX": 1950.0}), "ecliptic positions of equinox 1950 are not read"),
])  # fmt: skip
def test_what_is_not_clear_is_refused(tmp_path, cards, words):
    with pytest.raises(BadFile, match=words):
        sky_of(cards, SHAPE, tmp_path / "a.fits")


@pytest.mark.parametrize(("cards", "truth"), [
    *((changed({key: f"{letter}1950{rest}"}, without=["RADESYS"]), {"RADESYS": "FK4", "EQUINOX": 1950.0})
      for key in ("EQUINOX", "EPOCH") for letter, rest in (("B", ""), ("", ".0"), ("b", ".0"))),
    (changed({"EQUINOX": "J1975"}, without=["RADESYS"]), {"RADESYS": "FK5", "EQUINOX": 1975.0}),
    (changed({"EPOCH": "deep"}, without=["RADESYS"]), {}),
    (changed({"EQUINOX": 0.0, "EPOCH": 2008.3}), {}),
    (changed({"RADESYS": "fk4"}), {"RADESYS": "FK4"}),
    *((changed({"CUNIT1": unit, "CUNIT2": unit}), {}) for unit in ("degree", "Degrees", "DEG")),
    (changed({"CROTA1": 20.0, "CROTA2": 20.0} | STEPS, without=CD), {"CROTA2": 20.0}),
    (changed({"PV1_0": 0.0, "PV1_1": 1.0, "PV1_2": 0.0}), {}),
    (changed({"PV1_0": 0.0, "PV1_1": 1.0, "PV1_2": 0.0, "PV2_1": 1.0} | SIP), {}),
])  # fmt: skip
def test_frames_and_units_that_astropy_drops_or_refuses(tmp_path, cards, truth):
    """It takes a text B1950 as no equinox, so ICRS: 41 arcmin off. Held against astropy's reading of plain numbers."""
    plain = changed({"RADESYS": "ICRS"} | truth)
    if "CROTA2" in truth:
        plain = changed(truth | STEPS, without=CD)
    sky = sky_of(cards, SHAPE, tmp_path)
    there = wcs(plain).pixel_to_world(X - 1, Y - 1).icrs
    assert separation(there.ra.deg, there.dec.deg, *sky.sky(X, Y)).max() < 1e-6


def test_ecliptic_positions_are_ecliptic(tmp_path):
    """astropy takes them for right ascension and declination: up to 23 degrees off."""
    sky = sky_of(changed(ECLIPTIC, without=["RADESYS"]), SHAPE, tmp_path)
    truth = SkyCoord(150.0, 2.0, unit="deg", frame="barycentricmeanecliptic").icrs
    assert separation(truth.ra.deg, truth.dec.deg, *sky.sky(130.5, 110.5)) < 1e-6


@pytest.mark.parametrize("matrix", ["CD", "CDELT", "PC", "CROTA"])
def test_tpv_with_the_declination_first(tmp_path, matrix):
    """wcslib 8 applies the terms to the wrong axes, and is hundreds of pixels off even when they do nothing."""
    turn = np.radians(30.0 if matrix == "CROTA" else 0.0)
    cd = np.array([[-np.cos(turn), -np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) * SCALE / 3600
    first = changed({f"CD{i}_{j}": cd[i - 1, j - 1] for i in (1, 2) for j in (1, 2)}, "TPV")
    other = astropy_fits.Header({"CRPIX1": first["CRPIX1"], "CRPIX2": first["CRPIX2"]})
    for key, value in first.items():
        if key.startswith(("CTYPE", "CRVAL", "PV")):
            where = 2 if key.startswith("PV") else 5
            other[f"{key[:where]}{3 - int(key[where])}{key[where + 1 :]}"] = value
    x, y, shape = X, Y, SHAPE
    if matrix == "CD":
        other.update({f"CD{3 - i}_{j}": cd[i - 1, j - 1] for i in (1, 2) for j in (1, 2)})
    else:  # the first axis of pixels goes north
        x, y, shape = Y, X, SHAPE[::-1]
        more = {"CROTA": {"CROTA1": 30.0}, "PC": PC, "CDELT": {}}[matrix]
        other.update({"CRPIX1": first["CRPIX2"], "CRPIX2": first["CRPIX1"]} | more)
        other.update({"CDELT1": SCALE / 3600, "CDELT2": -SCALE / 3600})
    sky = sky_of(other, shape, tmp_path)
    assert separation(*wcs(first).all_pix2world(X, Y, 1), *sky.sky(x, y)).max() < 1e-6


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
