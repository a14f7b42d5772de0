"""Pixels that are none: masks, weights, values of no detector, zeros of coadds; left out, or filled below a limit."""

import numpy as np
import pytest
from astropy.io import fits as astropy_fits
from sky_survey import catalogue, header, recipe, stars, wcs, write

from hpc_astrossl.cutting import fits, nodata
from hpc_astrossl.errors import InputError
from hpc_astrossl.ingest import build
from hpc_astrossl.store import open_store

SHAPE = (90, 120)
PLACES = [(20, 20), (60, 20), (100, 20), (20, 60), (60, 60)]
BAD = (slice(15, 18), slice(18, 22))  # 3 × 4 pixels of the first object's cutout, FITS rows


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "survey"
    folder.mkdir()
    cards = header(SHAPE)
    write(folder / "A_r.fits", field(), cards)
    catalogue(folder, *wcs(cards).all_pix2world(*np.transpose(PLACES), 1))
    return folder


def field():
    return stars(SHAPE, PLACES, noise=1.0) + np.float32(0.01)


def make(folder, *settings):
    out = folder.parent / f"out{len(list(folder.parent.iterdir()))}"
    (made,) = build(recipe(folder, *settings), folder, out)
    store = open_store(made.path)
    order = np.argsort(store.table["object_id"])
    return made.info.counts, store.images(order)[..., 0], order, store


NONE = {"pixels without a value": 1}


def spoil(folder, value):
    image = field()
    image[BAD] = value
    write(folder / "A_r.fits", image, header(SHAPE))


@pytest.mark.parametrize("value", [np.nan, np.inf, -1e30, -2147483647.0, 1e30, 0.0, -32768.0, -999.0, -99.0])
def test_values_of_no_detector_and_zeros_in_a_block_are_no_pixels(folder, value):
    spoil(folder, value)
    assert make(folder)[0]["rejected"] == NONE


def test_a_value_is_named_and_zeros_may_be_pixels(folder):
    spoil(folder, -7.0)
    assert make(folder)[0]["rejected"] == {}
    assert make(folder, "fields.no_value=-7")[0]["rejected"] == NONE
    spoil(folder, 0.0)
    assert make(folder, "fields.no_value=[]")[0]["rejected"] == {}


def test_the_lowest_counts_of_whole_numbers_are_none_only_far_below_the_sky(tmp_path):
    """int16 with -32768 for no value and no BLANK; a clipped or a deep noise is data."""
    counts = np.random.default_rng(0).poisson(100, (1, 40, 40)).astype(np.float32)
    counts[0, :6, :6] = -32768
    assert nodata.nobody(counts, None).sum() == 36
    assert nodata.nobody(counts, ()) is None
    clipped = np.maximum(np.random.default_rng(0).normal(-1, 1, (1, 40, 40)), -1.0).astype(np.float32)
    assert nodata.nobody(clipped, None) is None


class TestZeros:
    """Zeros are no data beside noise alone."""

    def window(self, noise=1.0):
        return stars((40, 40), [(20, 20)], noise=noise)

    def test_a_corner_a_block_and_an_edge_row_are_found(self):
        for part in ((slice(0, 10), slice(0, 7)), (slice(20, 23), slice(20, 23)), (0, slice(None)), (slice(None), -1)):
            image = self.window()
            image[part] = 0
            expected = image == 0
            np.testing.assert_array_equal(nodata.empty(image), expected)

    def test_a_skyful_coadd_too(self):
        image = self.window() + np.float32(1000)
        image[:9, :9] = 0
        assert nodata.empty(image).sum() == 81

    def test_single_zeros_wings_without_noise_and_whole_counts_are_data(self):
        image = self.window()
        image[3, 5] = image[9, 9] = image[9, 10] = 0
        wing = stars((200, 200), [(20, 20)], noise=0.0)
        assert (wing == 0).sum() > 1000
        counts = np.random.default_rng(0).poisson(0.05, (40, 40)).astype(np.float32)
        for data in (image, wing, counts):
            assert not nodata.empty(data).any()


def mask_file(folder, values, name="A_r_mask.fits", **cards):
    mask = np.zeros(SHAPE, np.int32)
    mask[BAD] = values
    write(folder / name, mask, astropy_fits.Header(cards))


