"""Colour pictures of fields beside coadds, and files that are kept: the same picture for everyone, or refused."""

import io

import numpy as np
import pytest
from ingest_survey import RECIPES, Survey
from PIL import Image

from hpc_astrossl.cutting import rgb
from hpc_astrossl.errors import InputError
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
