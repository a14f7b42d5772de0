"""Flips and turns as codes and as matrices, by enumeration; warps against arithmetic written out."""

import numpy as np
import pytest

from hpc_astrossl.loading.draws import Augmentation
from hpc_astrossl.loading.geometry import codes, matrices, view
from hpc_astrossl.loading.reference import put, warp

FLAGS = np.array([(h, v, k) for h in (0, 1) for v in (0, 1) for k in range(4)])
WAYS = Augmentation(
    horizontal=FLAGS[:, 0].astype(bool), vertical=FLAGS[:, 1].astype(bool), turns=FLAGS[:, 2].astype(np.uint8)
)


def test_every_flip_and_turn_is_one_of_eight_views():
    image = np.arange(5 * 5 * 2).reshape(5, 5, 2)
    assert set(codes(WAYS)) == set(range(8))
    for code, (h, v, k) in zip(codes(WAYS), FLAGS, strict=True):
        assert np.array_equal(view(image, code), put(image, h, v, k).transpose(2, 0, 1))


@pytest.mark.parametrize("shape", [(5, 5, 2), (4, 7, 1)])
def test_every_flip_and_turn_is_a_matrix_of_places(shape):
    image = np.arange(np.prod(shape)).reshape(shape)
    for matrix, (h, v, k) in zip(matrices(WAYS, *shape[:2]), FLAGS, strict=True):
        if k % 2 and shape[0] != shape[1]:
            continue  # not square images are never turned
        wanted = put(image, h, v, k)
        y, x = np.mgrid[: wanted.shape[0], : wanted.shape[1]] + 0.5
        from_x, from_y = (row[0] * x + row[1] * y + row[2] for row in matrix)
        assert np.array_equal(image[(from_y - 0.5).astype(int), (from_x - 0.5).astype(int)], wanted)


def test_a_warp_moves_down_and_right_and_repeats_the_border():
    image = np.array([[1, 2], [3, 4]], dtype=np.float32)[..., None]
    assert warp(image, np.array([0, 1, 0]))[..., 0].tolist() == [[1, 2], [1, 2]]
    assert warp(image, np.array([0, 0, 1]))[..., 0].tolist() == [[1, 1], [3, 3]]
    assert warp(image, np.array([0, 0.5, 0]))[..., 0].tolist() == [[1, 2], [2, 3]]


def test_a_warp_turns_anticlockwise():
    image = np.random.default_rng(0).random((6, 6, 2), dtype=np.float32)
    assert np.allclose(warp(image, np.array([np.pi / 2, 0, 0])), np.rot90(image), atol=1e-6)
