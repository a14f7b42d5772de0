"""When two ids are one: where the same letters are written in two ways.

An é may be one character, or an e and an accent: tables, file systems and spreadsheets differ in it, and nobody sees
it. Wherever ids are matched they are compared in Unicode's normal form C. Stores and tables keep them as they came.
"""

import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

_STRETCH = 1 << 18  # ids at a time


def same(text: str) -> str:
    """An id in the form in which ids are compared."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


def folded(ids: "np.ndarray") -> "np.ndarray":
    """Ids, (N,) text, in the form in which they are compared; the array itself where all are ASCII."""
    if not len(ids) or (ids.dtype.kind == "U" and _ascii(ids)):
        return ids
    import numpy as np  # here: labels are merged where there is none

    return np.array([same(text) for text in ids.tolist()], dtype=str)


def _ascii(ids: "np.ndarray") -> bool:
    parts = (ids[start : start + _STRETCH] for start in range(0, len(ids), _STRETCH))  # no copy of all is made
    return not ids.dtype.itemsize or all(int(part.copy(order="C").view("u4").max()) < 128 for part in parts)
