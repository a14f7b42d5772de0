"""Flips, turns and warps as arithmetic: eight ways to put an image, a warp by bilinear interpolation, and matrices.

A flip-and-turn is a transposition or none, then rows upside down or not, then a mirror or none. A warp turns the
picture about its centre and moves it; what lies outside is the nearest pixel of the border.
"""

import numpy as np
import torch

from hpc_astrossl.loading.draws import Augmentation

TRANSPOSED, UPSIDE_DOWN, MIRRORED = 4, 2, 1


def codes(drawn: Augmentation) -> np.ndarray:
    """Each object's flips and turns as the sum of the three constants, uint8 (B,).

    A quarter turn (``numpy.rot90``) is a transposition, then upside down; a transposition swaps the kinds of flip.
    """
    horizontal, vertical = drawn.horizontal.view(np.uint8), drawn.vertical.view(np.uint8)
    odd, half = drawn.turns & 1, drawn.turns >> 1 & 1
    upside_down = vertical ^ (odd & (vertical ^ horizontal ^ 1)) ^ half
    mirrored = horizontal ^ (odd & (vertical ^ horizontal)) ^ half
    return TRANSPOSED * odd + UPSIDE_DOWN * upside_down + MIRRORED * mirrored


def warp_matrices(warp: np.ndarray, height: int, width: int) -> np.ndarray:
    """From places in the warped picture to places in the one before, (x, y, 1) in pixels: float64 (B, 2, 3).

    Places are continuous: the centre of the first pixel is (0.5, 0.5).
    """
    cos, sin = np.cos(warp[:, 0]), np.sin(warp[:, 0])
    x, y = width / 2, height / 2
    moved_x, moved_y = x + warp[:, 2], y + warp[:, 1]  # where the centre has gone
    # The picture turns anticlockwise as shown with row 0 on top, so its places turn back clockwise.
    rows = [[cos, -sin, x - cos * moved_x + sin * moved_y], [sin, cos, y - sin * moved_x - cos * moved_y]]
    return np.moveaxis(np.array(rows), -1, 0)


def matrices(drawn: Augmentation, height: int, width: int) -> np.ndarray:
    """From places in the augmented picture to places in the stored one: float32 (B, 2, 3), as DALI wants them."""
    code, zero, one = codes(drawn), np.zeros(len(drawn.turns)), np.ones(len(drawn.turns))
    tall, wide = np.where(code & TRANSPOSED, width, height), np.where(code & TRANSPOSED, height, width)
    up, mirror = (code & UPSIDE_DOWN).astype(bool), (code & MIRRORED).astype(bool)
    x = np.stack([np.where(mirror, -1, one), zero, np.where(mirror, wide, zero)], axis=1)
    y = np.stack([zero, np.where(up, -1, one), np.where(up, tall, zero)], axis=1)
    swap = (code & TRANSPOSED).astype(bool)[:, None]
    flipped = np.stack([np.where(swap, y, x), np.where(swap, x, y)], axis=1)
    if drawn.warp is not None:
        last = np.broadcast_to([0.0, 0.0, 1.0], (len(code), 1, 3))
        flipped = flipped @ np.concatenate([warp_matrices(drawn.warp, height, width), last], axis=1)
    return flipped.astype(np.float32)


def warped(images: torch.Tensor, warp: np.ndarray) -> torch.Tensor:
    """Images (B, channels, height, width) warped, see ``draws.Augmentation``; fresh memory."""
    height, width = images.shape[2:]
    size = np.array([width, height])
    # torch counts places from -1 to 1 across the picture.
    matrix = warp_matrices(warp, height, width)
    matrix[:, :, 2] = (2 * matrix[:, :, 2] + (matrix[:, :, :2] * size).sum(axis=2)) / size - 1
    matrix[:, :, :2] *= size / size[:, None]
    grid = torch.nn.functional.affine_grid(torch.from_numpy(matrix.astype(np.float32)), list(images.shape),
                                           align_corners=False)  # fmt: skip
    return torch.nn.functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
