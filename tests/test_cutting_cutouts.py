"""Cutouts: the right pixels of the right field, the same way up from RGB and from FITS, or a reason why not."""

import numpy as np
import pytest
from astropy.io import fits as astropy_fits
from ingest_survey import BANDS, HEIGHT, RECIPES, SCALE, WIDTH, Survey, blobs, centroid, write_band, write_png
from PIL import Image

from hpc_astrossl.cutting import fields, fits, rgb, windows
from hpc_astrossl.cutting.cutouts import FieldSource, FileSource, window
from hpc_astrossl.errors import InputError
from hpc_astrossl.selection.catalogue import read_objects
from hpc_astrossl.specs.recipe import load_recipe

# An asymmetric triplet in the lower left corner (small x, small y): any wrong flip or swap loses it.
TRIPLET = [(20.3, 17.8), (26.0, 17.8), (20.3, 26.5)]


def cut(survey, images="rgb", settings=(), threads=1):
    """(reasons, images) of all objects of a survey folder."""
    recipe = load_recipe(RECIPES / "simulated.yaml", settings)
    objects = read_objects(recipe, survey)
    source = FieldSource(recipe, survey, objects, images, threads)
    pixels = np.zeros((len(objects), recipe.size, recipe.size, len(source.channels)), dtype=source.dtype)
    reasons = np.full(len(objects), "not cut", dtype=object)
    for unit in source.units(np.arange(len(objects))):
        out = np.zeros((len(unit.rows), *pixels.shape[1:]), dtype=source.dtype)
        reasons[unit.rows] = source.cut(unit, out)
        pixels[unit.rows] = out
    return reasons.tolist(), pixels


def one_field(tmp_path, positions, **options):
    survey = Survey(tmp_path / "survey", fields=("SIM-1",), per_field=0)
    for n, (x, y) in enumerate(positions):
        survey.add("SIM-1", n, x, y, 10, 0)
    return survey.write(**options)


@pytest.mark.parametrize("images", ["rgb", "bands"])
@pytest.mark.parametrize("size", [16, 17])
def test_a_source_is_within_half_a_pixel_of_its_cutouts_centre(tmp_path, images, size):
    positions = [(20.3, 17.8), (240.4, 17.1), (20.0, 160.5), (239.51, 161.49), (130, 90), (99.6, 9.6)]
    survey = one_field(tmp_path, positions, bands=images == "bands")
    reasons, pixels = cut(survey, images, [f"size={size}"])
    assert reasons == [""] * 6
    for image in pixels.transpose(0, 3, 1, 2).reshape(-1, size, size):
        centre = centroid(np.where(image > 0.05 * image.max(), image, 0))
        assert np.abs(np.subtract(centre, (size - 1) / 2)).max() <= 0.5 + 0.06  # 8-bit rounding and the cut at 5 %


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("memory", [1, 1 << 28], ids=["a band at a time", "all bands at a time"])
def test_threads_and_bands_together_give_the_same_pixels(tmp_path, packed, memory, monkeypatch):
    draw = np.random.default_rng(0)
    positions = np.stack([draw.uniform(10, WIDTH - 10, 60), draw.uniform(10, HEIGHT - 10, 60)], axis=1)
    survey = one_field(tmp_path, positions, bands=True)
    for number, path in enumerate(sorted(survey.glob("*_swp.fits.fz"))):
        pixels = draw.normal(number, 1, (HEIGHT, WIDTH)).astype(np.float32)
        pixels[40 + number, 100:140] = np.nan
        pixels[60:70, 50:60] = 0
        unit = astropy_fits.ImageHDU(pixels)
        if packed:
            unit = astropy_fits.CompImageHDU(pixels, quantize_level=0, compression_type="GZIP_2")
        unit.writeto(path, overwrite=True, checksum=True)
    settings = ["size=16", "fields.max_bad=0.3", "fields.edge=pad"]
    reasons, pixels = cut(survey, "bands", settings)
    assert reasons.count("") > 40
    monkeypatch.setattr(fields, "MEMORY", memory)
    monkeypatch.setattr(windows, "COPY", 16 * 16 * 12 * 5)
    for threads in (1, 3):
        again, same = cut(survey, "bands", settings, threads)
        assert again == reasons
        np.testing.assert_array_equal(same, pixels)


