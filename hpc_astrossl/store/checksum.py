"""CRC-32C of many bytes, without Python's lock.

google-crc32c, which zarr uses, holds the lock while it sums, so that of several threads that read chunks only one
could. Its C library is called directly; where the package is built otherwise, its Python function is.
"""

import ctypes

import google_crc32c
import numpy as np


def _library_function():
    """``crc32c_extend(sum, bytes, count)`` of the library that google-crc32c's extension is linked with, or None."""
    try:
        from google_crc32c import _crc32c

        function = ctypes.CDLL(_crc32c.__file__).crc32c_extend
    except (ImportError, OSError, AttributeError):
        return None
    function.argtypes, function.restype = (ctypes.c_uint32, ctypes.c_void_p, ctypes.c_size_t), ctypes.c_uint32
    return function


_extend = _library_function()


def address() -> int | None:
    """Where ``uint32_t crc32c_extend(uint32_t, const uint8_t *, size_t)`` is; None where the library is not."""
    return None if _extend is None else ctypes.cast(_extend, ctypes.c_void_p).value


def crc32c(data: np.ndarray) -> int:
    """The CRC-32C of contiguous uint8 ``data``."""
    return google_crc32c.value(data) if _extend is None else _extend(0, data.ctypes.data, data.nbytes)