class TestMasks:
    """Masks and weights, in files or units of their own."""

    FILE = "fields.mask.file='{field}_{band}_mask.fits'"

    def test_any_value_or_chosen_bits(self, folder):
        mask_file(folder, 1 << 5)
        assert make(folder, self.FILE)[0]["rejected"] == NONE
        assert make(folder, self.FILE, "fields.mask.bits=[0, 4]")[0]["rejected"] == {}
        assert make(folder, self.FILE, "fields.mask.bits=[0, 5]")[0]["rejected"] == NONE

    def test_bits_beyond_float32(self, folder):
        mask_file(folder, (1 << 30) | 1)
        assert make(folder, self.FILE, "fields.mask.bits=[0]")[0]["rejected"] == NONE
        mask_file(folder, 1 << 30)
        assert make(folder, self.FILE, "fields.mask.bits=[0]")[0]["rejected"] == {}

    def test_names_of_the_lsst_stack(self, folder):
        mask_file(folder, 1 << 3, **{"MP_SAT": 1, "HIERARCH MP_NO_DATA": 3})
        assert make(folder, self.FILE, "fields.mask.bits=[NO_DATA]")[0]["rejected"] == NONE
        assert make(folder, self.FILE, "fields.mask.bits=[SAT]")[0]["rejected"] == {}
        with pytest.raises(InputError, match=r"has no mask plane 'CR' .*names NO_DATA, SAT"):
            make(folder, self.FILE, "fields.mask.bits=[CR]")

    def test_a_unit_of_the_images_own_file(self, folder):
        mask = np.zeros(SHAPE, np.uint16)
        mask[BAD] = 2
        units = [astropy_fits.PrimaryHDU(), astropy_fits.ImageHDU(field(), header(SHAPE), name="IMAGE"),
                 astropy_fits.CompImageHDU(mask, name="MASK", compression_type="RICE_1")]  # fmt: skip
        astropy_fits.HDUList(units).writeto(folder / "A_r.fits", overwrite=True)
        settings = ("fields.hdu=IMAGE", "fields.mask.hdu=MASK")
        assert make(folder, *settings)[0]["rejected"] == NONE
        assert make(folder, *settings, "fields.mask.bits=[0]")[0]["rejected"] == {}

    @pytest.mark.parametrize("value", [0.0, -1.0, np.nan, 1e30, np.inf])
    def test_weights(self, folder, value):
        weight = np.ones(SHAPE, np.float32)
        weight[BAD] = value
        write(folder / "A_r.weight.fits", weight)
        assert make(folder, "fields.weight.file='{field}_{band}.weight.fits'")[0]["rejected"] == NONE

    def test_another_size_and_a_missing_one_are_named(self, folder):
        write(folder / "A_r_mask.fits", np.zeros((80, 120), np.int16))
        with pytest.raises(InputError, match="the mask is 120 × 80 pixels, its image 120 × 90"):
            make(folder, self.FILE)
        (folder / "A_r_mask.fits").unlink()
        with pytest.raises(InputError, match=r"A_r_mask\.fits: no such file"):
            make(folder, self.FILE)

    def test_factors_that_vary_over_the_field(self, folder):
        factors = np.linspace(0.5, 2, SHAPE[1], dtype=np.float32)[None].repeat(SHAPE[0], axis=0)
        _, before, *_ = make(folder)
        write(folder / "A_r_zp.fits", factors)
        _, after, *_ = make(folder, "fields.calibration.file='{field}_{band}_zp.fits'")
        expected = factors[::-1][90 - 20 - 8 : 90 - 20 + 8, 12:28]
        np.testing.assert_allclose(after[0] / before[0], expected, rtol=1e-5)
        factors[BAD] = 0
        write(folder / "A_r_zp.fits", factors)
        assert make(folder, "fields.calibration.file='{field}_{band}_zp.fits'")[0]["rejected"] == NONE


def test_below_the_limit_bad_pixels_become_the_median_of_the_good_ones(folder):
    spoil(folder, np.nan)
    share = 12 / 256
    counts, images, order, store = make(folder, "fields.max_bad=0.05")
    assert counts["rejected"] == {}
    clean = make(folder, "fields.no_value=[]", "fields.max_bad=0.05")[1]
    filled = images[0][::-1][4:7, 6:10]
    assert len(np.unique(filled)) == 1
    rest = np.ones((16, 16), dtype=bool)
    rest[::-1][4:7, 6:10] = False
    assert filled[0, 0] == np.median(images[0][rest])
    assert (images[1:] == clean[1:]).all()
    np.testing.assert_allclose(store.table["bad_pixels"][order], [share, 0, 0, 0, 0], rtol=1e-6)
    assert make(folder, "fields.max_bad=0.04")[0]["rejected"] == {"bad pixels above 0.04": 1}


def test_padding_is_counted_and_filled(folder):
    cards = header(SHAPE)
    catalogue(folder, *wcs(cards).all_pix2world([3, 60], [20, 20], 1))
    assert make(folder)[0]["rejected"] == {"near the edge": 1}
    counts, images, order, store = make(folder, "fields.edge=pad", "fields.max_bad=0.5")
    assert counts["rejected"] == {}
    np.testing.assert_allclose(store.table["bad_pixels"][order], [5 * 16 / 256, 0])
    assert len(np.unique(images[0][:, :5])) == 1
    whole = field()[::-1]
    factor = images[1] / whole[63:79, 52:68]
    np.testing.assert_allclose(images[0][:, 5:] / whole[63:79, 0:11], factor[0, 0], rtol=1e-5)
    with pytest.raises(InputError, match="edge: pad needs max_bad"):
        recipe(folder, "fields.edge=pad")


