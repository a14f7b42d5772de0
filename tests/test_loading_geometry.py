"""Flips and turns as codes and as matrices, by enumeration; warps against arithmetic written out."""

import os
import subprocess
import sys
from types import CodeType

import numpy as np
import pytest

from hpc_astrossl.loading import geometry, kernel
from hpc_astrossl.loading.draws import Augmentation
from hpc_astrossl.loading.geometry import codes, matrices
from hpc_astrossl.loading.kernel import Into
from hpc_astrossl.loading.kernel import put as put_all
from hpc_astrossl.loading.reference import put, warp

FLAGS = np.array([(h, v, k) for h in (0, 1) for v in (0, 1) for k in range(4)])
WAYS = Augmentation(
    horizontal=FLAGS[:, 0].astype(bool), vertical=FLAGS[:, 1].astype(bool), turns=FLAGS[:, 2].astype(np.uint8)
)


@pytest.mark.parametrize("side", [5, 8, 19, 24])  # the kernel turns eight rows and columns at a time
@pytest.mark.parametrize("channels", [1, 2, 3])  # it has loops of its own for one plane and for three colours of bytes
@pytest.mark.parametrize("planes_first", [True, False])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_every_flip_and_turn_is_one_of_eight_codes(dtype, planes_first, channels, side):
    images = np.random.default_rng(0).integers(0, 255, (3, side, side, channels)).astype(dtype)
    stored = images.transpose(0, 3, 1, 2)
    stored = np.ascontiguousarray(stored) if planes_first else stored
    assert set(codes(WAYS)) == set(range(8))
    moves = [np.arange(16) % 3, np.arange(16) % 2, np.arange(16)[::-1] // 2, codes(WAYS)]
    moves = np.stack(moves, axis=1).astype(np.int32)
    subtract, multiply = np.array([1, 2.5, 0], dtype=np.float32), np.array([3, 1 / 255, 2], dtype=np.float32)
    for scale, to in (((subtract, multiply), np.float32), ((0 * subtract, 0 * multiply + 1), dtype)):
        subtract, multiply = (numbers[:channels] for numbers in scale)
        batches = [np.empty((8, channels, side, side), dtype=to) for _ in range(2)]
        addresses = np.array([batch.ctypes.data for batch in batches])
        put_all(stored, moves, Into(addresses, np.empty(0, to), subtract, multiply))
        for (number, batch, place, _), (h, v, k) in zip(moves, FLAGS, strict=True):
            wanted = (put(images[number], h, v, k).astype(np.float32) - subtract) * multiply
            assert np.array_equal(batches[batch][place], wanted.transpose(2, 0, 1))


KERNEL = """
import resource, sys
import numpy as np
from hpc_astrossl.loading.kernel import Into, put
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # as on a full disk, a write fails
out, zero, one = np.empty((1, 1, 1, 1), np.float32), np.zeros(1, np.float32), np.ones(1, np.float32)
into = Into(np.array([out.ctypes.data]), np.empty(0, np.float32), zero, one)
put(np.full((1, 1, 1, 1), 7, np.uint8), np.zeros((1, 4), np.int32), into)
sys.exit(int(out[0, 0, 0, 0]))
"""


def test_a_kernel_that_cannot_be_kept_on_disk_is_used_nevertheless(tmp_path):
    done = subprocess.run([sys.executable, "-c", KERNEL], env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)})
    assert done.returncode == 7
    assert not list(tmp_path.rglob("*.nbc"))


def test_what_is_compiled_is_all_in_one_file_since_numba_looks_at_no_other_for_changes():
    def known(code: CodeType) -> set[str]:
        return {*code.co_names}.union(*(known(inner) for inner in code.co_consts if isinstance(inner, CodeType)))

    functions = [value.py_func for value in vars(kernel).values() if hasattr(value, "py_func")]
    assert {function.__name__ for function in functions} > {
        "put_planes",
        "put_colours",
        "_read",
        "read_and_put_planes",
        "_transpose",
    }
    assert {function.__module__ for function in functions} == {kernel.__name__}
    names = set().union(*(known(function.__code__) for function in functions))
    assert names & vars(geometry).keys() - {"np"} == {"TRANSPOSED", "UPSIDE_DOWN", "MIRRORED"}
    assert (geometry.TRANSPOSED, geometry.UPSIDE_DOWN, geometry.MIRRORED) == (4, 2, 1)  # changed: touch kernel.py, too


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