def test_the_convention_pixel_by_pixel():
    """The pixel at FITS (x, y) is the very centre of an odd cutout and just before the centre of an even one."""
    field = np.zeros((60, 80), dtype=int)
    field[30 - 1, 50 - 1] = 1  # FITS (50, 30)
    top_down = field[::-1]
    for size, place in ((9, 4), (8, 3)):
        top, left = window(np.array([60 - 30, 50 - 1]), size)
        assert top_down[top : top + size, left : left + size][place, place] == 1


def test_a_wrong_flip_would_be_seen_and_both_routes_agree(tmp_path):
    survey = one_field(tmp_path, TRIPLET, bands=True)
    (_, colour), (_, flux) = (cut(survey, images, ["size=32"]) for images in ("rgb", "bands"))
    image = colour[0, :, :, 0].astype(float)
    assert image[15, 15] > 200  # the object itself
    assert image[15, 21] > 200  # its companion at larger x: to the right
    assert image[6, 15] > 200  # its companion at larger y: above
    assert image[24, 15] < 30  # nothing below
    for band in range(len(BANDS)):
        assert np.corrcoef(flux[0, :, :, band].ravel(), image.ravel())[0, 1] > 0.9999


def test_bands_are_in_order_and_calibrated(tmp_path):
    survey = one_field(tmp_path, [(50, 60)], bands=True)
    reasons, pixels = cut(survey, "bands", ["size=17"])
    assert reasons == [""]
    assert pixels.dtype == np.float32
    counts = np.arange(1, 13)  # the peak of the blob in each band, see Survey
    zero_points = 20 + 0.1 * np.arange(12)
    np.testing.assert_allclose(pixels[0, 8, 8], 1e5 * counts * 10 ** (-0.4 * zero_points) / SCALE**2, rtol=1e-6)


def test_objects_near_the_edge_and_blank_ones_have_a_reason(tmp_path):
    positions = [(100, 100), (16, 90), (15, 90), (-200, 90), (WIDTH - 16, 90), (WIDTH - 15, 90), (100, 15), (130, 40),
                 (100, HEIGHT - 14), (100, 10 * HEIGHT)]  # fmt: skip
    survey = one_field(tmp_path, positions)
    field = blobs(positions[:7])  # nothing at (130, 40)
    write_png(survey / "SIM-1_trilogy.png", field)
    edge = "near the edge"
    assert cut(survey)[0] == ["", "", edge, edge, "", edge, edge, "blank image", edge, edge]


def test_pixels_without_a_value_have_a_reason(tmp_path):
    survey = one_field(tmp_path, [(50, 60), (150, 90)], bands=True)
    field = blobs([(50, 60), (150, 90)])
    field[85, 140] = np.nan
    write_band(survey / "SIM-1_F660_swp.fits.fz", field)
    reasons, pixels = cut(survey, "bands")
    assert reasons == ["", "pixels without a value"]
    assert np.isfinite(pixels[0]).all()


def test_each_object_is_cut_from_its_own_field_in_any_order(tmp_path):
    survey = Survey(tmp_path / "survey", per_field=0)
    for n, (field, x) in enumerate([("SIM-2", 30), ("SIM-1", 60), ("SIM-2", 90), ("SIM-1", 120)]):
        survey.add(field, n, x, 50 + 10 * n, 10, 0)
    reasons, pixels = cut(survey.write())
    assert reasons == [""] * 4
    assert [int(image[15, 15].min()) > 200 for image in pixels] == [True] * 4


