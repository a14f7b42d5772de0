"""Positions on images: every parity, turn, projection and corner of the sky, against astropy and against truth."""

import itertools

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits as astropy_fits
from sky_survey import PARITIES, SCALE, catalogue, header, recipe, stars, wcs, write

from hpc_astrossl.cutting.badfile import BadFile
from hpc_astrossl.cutting.sky import offsets, position, separation, sky_of
from hpc_astrossl.errors import InputError
from hpc_astrossl.ingest import build
from hpc_astrossl.store import open_store

SHAPE = (220, 260)
PLACES = {"middle": (150.0, 2.0), "RA 0": (0.0, -30.0), "pole": (40.0, 89.99), "south": (200.0, -89.995)}


@pytest.mark.parametrize("projection", ["TAN", "SIP", "TPV", "ZPN"])
@pytest.mark.parametrize("place", PLACES)
def test_all_parities_and_turns_are_astropys(projection, place, tmp_path):
    """The middle, the edges and corners; and back."""
    for parity, turn in itertools.product(PARITIES, (0.0, 33.0, 90.0)):
        cards = header(SHAPE, PLACES[place], turn=turn, parity=parity, projection=projection)
        sky = sky_of(cards, SHAPE, tmp_path)
        x = np.array([130.5, 1.0, 260.0, 17.25, 240.1])
        y = np.array([110.5, 1.0, 220.0, 203.5, 8.75])
        ra, dec = wcs(cards).all_pix2world(x, y, 1)
        np.testing.assert_allclose(sky.pixel(ra, dec), [x, y], atol=2e-4)
        assert separation(ra, dec, *sky.sky(x, y)).max() < 1e-6
        signs = np.sign(np.linalg.det(sky.matrix(x, y)))
        assert (signs == np.sign(parity[0] * parity[1] * (-1 if parity[2] else 1))).all()
        assert sky.scale == pytest.approx(SCALE, rel=0.02)


@pytest.mark.parametrize("projection", ["TAN", "SIP", "TPV", "ZPN"])
@pytest.mark.parametrize("place", PLACES)
def test_a_star_is_in_the_middle_of_its_cutout(tmp_path, projection, place):
    """End to end, by sky position alone: 24 fields, one for each parity and turn, with a star in the middle and one as
    near to the edge as a cutout goes."""
    folder, shape, pixels = tmp_path / "survey", (80, 90), [(45.0, 40.0), (82.0, 9.0)]
    folder.mkdir()
    found, names = [], []
    for i, (parity, turn) in enumerate(itertools.product(PARITIES, (0.0, 33.0, 90.0))):
        cards = header(shape, PLACES[place], turn=turn, parity=parity, projection=projection)
        write(folder / f"F{i}_r.fits", stars(shape, pixels), cards)
        found.append(wcs(cards).all_pix2world(*np.transpose(pixels), 1))
        names += [f"F{i}"] * len(pixels)
    assert len(found) == 24
    catalogue(folder, *np.concatenate(found, axis=1), field=names)
    made = recipe(folder, "size=17", "catalogue.field=field", "filters.duplicates=0", "split.together=0")
    (built,) = build(made, folder, tmp_path / "out")
    store = open_store(built.path)
    assert built.info.counts["kept"] == 48
    rows, columns = np.indices((17, 17))
    for image in store.images(np.arange(48))[..., 0].astype(float):
        light = np.where(np.hypot(rows - 8, columns - 8) < 8, image, 0)
        middle = (light * rows).sum() / light.sum(), (light * columns).sum() / light.sum()
        np.testing.assert_allclose(middle, (8, 8), atol=0.01)


