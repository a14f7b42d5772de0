"""Contrastive: of all views in the global batch, which one is of the same image (Chen et al. 2020, SimCLR: NT-Xent).

Embeddings of all ranks are gathered in the order of ranks, which is that of the batch. Each rank takes the gradient of
the whole batch's loss with respect to its own embeddings, as anchors and as the negatives of others; summed over ranks
that is the gradient of one process.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hpc_astrossl.errors import InputError
from hpc_astrossl.pretexts.augmentations import check_turns, two_views
from hpc_astrossl.pretexts.pretext import Pretext, Shape
from hpc_astrossl.specs.run import RunSpec


class Contrastive(Pretext):
    """Two views of each image; a projection of each, of length one."""

    views = 2

    def __init__(self, run: RunSpec, shape: Shape):
        super().__init__(run, shape)
        self.outputs, self.temperature = self.switches.width, self.switches.temperature
        if run.data.batch_size < 2:
            raise InputError("pretext simclr: a batch of one image has no negatives; set data.batch_size to 2 or more")
        check_turns("simclr", self.switches, shape)
        self.chance = 1 / (2 * run.data.batch_size - 1)

    def seen(self, images: Tensor, rows: np.ndarray, epoch: int) -> Tensor:
        """Two views, drawn apart."""
        return two_views(images, self.switches, self.seed, epoch, rows)

    def losses(self, raw: Tensor, truth: Tensor) -> Tensor:
        """The mean of NT-Xent of an object's two views, (B,), in nats."""
        if not raw.requires_grad:  # evaluation, of all objects: batch by batch
            parts = raw.split(self.run.data.batch_size)
            return torch.cat([nt_xent(self.embedded(part), self.temperature) for part in parts])
        own = self.embedded(raw)
        if self.engine is None or self.engine.size == 1:
            return nt_xent(own, self.temperature)
        told = self.engine.gather(own.detach().cpu().numpy())
        shares = [torch.from_numpy(share).to(own.device) for share in told]
        shares[self.engine.rank] = own
        begin = sum(len(share) for share in told[: self.engine.rank])
        every = nt_xent(torch.cat(shares), self.temperature)
        mine = every[begin : begin + len(own)]
        if not len(own):
            return raw.sum(dim=1)  # no objects: nothing, with a gradient that is nothing
        others = every.sum() - mine.sum()
        return mine + (others - others.detach()) / len(own)  # theirs are counted by them; what they ask of us is not

    def embedded(self, raw: Tensor) -> Tensor:
        """Raw outputs (B, 2 · width) as points of length one, (B, 2, width)."""
        return F.normalize(raw.view(len(raw), self.views, self.outputs), dim=2)

    def answer(self, raw: Tensor) -> Tensor:
        """Whether each view's nearest in its batch is the other view of its image, (B, 2) of 0 and 1."""
        return torch.cat([found(self.embedded(part)) for part in raw.split(self.run.data.batch_size)])

    def metrics(self, answer: np.ndarray, truth: np.ndarray, losses: np.ndarray) -> dict[str, Any]:
        """Loss, and how often the other view is the nearest of all in the batch, beside guessing."""
        accuracy = float(answer.mean())
        return {"loss": float(losses.mean(dtype=np.float64)), "accuracy": accuracy, "chance": self.chance}


def similarities(points: Tensor, temperature: float) -> Tensor:
    """Scaled products of views (2B, 2B), views of (B, 2, D) one after another; a view's own is minus infinity."""
    flat = points.flatten(0, 1)
    own = torch.eye(len(flat), dtype=torch.bool, device=flat.device)
    return (flat @ flat.T / temperature).masked_fill(own, -torch.inf)


def partners(objects: int, device: torch.device) -> Tensor:
    """The place of each view's other view, int64 (2B,)."""
    return torch.arange(2 * objects, device=device) ^ 1


def nt_xent(points: Tensor, temperature: float) -> Tensor:
    """Normalised temperature-scaled cross entropy (Chen et al. 2020, eq. 1), mean over an object's two views, (B,)."""
    if len(points) < 2:  # the tail of an epoch may be one object: it has no negatives, and its loss is 0
        return points.sum(dim=(1, 2)) * 0
    each = F.cross_entropy(similarities(points, temperature), partners(len(points), points.device), reduction="none")
    return each.view(-1, 2).mean(dim=1)


def found(points: Tensor) -> Tensor:
    """1.0 where the nearest of all other views is the partner, else 0.0, (B, 2)."""
    nearest = similarities(points, 1.0).argmax(dim=1)
    return (nearest == partners(len(points), points.device)).float().view(-1, 2)
