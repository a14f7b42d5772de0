"""The DALI loader keeps the contract; what is its own is tested here."""

import sys

import numpy as np
import pytest
from contracts.loader import LoaderContract

from hpc_astrossl.errors import InputError
from hpc_astrossl.loading.dali import permute
from hpc_astrossl.loading.order import Augmentation
from hpc_astrossl.loading.reference import put
from hpc_astrossl.names import LOADERS, resolve


class TestDali(LoaderContract):
    loader = "dali"

    def test_is_the_default(self, make, rgb):
        assert make(rgb).name == "dali"

    def test_a_closed_loader_says_so(self, make, rgb):
        loader = make(rgb)
        loader.close()
        with pytest.raises(ValueError, match="the loader is closed"):
            list(loader.epoch(0))


def test_without_dali_the_message_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    monkeypatch.delitem(sys.modules, "hpc_astrossl.loading.dali")
    with pytest.raises(
        InputError, match=r"loader dali needs NVIDIA DALI, .* install hpc_astrossl\[train\], or use the load"
    ):
        resolve(LOADERS, "dali", "loader")


def test_permuting_then_mirroring_is_every_flip_and_turn():
    flags = np.array([(h, v, k) for h in (0, 1) for v in (0, 1) for k in range(4)])
    drawn = Augmentation(
        horizontal=flags[:, 0].astype(bool), vertical=flags[:, 1].astype(bool), turns=flags[:, 2].astype(np.uint8)
    )
    image = np.arange(5 * 5 * 2).reshape(5, 5, 2)
    images = np.repeat(image[None], len(flags), axis=0)
    mirror = permute(images, drawn)
    for one, mirrored, (h, v, k) in zip(images, mirror, flags, strict=True):
        assert np.array_equal(one[:, ::-1] if mirrored else one, put(image, h, v, k))
