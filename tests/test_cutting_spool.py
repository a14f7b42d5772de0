"""Bands on their way to colours: what is read is what was put, however little the system reads or writes at a time."""

import os
import tempfile

import numpy as np
import pytest

from hpc_astrossl import files
from hpc_astrossl.cutting.spool import PART, Spool
from hpc_astrossl.errors import InputError


def images(rows):
    return np.random.default_rng(0).normal(size=(rows, 3, 4, 5)).astype(np.float32)


def filled(spool, planes):
    for channel in range(planes.shape[1]):
        order = np.random.default_rng(channel).permutation(len(planes))
        spool.put_planes(order, channel, np.ascontiguousarray(planes[order, channel : channel + 1]))
    return np.concatenate([part for _, part in spool.parts()])


@pytest.mark.parametrize("most", [1 << 31, 100])
def test_it_gives_back_what_was_put(monkeypatch, most):
    """Linux reads and writes no more than 2 GiB in one go."""
    read, write = os.preadv, os.pwrite
    monkeypatch.setattr(files.os, "preadv", lambda file, into, place: read(file, [into[0][:most]], place))
    monkeypatch.setattr(files.os, "pwrite", lambda file, data, place: write(file, data[:most], place))
    planes = images(PART + 7)
    with Spool(planes.shape) as spool:
        assert np.array_equal(filled(spool, planes), planes.transpose(0, 2, 3, 1))


def test_a_full_disk_names_the_folder_and_the_remedy(monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    planes = images(2)
    with Spool(planes.shape) as spool:
        monkeypatch.setattr(files.os, "pwrite", full)
        with pytest.raises(InputError, match=rf"{tempfile.gettempdir()}: cannot hold .*No space left.*set TMPDIR"):
            filled(spool, planes)
