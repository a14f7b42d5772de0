"""Controls: runs from which the thing to be learnt is taken away, to see what else tells the classes apart.

``masked-centre`` covers the central disc of every cutout: what is left is background and neighbours. Mergers, for one,
can be told by the sky's noise alone (Suelves et al. 2023). ``shuffled-labels`` deals the labels of the training and the
validation objects anew and leaves those of test: a network that still does better than the majority has a leak.
"""

import dataclasses

import numpy as np
import torch
from torch import Tensor

from hpc_astrossl.errors import InputError
from hpc_astrossl.loading import Batch, Loader, MappedLoader
from hpc_astrossl.store import RowSet, sweep
from hpc_astrossl.training.truth import stretches

MASKED, SHUFFLED = "masked-centre", "shuffled-labels"
RADIUS = 0.3  # of the shorter side: the disc reaches 60% of the way from the centre to the edge


def controlled(loader: Loader, control: str) -> Loader | MappedLoader:
    """The loader as the control wants it.

    The mask comes after flips and 90° turns, which leave a central disc where it is.
    """
    return MappedLoader(loader, _masked_batch) if control == MASKED else loader


def _masked_batch(batch: Batch, _epoch: int) -> Batch:
    return dataclasses.replace(batch, images=masked(batch.images)) if len(batch.images) else batch


def masked(images: Tensor) -> Tensor:
    """Images (B, channels, height, width) with the central disc at the median of each channel's other pixels."""
    disc = central_disc(*images.shape[2:]).to(images.device)
    outside = images[:, :, ~disc].median(dim=2).values
    return torch.where(disc, outside[:, :, None, None], images)


def central_disc(height: int, width: int) -> Tensor:
    """Which pixels are covered, bool (height, width)."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    radius = RADIUS * min(height, width)
    return (y - (height - 1) / 2) ** 2 + (x - (width - 1) / 2) ** 2 <= radius**2


def shuffle(truth: np.ndarray, rows: dict[str, RowSet], seed: int) -> None:
    """Deal the truth (N,) of the training and of the validation rows anew among themselves, by seed.

    InputError for truths that are no labels.
    """
    if truth.ndim != 1:
        raise InputError(f"data.control: {SHUFFLED} is for target classes, not for magnitudes; set it to none")
    source = np.random.default_rng((seed, 0x5417))
    for split in ("train", "validation"):
        own, dealt = rows[split], np.concatenate(list(stretches(truth, rows[split])))
        source.shuffle(dealt)
        for start in range(0, len(own), sweep.HELD):
            truth[own[start : start + sweep.HELD]] = dealt[start : start + sweep.HELD]
