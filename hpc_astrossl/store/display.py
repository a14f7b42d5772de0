"""Images of any store as people look at them."""

import numpy as np

from hpc_astrossl.store.reader import Store


def displayed(images: np.ndarray) -> np.ndarray:
    """Images (N, height, width, channels) as uint8 RGB: the first three of RGB, else red to blue over the channels.

    Fluxes are stretched between an image's 1st and 99.5th percentile.
    """
    images = images[..., _chosen(images.shape[3])]
    if images.dtype == np.uint8:
        return images
    images = np.nan_to_num(images, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = np.percentile(images, (1, 99.5), axis=(1, 2), keepdims=True)
    return (np.clip((images - low) / np.maximum(high - low, 1e-12), 0, 1) * 255).round().astype(np.uint8)


def _chosen(channels: int) -> list[int]:
    """Channels shown as red, green and blue."""
    return [0, 1, 2] if channels == 3 else np.linspace(channels - 1, 0, 3).round().astype(int).tolist()


def rule(store: Store) -> str:
    """By which rule ``displayed`` makes colours of a store's images, in words."""
    red, green, blue = (store.info.channels[i] for i in _chosen(store.image_shape[2]))
    if store.dtype == np.uint8:
        return f"red {red}, green {green}, blue {blue}, as stored"
    return f"red {red}, green {green}, blue {blue}, each from its 1st to its 99.5th percentile in the cutout"