def test_a_field_larger_than_pillows_limit_is_read(tmp_path, monkeypatch):
    write_png(tmp_path / "field.png", blobs([(20, 20)]))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", WIDTH * HEIGHT * 3 // 4)  # as 11000 × 11000 is above the default
    assert rgb.read_field(tmp_path / "field.png").shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize("name", ["SIM-1_trilogy.png", "SIM-1_F515_swp.fits.fz", "SIM-1_ZP.cat"])
def test_a_missing_file_of_a_field_is_named_before_anything_is_cut(tmp_path, name):
    survey = one_field(tmp_path, [(50, 60)], bands=True)
    (survey / name).unlink()
    with pytest.raises(InputError, match=rf"{name}: no such file; objects of the catalogue lie in this field"):
        cut(survey, "rgb" if name.endswith("png") else "bands")


def test_a_zero_point_that_is_not_there_is_named(tmp_path):
    survey = one_field(tmp_path, [(50, 60)], bands=True)
    lines = (survey / "SIM-1_ZP.cat").read_text().replace("uJAVA ", "U ").replace("F660 ", "F666 ")
    (survey / "SIM-1_ZP.cat").write_text(lines)
    with pytest.raises(InputError, match=r"SIM-1_ZP.cat: no zero point for band F660 .*FILTER holds U, F378"):
        cut(survey, "bands")


def test_bands_of_different_size_are_refused(tmp_path):
    survey = one_field(tmp_path, [(50, 60)], bands=True)
    write_band(survey / "SIM-1_G_swp.fits.fz", blobs([(50, 60)], width=WIDTH + 1))
    with pytest.raises(InputError, match=r"SIM-1_G_swp.fits.fz: is 261 × 180 pixels, the field's other bands are 260"):
        cut(survey, "bands")


@pytest.mark.parametrize("share", [0.999, 0.9, 0.5, 0.1, 0.0])
def test_a_truncated_fits_file_is_named(tmp_path, share):
    path = tmp_path / "SIM-1_R_swp.fits.fz"
    write_band(path, blobs([(50, 60)]) + np.random.default_rng(0).normal(size=(HEIGHT, WIDTH)).astype(np.float32))
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(
        InputError, match=r"SIM-1_R_swp.fits.fz: (damaged or not a FITS|truncated: [\d,]+ bytes found, [\d,]+ needed)"
    ):
        fits.read_image(path)


def test_a_flipped_bit_is_found_by_the_checksum_of_the_data(tmp_path):
    path = tmp_path / "plain.fits"
    astropy_fits.PrimaryHDU(blobs([(50, 60)])).writeto(path, checksum=True)
    data = bytearray(path.read_bytes())
    data[40_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        InputError, match=r"plain.fits: damaged: its data do not add up to their DATASUM.*set checksum=false"
    ):
        fits.read_image(path)
    assert fits.read_image(path, checksum=False).shape == (HEIGHT, WIDTH)


def test_an_edited_header_does_no_harm(tmp_path):
    path = tmp_path / "plain.fits"
    astropy_fits.PrimaryHDU(blobs([(50, 60)])).writeto(path, checksum=True)
    edited = path.read_bytes().replace(b"conforms to FITS", b"agrees with FITS")
    assert edited != path.read_bytes()
    path.write_bytes(edited)
    assert fits.read_image(path).shape == (HEIGHT, WIDTH)


@pytest.mark.parametrize("scaled", [False, True])
def test_integers_scaling_and_byte_order_come_out_as_float32(tmp_path, scaled):
    values = np.arange(12).reshape(3, 4)
    unit = astropy_fits.PrimaryHDU(values.astype(np.uint16) if scaled else values.astype(">f8"))
    unit.writeto(tmp_path / "plain.fits")
    image = fits.read_image(tmp_path / "plain.fits")
    assert image.dtype == np.dtype("=f4")
    np.testing.assert_array_equal(image, values[::-1])


def test_a_file_without_an_image_is_named(tmp_path):
    astropy_fits.PrimaryHDU().writeto(tmp_path / "empty.fits")
    with pytest.raises(InputError, match=r"empty.fits: holds no two-dimensional image"):
        fits.read_image(tmp_path / "empty.fits")


