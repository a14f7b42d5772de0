"""Bands of different grids are refused, or brought to one: positions and fluxes against the truth on the sky."""

import numpy as np
import pytest
from astropy.io import fits as astropy_fits
from astropy.wcs import WCS
from sky_survey import SCALE, catalogue, header, recipe, stars, wcs, write

from hpc_astrossl.errors import InputError
from hpc_astrossl.ingest import build
from hpc_astrossl.store import open_store

SHAPE = (200, 220)
SIGMA = 0.6  # arcsec, of stars
FLUX = 1000.0
RA0, DEC0 = 150.0, 2.0


def sky_stars(cards, ra, dec, shape=SHAPE):
    """Stars of one flux and width on the sky, by astropy alone: each pixel holds its area's flux."""
    image = np.zeros(shape)
    rows, columns = np.mgrid[1.0 : shape[0] + 1, 1.0 : shape[1] + 1]
    there = wcs(cards).all_pix2world(np.stack([columns.ravel(), rows.ravel()], 1), 1).T.reshape(2, *shape)
    north = there[1] * 3600
    east = ((there[0] - RA0 + 180) % 360 - 180) * 3600 * np.cos(np.radians(there[1]))
    area = np.abs(np.gradient(east, axis=1) * np.gradient(north, axis=0)
                  - np.gradient(east, axis=0) * np.gradient(north, axis=1))  # fmt: skip
    for a, d in zip(ra, dec, strict=True):
        de = ((there[0] - a + 180) % 360 - 180) * 3600 * np.cos(np.radians(d))
        bright = np.exp(-(de**2 + (north - d * 3600) ** 2) / (2 * SIGMA**2)) / (2 * np.pi * SIGMA**2)
        image += FLUX * bright * area
    return image.astype(np.float32)


def positions(cards):
    """Of five stars, well apart."""
    return wcs(cards).all_pix2world([60.3, 150.7, 60.1, 151.2, 105.5], [50.2, 52.9, 140.4, 150.6, 99.7], 1)


def make(folder, *settings):
    (made,) = build(recipe(folder, *settings), folder, folder.parent / f"out{len(list(folder.parent.iterdir()))}")
    store = open_store(made.path)
    order = np.argsort(store.table["object_id"])
    return made.info, store.images(order).astype(float), store, order


def light(image):
    """(row, column) of the light from the middle, and its sum."""
    rows, columns = np.indices(image.shape)
    return np.array([(image * rows).sum(), (image * columns).sum()]) / image.sum() - (len(image) - 1) / 2, image.sum()


KINDS = [({}, "TAN"), ({"turn": 33.0}, "TAN"), ({"parity": (1, 1, False)}, "TAN"), ({"turn": 70.0}, "SIP"),
         ({"parity": (1, -1, True), "turn": 10.0}, "TPV")]  # fmt: skip


@pytest.mark.parametrize(("options", "projection"), KINDS)
@pytest.mark.parametrize("scale", [0.3, 0.4, 0.55])
def test_positions_and_fluxes_are_those_of_the_sky(tmp_path, options, projection, scale):
    folder = tmp_path / "survey"
    folder.mkdir()
    cards = header(SHAPE, (RA0, DEC0), projection=projection, **options)
    ra, dec = positions(cards)
    write(folder / "A_r.fits", sky_stars(cards, ra, dec), cards)
    catalogue(folder, ra, dec)
    info, images, store, order = make(folder, "size=32", f"fields.resample.pixel_scale={scale}", "fields.no_value=[]")
    assert info.pixel_scale == scale
    expected = 1e5 * 10 ** (-0.4 * 25) * FLUX / scale**2
    for i, image in enumerate(images[..., 0]):
        inner = np.where(np.hypot(*(np.indices(image.shape) - 15.5)) < 5 * SIGMA / scale, image, 0)
        place, total = light(inner)
        assert np.abs(place).max() < 0.02
        assert total == pytest.approx(expected, rel=2e-3), i
    np.testing.assert_allclose(store.table["wcs"][order][:, :2], 16.5)
    np.testing.assert_allclose(store.table["wcs"][order][:, 2:] * 3600, [[-scale, 0, 0, scale]] * len(order), atol=1e-9)


