"""Sums of blocks are kept by threads that hash files side by side, in time that does not grow with their number."""

import sys
import threading

import numpy as np
import pytest

from hpc_astrossl.cutting.blocksums import BlockSums


@pytest.fixture
def busy():
    """Threads that take turns as often as can be."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_threads_may_keep_sums_at_once(busy):
    sums, faults = BlockSums(most=100_000), []

    def work(first: int) -> None:
        try:
            for number in range(first, first + 3000):
                sums.put(number, np.full(20, number, dtype=np.uint64))
                assert (known := sums.get(number)) is None or known[0] == number
        except BaseException as error:
            faults.append(error)

    threads = [threading.Thread(target=work, args=(10_000 * number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert 0 < len(sums) <= 100_000 // (160 + 256)


def test_the_oldest_go_and_what_is_replaced_counts_once():
    sums = BlockSums(most=3 * (80 + 256))
    for name in ("a", "b", "b", "b", "c", "d"):
        sums.put(name, np.zeros(10, dtype=np.uint64))
    assert [name for name in "abcd" if sums.get(name) is not None] == ["b", "c", "d"]
    sums.put("large", np.zeros(10_000, dtype=np.uint64))
    assert len(sums) == 0
