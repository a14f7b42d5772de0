"""A single image: no field column is needed, and no words in braces; what does not fit together is refused."""

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image
from sky_survey import catalogue, header, recipe, stars, wcs, write

from hpc_astrossl.errors import InputError
from hpc_astrossl.ingest import build
from hpc_astrossl.store import open_store

SHAPE, PLACES = (90, 120), [(20, 20), (60, 25), (100, 30), (20, 60)]
XY = ("catalogue.x=x", "catalogue.y=y")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "survey"
    folder.mkdir()
    write(folder / "image.fits", stars(SHAPE, PLACES, noise=1.0), header(SHAPE))
    x, y = np.transpose(PLACES)
    catalogue(folder, *wcs(header(SHAPE)).all_pix2world(x, y, 1), x=x, y=y)
    return folder


def make(folder, *settings):
    out = folder.parent / f"out{len(list(folder.parent.iterdir()))}"
    (made,) = build(recipe(folder, "size=17", *settings), folder, out)
    store = open_store(made.path)
    return store.images(np.argsort(store.table["object_id"]))


ONE = "fields.bands=image.fits"


def test_by_pixels_and_by_sky_without_field_and_band(folder):
    by_pixels, by_sky = make(folder, ONE, *XY), make(folder, ONE)
    assert len(by_pixels) == len(PLACES)
    assert (by_pixels == by_sky).all()
    image = stars(SHAPE, PLACES, noise=1.0)[::-1]
    for (x, y), cut in zip(PLACES, by_pixels[..., 0], strict=True):
        top, left = SHAPE[0] - y - 8, x - 9
        factor = cut / image[top : top + 17, left : left + 17]
        np.testing.assert_allclose(factor, factor[0, 0], rtol=1e-5)


def test_by_pixels_alone_and_without_a_wcs(folder):
    with_sky = make(folder, ONE, *XY)
    write(folder / "image.fits", stars(SHAPE, PLACES, noise=1.0))
    none = ("catalogue.ra=null", "catalogue.dec=null", "fields.pixel_scale=0.4")
    np.testing.assert_allclose(make(folder, ONE, *XY, *none), with_sky, rtol=1e-5)


def test_a_field_in_the_name_of_which_there_is_one(folder):
    (folder / "image.fits").rename(folder / "A_r.fits")
    assert len(make(folder, *XY)) == len(PLACES)
    write(folder / "B_r.fits", stars(SHAPE, PLACES), header(SHAPE))
    with pytest.raises(InputError, match=r"holds 2 fields \(A, B, …\), .* give catalogue\.field .* leave x and y out"):
        make(folder, *XY)


def test_one_file_with_a_unit_for_each_band(folder):
    units = [fits.PrimaryHDU()] + [fits.ImageHDU(stars(SHAPE, PLACES, noise=1.0, seed=i), header(SHAPE), name=name)
                                   for i, name in enumerate("RG")]  # fmt: skip
    fits.HDUList(units).writeto(folder / "all.fits")
    x, y = np.transpose(PLACES)
    catalogue(folder, *wcs(header(SHAPE)).all_pix2world(x, y, 1), mag_g=[18.0] * 4)
    settings = ("catalogue.bands=[g, r]", "fields.bands=all.fits")
    images = make(folder, *settings, "fields.hdu='{band}'")
    for channel, unit in ((0, "G"), (1, "R")):
        fits.PrimaryHDU(fits.getdata(folder / "all.fits", unit), header(SHAPE)).writeto(
            folder / "image.fits", overwrite=True
        )
        assert (make(folder, ONE)[..., 0] == images[..., channel]).all()
    with pytest.raises(InputError, match=r"bands must contain \{band\}, found 'all.fits' .* hdu must contain it"):
        make(folder, *settings)


def test_a_single_picture(folder):
    pixels = np.random.default_rng(0).integers(0, 255, (*SHAPE, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(folder / "picture.png")
    settings = ("fields={rgb: picture.png, pixel_scale: 0.4}", "stores={all: {images: rgb}}", *XY)
    images = make(folder, *settings)
    assert (images[0] == pixels[90 - 20 - 8 : 90 - 20 + 9, 11:28]).all()
    with pytest.raises(InputError, match=r"bands names one field, without \{field\}, but rgb has \{field\}"):
        make(folder, ONE, "fields.rgb='{field}.png'", *XY)


def test_zero_points_and_masks_of_a_single_image(folder):
    plain = make(folder, ONE)
    (folder / "ZP.cat").write_text("# FILTER ZP\nr 25\n")
    assert (make(folder, ONE, "fields.zero_point=null", "fields.zero_points=ZP.cat") == plain).all()
    write(folder / "mask.fits", np.zeros(SHAPE, np.int16))
    assert (make(folder, ONE, "fields.mask.file=mask.fits") == plain).all()
    with pytest.raises(InputError, match=r"bands names one field, without \{field\}, but mask\.file has \{field\}"):
        make(folder, ONE, "fields.mask.file='{field}_mask.fits'")


@pytest.mark.parametrize("key", ["field=field", "field_pattern='(?P<field>.).*'"])
def test_a_catalogue_of_many_fields_and_one_image_are_refused(folder, key):
    with pytest.raises(InputError, match=r"names one image \(image\.fits\), without \{field\}, but catalogue says"):
        recipe(folder, ONE, f"catalogue.{key}")