DITHERED = {"quantize_method": 1, "dither_seed": 5}


class TestQuantisedZeros:
    """fpack's default turns the zeros of a coadd into numbers up to half a step from 0: no data all the same."""

    def packed(self, folder, image, **options):
        unit = astropy_fits.CompImageHDU(image, header(SHAPE), quantize_level=4, **options)
        astropy_fits.HDUList([astropy_fits.PrimaryHDU(), unit]).writeto(folder / "A_r.fits", overwrite=True)
        return astropy_fits.getdata(folder / "A_r.fits")

    @pytest.mark.parametrize("options", [
        DITHERED, {"quantize_method": -1}, {"quantize_method": 2, "dither_seed": 5},
        {**DITHERED, "tile_shape": (20, 30)},
        {**DITHERED, "compression_type": "HCOMPRESS_1", "tile_shape": (18, 40)},
        {**DITHERED, "compression_type": "GZIP_2"},
    ])  # fmt: skip
    @pytest.mark.parametrize("part", [(slice(12, 20), slice(12, 21)), (slice(0, 18), slice(None)),
                                      (slice(0, 90), slice(0, 17))])  # fmt: skip
    def test_a_block_of_them_is_found(self, folder, options, part):
        image = field()
        image[part] = 0
        found = self.packed(folder, image, **options)
        assert np.abs(found[part]).max() < 0.3
        counts, _, order, store = make(folder, "fields.max_bad=0.9")
        exact = self.shares(image)
        np.testing.assert_allclose(store.table["bad_pixels"][order], exact, atol=0.02)
        assert counts["rejected"] == {}

    def shares(self, image):
        return [(image[y - 9 : y + 7, x - 8 : x + 8] == 0).mean() for x, y in PLACES]

    def test_nothing_but_them_is_no_image_and_noise_is_kept(self, folder):
        self.packed(folder, field(), **DITHERED)
        assert make(folder)[0]["rejected"] == {}
        image = field()
        image[8:30, 8:32] = 0
        self.packed(folder, image, **DITHERED)
        assert make(folder)[0]["rejected"] == NONE

    def test_a_cube_of_planes(self, folder):
        cube = np.stack([stars((32, 32), [(16, 16)], noise=1.0, seed=i) + np.float32(0.01) for i in range(2)])
        cube[1, :9, :9] = 0
        unit = astropy_fits.CompImageHDU(cube, quantize_level=4, **DITHERED)
        astropy_fits.HDUList([astropy_fits.PrimaryHDU(), unit]).writeto(folder / "S0.fits")
        catalogue(folder, [150.0], [2.0], mag_g=[18.0])
        settings = ("fields=null", "cutouts={cube: '{id}.fits', max_bad: 0.5, pixel_scale: 0.4}", "size=32",
                    "catalogue.bands=[r, g]")  # fmt: skip
        out = folder.parent / "cube"
        (made,) = build(recipe(folder, *settings), folder, out)
        np.testing.assert_allclose(open_store(made.path).table["bad_pixels"], 81 / 1024, atol=0.004)


class TestWhereDataEnd:
    """A cutout that a coadd's edge crosses keeps no zeros, however little of either is in it."""

    def test_a_single_pixel_of_data(self):
        image = np.zeros((32, 32), np.float32)
        image[0, 31] = 99.9
        assert nodata.empty(image).sum() == 1023

    def test_the_tip_of_a_wedge(self):
        image = stars((40, 40), [(20, 20)], noise=1.0)
        image[0, 5:13] = image[1, 7:11] = image[2, 8:9] = 0
        np.testing.assert_array_equal(nodata.empty(image), image == 0)

    def test_zeros_of_coarse_numbers_are_data(self):
        """As of int16 with BSCALE, where 0 is a value like any other."""
        image = (np.round(stars((40, 40), [(20, 20)], noise=1.0) / 0.37) * 0.37).astype(np.float32)
        image[0, 5:8] = 0
        assert not nodata.empty(image).any()


def test_a_mask_of_floats_has_the_bits_of_whole_numbers_and_every_bit_elsewhere():
    """Of resampled masks (0.5, 2.7) the bits mean nothing; a lossy compression changes 8 to 7.99, which is 8."""
    floats = np.array([0, 8, 7.99, 0.01, 0.5, 2.7, -0.3, np.nan, np.inf, 2.0**63, 2.0**62], dtype=np.float32)
    assert fits.bits(floats).tolist() == [0, 8, 8, 0, -1, -1, -1, -1, -1, -1, 2**62]
