"""Colour pictures of fields beside coadds, and files that are kept: the same picture for everyone, or refused."""

import io
import struct

import numpy as np
import pytest
from ingest_survey import RECIPES, Survey
from PIL import Image

from hpc_astrossl.cli import main
from hpc_astrossl.cutting import rgb
from hpc_astrossl.errors import EXIT_DONE, InputError
from hpc_astrossl.ingest import Options, build
from hpc_astrossl.specs.recipe import load_recipe
from hpc_astrossl.store import open_store
from hpc_astrossl.store.encoded import examine


class TestPictures:
    """RGB images of fields."""

    def survey(self, tmp_path):
        return Survey(tmp_path / "survey", fields=("SIM-1",), per_field=20).write(bands=True)

    def make(self, folder, *settings):
        recipe = load_recipe(RECIPES / "simulated.yaml", ["split={train: 1, validation: 0, test: 0}", *settings])
        out = folder.parent / f"out{len(list(folder.parent.iterdir()))}"
        return open_store(build(recipe, folder, out, Options(only="SG"))[0].path)

    def test_rows_the_other_way_are_found_and_a_key_turns_them(self, tmp_path):
        folder = self.survey(tmp_path)
        before = self.make(folder)
        path = folder / "SIM-1_trilogy.png"
        with Image.open(path) as image:
            image.transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(path)
        with pytest.raises(InputError, match=r"its rows run the other way than those of .* set fields\.rgb_top: low"):
            self.make(folder)
        after = self.make(folder, "fields.rgb_top=low")
        rows = np.arange(len(before))
        assert (after.table["object_id"] == before.table["object_id"]).all()
        assert (after.images(rows) == before.images(rows)).all()

    @pytest.mark.parametrize(("turn", "words"), [
        (Image.Transpose.FLIP_LEFT_RIGHT, "is mirrored left to right against"),
        (Image.Transpose.ROTATE_180, "is turned by 180 degrees against"),
    ])  # fmt: skip
    def test_a_mirrored_or_turned_picture_is_refused(self, tmp_path, turn, words):
        folder = self.survey(tmp_path)
        path = folder / "SIM-1_trilogy.png"
        with Image.open(path) as image:
            image.transpose(turn).save(path)
        with pytest.raises(InputError, match=words):
            self.make(folder)

    @pytest.mark.parametrize("shift", [(0, 5), (-3, 0), (0, -20)])
    def test_a_shifted_picture_is_refused(self, tmp_path, shift):
        folder = self.survey(tmp_path)
        path = folder / "SIM-1_trilogy.png"
        with Image.open(path) as image:
            pixels = np.roll(np.asarray(image), shift, axis=(0, 1))
        Image.fromarray(pixels).save(path)
        with pytest.raises(InputError, match=rf"shifted by {shift[1]} pixels to the right and {shift[0]} down against"):
            self.make(folder)

    def test_a_picture_of_another_field_is_refused(self, tmp_path):
        folder = tmp_path / "survey"
        assert main(["simulate", str(folder), "--fields", "2", "--objects", "150", "--size", "400"]) == EXIT_DONE
        first, second = (folder / f"SIM-000{number}_trilogy.png" for number in (1, 2))
        kept = first.read_bytes()
        first.write_bytes(second.read_bytes())
        second.write_bytes(kept)
        with pytest.raises(InputError, match=r"shows nothing of what SIM-000.*_swp.* shows .*: it is of another field"):
            self.make(folder, "stores.SG.balanced=false")

    def test_a_key_that_turns_a_right_picture_is_refused(self, tmp_path):
        with pytest.raises(InputError, match=r"rows run the other way .* set fields\.rgb_top: high"):
            self.make(self.survey(tmp_path), "fields.rgb_top=low")

    def test_a_preview_of_half_the_size_is_refused(self, tmp_path):
        folder = self.survey(tmp_path)
        path = folder / "SIM-1_trilogy.png"
        with Image.open(path) as image:
            image.resize((image.width // 2, image.height // 2)).save(path)
        with pytest.raises(
            InputError, match=r"is 130 × 90 pixels, the coadd .* is 260 × 180: a preview of another size"
        ):
            self.make(folder, "fields.unreadable=reject")


def picture(kind, **options) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (16, 16, 3)).astype(np.uint8)).save(
        stream, kind, **options
    )
    return stream.getvalue()


