"""Images of any store as people look at them."""

from collections.abc import Sequence

import numpy as np

from hpc_astrossl.store.reader import Store


def displayed(images: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """Images (N, height, width, channels) as uint8 RGB: RGB as it is, else red is the last channel.

    Fluxes are stretched between an image's 1st and 99.5th percentile.
    """
    images = images[..., _chosen(images.dtype, channels)]
    if images.dtype == np.uint8:
        return images
    images = np.nan_to_num(images, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = np.percentile(images, (1, 99.5), axis=(1, 2), keepdims=True)
    return (np.clip((images - low) / np.maximum(high - low, 1e-12), 0, 1) * 255).round().astype(np.uint8)


def _chosen(dtype: np.dtype, channels: Sequence[str]) -> list[int]:
    """Channels shown as red, green and blue. Three of whole numbers are colours; bands go from blue to red."""
    colours = [name[:1].lower() for name in channels] == ["r", "g", "b"]
    if len(channels) == 3 and (colours or dtype == np.uint8):
        return [0, 1, 2]
    return np.linspace(len(channels) - 1, 0, 3).round().astype(int).tolist()


def rule(store: Store) -> str:
    """By which rule ``displayed`` makes colours of a store's images, in words."""
    red, green, blue = (store.info.channels[i] for i in _chosen(store.dtype, store.info.channels))
    words = f"grey {red}" if red == green == blue else f"red {red}, green {green}, blue {blue}"
    if store.dtype == np.uint8:
        return f"{words}, as stored"
    return f"{words}, each from its 1st to its 99.5th percentile in the cutout"
