"""Objects brought to one grid: the same scale and direction for all bands, the object in the middle.

The new grid lies on the plane that touches the sky at the object (TAN). Where its pixels are in a band is computed on a
few nodes by the band's own WCS, and between them by a cubic; pixels are then a cubic spline of the band (scipy.ndimage)
at those points, averaged over the new pixel where it is larger than the old one. Surface brightness is kept: what is
interpolated is flux per square arcsec, by the area that the WCS gives the old pixel there.
"""

from dataclasses import dataclass, replace

import numpy as np

from hpc_astrossl.cutting.bandimage import BandImage
from hpc_astrossl.cutting.sky import Sky, areas, position

NODES = 5  # along a side
MARGIN = 12  # pixels around the part that is read, for the spline's ends
_TOUCHED = 0.01  # share of bad pixels in a new one that makes it bad
MOST = 4096  # pixels along a side that are read for one object


@dataclass(frozen=True, kw_only=True)
class Grid:
    """The new grids of M objects: ``ra``, ``dec`` of their middles, ``scale`` arcsec per pixel (M), ``turn`` (M, 2, 2).

    ``turn`` takes steps to the right and up, in pixels, to east and north, without scale.
    """

    size: int
    ra: np.ndarray
    dec: np.ndarray
    scale: np.ndarray
    turn: np.ndarray
    method: str

    def nodes(self) -> np.ndarray:
        """Places of the nodes along a side, pixels from the middle; they reach over the outermost pixels' edges."""
        return np.linspace(-self.size / 2, self.size / 2, NODES)

    def part(self, some: slice) -> "Grid":
        """The grids of some of the objects."""
        return replace(self, ra=self.ra[some], dec=self.dec[some], scale=self.scale[some], turn=self.turn[some])

    def sky(self) -> tuple[np.ndarray, np.ndarray]:
        """(ra, dec) of all nodes, (M, NODES, NODES), first axis up."""
        right, up = np.meshgrid(self.nodes(), self.nodes())
        steps = np.stack([right, up], axis=-1)
        plane = np.einsum("mij,abj->mabi", self.turn * self.scale[:, None, None], steps)
        return position(self.ra[:, None, None], self.dec[:, None, None], plane[..., 0], plane[..., 1])


def north_up(count: int) -> np.ndarray:
    """``turn`` of grids with north up and east to the left."""
    return np.broadcast_to(np.array([[-1.0, 0.0], [0.0, 1.0]]), (count, 2, 2))


def as_lies(sky: Sky, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """``turn`` of grids that are turned and mirrored as an image is at (x, y): its nearest rotation, or mirroring."""
    u, _, v = np.linalg.svd(sky.matrix(x, y))
    return u @ v


def resample(band: BandImage, grid: Grid, out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fill (M, size, size), row 0 at the top; returns (bad pixels, the old pixels' square arcsec at each object).

    A band without a WCS is taken to have the object in its middle, north up, east left, and the recipe's pixel scale.
    """
    x, y = _pixels(band, grid)
    bad = np.ones(out.shape, dtype=bool)
    for i in range(len(out)):
        if np.isfinite(x[i]).all() and np.isfinite(y[i]).all():
            out[i], bad[i] = _one(band, grid, (x[i], y[i]))
    if band.sky is None:
        return bad, np.full(len(out), band.scale**2)
    middle = NODES // 2
    return bad, areas(band.sky.matrix(x[:, middle, middle], y[:, middle, middle]))


def _pixels(band: BandImage, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Where the nodes are in the band, counted from the centre of its first pixel, FITS rows."""
    if band.sky is not None:
        x, y = band.sky.pixel(*grid.sky())
        return x - 1, y - 1
    steps = grid.nodes()[None] * grid.scale[:, None] / band.scale
    height, width = band.shape
    x = np.broadcast_to((width - 1) / 2 + steps[:, None, :], (len(steps), NODES, NODES))
    y = np.broadcast_to((height - 1) / 2 + steps[:, :, None], (len(steps), NODES, NODES))
    return x, y


def _one(band: BandImage, grid: Grid, nodes: tuple[np.ndarray, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    from scipy import ndimage  # what is cut as it lies does without

    old = _ratio(*nodes) / grid.size  # old pixels along a new one
    each = max(1, int(np.ceil(2 * old - 1.1))) if grid.method == "spline" else 1
    rows, columns = _between(grid, nodes[1], each), _between(grid, nodes[0], each)
    bottom, left = (int(np.floor(axis.min())) - MARGIN for axis in (rows, columns))
    shape = tuple(int(np.ceil(axis.max())) + MARGIN + 1 - low for axis, low in ((rows, bottom), (columns, left)))
    if max(shape) > MOST:
        return np.zeros((grid.size,) * 2, np.float32), np.ones((grid.size,) * 2, dtype=bool)
    values, wrong = band.box(bottom, left, shape)
    places = np.stack([rows - bottom, columns - left])
    if grid.method == "nearest":
        index = tuple(np.round(places).astype(int))
        return values[index][::-1], wrong[index][::-1]
    if wrong.all():
        return np.zeros((grid.size,) * 2, np.float32), np.ones((grid.size,) * 2, dtype=bool)
    values = np.where(wrong, np.median(values[~wrong]), values).astype(np.float64)
    found = _averaged(ndimage.map_coordinates(values, places, order=3, mode="mirror"), each)
    bad = np.zeros(found.shape, dtype=bool)
    if wrong.any():
        share = ndimage.map_coordinates(wrong.astype(np.float64), places, order=1, mode="nearest")
        bad = _averaged(share, each) > _TOUCHED
    return found[::-1].astype(np.float32), bad[::-1]


def _ratio(x: np.ndarray, y: np.ndarray) -> float:
    """Old pixels along the side of the new grid: the square root of the area it covers."""
    middle, ends = NODES // 2, slice(None, None, NODES - 1)
    right, up = ((np.diff(x[part])[0], np.diff(y[part])[0]) for part in ((middle, ends), (ends, middle)))
    return abs(right[0] * up[1] - right[1] * up[0]) ** 0.5


def _between(grid: Grid, nodes: np.ndarray, each: int) -> np.ndarray:
    """Values at the new pixels' centres, or at ``each`` × ``each`` points in them, between nodes: a cubic each way."""
    count = grid.size * each
    points = (np.arange(count) + 0.5) / each - grid.size / 2
    powers = np.vander(grid.nodes() * 2 / grid.size, 4)
    weights = np.vander(points * 2 / grid.size, 4) @ np.linalg.pinv(powers)
    return weights @ nodes @ weights.T


def _averaged(fine: np.ndarray, each: int) -> np.ndarray:
    if each == 1:
        return fine
    size = len(fine) // each
    return fine.reshape(size, each, size, each).mean(axis=(1, 3))
