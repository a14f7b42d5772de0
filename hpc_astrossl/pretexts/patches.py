"""Patches: where does a neighbour lie of the patch in the middle, one of eight places (Doersch, Gupta & Efros 2015).

Galaxies lie in the centre of their cutouts, which makes the place easy to tell from the gradient of light: a plane is
taken off each patch, its mean with it, and its deviation is made one. A gap and jitter hide lines that go on from
patch to patch. VGG16 takes 32 pixels at least: smaller patches are enlarged.
"""

import dataclasses
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hpc_astrossl.errors import InputError
from hpc_astrossl.loading.draws import hashed, uniform
from hpc_astrossl.pretexts.pretext import Pretext, Renewal, Shape, scored
from hpc_astrossl.specs.pretexts import Patches as Switches
from hpc_astrossl.specs.run import RunSpec
from hpc_astrossl.store import sweep

PLACE, DOWN, RIGHT, CHANNEL, NOISE, SUB = 24, 25, 27, 29, 30, 32  # streams of draws, see loading/draws.py
PLACES = 8  # of the grid's cells in reading order, without the one in the middle
SIDE = 4 + 14 / 96  # sides of a patch across the published grid: 3 of 96, gaps of 48, jitter of 7 at both ends
LEAST = 32  # pixels that VGG16 takes
FLAT = 1e-6  # of the network's units: a patch that varies less holds nothing, and stays zero


