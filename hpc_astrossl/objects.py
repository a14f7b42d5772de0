"""The objects of a release in memory: what *which objects* (``selection``) hands to *their pixels* (``cutting``)."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

ARRAY_ROW = "place in the array"  # among ``columns``: the object's image in an array of all, from 0, as text
NO_ROW = -1  # there: an object without one


@dataclass(frozen=True, kw_only=True)
class Objects:
    """N objects in the order of the catalogue (of its files by name, if they are several).

    ``object_id`` and ``field`` are text; ``ra``, ``dec`` degrees; ``x``, ``y`` FITS pixels (the first pixel's centre
    is 1); ``magnitudes`` and ``errors`` are N × bands; all float64, NaN where unknown or undetected. ``reference`` is
    the magnitude in the recipe's reference band. ``flag`` is None without a flag column. ``columns`` holds those
    that labels, splits and file names are read from, as text. ``kind`` says what kind of table they came from,
    ``notes`` what else is to be said of it.
    """

    object_id: np.ndarray
    field: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    x: np.ndarray
    y: np.ndarray
    flag: np.ndarray | None
    magnitudes: np.ndarray
    errors: np.ndarray
    reference: np.ndarray
    columns: dict[str, np.ndarray]
    kind: str = ""
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.object_id)


def subset(objects: Objects, rows: np.ndarray) -> Objects:
    """The objects of ``rows``, in that order."""
    values = {part.name: getattr(objects, part.name) for part in fields(objects)}
    return replace(objects, **{name: _taken(value, rows) for name, value in values.items()})


def _taken(value: Any, rows: np.ndarray) -> Any:
    if isinstance(value, dict):
        return {key: _taken(entry, rows) for key, entry in value.items()}
    return value[rows] if hasattr(value, "shape") else value  # an array, or a column that lies in a file


def distinct(column: Any) -> np.ndarray:
    """The distinct texts of a column, in order."""
    return column.distinct() if hasattr(column, "distinct") else np.unique(column)


def ranked(column: Any, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(the distinct texts among some rows of a column, in order; the number of each row's); a column of a few texts
    that lies in a file need not be held as text for that."""
    if hasattr(column, "ranked"):
        return column.ranked(rows)
    return np.unique(column[rows], return_inverse=True)


def joined(parts: Sequence[Objects]) -> Objects:
    """The objects of the parts, one after the other; all have the same columns."""
    first = parts[0]
    return replace(first, **{name: _together([getattr(part, name) for part in parts])
                             for name in (field.name for field in fields(first))})  # fmt: skip


def _together(values: Sequence[Any]) -> Any:
    if isinstance(values[0], dict):
        return {key: _together([value[key] for value in values]) for key in values[0]}
    return np.concatenate(values) if isinstance(values[0], np.ndarray) else values[0]
