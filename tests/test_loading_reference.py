"""The reference loader, which is the specification, is itself checked against arithmetic written out here."""

import numpy as np
import pytest
from contracts.loader import LoaderContract

from hpc_astrossl.loading import draws, order
from hpc_astrossl.loading.reference import put, scale


class TestReference(LoaderContract):
    loader = "reference"

    def test_an_epoch_written_out(self, make, rgb):
        batches = list(make(rgb, turns=True, scaling="caffe").epoch(4))
        rows = order.epoch_order(np.arange(len(rgb)), rgb.chunk_rows, seed=5, epoch=4)
        drawn = draws.augmentation(5, 4, rows, draws.Augmenting())
        assert np.array_equal(np.concatenate([batch.rows for batch in batches]), rows)
        images = np.concatenate([batch.images.numpy() for batch in batches])
        for index, row in enumerate(rows):
            image = rgb.images([row])[0].astype(np.float32) - np.float32([123.68, 116.779, 103.939])
            image = np.flip(image, axis=1) if drawn.horizontal[index] else image
            image = np.flip(image, axis=0) if drawn.vertical[index] else image
            assert np.array_equal(images[index], np.rot90(image, drawn.turns[index]).transpose(2, 0, 1))


def test_put_flips_left_right_then_upside_down_then_turns_anticlockwise():
    image = np.array([[1, 2], [3, 4]])[..., None]
    assert put(image, True, False, 0)[..., 0].tolist() == [[2, 1], [4, 3]]
    assert put(image, False, True, 0)[..., 0].tolist() == [[3, 4], [1, 2]]
    assert put(image, False, False, 1)[..., 0].tolist() == [[2, 4], [1, 3]]
    assert put(image, True, False, 1)[..., 0].tolist() == [[1, 3], [2, 4]]


def test_scaling():
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16, 1)
    unit = scale(grey, "unit")
    assert unit.min() == 0
    assert unit.max() == 1
    quotient = grey.astype(np.float32) / np.float32(255)
    assert np.abs(unit - quotient).max() <= np.spacing(np.float32(1))
    assert scale(np.full((1, 1, 3), 200, dtype=np.uint8), "caffe").ravel() == pytest.approx([76.32, 83.221, 96.061])
    assert scale(grey, "none").dtype == np.float32
