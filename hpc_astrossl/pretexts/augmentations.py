"""Two views of an image that differ by what does not matter: flips, turns, shifts; noise, crops, colour if asked.

What is drawn is hashed from (seed, epoch, row, view). Flips and turns move pixels; shift and crop are one bilinear
resampling, left out where neither is asked for; edges are continued by their last pixels.
"""

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hpc_astrossl.errors import InputError
from hpc_astrossl.loading.draws import splitmix64, uniform
from hpc_astrossl.specs.pretexts import Augmentations

FIRST = 40  # streams of draws from here on, see loading/draws.py: view × EACH + one of these
EACH = 16
MIRROR, UPSIDE, TURN, DOWN, RIGHT, AREA, SHAPE, CROP_Y, CROP_X, BRIGHT, CONTRAST, CHANNEL, NOISE = range(13)
ASPECT = math.log(4 / 3)  # a crop's sides differ by up to 3:4, as published


def two_views(images: Tensor, switches: Augmentations, seed: int, epoch: int, rows: np.ndarray) -> Tensor:
    """Two views of each image, drawn apart, (B, 2, channels, height, width)."""
    return torch.stack([view(images, switches, Draws(seed, epoch, rows, number)) for number in (0, 1)], dim=1)


def check_turns(kind: str, switches: Augmentations, shape: tuple[int, int, int]) -> None:
    """InputError when images that are not square were to be turned."""
    if switches.turns and shape[0] != shape[1]:
        raise InputError(f"pretext {kind}: images of {shape[0]} × {shape[1]} pixels cannot be turned by 90°; "
                         "set turns to false")  # fmt: skip


class Draws:
    """Numbers of one view of these rows in an epoch, each uniform in [0, 1), (B,)."""

    def __init__(self, seed: int, epoch: int, rows: np.ndarray, view: int):
        self.seed, self.epoch, self.rows, self.view = seed, epoch, rows, view

    def numbers(self, which: int, more: int = 0) -> np.ndarray:
        """Draw ``which`` of the view; ``more`` tells apart several of one kind."""
        rows = self.rows if not more else self.rows + (np.int64(more) << 40)
        return uniform(FIRST + self.view * EACH + which, self.seed, self.epoch, rows)

    def signed(self, which: int, most: float, more: int = 0) -> np.ndarray:
        """Between minus and plus ``most``."""
        return most * (2 * self.numbers(which, more) - 1)


def view(images: Tensor, switches: Augmentations, draws: Draws) -> Tensor:
    """One view, (B, channels, height, width), of images of that shape."""
    if not len(images):
        return images
    images = turned(images, switches, draws)
    if switches.shift > 0 or switches.crop < 1:
        images = resampled(images, switches, draws)
    if switches.colour > 0:
        images = recoloured(images, switches.colour, draws)
    return noisy(images, switches.noise, draws) if switches.noise > 0 else images


def _placed(values: np.ndarray, images: Tensor) -> Tensor:
    return torch.from_numpy(values).to(images.device)[:, None, None, None]


def turned(images: Tensor, switches: Augmentations, draws: Draws) -> Tensor:
    """Flipped and turned by quarters."""
    if switches.flips:
        images = torch.where(_placed(draws.numbers(MIRROR) < 0.5, images), images.flip(3), images)
        images = torch.where(_placed(draws.numbers(UPSIDE) < 0.5, images), images.flip(2), images)
    if switches.turns:
        quarter = _placed((draws.numbers(TURN) * 4).astype(np.int64), images)
        for turns in (1, 2, 3):
            images = torch.where(quarter == turns, torch.rot90(images, turns, (2, 3)), images)
    return images


def resampled(images: Tensor, switches: Augmentations, draws: Draws) -> Tensor:
    """Shifted by up to ``shift`` pixels, and a part of the area, at least ``crop``, cut out and enlarged."""
    height, width = images.shape[2:]
    area = 1 - (1 - switches.crop) * draws.numbers(AREA)
    ratio = np.exp(draws.signed(SHAPE, ASPECT)) if switches.crop < 1 else np.ones(len(images))
    tall, wide = np.minimum(1, np.sqrt(area / ratio)), np.minimum(1, np.sqrt(area * ratio))
    matrix = np.zeros((len(images), 2, 3))
    matrix[:, 0, 0], matrix[:, 1, 1] = wide, tall
    matrix[:, 0, 2] = (1 - wide) * draws.signed(CROP_X, 1) + 2 * draws.signed(RIGHT, switches.shift) / width
    matrix[:, 1, 2] = (1 - tall) * draws.signed(CROP_Y, 1) + 2 * draws.signed(DOWN, switches.shift) / height
    grid = F.affine_grid(torch.from_numpy(matrix).float().to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def recoloured(images: Tensor, strength: float, draws: Draws) -> Tensor:
    """Brightness and contrast times 1 ± 0.8 · strength, each channel times 1 ± 0.4 · strength; for any channels."""
    bright = _placed(1 + np.maximum(-0.95, draws.signed(BRIGHT, 0.8 * strength)), images).float()
    contrast = _placed(1 + np.maximum(-0.95, draws.signed(CONTRAST, 0.8 * strength)), images).float()
    each = np.stack([1 + draws.signed(CHANNEL, 0.4 * strength, more=1 + c) for c in range(images.shape[1])], axis=1)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    channels = torch.from_numpy(each).float().to(images.device)[:, :, None, None]
    return ((images - mean) * contrast + mean) * bright * channels


def noisy(images: Tensor, level: float, draws: Draws) -> Tensor:
    """Gaussian noise of ``level`` standard deviations of each image, drawn for each view of it alone."""
    bits = splitmix64((draws.numbers(NOISE) * 2**53).astype(np.uint64))
    sources = [torch.Generator().manual_seed(int(one >> np.uint64(1))) for one in bits]
    drawn = [torch.randn(images.shape[1:], generator=source) for source in sources]
    return images + level * images.std(dim=(1, 2, 3), keepdim=True) * torch.stack(drawn).to(images.device)
