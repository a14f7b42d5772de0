"""What a pixel is worth: each unit by its definition, zero points by header and table, contradictions told."""

import numpy as np
import pytest
from astropy import units as u
from astropy.io import fits as astropy_fits
from sky_survey import SCALE, catalogue, header, recipe, stars, wcs, write

from hpc_astrossl.cutting import calibration, fits
from hpc_astrossl.errors import InputError
from hpc_astrossl.ingest import build
from hpc_astrossl.store import open_store

SHAPE = (60, 60)
FLUX = 1000.0
AB = 3631 * u.Jy
UNIT = 1e-5 * AB / u.arcsec**2  # of a store's pixels


def survey(tmp_path, units=None, image=None, **cards):
    """One field with one star in its middle; ``units`` writes the file's units itself."""
    folder = tmp_path / "survey"
    folder.mkdir(exist_ok=True)
    own = header(SHAPE)
    own.update(cards)
    image = stars(SHAPE, [(30, 31)], FLUX) if image is None else image
    if units is None:
        write(folder / "A_r.fits", image, own)
    else:
        astropy_fits.HDUList(units(image, own)).writeto(folder / "A_r.fits", overwrite=True)
    catalogue(folder, *wcs(own).all_pix2world([30], [31], 1))
    return folder


def total(folder, *settings, size=31):
    """The flux of the stored star, in Jy."""
    settings = (f"size={size}", *settings)
    (made,) = build(recipe(folder, *settings), folder, folder.parent / f"out{len(list(folder.parent.iterdir()))}")
    image = open_store(made.path).images(np.arange(1))[0, ..., 0].astype(float)
    return float((image.sum() * UNIT * (SCALE * u.arcsec) ** 2).to_value(u.Jy))


def magnitude(jansky):
    return -2.5 * np.log10(jansky / 3631)


NO_POINT = "fields.zero_point=null"


@pytest.mark.parametrize(("unit", "jansky"), [("nanomaggy", 3.631e-6), ("maggy", 3631), ("nJy", 1e-9), ("uJy", 1e-6),
                                              ("mJy", 1e-3), ("Jy", 1)])  # fmt: skip
def test_a_unit_is_worth_its_janskys(tmp_path, unit, jansky):
    assert total(survey(tmp_path), NO_POINT, f"fields.unit={unit}") == pytest.approx(FLUX * jansky, rel=1e-4)


def test_surface_brightness_does_not_depend_on_the_pixel(tmp_path):
    expected = (FLUX * u.MJy / u.sr * (SCALE * u.arcsec) ** 2).to_value(u.Jy)
    found = total(survey(tmp_path, BUNIT="MJy/sr"), NO_POINT, "fields.unit=MJy/sr")
    assert found == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(("cards", "settings", "expected"), [
    ({}, ["fields.zero_point=22.5"], 22.5),
    ({}, ["fields.zero_point={r: 30}"], 30),
    ({"MAGZERO": 26.25}, ["fields.zero_point=[MAGZERO]"], 26.25),
    ({"MAGZERO": 26.25}, ["fields.zero_point=MAGZERO"], 26.25),
    ({"MAGZPT": 25.109, "EXPTIME": 101.0}, ["fields.zero_point=[MAGZPT]", "fields.exposure=EXPTIME"],
     25.109 + 2.5 * np.log10(101.0)),
    ({}, ["fields.zero_point=25", "fields.exposure=10"], 27.5),
    ({"FLUXMAG0": 63095734448.0194}, ["fields.zero_point=FLUXMAG0"], 27.0),
    ({"MAGZP": 22.5}, ["fields.zero_point=MAGZP", "fields.ab_offset=2.699"], 25.199),
])  # fmt: skip
def test_zero_points(tmp_path, cards, settings, expected):
    found = magnitude(total(survey(tmp_path, **cards), NO_POINT, *settings))
    assert found == pytest.approx(expected - 2.5 * np.log10(FLUX), abs=2e-4)


