"""Windows of a large image: the same pixels whichever way they are read, and no tile read that holds no window."""

import numpy as np
import pytest
from astropy.io import fits as astropy_fits

from hpc_astrossl.cutting import fits, windows

HEIGHT, WIDTH = 300, 230
FIELD = np.arange(HEIGHT * WIDTH, dtype=np.float32).reshape(HEIGHT, WIDTH)
TILES = [None, (1, WIDTH), (7, WIDTH), (40, 60), (HEIGHT, WIDTH)]


@pytest.fixture(params=TILES, ids=str)
def path(request, tmp_path):
    unit = astropy_fits.ImageHDU(FIELD)
    if request.param:
        unit = astropy_fits.CompImageHDU(FIELD, compression_type="GZIP_2", quantize_level=0, tile_shape=request.param)
    unit.writeto(tmp_path / "field.fits")
    return tmp_path / "field.fits"


class Watched:
    """An image that writes down the parts that are read."""

    def __init__(self, image):
        self.shape, self.tile, self.image, self.parts = image.shape, image.tile, image, []

    def read(self, *part):
        self.parts.append(part)
        return self.image.read(*part)


def corners(count, size, seed=0):
    draw = np.random.default_rng(seed)
    tops, lefts = draw.integers(0, HEIGHT - size + 1, count), draw.integers(0, WIDTH - size + 1, count)
    tops[:2], lefts[:2] = (0, HEIGHT - size), (0, WIDTH - size)  # corners of the field
    return tops, lefts


@pytest.mark.parametrize(("count", "size"), [(2, 16), (400, 16), (400, 17), (3, 200)])
@pytest.mark.parametrize(("rows", "read"), [(32, 10**9), (512, 10**9), (32, 0)], ids=["blocks", "whole", "cheap reads"])
def test_the_pixels_are_those_of_a_slice(path, count, size, rows, read, monkeypatch):
    monkeypatch.setattr(windows, "ROWS", rows)
    monkeypatch.setattr(windows, "READ", read)
    monkeypatch.setattr(windows, "COPY", 5 * size**2)
    tops, lefts = corners(count, size)
    out = np.zeros((count, size, size, 2), dtype=np.float32)
    with fits.open_image(path) as image:
        windows.gather(image, tops, lefts, out[..., 1])
    top_down = FIELD[::-1]
    for square, top, left in zip(out, tops, lefts, strict=True):
        np.testing.assert_array_equal(square[..., 1], top_down[top : top + size, left : left + size])
    assert not out[..., 0].any()


@pytest.mark.parametrize(("tile", "most"), [((20, 20), 4 * 9 * 400), ((1, WIDTH), 4 * 16 * WIDTH)])
def test_of_few_objects_only_their_tiles_are_read(tmp_path, tile, most):
    unit = astropy_fits.CompImageHDU(FIELD, compression_type="GZIP_2", quantize_level=0, tile_shape=tile)
    unit.writeto(tmp_path / "field.fits")
    tops, lefts = np.array([10, 110, 115, 250]), np.array([10, 60, 61, 200])
    with fits.open_image(tmp_path / "field.fits") as image:
        watched = Watched(image)
        windows.READ, before = 0, windows.READ
        try:
            windows.gather(watched, tops, lefts, np.zeros((4, 16, 16), dtype=np.float32))
        finally:
            windows.READ = before
    covered = sum(_tiles(*part, tile) * tile[0] * tile[1] for part in watched.parts)
    assert 0 < covered <= most < HEIGHT * WIDTH


def _tiles(rows, columns, tile):
    down, across = ((part.stop - 1) // n - part.start // n + 1 for part, n in zip((rows, columns), tile, strict=True))
    return down * across


def test_no_row_is_decompressed_twice_when_there_are_many_objects(path):
    tops, lefts = corners(3000, 16)
    with fits.open_image(path) as image:
        watched = Watched(image)
        windows.gather(watched, tops, lefts, np.zeros((3000, 16, 16), dtype=np.float32))
    ends = [(rows.start, rows.stop) for rows, _ in watched.parts]
    assert sum(stop - start for start, stop in ends) == HEIGHT
    assert ends == sorted(ends)


def test_no_windows_read_nothing(path):
    with fits.open_image(path) as image:
        watched = Watched(image)
        windows.gather(watched, *np.zeros((2, 0), dtype=int), np.zeros((0, 16, 16), dtype=np.float32))
    assert watched.parts == []