class Patches(Pretext):
    """Two views, the middle patch and a neighbour; the head sees both side by side."""

    outputs, views, joined, chance = PLACES, 2, True, 1 / PLACES

    def __init__(self, run: RunSpec, shape: Shape):
        super().__init__(run, shape)
        self.grid = grid(self.switches, min(shape[:2]))
        self.about = {"grid": vars(self.grid)}

    @property
    def shape(self) -> Shape:
        """(height, width, channels) of a patch as the network takes it."""
        return self.grid.enlarge, self.grid.enlarge, self.image_shape[2]

    def places(self, rows: np.ndarray, epoch: int) -> np.ndarray:
        """Which neighbour of each row is shown, 0 to 7, int64."""
        return (hashed(PLACE, self.seed, epoch, rows) % np.uint64(PLACES)).astype(np.int64)

    def renew(self, now: Renewal) -> None:
        """Other places for the training images; the others keep those of evaluation."""
        for split, rows in now.rows.items():
            for start in range(0, len(rows), sweep.HELD):
                some = rows[start : start + sweep.HELD]
                places = self.places(some, now.epoch if split == "train" else 0)
                now.truth[torch.from_numpy(some), 0] = torch.from_numpy(places)

    def seen(self, images: Tensor, rows: np.ndarray, epoch: int) -> Tensor:
        """The middle patch and the neighbour of each, without plane and mean, with deviation one."""
        places = self.places(rows, epoch)
        cells = np.stack([np.full(len(rows), PLACES // 2), places + (places >= PLACES // 2)], axis=1)
        found = [self.patch(images, rows, epoch, (view, cells[:, view])) for view in range(self.views)]
        return torch.stack([self.treated(patch, rows, epoch, view) for view, patch in enumerate(found)], dim=1)

    def patch(self, images: Tensor, rows: np.ndarray, epoch: int, which: tuple[int, np.ndarray]) -> Tensor:
        """Patches (B, channels, s, s) of cells (B,) of the grid in the middle of each image, jittered, enlarged."""
        (view, cells), size, grid = which, images.shape[2:], self.grid
        begins = []
        for stream, cell, side in ((DOWN, cells // 3, size[0]), (RIGHT, cells % 3, size[1])):
            drawn = uniform(stream + view, self.seed, epoch, rows)
            moved = np.minimum((drawn * (2 * grid.jitter + 1)).astype(np.int64), 2 * grid.jitter) - grid.jitter
            first = (side - (3 * grid.patch + 2 * grid.gap)) // 2
            begins.append(first + cell * (grid.patch + grid.gap) + moved)
        return sampled(images, begins, grid, self._offsets(images, rows, epoch))

    def _offsets(self, images: Tensor, rows: np.ndarray, epoch: int) -> np.ndarray | None:
        """(B, channels, 2) pixels by which each channel is moved, where that is asked for."""
        if self.switches.channels != "shift":
            return None
        numbers = rows[:, None, None] * 2 * images.shape[1] + np.arange(2 * images.shape[1]).reshape(1, -1, 2)
        return uniform(SUB, self.seed, epoch, numbers) - 0.5

    def treated(self, patches: Tensor, rows: np.ndarray, epoch: int, view: int) -> Tensor:
        """Patches without plane (or mean), deviation one; with all channels but one made noise where that is asked."""
        flat = without_plane(patches) if self.switches.plane else patches - patches.mean(dim=(2, 3), keepdim=True)
        deviation = flat.pow(2).mean(dim=(1, 2, 3), keepdim=True).sqrt()
        flat = torch.where(deviation > FLAT, flat / deviation.clamp(min=FLAT), 0)
        if self.switches.channels != "drop":
            return flat
        kept = (hashed(CHANNEL, self.seed, epoch, rows) % np.uint64(flat.shape[1])).astype(np.int64)
        seeds = (hashed(NOISE + view, self.seed, epoch, rows) >> np.uint64(1)).tolist()
        noise = [torch.randn(flat.shape[1:], generator=torch.Generator().manual_seed(one)) for one in seeds]
        keep = F.one_hot(torch.from_numpy(kept), flat.shape[1]).bool().to(flat.device)[:, :, None, None]
        return torch.where(keep, flat, 0.01 * torch.stack(noise).to(flat.device)) if len(flat) else flat

    def losses(self, raw: Tensor, truth: Tensor) -> Tensor:
        """Cross entropy of each object's place, (B,), in nats."""
        return F.cross_entropy(raw, truth[:, 0], reduction="none")

    def answer(self, raw: Tensor) -> Tensor:
        """The place that was told, and its probability, (B, 2)."""
        chance, place = torch.softmax(raw, dim=1).max(dim=1)
        return torch.stack([place.to(raw.dtype), chance], dim=1)

    def metrics(self, answer: np.ndarray, truth: np.ndarray, losses: np.ndarray) -> dict[str, Any]:
        """Accuracy beside 1/8."""
        return scored((answer[:, 0] == truth[:, 0]).astype(float), losses, 1 / PLACES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """Pixels: a patch's side, the gap between two, the jitter each way, the side that the network is shown."""

    patch: int
    gap: int
    jitter: int
    enlarge: int


def grid(switches: Switches, side: int) -> Grid:
    """The grid for images of that side; InputError when it does not fit."""
    patch = switches.patch or max(4, int(side / SIDE))
    gap = patch // 2 if switches.gap is None else switches.gap
    rest = side - 3 * patch - 2 * gap
    jitter = max(0, rest // 2) if switches.jitter is None else switches.jitter
    if rest < 2 * jitter:
        need = 3 * patch + 2 * gap + 2 * jitter
        raise InputError(f"pretext patches: 3 patches of {patch}, 2 gaps of {gap} and jitter of {jitter} each way take "
                         f"{need} pixels, the images have {side}; make them smaller, or make the store with larger "
                         "cutouts")  # fmt: skip
    enlarge = switches.enlarge or max(LEAST, patch)
    if enlarge < LEAST:
        raise InputError(f"pretext patches: enlarge {enlarge}: the network takes {LEAST} pixels at least")
    return Grid(patch=patch, gap=gap, jitter=jitter, enlarge=enlarge)


def sampled(images: Tensor, begins: list[np.ndarray], grid: Grid, offsets: np.ndarray | None) -> Tensor:
    """Squares of ``grid.patch`` pixels that begin at (down, right), (B,) each, as ``grid.enlarge`` pixels, bilinear."""
    count, channels, height, width = images.shape
    begin = np.stack(begins[::-1], axis=1).astype(np.float64)  # right, down: grid_sample's order
    begin = np.repeat(begin, channels, axis=0) + (offsets.reshape(-1, 2) if offsets is not None else 0)
    size = np.array([width, height])
    matrix = np.zeros((count * channels, 2, 3))
    matrix[:, 0, 0], matrix[:, 1, 1] = grid.patch / width, grid.patch / height
    matrix[:, :, 2] = (2 * begin + grid.patch) / size - 1
    flat = images.reshape(count * channels, 1, height, width)
    shape = [count * channels, 1, grid.enlarge, grid.enlarge]
    if not count:
        return images.new_zeros(0, channels, grid.enlarge, grid.enlarge)
    places = F.affine_grid(torch.from_numpy(matrix).float().to(images.device), shape, align_corners=False)
    found = F.grid_sample(flat, places, mode="bilinear", padding_mode="border", align_corners=False)
    return found.view(count, channels, grid.enlarge, grid.enlarge)


def without_plane(patches: Tensor) -> Tensor:
    """Patches (B, channels, s, s) less the plane that fits each channel best (least squares): mean and both slopes."""
    size = patches.shape[2]
    place = torch.arange(size, dtype=patches.dtype, device=patches.device) - (size - 1) / 2
    square = (place**2).sum() * size
    down = (patches * place[:, None]).sum(dim=(2, 3), keepdim=True) / square
    right = (patches * place).sum(dim=(2, 3), keepdim=True) / square
    return patches - patches.mean(dim=(2, 3), keepdim=True) - down * place[:, None] - right * place
