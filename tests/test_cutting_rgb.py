"""Image files an object: what is converted, what is refused, and folders that stand for a table."""

import numpy as np
import pytest
from ingest_survey import RECIPES
from PIL import Image

from hpc_astrossl.cutting import rgb
from hpc_astrossl.errors import InputError
from hpc_astrossl.ingest import build
from hpc_astrossl.ingest.build import Options
from hpc_astrossl.specs.recipe import load_recipe
from hpc_astrossl.store import check, layout, open_store
from hpc_astrossl.store.encoded import unpack
from hpc_astrossl.tables.folders import read_folders

GREY = np.arange(400, dtype=np.uint8).reshape(20, 20)
COLOUR = np.stack([GREY, GREY[::-1], GREY.T], axis=-1)


def saved(path, image, **options):
    image.save(path, **options)
    return path


def with_alpha(value):
    return Image.fromarray(np.dstack([COLOUR, np.full_like(GREY, value)]))


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.fromarray(COLOUR), COLOUR),
        (Image.fromarray(GREY), np.stack([GREY] * 3, axis=-1)),
        (Image.fromarray(GREY > 100), np.stack([(GREY > 100) * np.uint8(255)] * 3, axis=-1)),
        (with_alpha(255), COLOUR),
        (Image.fromarray(GREY).convert("P"), np.stack([GREY] * 3, axis=-1)),
    ],
    ids=["RGB", "grey", "1 bit", "opaque alpha", "palette"],
)
def test_what_is_converted_without_loss(tmp_path, image, expected):
    np.testing.assert_array_equal(rgb.read_object(saved(tmp_path / "a.png", image), 20), expected)


@pytest.mark.parametrize(
    ("name", "image", "words"),
    [
        ("a.png", Image.fromarray(GREY.astype(np.uint16) * 100), "has 16 bits a channel"),
        ("a.tif", Image.fromarray(GREY.astype(np.int32) * 100), "has 32 bits a channel"),
        ("a.tif", Image.fromarray(GREY.astype(np.float32)), "has floating-point pixels"),
        ("a.jpg", Image.fromarray(COLOUR).convert("CMYK"), r"has inks \(CMYK\).*convert it to RGB"),
        ("a.png", with_alpha(250), "has transparent pixels"),
    ],
)
def test_what_would_change_unseen_is_refused(tmp_path, name, image, words):
    with pytest.raises(InputError, match=rf"{name}: {words}"):
        rgb.read_object(saved(tmp_path / name, image), 20)


def test_colours_of_16_bits_are_refused(tmp_path):
    """Pillow reads them as 8 bits without a word, which blackens images that use the lower bits."""
    (tmp_path / "a.png").write_bytes(deep_png())
    with pytest.raises(InputError, match=r"a.png: has 16 bits a channel"):
        rgb.read_object(tmp_path / "a.png", 4)