class TestHeaders:
    """What producers write."""

    def assert_same(self, cards, reference, tmp_path, atol=1e-3):
        x, y = np.array([3.0, 250.0, 128.0]), np.array([5.0, 210.0, 60.0])
        ra, dec = reference.all_pix2world(x, y, 1)
        np.testing.assert_allclose(sky_of(cards, SHAPE, tmp_path).pixel(ra, dec), [x, y], atol=atol)

    def test_scamps_tan_with_pv_is_tpv_also_when_only_linear(self, tmp_path):
        """astropy takes PV1_1 and PV2_1 of a TAN for other keywords: four arcseconds off."""
        tpv = header(SHAPE, projection="TPV")
        for axis in (1, 2):
            del tpv[f"PV{axis}_4"], tpv[f"PV{axis}_7"]
        scamp = tpv.copy()
        scamp["CTYPE1"], scamp["CTYPE2"] = "RA---TAN", "DEC--TAN"
        self.assert_same(scamp, wcs(tpv), tmp_path)

    def test_tpv_without_pv_is_tan(self, tmp_path):
        """astropy gives every pixel CRVAL."""
        bare = header(SHAPE)
        tpv = bare.copy()
        tpv["CTYPE1"], tpv["CTYPE2"] = "RA---TPV", "DEC--TPV"
        self.assert_same(tpv, wcs(bare), tmp_path)

    def test_pc_cdelt_and_crota2(self, tmp_path):
        cards = header(SHAPE, turn=30.0)
        for other in ("PC", "CROTA2"):
            new = cards.copy()
            for i, j in itertools.product((1, 2), (1, 2)):
                del new[f"CD{i}_{j}"]
            new["CDELT1"], new["CDELT2"] = -SCALE / 3600, SCALE / 3600
            if other == "PC":
                for i, j in itertools.product((1, 2), (1, 2)):
                    new[f"PC{i}_{j}"] = cards[f"CD{i}_{j}"] / new[f"CDELT{i}"]
            else:
                new["CROTA2"] = 30.0
            self.assert_same(new, wcs(cards), tmp_path)

    def test_axes_in_the_other_order(self, tmp_path):
        cards = header(SHAPE, turn=20.0)
        new = cards.copy()
        for key in ("CTYPE", "CRVAL"):
            new[f"{key}1"], new[f"{key}2"] = cards[f"{key}2"], cards[f"{key}1"]
        for j in (1, 2):
            new[f"CD1_{j}"], new[f"CD2_{j}"] = cards[f"CD2_{j}"], cards[f"CD1_{j}"]
        self.assert_same(new, wcs(cards), tmp_path)

    def test_three_axes(self, tmp_path):
        cards = header(SHAPE)
        new = cards.copy()
        new["CTYPE3"], new["CRVAL3"], new["CRPIX3"], new["CD3_3"] = "FREQ", 1e14, 1, 1e9
        self.assert_same(new, wcs(cards), tmp_path)

    @pytest.mark.parametrize(("frame", "extra"), [("galactic", {}), ("fk5", {"RADESYS": "FK5", "EQUINOX": 1975.0}),
                                                  ("fk4", {"RADESYS": "FK4", "EQUINOX": 1950.0})])  # fmt: skip
    def test_positions_are_icrs_whatever_the_frame(self, tmp_path, frame, extra):
        star = SkyCoord(150.003, 2.002, unit="deg")
        cards = header(SHAPE)
        cards.update(extra)
        options = {"equinox": f"{'B' if frame == 'fk4' else 'J'}{extra.get('EQUINOX', 2000)}"} if extra else {}
        there = star.transform_to(frame) if not options else star.transform_to(_frame(frame, **options))
        lon, lat = there.spherical.lon.deg, there.spherical.lat.deg
        if frame == "galactic":
            del cards["RADESYS"]
            cards["CTYPE1"], cards["CTYPE2"] = "GLON-TAN", "GLAT-TAN"
        cards["CRVAL1"], cards["CRVAL2"] = lon - 0.003, lat - 0.002
        expected = wcs(cards).all_world2pix(lon, lat, 1)
        found = sky_of(cards, SHAPE, tmp_path).pixel(star.ra.deg, star.dec.deg)
        np.testing.assert_allclose(found, expected, atol=1e-3)

    def test_the_other_side_of_the_sky_is_nowhere(self, tmp_path):
        sky = sky_of(header(SHAPE), SHAPE, tmp_path)
        assert np.isnan(sky.pixel([330.0, np.nan, 150.0], [-2.0, 2.0, -99.0])).all()

    def test_no_celestial_axes_and_nonsense(self, tmp_path):
        assert sky_of(astropy_fits.Header({"CTYPE1": "", "CTYPE2": ""}), SHAPE, tmp_path) is None
        cards = header(SHAPE)
        for i, j in itertools.product((1, 2), (1, 2)):
            cards[f"CD{i}_{j}"] = 0.0
        with pytest.raises(BadFile, match="its WCS cannot be used"):
            sky_of(cards, SHAPE, tmp_path)