class TestFiles:
    """One image file an object."""

    def source(self, tmp_path, policy="stop"):
        ids = [f"G{i}" for i in range(3)]
        (tmp_path / "table.txt").write_text("".join(f"{name} {i}\n" for i, name in enumerate(ids)))
        settings = [f"files.unreadable={policy}", "catalogue.file=table.txt", "size=20"]
        recipe = load_recipe(RECIPES / "efigi.yaml", settings)
        return FileSource(recipe, tmp_path, read_objects(recipe, tmp_path))

    def image(self, path, width=60, height=40):
        """Left half red, right half blue, a green line round the largest centred square."""
        pixels = np.zeros((height, width, 3), dtype=np.uint8)
        pixels[:, : width // 2, 0] = 200
        pixels[:, width // 2 :, 2] = 100
        Image.fromarray(pixels).save(path, quality=95)

    def cut(self, source):
        out = np.zeros((3, 20, 20, 3), dtype=np.uint8)
        (unit,) = source.units(np.arange(3))
        return source.cut(unit, out).tolist(), out

    def test_the_centred_square_is_resized(self, tmp_path):
        self.image(tmp_path / "G0.jpg")
        self.image(tmp_path / "G1.jpg", width=40, height=90)
        self.image(tmp_path / "G2.jpg", width=20, height=20)
        reasons, out = self.cut(self.source(tmp_path))
        assert reasons == [""] * 3
        for image in out:
            np.testing.assert_allclose(image[:, 1:8, 0], 200, atol=12)
            np.testing.assert_allclose(image[:, 12:19, 2], 100, atol=12)
            assert image[:, 1:8, 2].max() < 20 > image[:, 12:19, 0].max()

    def test_shrinking_is_antialiased(self, tmp_path):
        pixels = np.zeros((80, 80, 3), dtype=np.uint8)
        pixels[:, ::2] = 200  # stripes finer than the new pixels
        Image.fromarray(pixels).save(tmp_path / "stripes.png")
        np.testing.assert_allclose(rgb.read_object(tmp_path / "stripes.png", 20)[:, 2:-2], 100, atol=3)

    def test_grey_images_become_rgb(self, tmp_path):
        Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20)).save(tmp_path / "grey.png")
        image = rgb.read_object(tmp_path / "grey.png", 20)
        assert image.shape == (20, 20, 3)
        assert (image[..., 0] == image[..., 2]).all()

    def spoil(self, tmp_path):
        for name in ("G0", "G1", "G2"):
            self.image(tmp_path / f"{name}.jpg")
        data = (tmp_path / "G1.jpg").read_bytes()
        (tmp_path / "G1.jpg").write_bytes(data[: len(data) // 2])

    def test_a_truncated_image_stops_and_is_named(self, tmp_path):
        self.spoil(tmp_path)
        with pytest.raises(InputError, match=r"G1.jpg: unreadable or truncated image \(.*[Tt]runcated"):
            self.cut(self.source(tmp_path))

    def test_a_missing_image_stops_and_is_named(self, tmp_path):
        self.spoil(tmp_path)
        (tmp_path / "G2.jpg").unlink()
        with pytest.raises(
            InputError, match=r"G2.jpg: no such file, but the table has a row for it.*unreadable=reject"
        ):
            self.cut(self.source(tmp_path))

    def test_unreadable_missing_and_blank_images_are_counted_if_the_recipe_says_so(self, tmp_path):
        self.spoil(tmp_path)
        (tmp_path / "G2.jpg").unlink()
        Image.new("RGB", (30, 30), "red").save(tmp_path / "G0.jpg")
        reasons, _ = self.cut(self.source(tmp_path, "reject"))
        assert reasons == ["blank image", "unreadable image", "no file"]

    def test_images_without_a_row(self, tmp_path):
        self.spoil(tmp_path)
        self.image(tmp_path / "G7.jpg")
        (tmp_path / "G8.png").write_bytes(b"")
        assert self.source(tmp_path).without_row() == ["G7"]
