"""Windows of large images, read in few and small parts: only the tiles that hold a window are decompressed.

Two ways, of which the one that decompresses fewer pixels is taken: window by window (few objects, tiles of a size like
theirs), or whole rows of tiles in ascending order, each once. Windows are handed on a few at a time, so that whoever
looks at their pixels finds them in the processor's cache.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from hpc_astrossl.cutting.fits import Image

ROWS = 512  # decompressed in one go, at least a tile's: 20 MB of a field 10,000 pixels wide
PLAIN = 64  # read in one go of an image that is not compressed
READ = 100_000  # what one more read costs, in pixels decompressed: about a millisecond
COPY = 1 << 18  # pixels handed on at a time: a mebibyte of float32


def gather(image: Image, tops: np.ndarray, lefts: np.ndarray, out: np.ndarray) -> None:
    """Copy M windows of a two-dimensional image into ``out`` (M, size, size); see ``windows``. ``out`` may be any
    view, of one channel say."""
    for which, (pixels,) in windows([[image]], tops, lefts, out.shape[1]):
        out[which] = pixels[:, 0]


def windows(stacks: Sequence[Sequence[Image]], tops: np.ndarray, lefts: np.ndarray, size: int) \
        -> Iterator[tuple[np.ndarray, list[np.ndarray]]]:  # fmt: skip
    """Yield (which of the M windows, of each stack of images their pixels) until every window was handed on.

    Images are two-dimensional and of one shape, those of a stack of one type. ``tops`` and ``lefts`` are the windows'
    first row and column in the image with its largest y at the top, and so are the pixels, (m, images, size, size):
    row 0 of each at the largest y. Every window must lie inside.
    """
    bottoms = stacks[0][0].shape[0] - tops - size if len(tops) else tops
    order = np.argsort(bottoms, kind="stable")
    readers = [[_reader(image, bottoms, lefts, size) for image in images] for images in stacks]
    most = max(1, COPY // (size**2 * sum(map(len, stacks))))
    for here in (order[i : i + most] for i in range(0, len(order), most)):
        found = [np.empty((len(here), len(images), size, size), _kind(images[0])) for images in stacks]
        for of_stack, pixels in zip(readers, found, strict=True):
            for i, reader in enumerate(of_stack):
                reader.copy(bottoms[here].tolist(), lefts[here].tolist(), pixels[:, i])
        yield here, found


def _kind(image: Image) -> np.dtype:
    return np.dtype(getattr(image, "dtype", np.float32))


def _reader(image: Image, bottoms: np.ndarray, lefts: np.ndarray, size: int) -> "_Alone | _Rows":
    alone = _pixels_one_by_one(image, bottoms, lefts, size) < _pixels_by_rows(image, bottoms, size)
    return _Alone(image) if alone else _Rows(image, bottoms, size)


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
    parts, most = [], max(1, min(ROWS, PLAIN if getattr(image, "plain", False) else ROWS) // tile)
    for run in np.split(needed, np.flatnonzero(np.diff(needed) > 1) + 1):
        parts += [run[i : i + most] for i in range(0, len(run), most)]
    return [(int(part[0]) * tile, min((int(part[-1]) + 1) * tile, height)) for part in parts if len(part)]


class _Alone:
    """Every window is read by itself."""

    def __init__(self, image: Image):
        self._image = image

    def copy(self, bottoms: list[int], lefts: list[int], out: np.ndarray) -> None:
        size = out.shape[1]
        for i, (bottom, left) in enumerate(zip(bottoms, lefts, strict=True)):
            out[i] = self._image.read(slice(bottom, bottom + size), slice(left, left + size))[::-1]


class _Rows:
    """Rows of the image from the lowest window that is wanted on, part after part; those no longer needed make room."""

    def __init__(self, image: Image, bottoms: np.ndarray, size: int):
        self._image, self._parts = image, iter(_blocks(image, bottoms, size))
        self._held = np.empty((0, image.shape[1]), dtype=_kind(image))
        self._start = self._stop = 0  # rows of the image that are in ``_held``, from its first row on

    def copy(self, bottoms: list[int], lefts: list[int], out: np.ndarray) -> None:
        """Copy windows, ascending, upside down."""
        size = out.shape[1]
        for i, (bottom, left) in enumerate(zip(bottoms, lefts, strict=True)):
            while self._stop < bottom + size:
                self._read(bottom)
            first = bottom - self._start
            out[i] = self._held[first : first + size, left : left + size][::-1]

    def _read(self, lowest: int) -> None:
        """Read the next part; rows below ``lowest`` are no longer needed."""
        start, stop = next(self._parts)
        if start != self._stop:
            self._start = self._stop = start
        if stop - self._start > len(self._held):
            kept = max(0, self._stop - max(lowest, self._start))
            rows = self._held[self._stop - self._start - kept : self._stop - self._start]
            if kept + stop - start > len(self._held):
                self._held = np.empty((2 * (kept + stop - start), self._held.shape[1]), self._held.dtype)
            self._held[:kept] = rows
            self._start = self._stop - kept
        new = self._held[start - self._start : stop - self._start]
        if getattr(self._image, "plain", False):
            self._image.fill(start, new)
        else:
            new[:] = self._image.read(slice(start, stop), slice(0, new.shape[1]))
        self._stop = stop
