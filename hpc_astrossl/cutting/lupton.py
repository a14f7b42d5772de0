"""The door to astropy's RGB images of Lupton et al. (2004): colours made from three bands by one fixed stretch."""

import numpy as np

from hpc_astrossl.specs.images import LuptonSpec

BLOCK = 256  # images at a time


def colours(bands: np.ndarray, spec: LuptonSpec) -> np.ndarray:
    """RGB images, uint8, of (M, height, width, 3) brightness in red, green, blue; each pixel on its own.

    Pixels without a value become black; leave such images out before.
    """
    from astropy.visualization import make_lupton_rgb  # here, since it looks for matplotlib, which most never need

    out = np.zeros(bands.shape, dtype=np.uint8)
    for i in range(0, len(bands), BLOCK):
        block = np.nan_to_num(bands[i : i + BLOCK].astype(np.float64), nan=spec.minimum, posinf=spec.minimum)
        flat = block.reshape(-1, bands.shape[2], 3)  # one image below the other: no pixel looks at its neighbours
        red, green, blue = (flat[..., channel] for channel in range(3))
        with np.errstate(invalid="ignore", divide="ignore"):  # black is 0/0, which astropy replaces by 0
            colour = make_lupton_rgb(red, green, blue, minimum=spec.minimum, stretch=spec.stretch, Q=spec.q)
        out[i : i + BLOCK] = colour.reshape(block.shape)
    return out
