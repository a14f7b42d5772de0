"""Images kept as they were delivered: written, read back, examined, checked; and statistics of any store."""

import io

import numpy as np
import pytest
import zarr
from contracts.stores import make_files, make_images, make_store, rewrite
from PIL import Image

from hpc_astrossl.errors import InputError
from hpc_astrossl.store import Encoding, check, encoded, examine, open_store, statistics


def file_of(image: Image.Image, kind: str) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind)
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_files_come_back_byte_by_byte_and_decoded(tmp_path, kind):
    images = make_images(50, (8, 8, 3), "uint8")
    files = make_files(images, kind)
    store = make_store(tmp_path / "s", rows=50, shape=(8, 8, 3), dtype="uint8", kind=kind)
    assert store.encoding == Encoding(format=kind, height=8, width=8)
    assert (len(store), store.image_shape, store.dtype) == (50, (8, 8, 3), np.uint8)
    plain = zarr.open_group(tmp_path / "s", mode="r")["images"]  # as docs/store-format.md tells any reader
    for row, file in zip(plain[:], files, strict=True):
        assert row[4 : 4 + int.from_bytes(row[:4].tobytes(), "little")].tobytes() == file
    decoded = np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files])
    assert np.array_equal(store.images(np.arange(50)), decoded)
    if kind == "png":
        assert np.array_equal(decoded, images)
    assert check(tmp_path / "s", deep=True) == []


def test_the_same_files_give_the_same_bytes(tmp_path):
    one, other = (make_store(tmp_path / name, rows=50, shape=(8, 8, 3), dtype="uint8", kind="png") for name in "ab")
    manifests = [(store.path / "images/manifest.json").read_text() for store in (one, other)]
    assert manifests[0] == manifests[1]


def test_a_broken_image_is_found_and_named(tmp_path):
    store = make_store(tmp_path / "s", rows=50, shape=(8, 8, 3), dtype="uint8", kind="png")
    store = rewrite(store, 20, make_files(store.images([0]), "png")[0][:60])
    with pytest.raises(
        InputError, match=r"array images, chunk \d+, row 20 \(object object 20\): .*not a whole png image"
    ):
        store.images([20])
    assert any("row 20 (object object 20)" in fault for fault in check(store.path, deep=True))


def test_an_image_of_another_size_is_named(tmp_path):
    store = make_store(tmp_path / "s", rows=9, shape=(8, 8, 3), dtype="uint8", kind="png")
    store = rewrite(store, 2, make_files(make_images(1, (4, 4, 3), "uint8"), "png")[0])
    with pytest.raises(InputError, match=r"row 2 .*an image of 4 × 4, expected \(8, 8, 3\)"):
        store.images([2])


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a whole image"),
        (b"no image at all", "not a whole image"),
        (file_of(Image.new("RGB", (64, 64), "red"), "JPEG")[:-200], "not a whole image"),
        (file_of(Image.new("RGB", (8, 8)), "BMP"), "a BMP file; only JPEG and PNG are kept as they are"),
        (file_of(Image.new("RGBA", (8, 8)), "PNG"), "its pixels are RGBA; only RGB and grey ones"),
        (file_of(Image.new("I;16", (8, 8)), "PNG"), "its pixels are I;16; only RGB and grey ones"),
        (file_of(Image.new("RGB", (8, 8)), "PNG") + bytes(300), "its end is missing, or far from the end of the file"),
    ],
)
def test_what_cannot_be_kept_is_told_beforehand(data, words):
    with pytest.raises(ValueError, match=words):
        examine(data)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_what_can_be_kept_is_described(mode):
    assert examine(file_of(Image.new(mode, (9, 5)), "PNG")) == Encoding(format="png", height=5, width=9)


def test_a_row_takes_the_largest_file_and_no_larger_one():
    size = encoded.row_bytes(1000)
    assert size % 256 == 0
    assert encoded.unpack(encoded.pack([bytes(1000)], size)[0]).tobytes() == bytes(1000)
    with pytest.raises(ValueError, match=f"a file of {size - 3} bytes in rows of {size}"):
        encoded.pack([bytes(size - 3)], size)


@pytest.mark.parametrize(("dtype", "kind"), [("uint8", None), ("float32", None), ("uint8", "png")])
def test_statistics_are_those_of_the_pixels_whatever_the_chunks(tmp_path, dtype, kind):
    options = {"rows": 70, "shape": (8, 8, 3), "dtype": dtype, "kind": kind}
    small, large = (make_store(tmp_path / str(size), chunk_bytes=size, **options) for size in (1 << 12, 1 << 20))
    pixels = small.images(np.arange(70)).astype(np.float64).reshape(-1, 3)
    said = small.info.statistics
    assert said["objects"] == 70
    assert said["mean"] == pytest.approx(pixels.mean(axis=0), rel=1e-6)
    assert said["std"] == pytest.approx(pixels.std(axis=0), rel=1e-6)
    spread = np.median(np.abs(pixels - np.median(pixels, axis=0)), axis=0)
    assert said["noise"] == pytest.approx(1.4826 * spread, rel=1e-6)
    assert large.info.statistics == said


def test_a_store_without_statistics_can_still_be_read(tmp_path):
    store = make_store(tmp_path / "s", rows=9, shape=(8, 8, 3), dtype="uint8")
    group = zarr.open_group(store.path, mode="r+")
    del group.attrs["statistics"]
    assert open_store(store.path, verify=False).info.statistics == {}


@pytest.mark.parametrize("count", [1, 2, 3, 10, 101, 4096])
def test_the_noise_of_bytes_is_that_of_the_same_numbers_to_the_last_bit(count):
    rng = np.random.default_rng(count)
    for most in (1, 2, 5, 60, 256):
        for _ in range(10):
            values = rng.integers(0, most, count, dtype=np.uint8)
            parts = np.array_split(values, 3)
            plain = np.median(np.abs(values.astype(np.float32) - np.median(values.astype(np.float32))))
            assert statistics._noise(parts) == statistics._noise([part.astype(np.float32) for part in parts])
            assert statistics._noise(parts) == pytest.approx(1.4826 * plain, rel=1e-6)