def two_units(primary, image_cards):
    """A file whose primary is empty, as of MzLS Mosaic3 or the LSST stack."""

    def units(image, own):
        own = own.copy()
        own.update(image_cards)
        return [astropy_fits.PrimaryHDU(header=astropy_fits.Header(primary)), astropy_fits.ImageHDU(image, own)]

    return units


def test_the_images_header_comes_first_then_the_primary(tmp_path):
    folder = survey(tmp_path, two_units({"MAGZERO": 21.326}, {}))
    assert magnitude(total(folder, "fields.zero_point=MAGZERO")) == pytest.approx(21.326 - 7.5, abs=2e-4)
    folder = survey(tmp_path, two_units({"MAGZERO": 21.326}, {"MAGZERO": 24.0}))
    assert magnitude(total(folder, "fields.zero_point=MAGZERO")) == pytest.approx(24 - 7.5, abs=2e-4)


@pytest.mark.parametrize(("primary", "keys", "words"), [
    ({"MAGZERO": 30.12, "MAGZPT": 25.109}, "[MAGZERO, MAGZPT]", r"disagree: MAGZERO 30\.12, MAGZPT 25\.109"),
    ({"FLUXMAG0": 0.0}, "FLUXMAG0", r"FLUXMAG0 = 0\.0 is no zero point"),
    ({"MAGZERO": 0.0}, "MAGZERO", r"MAGZERO = 0\.0 is no zero point .*5\.\.40"),
    ({"MAGZERO": 99.0}, "MAGZERO", r"MAGZERO = 99\.0 is no zero point"),
    ({"MAGZERO": "n/a"}, "MAGZERO", "'n/a' is no zero point"),
    ({"MAGZERO": True}, "MAGZERO", "True is no zero point"),
    ({}, "[MAGZERO, PHOTZP]", "has none of MAGZERO, PHOTZP in the image's or the primary header"),
])  # fmt: skip
@pytest.mark.parametrize("policy", ["stop", "reject"])
def test_headers_that_tell_no_zero_point_are_refused(tmp_path, primary, keys, words, policy):
    """A choice that the recipe must make never costs objects in silence."""
    with pytest.raises(InputError, match=words):
        total(survey(tmp_path, two_units(primary, {})), f"fields.zero_point={keys}", f"fields.unreadable={policy}")


def test_zero_points_that_agree_are_one(tmp_path):
    folder = survey(tmp_path, MAGZERO=25.0, PHOTZP=25.0004)
    assert magnitude(total(folder, "fields.zero_point=[MAGZERO, PHOTZP]")) == pytest.approx(17.5, abs=2e-3)


@pytest.mark.parametrize("value", [0.0, -1.0, "?", None])
def test_an_exposure_time_that_is_none_is_refused(tmp_path, value):
    cards = {} if value is None else {"EXPTIME": value}
    with pytest.raises(InputError, match="exposure time EXPTIME"):
        total(survey(tmp_path, **cards), "fields.exposure=EXPTIME")


