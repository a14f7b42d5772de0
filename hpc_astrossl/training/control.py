"""Controls: runs from which the thing to be learnt is taken away, to see what else tells the classes apart.

``masked-centre`` covers the central disc of every cutout: what is left is background and neighbours. Mergers, for one,
can be told by the sky's noise alone (Suelves et al. 2023). ``shuffled-labels`` deals the labels of the training and the
validation objects anew and leaves those of test: a network that still does better than the majority has a leak.
"""

from typing import Any

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.store import Store

MASKED, SHUFFLED = "masked-centre", "shuffled-labels"
RADIUS = 0.3  # of the shorter side: the disc reaches 60% of the way from the centre to the edge


class MaskedStore:
    """A store whose images have their centre covered by the median of what lies outside, channel by channel.

    Everything else is the store's own.
    """

    def __init__(self, store: Store):
        self._store = store
        self._disc = central_disc(*store.image_shape[:2])

    def __len__(self) -> int:
        return len(self._store)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def chunk(self, index: int) -> np.ndarray:
        """The images of a chunk, masked."""
        return masked(self._store.chunk(index), self._disc)

    def images(self, rows: np.ndarray) -> np.ndarray:
        """The images of rows, masked."""
        return masked(self._store.images(rows), self._disc)


def opened(store: Store, control: str) -> Store | MaskedStore:
    """The store as the control wants it read."""
    return MaskedStore(store) if control == MASKED else store


def central_disc(height: int, width: int) -> np.ndarray:
    """Which pixels are covered, bool (height, width)."""
    y, x = np.ogrid[:height, :width]
    radius = RADIUS * min(height, width)
    return (y - (height - 1) / 2) ** 2 + (x - (width - 1) / 2) ** 2 <= radius**2


def masked(images: np.ndarray, disc: np.ndarray) -> np.ndarray:
    """Images (N, height, width, channels) with ``disc`` at the median of each image's other pixels."""
    images = images.copy()
    images[:, disc] = np.median(images[:, ~disc], axis=1, keepdims=True).astype(images.dtype)
    return images


def shuffled(truth: np.ndarray, rows: dict[str, np.ndarray], seed: int) -> np.ndarray:
    """Truth (N,) with that of the training and of the validation rows dealt anew among themselves, by seed.

    InputError for truths that are no labels.
    """
    if truth.ndim != 1:
        raise InputError(f"data.control: {SHUFFLED} is for target classes, not for magnitudes; set it to none")
    dealt, source = truth.copy(), np.random.default_rng((seed, 0x5417))
    for split in ("train", "validation"):
        dealt[rows[split]] = source.permutation(truth[rows[split]])
    return dealt
