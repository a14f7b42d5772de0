"""Images of any store as people look at them."""

import numpy as np


def displayed(images: np.ndarray) -> np.ndarray:
    """Images (N, height, width, channels) as uint8 RGB: the first three of RGB, else red to blue over the channels.

    Fluxes are stretched between an image's 1st and 99.5th percentile.
    """
    channels = images.shape[3]
    chosen = [0, 1, 2] if channels == 3 else np.linspace(channels - 1, 0, 3).round().astype(int)
    images = images[..., chosen]
    if images.dtype == np.uint8:
        return images
    low, high = np.percentile(images, (1, 99.5), axis=(1, 2), keepdims=True)
    return (np.clip((images - low) / np.maximum(high - low, 1e-12), 0, 1) * 255).round().astype(np.uint8)