@pytest.mark.parametrize(("bunit", "settings", "words"), [
    ("nJy", [NO_POINT, "fields.unit=nanomaggy"], "its BUNIT is 'nJy'"),
    ("MJy/sr", [NO_POINT, "fields.unit=Jy"], "its BUNIT is 'MJy/sr'"),
    ("nanomaggy", ["fields.zero_point=25"], "its BUNIT is 'nanomaggy', a pixel is worth 10 times"),
    ("JY/BEAM", [NO_POINT, "fields.unit=Jy"], "flux per beam is not calibrated here"),
    ("1E-6 Jy", [NO_POINT, "fields.unit=Jy"], "its BUNIT is '1E-6 Jy', a pixel is worth 1e-06 times"),
    ("10**-9 maggy", [NO_POINT, "fields.unit=maggy"], "a pixel is worth 1e-09 times"),
    ("10^(-6) Jy/pixel", [NO_POINT, "fields.unit=mJy"], "a pixel is worth 0.001 times"),
    ("nanomaggies/arcsec^2", [NO_POINT, "fields.unit=nanomaggy"], "a pixel is worth 0.16 times"),
    ("uJy/arcsec2", [NO_POINT, "fields.unit=uJy"], "its BUNIT is 'uJy/arcsec2'"),
    ("muJy", [NO_POINT, "fields.unit=mJy"], "a pixel is worth 0.001 times"),
    ("microJansky", [NO_POINT, "fields.unit=Jy"], "a pixel is worth 1e-06 times"),
    ("kJy/sr", [NO_POINT, "fields.unit=MJy/sr"], "a pixel is worth 0.001 times"),
    ("mag/arcsec**2", ["fields.zero_point=25"], "magnitudes are no fluxes"),
    ("10**(-20)*erg/s/cm**2/Angstrom", [NO_POINT, "fields.unit=nJy"], "energy per wavelength is not calibrated here"),
    ("W m-2 um-1", [NO_POINT, "fields.unit=Jy"], "energy per wavelength is not calibrated here"),
    ("electrons/s", ["fields.exposure=30"], "a rate already, and exposure would divide by the time again"),
    ("DN s-1", ["fields.exposure=EXPTIME"], "a rate already"), ("counts/sec", ["fields.exposure=30"], "a rate already"),
])  # fmt: skip
def test_a_unit_that_the_header_contradicts_is_refused(tmp_path, bunit, settings, words):
    with pytest.raises(InputError, match=words):
        total(survey(tmp_path, BUNIT=bunit), *settings)


@pytest.mark.parametrize(("bunit", "settings"), [
    ("nJy", ["fields.zero_point=31.4"]), ("nanomaggy", ["fields.zero_point=22.5"]), ("adu", []), ("electron/s", []),
    ("MJy sr**-1", [NO_POINT, "fields.unit=MJy/sr"]), ("1e-9 maggy", [NO_POINT, "fields.unit=nanomaggy"]),
    ("10^-9 Jy", [NO_POINT, "fields.unit=nJy"]), ("Jy/pixel", [NO_POINT, "fields.unit=Jy"]), ("counts", []),
    ("electrons", ["fields.exposure=30"]), ("3.631e-6 Jy", [NO_POINT, "fields.unit=nanomaggy"]), ("s", []),
    ("mJy", [NO_POINT, "fields.unit=mJy"]),
])  # fmt: skip
def test_a_unit_that_agrees_or_says_nothing_passes(tmp_path, bunit, settings):
    assert total(survey(tmp_path, BUNIT=bunit), *settings) > 0


def test_a_unit_in_the_primary_header_counts_for_an_image_in_an_extension(tmp_path):
    """As Mosaic3's files have it; the image's own comes first."""
    folder = survey(tmp_path, two_units({"BUNIT": "nJy"}, {}))
    with pytest.raises(InputError, match="its BUNIT is 'nJy'"):
        total(folder, NO_POINT, "fields.unit=uJy")
    folder = survey(tmp_path, two_units({"BUNIT": "nJy"}, {"BUNIT": "uJy"}))
    assert total(folder, NO_POINT, "fields.unit=uJy") == pytest.approx(FLUX * 1e-6, rel=1e-4)


def test_asinh_keywords_in_the_primary_header_count_for_an_image_in_an_extension(tmp_path):
    linear, offset, soften, a = stars(SHAPE, [(30, 31)], FLUX, noise=0.5), 2.5, 33.0, 1.0857362
    stored = (a * np.arcsinh((linear - offset) / (2 * soften))).astype(np.float32)
    survey(tmp_path, two_units({"BOFFSET": offset, "BSOFTEN": soften}, {}), image=stored)
    np.testing.assert_allclose(fits.read_image(tmp_path / "survey" / "A_r.fits")[::-1], linear, atol=1e-3)


