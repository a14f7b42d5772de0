"""From the store's numbers to the network's: (softened x − subtract) × multiply, per channel, in float32."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpc_astrossl.errors import InputError

CAFFE_MEANS = (123.68, 116.779, 103.939)  # of ImageNet's red, green, blue in 0..255, as VGG subtracts them
IMAGENET_MEANS = (0.485, 0.456, 0.406)  # of red, green, blue in 0..1, as torchvision's other networks are trained
IMAGENET_DEVIATIONS = (0.229, 0.224, 0.225)
KINDS = ("unit", "caffe", "imagenet", "none", "standard", "asinh")
FROM_STORE = ("standard", "asinh")  # these need the statistics that the store keeps of its training split
NAMES = ("mean", "std", "noise")  # of a channel's pixels, see hpc_astrossl/store/statistics.py


@dataclass(frozen=True, kw_only=True, eq=False)
class Scaling:
    """Per-channel float32 numbers, each (channels,); ``soften`` is None or what a pixel is multiplied by in asinh."""

    subtract: np.ndarray
    multiply: np.ndarray
    soften: np.ndarray | None = None

    def apply(self, images: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Scale ``images`` (…, channels) into ``out``, float32 of the same shape; they may be the same array."""
        if self.soften is not None:
            np.multiply(images, self.soften, out=out)
            np.arcsinh(out, out=out)
        elif out is not images:
            np.copyto(out, images)
        if self.subtract.any():
            np.subtract(out, self.subtract, out=out)
        if (self.multiply != 1).any():
            np.multiply(out, self.multiply, out=out)
        return out


def scaling(kind: str, channels: int, statistics: Mapping[str, Any] | None = None) -> Scaling:
    """The scaling of that name.

    "unit" divides 0..255 by 255, "caffe" subtracts CAFFE_MEANS, "imagenet" takes 0..1 less IMAGENET_MEANS over
    IMAGENET_DEVIATIONS, "none" leaves the numbers, "standard" makes mean 0
    and standard deviation 1 of each channel, "asinh" is asinh(pixel / noise): linear in the noise, logarithmic above.
    InputError when the statistics of a store are needed and it has none.
    """
    if kind not in KINDS:
        raise InputError(f"scaling must be {', '.join(KINDS[:-1])} or {KINDS[-1]}, found {kind!r}")
    zero, one = np.zeros(channels, dtype=np.float32), np.ones(channels, dtype=np.float32)
    if kind == "unit":  # the float32 nearest 1/255, as DALI does: within one unit in the last place of the quotient
        return Scaling(subtract=zero, multiply=np.full(channels, 1 / 255, dtype=np.float32))
    if kind == "caffe":
        return Scaling(subtract=np.array(CAFFE_MEANS, dtype=np.float32), multiply=one)
    if kind == "imagenet":
        mean, std = (255 * np.array(values) for values in (IMAGENET_MEANS, IMAGENET_DEVIATIONS))
        return Scaling(subtract=mean.astype(np.float32), multiply=(1 / std).astype(np.float32))
    if kind == "none":
        return Scaling(subtract=zero, multiply=one)
    if not statistics:
        raise InputError(f"scaling {kind} needs the statistics of the training split, and this store was made without; "
                         "make it again with astrossl preprocess, or set data.scaling to unit or none")  # fmt: skip
    mean, std, noise = (np.array(statistics[name], dtype=np.float64) for name in NAMES)
    if kind == "standard":
        return Scaling(subtract=mean.astype(np.float32), multiply=(1 / positive(std)).astype(np.float32))
    return Scaling(subtract=zero, multiply=one, soften=(1 / positive(noise)).astype(np.float32))


def positive(values: np.ndarray) -> np.ndarray:
    """The values, 1 for a channel in which nothing varies."""
    return np.where(values > 0, values, 1.0)
