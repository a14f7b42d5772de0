"""Windows of a large image, read in few and small parts: only the tiles that hold a window are decompressed.

Two ways, of which the one that decompresses fewer pixels is taken: window by window (few objects, tiles of a size like
theirs), or whole rows of tiles in ascending order, each once, with the rows that reach over a border carried along.
"""

from collections.abc import Iterator

import numpy as np

from hpc_astrossl.cutting.fits import Image

ROWS = 512  # read in one go, at least a tile's: 23 MB of a field 11,000 pixels wide
READ = 100_000  # what one more read costs, in pixels decompressed: about a millisecond
COPY = 1 << 22  # pixels copied at a time


def gather(image: Image, tops: np.ndarray, lefts: np.ndarray, out: np.ndarray) -> None:
    """Copy M windows of a two-dimensional image into ``out`` (M, size, size), row 0 of each at the largest y.

    ``tops`` and ``lefts`` are the windows' first row and column in the image with its largest y at the top; every
    window must lie inside. ``out`` may be any view, of one channel say.
    """
    if not len(tops):
        return
    size = out.shape[1]
    bottoms = image.shape[0] - tops - size
    if _pixels_one_by_one(image, bottoms, lefts, size) < _pixels_by_rows(image, bottoms, size):
        for i, (bottom, left) in enumerate(zip(bottoms.tolist(), lefts.tolist(), strict=True)):
            out[i] = image.read(slice(bottom, bottom + size), slice(left, left + size))[::-1]
        return
    for start, rows in _rolling(image, bottoms, size):
        ends = bottoms + size
        _copy(rows, start, np.flatnonzero((ends > start[1]) & (ends <= start[2])), (bottoms, lefts), out)


def _pixels_one_by_one(image: Image, bottoms: np.ndarray, lefts: np.ndarray, size: int) -> int:
    """Pixels of all tiles that are decompressed if every window is read alone."""
    (height, width), (rows, columns) = image.shape, image.tile
    high = np.minimum(((bottoms + size - 1) // rows + 1) * rows, height) - bottoms // rows * rows
    wide = np.minimum(((lefts + size - 1) // columns + 1) * columns, width) - lefts // columns * columns
    return int((high * wide).sum()) + READ * len(bottoms)


def _pixels_by_rows(image: Image, bottoms: np.ndarray, size: int) -> int:
    blocks = _blocks(image, bottoms, size)
    return sum(stop - start for start, stop in blocks) * image.shape[1] + READ * len(blocks)


def _blocks(image: Image, bottoms: np.ndarray, size: int) -> list[tuple[int, int]]:
    """(first row, one after the last) of the parts to read, ascending: whole tiles that some window needs."""
    height, tile = image.shape[0], image.tile[0]
    tiles = -(-height // tile)
    change = np.zeros(tiles + 1, dtype=np.int64)
    np.add.at(change, bottoms // tile, 1)
    np.add.at(change, (bottoms + size - 1) // tile + 1, -1)
    needed = np.flatnonzero(np.cumsum(change[:-1]) > 0)
    parts, most = [], max(1, ROWS // tile)
    for run in np.split(needed, np.flatnonzero(np.diff(needed) > 1) + 1):
        parts += [run[i : i + most] for i in range(0, len(run), most)]
    return [(int(part[0]) * tile, min((int(part[-1]) + 1) * tile, height)) for part in parts]


def _rolling(image: Image, bottoms: np.ndarray, size: int) -> Iterator[tuple[tuple[int, int, int], np.ndarray]]:
    """((first row held, first row new, one after the last), rows): each part with the size − 1 rows before it."""
    held, end = np.empty((0, image.shape[1]), dtype=getattr(image, "dtype", np.float32)), 0
    for start, stop in _blocks(image, bottoms, size):
        new = image.read(slice(start, stop), slice(0, image.shape[1]))
        held = np.concatenate([held[max(len(held) - size + 1, 0) :], new]) if start == end else new
        end = stop
        yield (stop - len(held), start, stop), held


def _copy(rows: np.ndarray, start: tuple[int, int, int], chosen: np.ndarray, corners: tuple, out: np.ndarray) -> None:
    """Copy the windows ``chosen`` out of the rows held, upside down."""
    size = out.shape[1]
    squares = np.lib.stride_tricks.sliding_window_view(rows, (size, size)) if len(chosen) else None
    step = max(1, COPY // size**2)
    for i in range(0, len(chosen), step):
        some = chosen[i : i + step]
        bottoms, lefts = (corner[some] for corner in corners)
        out[some] = squares[bottoms - start[0], lefts][:, ::-1]