def test_a_scale_that_a_header_without_wcs_names_is_held_against_the_recipe(tmp_path):
    folder = survey(tmp_path)
    for key, value in (("PIXSCALE", 0.396), ("SECPIX1", 0.396)):
        write(folder / "A_r.fits", stars(SHAPE, [(30, 31)], FLUX), astropy_fits.Header({key: value}))
        catalogue(folder, [150.0], [2.0], X=[30], Y=[31], FIELD=["A"])
        settings = ("catalogue.x=X", "catalogue.y=Y", "catalogue.field=FIELD")
        with pytest.raises(
            InputError, match=rf"its {key} is 0\.396 arcsec per pixel, the recipe's pixel_scale is 0\.55"
        ):
            total(folder, *settings, "fields.pixel_scale=0.55")
        assert total(folder, *settings, "fields.pixel_scale=0.396") > 0


def test_asinh_scaled_stacks_of_pan_starrs_are_made_linear(tmp_path):
    """After the archive's page on stack images: flux = BOFFSET + BSOFTEN (e^(x/a) - e^(-x/a)), a = 1.0857362."""
    linear, offset, soften, a = stars(SHAPE, [(30, 31)], FLUX, noise=0.5), 2.5, 33.0, 1.0857362
    stored = a * np.arcsinh((linear - offset) / (2 * soften))
    folder = survey(tmp_path, image=stored.astype(np.float32), BOFFSET=offset, BSOFTEN=soften, EXPTIME=30.0)
    np.testing.assert_allclose(fits.read_image(folder / "A_r.fits")[::-1], linear, atol=1e-3)
    found = magnitude(total(folder, "fields.zero_point=25", "fields.exposure=EXPTIME"))
    assert found == pytest.approx(25 + 2.5 * np.log10(30) - 7.5, abs=0.05)
    folder = survey(tmp_path, image=stored.astype(np.float32), BSOFTEN=soften)
    with pytest.raises(InputError, match=r"BOFFSET and BSOFTEN .* must be two numbers"):
        total(folder)


class TestTables:
    """Zero-point files with slips that gave factors of hundreds."""

    @pytest.mark.parametrize(("lines", "words"), [
        (["g 20", "r 21", "g 25"], "lists band g twice, as 20 and 25"),
        (["g 20", "G 25", "r 21"], "lists band g as 20 and, named G, as 25"),
        (["g 99", "r 21"], "band g: zero point 99 is none"), (["g 0", "r 21"], "zero point 0 is none"),
        (["g -99", "r 21"], "zero point -99 is none"),
    ])  # fmt: skip
    def test_a_wrong_row_is_refused(self, tmp_path, lines, words):
        (tmp_path / "ZP.cat").write_text("\n".join(["# FILTER ZP", *lines]) + "\n")
        with pytest.raises(InputError, match=words):
            calibration.zero_points(tmp_path / "ZP.cat", {"g": "G", "r": "R"})

    def test_the_same_row_twice_is_no_slip(self, tmp_path):
        (tmp_path / "ZP.cat").write_text("# FILTER ZP\ng 20\nr 21\ng 20\n")
        assert calibration.zero_points(tmp_path / "ZP.cat", {"g": "G", "r": "R"}) == {"g": 20, "r": 21}

    @pytest.mark.parametrize(("lines", "words"), [(["A,20", "A,21"], "lists field 'A' twice"),
                                                  (["A,99"], "field 'A', band r: zero point 99 is none")])  # fmt: skip
    def test_a_field_twice_in_one_table_of_all(self, tmp_path, lines, words):
        folder = survey(tmp_path)
        (folder / "points.csv").write_text("\n".join(["Field,ZP_r", *lines]) + "\n")
        settings = [NO_POINT, "fields.zero_points=points.csv", "fields.zero_point_column='ZP_{band}'"]
        with pytest.raises(InputError, match=words):
            total(folder, *settings)