@pytest.mark.parametrize(("head", "words"), [(b"\xff\x0a\xfa\x1f", "a JPEG XL picture, which is not read; convert"),
                                             (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
                                             (b"\0\0\0\x18ftypheic", "a HEIF picture")])  # fmt: skip
def test_a_picture_of_a_kind_that_is_not_read_is_named(tmp_path, head, words):
    (tmp_path / "a.png").write_bytes(head + bytes(64))
    with pytest.raises(InputError, match=words):
        rgb.read_object(tmp_path / "a.png", 16)


def test_files_that_loaders_would_turn_are_not_kept():
    exif = Image.Exif()
    exif[0x0112] = 6
    assert examine(picture("JPEG")).format == "jpeg"
    with pytest.raises(ValueError, match=r"EXIF orientation 6"):
        examine(picture("JPEG", exif=exif))


def test_files_of_16_bits_are_not_kept():
    """Written by hand, since Pillow writes none: a PNG of one 16-bit RGB pixel row."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(range(24)) for _ in range(4))
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0))
    data += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    with pytest.raises(ValueError, match="16 bits a channel"):
        examine(data)


def tiff(pixels, tags=(), *, order="<") -> bytes:
    """A TIFF of one strip a plane, by its specification (TIFF 6.0): (height, width, channels) or, planar, channels
    first."""
    planar = dict(tags).get(284, 1) == 2
    height, width = pixels.shape[1:] if planar else pixels.shape[:2]
    count = pixels.shape[0] if planar else pixels.shape[2]
    kind = {"u": 1, "i": 2, "f": 3}[pixels.dtype.kind]
    data, sheets = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes(), count if planar else 1
    each, start = len(data) // sheets, 8
    wanted = {256: [width], 257: [height], 258: [8 * pixels.itemsize] * count, 259: [1], 262: [2 if count >= 3 else 1],
              273: [start + i * each for i in range(sheets)], 277: [count], 278: [height], 279: [each] * sheets,
              284: [1], 339: [kind] * count} | {tag: value if isinstance(value, list) else [value]
                                               for tag, value in tags}  # fmt: skip
    after = start + len(data)
    body, entries = b"", b""
    for tag in sorted(wanted):
        values = struct.pack(f"{order}{len(wanted[tag])}I", *wanted[tag])
        place = values if len(values) == 4 else struct.pack(f"{order}I", after + len(body))
        entries += struct.pack(f"{order}HHI", tag, 4, len(wanted[tag])) + place
        body += values if len(values) != 4 else b""
    head = struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, after + len(body))
    return head + data + body + struct.pack(f"{order}H", len(wanted)) + entries + bytes(4)


GREY = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
COLOUR = np.random.default_rng(1).integers(0, 255, (16, 16, 3)).astype(np.uint8)
PLANES = COLOUR.transpose(2, 0, 1)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("pixels", "tags", "words"), [
    (PLANES.astype(np.uint16) * 257, [(284, 2)], "has 16 bits a channel"), (COLOUR.astype(np.uint16), [], "16 bits"),
    (COLOUR.astype(np.uint32), [], "32 bits"), (GREY.astype(np.uint16), [], "16 bits"),
    (COLOUR.astype(np.float32), [], "floating-point pixels; an image needs 8 bits a channel"),
    (COLOUR.astype(np.float64), [], "floating-point"), (PLANES.astype(np.float32), [(284, 2)], "floating-point"),
    (GREY.astype(np.float16), [], "floating-point"), (GREY.astype(np.int8), [], "signed numbers"),
    (np.repeat(GREY, 5, 2), [(338, [0, 0])], "has 5 channels"), (np.repeat(GREY, 2, 2), [(338, 0)], "has 2 channels"),
    (np.repeat(GREY, 4, 2), [(338, 0)], "has 4 channels"), (np.repeat(GREY, 4, 2), [(338, 2)], "transparent pixels"),
    (COLOUR, [(259, 52546)], "packed by JPEG XL"), (COLOUR, [(259, 34887)], "packed by LERC"),
    (COLOUR, [(274, 6)], "is to be turned"),
])  # fmt: skip
def test_a_tiff_is_judged_by_its_tags(tmp_path, pixels, tags, words, order):
    (tmp_path / "a.tif").write_bytes(tiff(pixels, tags, order=order))
    with pytest.raises(InputError, match=words):
        rgb.read_object(tmp_path / "a.tif", 16)


@pytest.mark.parametrize("order", "<>")
def test_a_tiff_of_8_bits_is_read(tmp_path, order):
    opaque = np.concatenate([COLOUR, np.full_like(GREY, 255)], 2)
    cases = [
        (COLOUR, [], COLOUR),
        (PLANES, [(284, 2)], COLOUR),
        (GREY, [], GREY.repeat(3, 2)),
        (opaque, [(338, 2)], COLOUR),
    ]
    for pixels, tags, expected in cases:
        (tmp_path / "a.tif").write_bytes(tiff(pixels, tags, order=order))
        np.testing.assert_array_equal(rgb.read_object(tmp_path / "a.tif", 16), expected)


def jpeg_2000(depth: int) -> bytes:
    """A real one, whose header is made to claim another depth: what is read of it is not looked at."""
    stream = io.BytesIO()
    Image.fromarray(COLOUR).save(stream, "JPEG2000", no_jp2=True)
    data = bytearray(stream.getvalue())
    place = data.index(b"\xff\x51") + 40
    data[place] = data[place + 3] = data[place + 6] = depth - 1
    return bytes(data)


def sgi() -> bytes:
    stream = io.BytesIO()
    Image.fromarray(COLOUR).save(stream, "SGI", bpc=2)
    return stream.getvalue()


def fits_file() -> bytes:
    from astropy.io import fits

    stream = io.BytesIO()
    fits.PrimaryHDU(GREY[..., 0]).writeto(stream)
    return stream.getvalue()


@pytest.mark.parametrize(("data", "words"), [
    (b"P6 16 16 65535\n" + COLOUR.astype(">u2").tobytes(), "do not run from 0 to 255"),
    (b"P6 16 16 100\n" + (COLOUR // 3).tobytes(), "do not run from 0 to 255"),
    (jpeg_2000(12), "has 12 bits a channel"), (sgi(), "of the kind SGI, whose depth is not looked at; convert it"),
    (fits_file(), "is a FITS image; name it under bands"),
])  # fmt: skip
def test_deeper_pictures_of_other_kinds_are_refused(tmp_path, data, words):
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(InputError, match=words):
        rgb.read_object(tmp_path / "a.png", 16)


def test_8_bits_of_other_kinds_are_read(tmp_path):
    for data in (b"P6 16 16 255\n" + COLOUR.tobytes(), jpeg_2000(8)):
        (tmp_path / "a.png").write_bytes(data)
        np.testing.assert_array_equal(rgb.read_object(tmp_path / "a.png", 16), COLOUR)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_a_colour_that_is_marked_as_transparent_is_refused_kept_or_not(tmp_path, mode):
    image = Image.fromarray(COLOUR).convert(mode)
    marked = image.getpixel((3, 3))
    image.save(tmp_path / "a.png", transparency=marked)
    with pytest.raises(InputError, match="has transparent pixels"):
        rgb.read_object(tmp_path / "a.png", 16)
    with pytest.raises(ValueError, match="has transparent pixels"):
        examine((tmp_path / "a.png").read_bytes())


def test_a_tiff_whose_channels_are_in_another_order_by_gdal_is_refused(tmp_path):
    """As gdal_translate 3.6 -b 3 -b 2 -b 1 -colorinterp blue,green,red writes it, beside PHOTOMETRIC RGB."""
    pixels = np.random.default_rng(0).integers(0, 255, (20, 20, 3), dtype=np.uint8)
    for order in (("Red", "Green", "Blue"), ("Blue", "Green", "Red")):
        items = [
            f'<Item name="COLORINTERP" sample="{i}" role="colorinterp">{name}</Item>' for i, name in enumerate(order)
        ]
        told = {42112: f"<GDALMetadata>{''.join(items)}</GDALMetadata>"}
        Image.fromarray(pixels).save(tmp_path / "a.tif", tiffinfo=told)
        if order[0] == "Red":
            np.testing.assert_array_equal(rgb.read_field(tmp_path / "a.tif"), pixels)
    with pytest.raises(InputError, match="holds its channels as Blue, Green, Red, by what GDAL wrote"):
        rgb.read_field(tmp_path / "a.tif")
