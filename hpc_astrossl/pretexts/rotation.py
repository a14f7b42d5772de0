"""Rotation: which of four quarter turns was each copy of an image given (Gidaris, Singh & Komodakis 2018, RotNet).

On the sky position angles are uniform, so that content cannot tell the turn: accuracy above 1/4 is what the instrument,
the reduction or the image format left in the pixels. It is a leak meter, and printed as one.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hpc_astrossl.errors import InputError
from hpc_astrossl.loading.draws import uniform
from hpc_astrossl.pretexts.pretext import Pretext, Shape, scored
from hpc_astrossl.specs.run import RunSpec

TURNS = 4
MIRROR = 20  # stream of draws, see loading/draws.py


class Rotation(Pretext):
    """All four copies of an image are in the batch; the loss of an object is the mean over its copies."""

    outputs, views, chance = TURNS, TURNS, 1 / TURNS

    def __init__(self, run: RunSpec, shape: Shape):
        super().__init__(run, shape)
        if shape[0] != shape[1]:
            raise InputError(f"pretext rotation: images of {shape[0]} × {shape[1]} pixels cannot be turned by 90°; "
                             "make a store of square cutouts")  # fmt: skip

    def seen(self, images: Tensor, rows: np.ndarray, epoch: int) -> Tensor:
        """The image, and its copies turned by 90, 180 and 270° anticlockwise; without interpolation."""
        if self.switches.mirror and epoch:
            drawn = torch.from_numpy(uniform(MIRROR, self.seed, epoch, rows) < 0.5).to(images.device)
            images = torch.where(drawn[:, None, None, None], images.flip(3), images)
        if self.switches.disc:
            images = images * disc(images.shape[2]).to(images.device)
        return torch.stack([torch.rot90(images, turn, (2, 3)) for turn in range(TURNS)], dim=1)

    def losses(self, raw: Tensor, truth: Tensor) -> Tensor:
        """Cross entropy, mean over the copies of each object, (B,), in nats."""
        turns = torch.arange(TURNS, device=raw.device).repeat(len(raw))
        each = F.cross_entropy(raw.reshape(-1, TURNS), turns, reduction="none")
        return each.view(len(raw), TURNS).mean(dim=1)

    def answer(self, raw: Tensor) -> Tensor:
        """The probability of the right turn of each copy, (B, 4), then the turn that each was told to have, (B, 4)."""
        chances = torch.softmax(raw.view(-1, TURNS, TURNS), dim=2)
        return torch.cat([chances.diagonal(dim1=1, dim2=2), chances.argmax(dim=2).to(raw.dtype)], dim=1)

    def metrics(self, answer: np.ndarray, truth: np.ndarray, losses: np.ndarray) -> dict[str, Any]:
        """Accuracy over all copies, beside 0.25."""
        right = (answer[:, TURNS:] == np.arange(TURNS)).mean(axis=1)
        return scored(right, losses, 1 / TURNS)


def disc(size: int) -> Tensor:
    """1.0 within the largest disc of a square of ``size`` pixels, else 0.0; the same however it is turned."""
    place = torch.arange(size) - (size - 1) / 2
    return ((place[:, None] ** 2 + place**2) <= (size / 2) ** 2).float()