@pytest.mark.parametrize(("settings", "words"), [
    (["fields.unit=nJy"], "give one of unit, zero_point and zero_points, found unit and zero_point"),
    ([NO_POINT], "bands and zero_points must be given together, or zero_point or unit"),
    (["fields.zero_point=0"], "zero_point must be an AB magnitude, 5..40, found 0"),
    ([NO_POINT, "fields.unit=maggies"], "allowed: nanomaggy"),
    ([NO_POINT, "fields.unit=nJy", "fields.exposure=10"], "exposure needs zero_point"),
    (["fields.zero_point={g: 25}"], "unknown band in fields: zero_point 'g'"),
    (["catalogue.origin=0"], "origin is that of x and y"),
])  # fmt: skip
def test_a_recipe_that_is_not_clear_is_refused(tmp_path, settings, words):
    with pytest.raises(InputError, match=words):
        recipe(tmp_path, *settings)


@pytest.mark.parametrize(("cards", "settings", "words"), [
    ({"MAGZERO": 30.12, "MAGZPT": 25.109}, [], r"says MAGZERO 30\.12 and MAGZPT 25\.109, .* zero_point is 25"),
    ({"MAGZP": 22.5}, [], r"MAGZP 22\.5, the recipe's zero_point is 25"),
    ({"FLUXMAG0": 63095734448.0194}, [], r"FLUXMAG0 27, the recipe's"), ({"PHOTZP": 25.02}, [], r"PHOTZP 25\.02"),
    ({"MAGZERO": 25.0}, ["fields.zero_point={r: 30}"], r"MAGZERO 25, the recipe's zero_point is 30"),
    ({"MAGZERO": 30.0}, [NO_POINT, "fields.unit=nanomaggy"], r"MAGZERO 30, .* is nanomaggy, a zero point of 22\.500"),
])  # fmt: skip
@pytest.mark.parametrize("policy", ["stop", "reject"])
def test_a_number_that_the_headers_own_zero_point_contradicts_is_refused(tmp_path, cards, settings, words, policy):
    folder = survey(tmp_path, **cards)
    with pytest.raises(InputError, match=words + ".*name the right keyword .*header_zero_point: ignore"):
        total(folder, *settings, f"fields.unreadable={policy}")
    assert total(folder, *settings, "fields.header_zero_point=ignore") > 0


@pytest.mark.parametrize(("cards", "refused"), [
    ({"MAGZERO": 25.3}, False), ({"MAGZERO": 25.6}, True), ({"MAGZERO": 22.5, "EXPTIME": 10.0}, False),
    ({"MAGZERO": 30.0, "PHOTZP": 25.1}, False), ({"FLUXMAG0": 63095734448.0194}, True),
])  # fmt: skip
@pytest.mark.parametrize("one_of_all", [False, True])
def test_a_table_may_calibrate_better_than_the_header_but_not_by_half_a_magnitude(tmp_path, cards, refused, one_of_all):
    folder = survey(tmp_path, **cards)
    (folder / "A_ZP.csv").write_text("FILTER,ZP\nr,25\n")
    (folder / "points.csv").write_text("Field,ZP_r\nA,25\n")
    settings = [NO_POINT, "fields.zero_points='{field}_ZP.csv'"]
    if one_of_all:
        settings = [NO_POINT, "fields.zero_points=points.csv", "fields.zero_point_column='ZP_{band}'"]
    if refused:
        with pytest.raises(InputError, match=r"header says .*, the table of zero points 25, more than 0\.5 mag away; .*"
                           "header_zero_point: ignore"):  # fmt: skip
            total(folder, *settings)
    found = total(folder, *settings, f"fields.header_zero_point={'ignore' if refused else 'hold'}")
    assert magnitude(found) == pytest.approx(25 - 2.5 * np.log10(FLUX), abs=1e-3)


