"""What a table says that cannot be so, or hardly: ids that lost digits, magnitudes that stand for no value."""

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hpc_astrossl.errors import InputError

DIGITS = 15  # of a whole number that a spreadsheet keeps
EXACT = 2**53  # a float64 holds every whole number up to here
FEWEST = 4  # long ids from which something is concluded
LOOKED_AT = 10_000  # ids; where a table was converted, all of them were
SHEETS = (1 << 16, 1 << 20)  # lines that spreadsheets hold: .xls, and .xlsx
BRIGHTEST, FAINTEST = -45.0, 45.0  # magnitudes: beyond are -999, 90, 99.99 and the like, which stand for no value
_LONG = re.compile(rf"\d{{{DIGITS + 1},20}}")


def rounded(ids: np.ndarray, column: str, path: Path) -> str:
    """What is to be said of ids that a program has taken for numbers; "" for nothing.

    InputError where a spreadsheet has: of no id more than 15 digits are left. What went through float64 has all its
    digits, and some surveys count in such steps, so that is only said.
    """
    long = {text for text in ids[:LOOKED_AT].tolist() if _LONG.fullmatch(text) and int(text) > EXACT}
    if len(long) < FEWEST:
        return ""
    first = min(long)
    if all(not text[DIGITS:].strip("0") for text in long):
        raise InputError(f"{path}: the ids in column {column!r} have no more than {DIGITS} digits that are not 0, such "
                         f"as {first}: a spreadsheet has rounded them, so that several objects may have one id; take "
                         "the table from its source again, with ids as text")  # fmt: skip
    if all(int(float(text)) == int(text) for text in long):
        return (
            f"the ids in column {column} look as if they had been floating-point numbers once, which round such "
            f"long ones (all are multiples of a power of 2, such as {first}): compare one with the release"
        )
    return ""


def cut_off(rows: int) -> str:
    """What is to be said of a text table that has so many rows below its header; "" for nothing."""
    if rows + 1 not in SHEETS:
        return ""
    return (
        f"the table has {rows + 1:,} lines, just as many as a spreadsheet holds: what it has saved ends there; look "
        "whether all objects of the release are in it"
    )


def unlikely(values: np.ndarray) -> np.ndarray:
    """Which magnitudes can be none, N; NaN is unknown already."""
    with np.errstate(invalid="ignore"):
        return (values < BRIGHTEST) | (values > FAINTEST)


def unlikely_words(found: Sequence[tuple[str, int, float]]) -> str:
    """What is to be said of magnitudes that were taken for unknown: (column, how many, the first of them)."""
    listed = ", ".join(f"{column} {count:,} (such as {value:g})" for column, count, value in found)
    return (
        f"magnitudes outside {BRIGHTEST:g}..{FAINTEST:g}, taken for unknown: {listed}; if they stand for no value, "
        "list it under catalogue.undetected; if they are fluxes, give flux and unit"
    )
