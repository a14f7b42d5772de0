"""Files decoded fast are Pillow's pixels bit by bit, and what is odd about a file is answered as Pillow answers it."""

import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest
from PIL import Image

from hpc_astrossl.loading import decoding, png
from hpc_astrossl.loading.decoding import decode_fast
from hpc_astrossl.store import Encoding
from hpc_astrossl.store.encoded import decode, pack, row_bytes

HEIGHT, WIDTH = 20, 31


def picture(mode: str = "RGB", seed: int = 0) -> Image.Image:
    """A smooth picture with noise, so that an encoder takes every filter for some line."""
    rng, (y, x) = np.random.default_rng(seed), np.mgrid[:HEIGHT, :WIDTH]
    smooth = np.stack([3 * x + 2 * y, 250 - 4 * y, x * y % 256], axis=2)
    pixels = np.where(y[..., None] % 3 == 0, rng.integers(0, 256, smooth.shape), smooth).clip(0, 255).astype(np.uint8)
    return Image.fromarray(pixels).convert(mode)


def file_of(image: Image.Image, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def piece(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png_of(lines: list[tuple[int, bytes]], channels: int, more: bytes = b"", height: int = 0) -> bytes:
    """A PNG whose lines have the filters given; of as many lines as it says, or of those there are."""
    header = struct.pack(">IIBBBBB", WIDTH, height or len(lines), 8, 2 if channels == 3 else 0, 0, 0, 0)
    packed = zlib.compress(b"".join(bytes([kind]) + line for kind, line in lines) + more)
    half = len(packed) // 2  # two pieces, and one of another kind before them
    parts = [(b"IHDR", header), (b"tEXt", b"a\0b"), (b"IDAT", packed[:half]), (b"IDAT", packed[half:]), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(piece(*part) for part in parts)


def noise_lines(kinds, channels: int) -> list[tuple[int, bytes]]:
    rng = np.random.default_rng(1)
    return [(kind, rng.integers(0, 256, WIDTH * channels, dtype=np.uint8).tobytes()) for kind in kinds]


def both(file: bytes, kind: str, height: int = HEIGHT) -> tuple:
    """What each decoder makes of a file: pixels, or its words."""
    encoding = Encoding(format=kind, height=height, width=WIDTH)
    row, found = pack([file], row_bytes(len(file)))[0], []
    for way in (decode, decode_fast):
        out = np.full(encoding.image_shape, 7, np.uint8)
        try:
            way(row, encoding, out)
        except ValueError as error:
            found.append(str(error))
        else:
            found.append(out)
    return tuple(found)


FILES = {
    **{f"jpeg-{mode}-{sub}-{prog}": ("jpeg", mode, {"subsampling": sub, "progressive": prog, "quality": 85})
       for mode in ("RGB", "L") for sub in (0, 1, 2) for prog in (False, True)},
    "jpeg-comment": ("jpeg", "RGB", {"comment": b"x" * 300, "restart_marker_blocks": 2}),
    **{f"png-{mode}-{level}": ("png", mode, {"compress_level": level}) for mode in ("RGB", "L") for level in (0, 1, 9)},
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_usual_files_are_pillow_s_pixels_and_not_left_to_it(name, monkeypatch):
    kind, mode, options = FILES[name]
    if kind == "jpeg":
        pytest.importorskip("simplejpeg", reason="an environment of before; astrossl then leaves JPEG to Pillow")
    file = file_of(picture(mode), kind, **options)
    by_pillow, ours = both(file, kind)
    assert np.array_equal(by_pillow, ours)
    monkeypatch.setattr(decoding, "decode", lambda *given: pytest.fail("left to Pillow"))
    out = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    decode_fast(pack([file], row_bytes(len(file)))[0], Encoding(format=kind, height=HEIGHT, width=WIDTH), out)
    assert np.array_equal(out, ours)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kinds", [[kind] * HEIGHT for kind in range(5)] + [[0, 4, 3, 2, 1] * (HEIGHT // 5)])
def test_every_filter_of_png_on_noise(kinds, channels):
    file = png_of(noise_lines(kinds, channels), channels)
    by_pillow, ours = both(file, "png")
    assert np.array_equal(by_pillow, ours)
    assert png.read(memoryview(np.frombuffer(file, np.uint8)), np.empty((HEIGHT, WIDTH, 3), np.uint8))


def odd_files() -> dict[str, tuple[str, bytes]]:
    plain, lossy = file_of(picture(), "png"), file_of(picture(), "jpeg", quality=85)
    place = plain.index(b"IDAT") + 12
    lines = noise_lines([0] * HEIGHT, 3)
    return {
        "nothing": ("png", b""),
        "another size": ("png", file_of(picture().resize((8, 8)), "png")),
        "another size, jpeg": ("jpeg", file_of(picture().resize((8, 8)), "jpeg")),
        "a jpeg among png": ("png", lossy),
        "a png among jpeg": ("jpeg", plain),
        "palette": ("png", file_of(picture("P"), "png")),
        "transparent": ("png", file_of(picture("RGBA"), "png")),
        "16 bits": ("png", file_of(Image.fromarray(np.full((HEIGHT, WIDTH), 300, np.uint16)), "png")),
        "one bit": ("png", file_of(picture("1"), "png")),
        "cmyk": ("jpeg", file_of(picture("CMYK"), "jpeg")),
        "a transparent colour": ("png", file_of(picture(), "png", transparency=(1, 2, 3))),
        "flipped byte": ("png", plain[:place] + bytes([plain[place] ^ 0x55]) + plain[place + 1 :]),
        "cut": ("png", plain[: len(plain) // 2]),
        "cut, end kept": ("png", plain[: len(plain) // 2] + plain[-12:]),
        "cut jpeg": ("jpeg", lossy[: len(lossy) // 2]),
        "cut jpeg, end kept": ("jpeg", lossy[: len(lossy) // 2] + b"\xff\xd9"),
        "unknown filter": ("png", png_of([(5, line) for _, line in lines], 3)),
        "too few lines": ("png", png_of(lines[:-1], 3, height=HEIGHT)),
        "more than its lines": ("png", png_of(lines, 3, more=b"\0" * 1000)),
    }  # fmt: skip


@pytest.mark.parametrize("name", odd_files())
def test_what_is_odd_is_answered_as_pillow_answers_it(name):
    kind, file = odd_files()[name]
    by_pillow, ours = both(file, kind)
    assert type(by_pillow) is type(ours)
    assert by_pillow == ours if isinstance(ours, str) else np.array_equal(by_pillow, ours)


def test_a_file_that_unpacks_to_more_than_its_pixels_takes_no_memory_for_it():
    lines = noise_lines([0] * HEIGHT, 3)
    file = png_of(lines, 3, more=b"\0" * 50_000_000)
    tracemalloc.start()
    assert not png.read(memoryview(np.frombuffer(file, np.uint8)), np.empty((HEIGHT, WIDTH, 3), np.uint8))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 2_000_000


def test_without_simplejpeg_pillow_decodes(monkeypatch):
    monkeypatch.setattr(decoding, "simplejpeg", None)
    by_pillow, ours = both(file_of(picture(), "jpeg"), "jpeg")
    assert np.array_equal(by_pillow, ours)