def test_a_zero_point_in_the_primary_header_counts_too(tmp_path):
    folder = survey(tmp_path, two_units({"MAGZERO": 26.3}, {}))
    with pytest.raises(InputError, match=r"its header says MAGZERO 26\.3"):
        total(folder)


@pytest.mark.parametrize(("cards", "settings"), [
    ({"MAGZERO": 25.005}, []), ({"MAGZERO": 30.12, "MAGZPT": 25.0}, []), ({"MAGZERO": 0.0}, []), ({"ZP": "none"}, []),
    ({"MAGZPT": 22.5, "EXPTIME": 10.0}, []), ({"MAGZERO": 27.5, "EXPTIME": 10.0}, ["fields.exposure=EXPTIME"]),
    ({"MAGZP": 25.0}, ["fields.ab_offset=1.9"]), ({"MAGZP": 26.9}, ["fields.ab_offset=1.9"]), ({"FLUXMAG0": 0.0}, []),
    ({"MAGZP": 22.5}, [NO_POINT, "fields.unit=nanomaggy"]), ({"MAGZP": 22.5}, [NO_POINT, "fields.unit=MJy/sr"]),
    ({"PHOTZPT": -21.1}, []),
])  # fmt: skip
def test_a_zero_point_that_agrees_in_some_sense_passes(tmp_path, cards, settings):
    assert total(survey(tmp_path, **cards), *settings) > 0


class TestBands:
    """A file whose header names another band of the recipe is not taken for this one."""

    def test_by_filter(self, tmp_path):
        folder = survey(tmp_path, FILTER="g")
        write(folder / "A_g.fits", stars(SHAPE, [(30, 31)], FLUX), header(SHAPE))
        catalogue(folder, *wcs(header(SHAPE)).all_pix2world([30], [31], 1), mag_g=[18.0])
        with pytest.raises(InputError, match=r"A_r\.fits: its FILTER is 'g', but the recipe takes it for band r"):
            total(folder, "catalogue.bands=[g, r]")

    @pytest.mark.parametrize("value", ["r", "R", "r DECam SDSS c0002", "HSC-G", "", "clear", 7])
    def test_other_words_say_nothing(self, tmp_path, value):
        folder = survey(tmp_path, FILTER=value)
        write(folder / "A_g.fits", stars(SHAPE, [(30, 31)], FLUX), header(SHAPE))
        catalogue(folder, *wcs(header(SHAPE)).all_pix2world([30], [31], 1), mag_g=[18.0])
        assert total(folder, "catalogue.bands=[g, r]") > 0

    @pytest.mark.parametrize(("bands", "words"), [("grz", None), ("zrg", "its planes are z, r, g .BANDS.*g, r, z"),
                                                  ("g,z,r", "its planes are g, z, r"), ("abc", None)])  # fmt: skip
    def test_by_the_bands_of_a_cube(self, tmp_path, bands, words):
        """As of the Legacy Surveys' cutout service."""
        folder = survey(tmp_path)
        cube = np.stack([stars((32, 32), [(16, 16)], noise=1.0, seed=i) for i in range(3)])
        write(folder / "S0.fits", cube, astropy_fits.Header({"BANDS": bands}))
        catalogue(folder, [150.0], [2.0], mag_g=[18.0], mag_z=[17.0])
        settings = ("fields=null", "cutouts={cube: '{id}.fits', pixel_scale: 0.262, unit: nanomaggy}",
                    "catalogue.bands=[g, r, z]")  # fmt: skip
        if words is None:
            assert total(folder, *settings, size=16) > 0
            colours = "cutouts.lupton={red: z, green: r, blue: g, stretch: 0.5}"
            make = (*settings, colours, "stores={all: {images: rgb}}", "size=16")
            assert build(recipe(folder, *make), folder, tmp_path / "rgb")[0].info.counts["kept"] == 1
            return
        with pytest.raises(InputError, match=words):
            total(folder, *settings, size=16)
