"""An image's gradient in the place of its colours, as DeepCluster shows it to its networks (Caron et al. 2018).

The kernels are a buffer of the convolutions, ``features.sobel``: so weights that were learnt from gradients say so
wherever they go.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpc_astrossl.errors import InputError

BUFFER = "sobel"
DOWN = ((1.0, 2.0, 1.0), (0.0, 0.0, 0.0), (-1.0, -2.0, -1.0))


def kernels() -> Tensor:
    """Sobel's two filters, (2, 1, 3, 3): along a row, and down a column."""
    down = torch.tensor(DOWN)
    return torch.stack([down.T, down])[:, None]


def add(features: nn.Module, channels: int) -> None:
    """Make convolutions for ``channels`` channels those of gradients; InputError for one channel: it takes two."""
    if channels < 2:
        raise InputError("model.sobel: the gradient has two components, and the store's images have one channel; "
                         "leave model.sobel out")  # fmt: skip
    features.register_buffer(BUFFER, kernels())


def shown(features: nn.Module, images: Tensor) -> Tensor:
    """What convolutions are shown of images (B, channels, h, w).

    Of gradients: those of the mean over channels, along rows and along columns, in the first two; zeros in the others.
    """
    filters = getattr(features, BUFFER, None)
    if filters is None:
        return images
    found = F.conv2d(images.mean(dim=1, keepdim=True), filters.to(images.dtype), padding=1)
    return F.pad(found, (0, 0, 0, 0, 0, images.shape[1] - 2))
