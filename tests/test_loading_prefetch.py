"""Work ahead in a thread: its order, its errors, and its end."""

import itertools
import subprocess
import sys

import pytest

from hpc_astrossl.loading.prefetch import ahead

LEFT_OPEN = """
import itertools
from hpc_astrossl.loading.prefetch import ahead

def source():
    try:
        yield from itertools.count()
    finally:
        print("closed")

held = [ahead(source(), 2)]
held.append(held)  # a cycle, as loaders are in: nothing closes it before the end
next(held[0])
"""


def test_items_come_in_order_and_an_error_where_its_item_would_have_come():
    def source():
        yield from range(5)
        raise ValueError("the sixth")

    items = ahead(source(), 2)
    assert list(itertools.islice(items, 5)) == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="the sixth"):
        next(items)


def test_closing_it_closes_the_source():
    closed = []

    def source():
        try:
            yield from itertools.count()
        finally:
            closed.append(True)

    items = ahead(source(), 2)
    next(items)
    items.close()
    assert closed == [True]


def test_the_end_of_the_interpreter_waits_for_the_thread():
    done = subprocess.run([sys.executable, "-c", LEFT_OPEN], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "closed\n", "")