def two_bands(folder, one, other, shape=SHAPE):
    folder.mkdir(exist_ok=True)
    ra, dec = positions(one)
    write(folder / "A_r.fits", sky_stars(one, ra, dec), one)
    write(folder / "A_g.fits", sky_stars(other, ra, dec, shape), other)
    catalogue(folder, ra, dec, mag_g=[18.0] * len(ra))


BOTH = ("catalogue.bands=[r, g]", "size=32", "fields.no_value=[]")


@pytest.mark.parametrize(("options", "words"), [
    ({"turn": 5.0}, r"turned by -?5\.00 degrees"), ({"parity": (1, 1, False)}, "mirrored"),
    ({"scale": 0.41}, r"0\.41 arcsec per pixel for 0\.4"), ({"shift": 5.0}, r"shifted by .*5\.00"),
    ({"shift": 0.5}, r"shifted by .*0\.50"),
])  # fmt: skip
def test_bands_on_other_grids_are_refused_and_then_brought_to_one(tmp_path, options, words):
    one, options = header(SHAPE, (RA0, DEC0)), dict(options)
    shift = options.pop("shift", 0)
    other = header(SHAPE, (RA0, DEC0), **options)
    other["CRPIX1"] += shift
    folder = tmp_path / "survey"
    two_bands(folder, one, other)
    for policy in ("stop", "reject"):
        with pytest.raises(InputError, match=rf"A_g\.fits: its pixels are not those of A_r\.fits: .*{words}.*resample"):
            make(folder, *BOTH, f"fields.unreadable={policy}")
    _, images, *_ = make(folder, *BOTH, "fields.resample.pixel_scale=0.4", "fields.edge=pad", "fields.max_bad=0.5")
    for image in images:
        assert np.corrcoef(image[..., 0].ravel(), image[..., 1].ravel())[0, 1] > 0.999
        assert image[..., 1].sum() == pytest.approx(image[..., 0].sum(), rel=4e-3)


def test_another_size_is_refused_and_equal_grids_are_not_touched(tmp_path):
    one = header(SHAPE, (RA0, DEC0))
    folder = tmp_path / "survey"
    two_bands(folder, one, one)
    _, images, *_ = make(folder, *BOTH)
    assert (images[..., 0] == images[..., 1]).all()
    two_bands(folder, one, one, (190, 220))
    with pytest.raises(InputError, match="is 220 × 190 pixels, the field's other bands are 220 × 200"):
        make(folder, *BOTH)


def test_as_it_lies_is_the_first_bands_direction(tmp_path):
    """On its own grid, at whole pixels, resampling changes nothing."""
    cards = header((120, 120), (RA0, DEC0), turn=25.0, parity=(1, 1, True))
    folder = tmp_path / "survey"
    folder.mkdir()
    image = stars((120, 120), [(40, 50)], noise=1.0)
    write(folder / "A_r.fits", image, cards)
    catalogue(folder, *WCS(cards).all_pix2world([40], [50], 1))
    _, plain, *_ = make(folder, "size=15")
    _, same, *_ = make(folder, "size=15", f"fields.resample={{pixel_scale: {SCALE}, north_up: false}}")
    np.testing.assert_allclose(same, plain, atol=2e-3 * np.abs(plain).max())
    _, nearest, *_ = make(folder, "size=15",
                          f"fields.resample={{pixel_scale: {SCALE}, north_up: false, method: nearest}}")  # fmt: skip
    np.testing.assert_allclose(nearest, plain, rtol=1e-4)


def test_every_object_has_the_size_that_its_column_says(tmp_path):
    cards = header(SHAPE, (RA0, DEC0))
    folder = tmp_path / "survey"
    folder.mkdir()
    ra, dec = positions(cards)
    write(folder / "A_r.fits", sky_stars(cards, ra, dec), cards)
    catalogue(folder, ra, dec, radius=[2.0, 3.0, 4.0, "", -1.0])
    info, images, store, order = make(folder, "size=32", "fields.resample={}", "fields.no_value=[]",
                                      "fields.size={column: radius, factor: 4}")  # fmt: skip
    assert info.pixel_scale is None
    assert info.counts["rejected"] == {"pixels without a value": 2}
    scales = store.table["wcs"][order][:3, 5] * 3600
    np.testing.assert_allclose(scales * 32, [8, 12, 16])
    for image, scale in zip(images[:3, ..., 0], scales, strict=True):
        assert image.sum() * scale**2 == pytest.approx(1e5 * 10 ** (-0.4 * 25) * FLUX, rel=5e-3)