def _frame(name, equinox):
    from astropy.coordinates import FK4, FK5

    return {"fk4": FK4, "fk5": FK5}[name](equinox=equinox)


def test_the_touching_plane_and_back():
    ra, dec = np.array([0.001, 200.0, 30.0]), np.array([89.9, -45.0, 0.0])
    east, north = np.array([100.0, -300.0, 5.0]), np.array([-50.0, 10.0, 900.0])
    np.testing.assert_allclose(offsets(ra, dec, *position(ra, dec, east, north)), [east, north], atol=1e-8)


class TestPositions:
    """Objects are found in fields, and pixel positions held against headers."""

    def survey(self, tmp_path, fields=((150.0, 2.0),), count=12, seed=1):
        """Fields and stars drawn in each; returns (folder, ra, dec, x, y)."""
        folder, found = tmp_path / "survey", []
        folder.mkdir()
        for number, centre in enumerate(fields):
            cards = header(SHAPE, centre, turn=10.0 * number)
            x, y = (np.random.default_rng(seed + number).uniform(20, n - 20, count) for n in SHAPE[::-1])
            found.append(np.stack([*wcs(cards).all_pix2world(x, y, 1), x, y]))
            write(folder / f"F{number}_r.fits", stars(SHAPE, zip(x, y, strict=True)), cards)
        return folder, *np.concatenate(found, axis=1)

    def make(self, folder, *settings):
        out = folder.parent / f"out{len(list(folder.parent.iterdir()))}"
        (made,) = build(recipe(folder, "filters.duplicates=0", *settings), folder, out)
        return made.info.counts, open_store(made.path)

    XY = ("catalogue.x=x", "catalogue.y=y", "catalogue.field=field")

    def test_by_sky_byte_for_byte_as_by_pixels(self, tmp_path):
        folder, ra, dec, x, y = self.survey(tmp_path, ((150.0, 2.0), (150.2, 2.0)))
        field = ["F0"] * 12 + ["F1"] * 12
        catalogue(folder, ra, dec, x=x, y=y, field=field)
        counts, store = self.make(folder, *self.XY)
        assert counts["kept"] == 24
        for settings in (("catalogue.field=field",), ()):
            _, other = self.make(folder, *settings)
            assert (other.table["object_id"] == store.table["object_id"]).all()
            assert (other.images(np.arange(24)) == store.images(np.arange(24))).all()

    @pytest.mark.parametrize(("shift", "words"), [
        ((-1, -1), r"median offset -1\.00, -1\.00 pixels \(12 objects of 1 fields\).*set catalogue\.origin: 0"),
        ((-0.5, -0.5), "Half a pixel"), ((3, 0), "another image, field or grid"), (None, "another image"),
    ])  # fmt: skip
    def test_positions_that_contradict_the_header_are_refused(self, tmp_path, shift, words):
        folder, ra, dec, x, y = self.survey(tmp_path)
        dx, dy = (x[::-1] - x, y[::-1] - y) if shift is None else shift
        catalogue(folder, ra, dec, x=x + dx, y=y + dy, field=["F0"] * 12)
        with pytest.raises(InputError, match=words):
            self.make(folder, *self.XY)
        if shift == (-1, -1):
            _, store = self.make(folder, *self.XY, "catalogue.origin=0")
            _, by_sky = self.make(folder)
            assert (store.images(np.arange(12)) == by_sky.images(np.arange(12))).all()

    def test_an_object_goes_to_the_field_in_which_it_lies_deepest(self, tmp_path, capsys):
        """Two overlapping fields: the deeper one, once; objects outside are counted."""
        step = 150 * SCALE / 3600
        folder, *_ = self.survey(tmp_path, ((150.0, 2.0), (150.0 + step, 2.0)))
        ra, dec = [150.0, 150.0 + step, 150.0 + 0.4 * step, 150.0 + 0.6 * step, 10.0], [2.0] * 5
        catalogue(folder, ra, dec)
        counts, _ = self.make(folder, "fields.no_value=[]", "fields.max_bad=0.5")
        assert counts["rejected"]["in no field of the release"] == 1
        assert counts["kept"] + counts["rejected"].get("blank image", 0) == 4
        from hpc_astrossl.cutting.footprints import INDEX, Index, deepest

        loaded = recipe(folder)
        fields = deepest(Index(loaded, folder), np.array(ra), np.array(dec))[0]
        assert fields.tolist() == ["F0", "F1", "F0", "F1", ""]
        assert (folder / INDEX).is_file()

    @pytest.mark.parametrize(("projection", "pole"), [("CAR", 0), ("AIT", 0), ("MOL", 0), ("ZEA", 90), ("ARC", 90)])
    def test_objects_are_found_on_images_of_the_whole_sky(self, tmp_path, projection, pole):
        """Whose corners may be nowhere, and whose edges are farther than 90 degrees from the middle."""
        folder, shape = tmp_path / "survey", (720, 720) if pole else (360, 720)
        folder.mkdir()
        cards = astropy_fits.Header({"CTYPE1": f"RA---{projection}", "CTYPE2": f"DEC--{projection}", "CRVAL1": 10.0,
                                     "CRVAL2": float(pole), "CRPIX1": shape[1] / 2 + 0.5, "CRPIX2": shape[0] / 2 + 0.5,
                                     "CD1_1": -0.5, "CD2_2": 0.5})  # fmt: skip
        ra, dec = [10.0, 100.0, 170.0, 200.0, 300.0, 350.0, 80.0], [0.0, 30.0, -40.0, 60.0, -10.0, 70.0, -60.0]
        x, y = wcs(cards).all_world2pix(ra, dec, 1)
        write(folder / "A_r.fits", stars(shape, zip(x, y, strict=True), sigma=1.2), cards)
        catalogue(folder, ra, dec)
        counts, store = self.make(folder, "fields.no_value=[]", "size=17")
        assert counts["kept"] == 7
        for image in store.images(np.arange(7))[..., 0]:
            assert np.abs(np.array(np.unravel_index(image.argmax(), image.shape)) - 8).max() <= 1

    def test_the_index_is_read_again_when_a_file_changes(self, tmp_path):
        from hpc_astrossl.cutting.footprints import Index

        folder, *_ = self.survey(tmp_path)
        index = Index(recipe(folder), folder)
        before = index.all()[0].sky.centre
        index.save()
        write(folder / "F0_r.fits", stars((100, 100), []), header((100, 100), (20.0, 5.0)))
        assert Index(recipe(folder), folder).all()[0].sky.centre != before

    def test_the_pixel_scale_is_the_headers_and_held_against_it(self, tmp_path):
        folder, ra, dec, *_ = self.survey(tmp_path)
        catalogue(folder, ra, dec)
        _, store = self.make(folder)
        assert store.info.pixel_scale == pytest.approx(SCALE, rel=1e-6)
        _, same = self.make(folder, "fields.pixel_scale=0.4")
        np.testing.assert_allclose(same.images(np.arange(12)), store.images(np.arange(12)), rtol=1e-5)
        with pytest.raises(
            InputError, match=r"its WCS says 0\.4000 arcsec per pixel, the recipe's pixel_scale is 0\.55"
        ):
            self.make(folder, "fields.pixel_scale=0.55")

    def test_a_field_without_wcs_is_named(self, tmp_path):
        folder, ra, dec, *_ = self.survey(tmp_path)
        write(folder / "F0_r.fits", stars(SHAPE, []))
        catalogue(folder, ra, dec)
        with pytest.raises(InputError, match=r"F0_r.fits: its header has no celestial WCS.*give x and y"):
            self.make(folder)
