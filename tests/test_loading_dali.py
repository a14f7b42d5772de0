"""The DALI loader keeps the contract; what is its own is tested here."""

import sys
from typing import ClassVar

import pytest
from contracts.loader import ROWS, LoaderContract

from hpc_astrossl.errors import InputError
from hpc_astrossl.names import LOADERS, resolve


class TestDali(LoaderContract):
    loader = "dali"

    # Its asinh and its order of arithmetic round otherwise: a few units in the last place of float32.
    tolerance: ClassVar = {"asinh": 4e-6, "standard": 1e-5}

    def test_resident_images_are_kept_decoded_where_training_is(self, make, jpeg):
        loader = make(jpeg, scaling="unit")
        list(loader.epoch(0))
        assert loader.resident
        assert (loader._kept.device.type, tuple(loader._kept.shape)) == ("cpu", (ROWS, 8, 8, 3))


def test_without_dali_the_message_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "nvidia.dali", None)
    monkeypatch.delitem(sys.modules, "hpc_astrossl.loading.pipeline")
    monkeypatch.delattr("hpc_astrossl.loading.pipeline")
    monkeypatch.delitem(sys.modules, "hpc_astrossl.loading.dali")
    with pytest.raises(
        InputError, match=r"loader dali needs NVIDIA DALI, .* install hpc_astrossl\[train\], or use the loader vec"
    ):
        resolve(LOADERS, "dali", "loader")