def test_masks_and_edges_come_through(tmp_path):
    cards = header(SHAPE, (RA0, DEC0))
    folder = tmp_path / "survey"
    folder.mkdir()
    ra, dec = wcs(cards).all_pix2world([60.0, 4.0], [100.0, 100.0], 1)
    image = sky_stars(cards, ra, dec)
    image[95:99, 60:64] = np.nan
    write(folder / "A_r.fits", image, cards)
    catalogue(folder, ra, dec)
    settings = ("size=32", "fields.resample.pixel_scale=0.4", "fields.no_value=[]")
    with pytest.raises(InputError, match="pixels without a value"):
        make(folder, *settings)
    _, images, store, order = make(folder, *settings, "fields.max_bad=0.5")
    share = store.table["bad_pixels"][order]
    assert 16 / 1024 <= share[0] <= 36 / 1024
    assert 0.3 < share[1] < 0.45
    assert np.isfinite(images).all()


class TestCutouts:
    """FITS cutouts of services."""

    RECIPE = ("fields=null", "cutouts={bands: '{id}_{band}.fits', zero_point: 25}", "size=16")

    def folder(self, tmp_path, shapes, cards=None):
        folder = tmp_path / "survey"
        folder.mkdir(exist_ok=True)
        for band, shape in zip("rg", shapes, strict=True):
            middle = ((shape[1] + 1) / 2, (shape[0] + 1) / 2)
            write(folder / f"S0_{band}.fits", stars(shape, [middle], noise=0.1), cards)
        catalogue(folder, [RA0], [DEC0], mag_g=[18.0])
        return folder

    def test_bands_of_other_shapes_are_refused(self, tmp_path):
        folder = self.folder(tmp_path, [(64, 64), (64, 50)])
        with pytest.raises(InputError, match=r"S0_g\.fits: is 50 × 64 pixels, the field's other bands are 64 × 64"):
            make(folder, *self.RECIPE, "catalogue.bands=[r, g]", "cutouts.pixel_scale=0.4")

    def test_one_trimmed_at_the_edge_of_its_field_is_cut_where_its_header_says(self, tmp_path):
        """The object is not in the middle of a cutout that the field's edge cut off."""
        cards = header((64, 50), (RA0, DEC0))
        cards["CRPIX1"], cards["CRPIX2"] = 18.0, 32.0
        folder = self.folder(tmp_path, [(64, 50)] * 2)
        for band in "rg":
            write(folder / f"S0_{band}.fits", stars((64, 50), [(18.0, 32.0)], noise=0.0), cards)
        _, images, *_ = make(folder, *self.RECIPE, "catalogue.bands=[r, g]", "size=17", "cutouts.no_value=[]")
        assert np.unravel_index(images[0, ..., 0].argmax(), (17, 17)) == (8, 8)

    def test_two_surveys_without_wcs_are_brought_to_one_grid(self, tmp_path):
        """The object in the middle of each, as of KiDS and SDSS in ProFit's examples."""
        folder = tmp_path / "survey"
        folder.mkdir()
        for band, scale, point, shape in (("r", 0.2, 25.0, (101, 101)), ("g", 0.396, 24.0, (61, 61))):
            middle, flux = (shape[0] + 1) / 2, 1000 * 10 ** (0.4 * (point - 25))
            write(folder / f"S0_{band}.fits", stars(shape, [(middle, middle)], flux, 0.9 / scale, noise=0.001))
        catalogue(folder, [RA0], [DEC0], mag_g=[18.0])
        settings = ("cutouts.pixel_scale={r: 0.2, g: 0.396}", "cutouts.zero_point={r: 25, g: 24}", "size=32",
                    "cutouts.resample.pixel_scale=0.4")  # fmt: skip
        _, images, *_ = make(folder, *self.RECIPE, "catalogue.bands=[r, g]", *settings)
        r, g = images[0, ..., 0], images[0, ..., 1]
        assert np.corrcoef(r.ravel(), g.ravel())[0, 1] > 0.999
        assert abs(2.5 * np.log10(r.sum() / g.sum())) < 0.01


def test_cards_of_the_survey_are_astropys():
    assert isinstance(header(), astropy_fits.Header)
