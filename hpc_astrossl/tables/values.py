"""From what a file holds to what is asked for: names (exact), labels, or numbers, with nulls that stay nulls.

A *name* (an id, a field, a part of a file's name) is text or a whole number; a *label* may be any value; a *number* is
float64. A null is "" as a text and NaN as a number, in every format.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

Kind = Literal["text", "label", "number", "angle"]  # an angle is a number, in degrees whatever its unit in the table
Wanted = Mapping[str, Kind]  # column, or an element of one such as MAG_APER[1] -> as what it is read
NO_VALUE = ("", "null", "NULL", "--", "masked")  # of numbers in text tables
NO_TEXT = ("", "null", "NULL", "--", "nan", "NaN")  # of names and labels there
EXPECTED = {"text": "text or whole numbers", "label": "text or numbers", "number": "a number"}
SEXAGESIMAL = re.compile(r"[+-]?\d{1,3}\s*[:h d]\s*\d{1,2}\s*[:m' ]\s*\d{1,2}(\.\d*)?\s*[s\"]?")
UNITS = {
    "deg", "degree", "degrees", "mag", "arcsec", "arcmin", "pix", "pixel", "pixels", "jy", "mjy", "njy", "ujy", "nmgy",
    "nanomaggy", "nanomaggies", "char", "string", "str", "int", "integer", "float", "double", "bool", "boolean",
    "int16", "int32", "int64", "float32", "float64", "varchar", "bigint", "dimensionless", "unitless",
}  # fmt: skip
_ELEMENT = re.compile(r"(.+)\[(\d+)\]")


class Unfit(ValueError):
    """Values that cannot be what is asked for; says what they are."""


def element(name: str, names: Sequence[str]) -> tuple[str, int | None]:
    """The column and, counted from 0, the element that ``name`` stands for: ``MAG_APER[1]`` is the second value of
    column MAG_APER, unless a column is called so."""
    found = _ELEMENT.fullmatch(name)
    return (found[1], int(found[2])) if found and name not in names else (name, None)


def pick(values: np.ndarray, name: str, index: int | None) -> np.ndarray:
    """One value a row of a column of shape (N, …): of a vector, the element ``index``. Unfit where there is none."""
    shape = tuple(length for length in values.shape[1:] if length != 1) if values.ndim > 1 else ()
    if len(shape) > 1:
        raise Unfit(f"holds {' × '.join(map(str, shape))} values a row, expected one")
    flat = values.reshape(len(values), -1) if values.ndim > 1 else values[:, None]
    count = flat.shape[1] if len(values) else max(shape, default=1)
    if index is None and shape:
        raise Unfit(f"is a vector of {count} values, expected a number or text in each row; say {name}[0] to "
                    f"{name}[{count - 1}] for one of them")  # fmt: skip
    if index is not None and not 0 <= index < count:
        raise Unfit(f"has {count} values a row, [0] to [{count - 1}]; there is no [{index}]")
    return flat[:, index or 0]


def convert(values: np.ndarray, null: np.ndarray | None, kind: Kind) -> np.ndarray:
    """Values of one column as they are asked for; ``null`` is True where there is none. Unfit if they cannot be."""
    convertible = values.dtype.kind in "SUbiuf" and not (kind == "number" and values.dtype.kind in "SU")
    if kind == "text" and values.dtype.kind == "f" and (null is None or not null.all()):
        raise Unfit("holds floating-point numbers, which cannot tell long ids apart; expected text or whole numbers")
    if not convertible:
        raise Unfit(f"expected {EXPECTED[kind]} in each row{example(values)}")
    if kind == "number":
        found = values.astype(np.float64)
        if null is not None:
            found[null] = np.nan
        return found
    return _texts(values, null)


def _texts(values: np.ndarray, null: np.ndarray | None) -> np.ndarray:
    if values.dtype.kind == "S":
        values = ascii_text(values)
    elif values.dtype.kind == "b":
        values = np.where(values, "true", "false")
    elif values.dtype.kind == "f":
        null = np.isnan(values) if null is None else null | np.isnan(values)
    texts = np.char.strip(values) if values.dtype.kind == "U" else values.astype(str)
    if null is not None:
        texts[null] = ""
    return texts


def ascii_text(values: np.ndarray) -> np.ndarray:
    """Bytes as text; what follows a null byte is no part of it. Unfit if they are not ASCII."""
    if len(values) and (np.char.find(values, b"\0") >= 0).any():
        values = np.array([value.partition(b"\0")[0] for value in values.tolist()], dtype=values.dtype)
    try:
        return np.char.decode(values, "ascii")
    except UnicodeDecodeError as error:
        raise Unfit(f"holds text that is not ASCII ({error})") from None


def example(values: np.ndarray) -> str:
    """What to say of texts that should have been numbers."""
    if values.dtype.kind not in "SU" or values.ndim != 1 or not len(values):
        return ""
    first = next((text for text in values.tolist() if text), "")
    text = (first.decode("ascii", "replace") if isinstance(first, bytes) else first).strip()
    return f", found {text!r}{hint(text)}"


def units(fields: Sequence[str]) -> bool:
    """Whether the fields of a row are words for units or types, and nothing else."""
    words = [field.strip().strip("()[]").lower() for field in fields]
    return not UNITS.isdisjoint(words) and all(word in UNITS or not word.strip("-") for word in words)


def hint(text: str) -> str:
    """What a text that should have been a number may be, and what to do."""
    if SEXAGESIMAL.fullmatch(text):
        convert_it = "astropy: SkyCoord(ra, dec, unit=('hourangle', 'deg'))"
        return f": a sexagesimal position; convert it to decimal degrees ({convert_it})"
    if units([text]):
        return "; if this is a row of units or types, remove it"
    if re.fullmatch(r"[^\d\s]+|-9+(\.0*)?|\\N", text):
        return "; if it stands for no value, list it under null_words"
    return ""