def deep_png() -> bytes:
    """A PNG of 4 × 4 pixels with 16 bits for each of red, green, blue."""
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes(4 * 6) for _ in range(4))
    head = struct.pack(">IIBBBBB", 4, 4, 16, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_several_images_in_a_file_are_refused(tmp_path):
    frames = [Image.fromarray(GREY), Image.fromarray(GREY.T)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(InputError, match=r"a.tif: holds 2 images"):
        rgb.read_object(tmp_path / "a.tif", 20)


def test_an_image_that_viewers_turn_is_refused(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    with pytest.raises(InputError, match=r"a.jpg: is to be turned .*EXIF orientation 6"):
        rgb.read_object(saved(tmp_path / "a.jpg", Image.fromarray(COLOUR), exif=exif), 20)


def test_huge_dimensions_are_refused_before_memory_is_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 300)  # 20 × 20 is more, as 10,000 × 10,000 is above the default
    with pytest.raises(InputError, match=r"a.png: too large to be read"):
        rgb.read_object(saved(tmp_path / "a.png", Image.fromarray(COLOUR)), 20)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match=r"a.png: too large to be read"):
        rgb.read_field(tmp_path / "a.png")


def test_the_middle_is_cropped_and_a_smaller_image_refused(tmp_path):
    path = saved(tmp_path / "a.png", Image.fromarray(COLOUR))
    np.testing.assert_array_equal(rgb.read_object(path, 8, crop=8), COLOUR[6:14, 6:14])
    assert rgb.read_object(path, 6, crop=12).shape == (6, 6, 3)
    with pytest.raises(InputError, match=r"a.png: is 20 × 20 pixels, smaller than files.crop=21") as caught:
        rgb.read_object(path, 8, crop=21)
    assert caught.value.reason == "image smaller than the cutout"


class TestFolders:
    """Folders named after classes need no table."""

    def mergers(self, folder, parts=("",)):
        draw = np.random.default_rng(0)
        for part in parts:
            for name in ("merger", "noninteracting"):
                (folder / part / name).mkdir(parents=True)
                for n in range(20):
                    image = Image.fromarray(draw.integers(0, 255, (20, 20, 3), dtype=np.uint8))
                    image.save(folder / part / name / f"58772{part or 9}{name[0]}{n}.{'jpg' if n % 2 else 'png'}")
            (folder / part / "README.txt").write_text("no image")
        return folder

    @pytest.mark.parametrize("parts", [("",), ("train", "test")])
    def test_mergers_are_made_with_and_without_parts(self, tmp_path, parts):
        source = self.mergers(tmp_path / "mergers", parts)
        recipe = load_recipe(RECIPES / "merging_galaxies.yaml", ["size=16"])
        (made,) = build(recipe, source, tmp_path / "stores")
        n = 20 * len(parts)
        assert made.info.counts["classes"] == {"noninteracting": n, "merger": n}
        assert made.info.counts["rejected"] == {}
        table = open_store(made.path).table
        assert all((name[-3:].count("m") == 1) == bool(label) for name, label in
                   zip(table["object_id"].tolist(), table["label"].tolist(), strict=True))  # fmt: skip

    def test_an_image_in_two_folders_is_taken_once(self, tmp_path):
        source = self.mergers(tmp_path / "mergers")
        image = next((source / "merger").glob("*.jpg"))
        (source / "noninteracting" / image.name).write_bytes(image.read_bytes())
        (made,) = build(load_recipe(RECIPES / "merging_galaxies.yaml", ["size=16"]), source, tmp_path / "stores")
        assert made.info.counts["rejected"] == {"repeated id": 1}

    def test_any_folders_of_images(self, tmp_path):
        source = self.mergers(tmp_path / "set")
        (source / "merger" / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
        classes = "stores.images.labels.classes={star: [merger], galaxy: [noninteracting]}"
        recipe = load_recipe(RECIPES / "image_folder.yaml", ["size=16", classes])
        (made,) = build(recipe, source, tmp_path / "stores")
        assert made.info.counts["classes"] == {"star": 20, "galaxy": 20}
        assert made.info.counts["rejected"] == {"unreadable image": 1}
        assert "merger/587729m0.png" in open_store(made.path).table["object_id"]

    def test_images_named_by_a_column_of_a_table(self, tmp_path):
        source = self.mergers(tmp_path / "set")
        rows = [f"{n},merger/587729m{n}.{'jpg' if n % 2 else 'png'},{n % 3}" for n in range(20)]
        (source / "table.csv").write_text("\n".join(["id,path,kind", *rows]))
        settings = ["size=16", "catalogue.file=table.csv", "catalogue.format=csv", "catalogue.id=id",
                    "files.image='{path}'", "stores.images.labels.column=kind",
                    "stores.images.labels.classes={star: [0], galaxy: [1]}"]  # fmt: skip
        (made,) = build(load_recipe(RECIPES / "image_folder.yaml", settings), source, tmp_path / "stores")
        assert made.info.counts["classes"] == {"star": 7, "galaxy": 7}
        assert made.info.counts["rejected"] == {"class not asked for: 2": 6}

    def test_a_folder_that_does_not_fit_is_named(self, tmp_path):
        source = self.mergers(tmp_path / "set")
        with pytest.raises(
            InputError, match=r"no image file fits catalogue.file='{a}/{b}/{c}.jpg'; the first of 40 is"
        ):
            read_folders(source, "{a}/{b}/{c}.jpg", {})
        with pytest.raises(InputError, match=r"no column 'T'; the names of folders and files give: class, id, file"):
            read_folders(source, "{class}/{id}.jpg", {"T": "text"})


class TestKept:
    """files.keep: the bytes of the files go into the store as they are."""

    def tree(self, folder):
        random = np.random.default_rng(0)
        for name in ("a", "b"):
            (folder / name).mkdir(parents=True)
            for n in range(12):
                pixels = random.integers(0, 256, (24, 24, 3), dtype=np.uint8)
                saved(folder / name / f"{n}.jpg", Image.fromarray(pixels), quality=90)
        return folder

    def made(self, folder, out, *settings):
        kept = ["size=24", "files.keep=jpeg", "stores.images.labels.classes={a: [a], b: [b]}", *settings]
        (made,) = build(load_recipe(RECIPES / "image_folder.yaml", kept), folder, out)
        return made

    def test_bytes_and_pixels_are_the_files(self, tmp_path):
        folder = self.tree(tmp_path / "images")
        store = open_store(self.made(folder, tmp_path / "out").path)
        assert store.encoding.format == "jpeg"
        for row, (name, raw) in enumerate(zip(store.table["object_id"], store.raw_chunk(0), strict=True)):
            assert unpack(raw).tobytes() == (folder / name).read_bytes()
            np.testing.assert_array_equal(store.images(np.array([row]))[0], np.asarray(Image.open(folder / name)))
        assert check(store.path, deep=True) == []

    def test_pixels_are_compressed_as_the_recipe_says_and_are_the_same(self, tmp_path):
        folder = self.tree(tmp_path / "images")
        made = {}
        for compression in ("null", "none", "zstd"):
            setting = ["files.keep=null", f"compression={compression}"]
            made[compression] = open_store(self.made(folder, tmp_path / compression, *setting).path)
        images = {name: store.images(np.arange(24)) for name, store in made.items()}
        assert np.array_equal(images["none"], images["null"])
        assert np.array_equal(images["zstd"], images["null"])
        files = {name: (store.path / "images/c/0/0/0/0").read_bytes() for name, store in made.items()}
        assert files["null"] == files["none"] != files["zstd"]
        assert images["none"].tobytes() in files["none"]

    def test_what_is_not_as_promised_is_left_out_or_named(self, tmp_path):
        folder = self.tree(tmp_path / "images")
        saved(folder / "a" / "0.jpg", Image.fromarray(COLOUR))
        saved(folder / "a" / "1.png", Image.fromarray(np.zeros((24, 24, 3), np.uint8)))
        saved(folder / "a" / "2.jpg", Image.fromarray(np.full((24, 24, 3), 9, np.uint8)))
        (folder / "a" / "3.jpg").write_bytes((folder / "a" / "4.jpg").read_bytes()[:-30])
        made = self.made(folder, tmp_path / "out")
        assert made.info.counts["rejected"] == {"unreadable image": 3, "blank image": 1}
        assert check(made.path, deep=True) == []
        words = r"0\.jpg: a jpeg file of 20 × 20 pixels, expected a jpeg file of 24 × 24 pixels\. .*files\.keep=null"
        with pytest.raises(InputError, match=words):
            self.made(folder, tmp_path / "other", "files.unreadable=stop")

    def test_many_tasks_give_the_same_bytes(self, tmp_path, monkeypatch):
        folder = self.tree(tmp_path / "images")
        monkeypatch.setattr(layout, "SHARD_ROWS", 4)
        monkeypatch.setattr(layout, "CHUNK_BYTES", 1 << 12)
        self.made(folder, tmp_path / "whole")
        kept = ["size=24", "files.keep=jpeg", "stores.images.labels.classes={a: [a], b: [b]}"]
        for task in (3, 1, 2):
            recipe = load_recipe(RECIPES / "image_folder.yaml", kept)
            build(recipe, folder, tmp_path / "parts", Options(task=task, tasks=3, workers=1))
        whole, parts = (tmp_path / name / "images.zarr" for name in ("whole", "parts"))
        names = sorted(str(path.relative_to(whole)) for path in whole.rglob("*") if path.is_file())
        assert sum("images/c" in name for name in names) > 3
        assert all((whole / name).read_bytes() == (parts / name).read_bytes() for name in names)
