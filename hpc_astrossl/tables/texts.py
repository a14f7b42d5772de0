"""Fields of text tables as what is asked for: names without the white space around them, labels, numbers."""

import re
from collections.abc import Collection, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hpc_astrossl.tables.values import NO_TEXT, NO_VALUE, Kind, Unfit, hint

LONGEST = 255  # characters of a field, as of a file's name: one of a million would make every row as wide in memory
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|[+-]?(nan|inf|infinity)", re.IGNORECASE)
BOOLEAN = {"true": "1", "false": "0"}
# 1.237e+18 is what is left of an id of 19 digits when a program took it for a number; so are 12.0, 13.0 or 13.
_ROUNDED, _WHOLE = r"^[+-]?\d(\.\d*)?[eE]\+?\d\d+$", r"^[+-]?\d+(\.0*)?$"
Texts = pa.ChunkedArray | pa.Array


def names(column: Texts, kind: Kind, nulls: Collection[str] = ()) -> np.ndarray:
    """Texts as names or labels, "" for a null (an Arrow null, or one of ``nulls``). Unfit for one that is too long,
    that holds a null byte, or for a name that was once a floating-point number."""
    column = plain(column)
    if nulls:
        column = pc.if_else(pc.is_in(column, pa.array(sorted(nulls), column.type)), "", column)
    if kind == "text":
        check_names(column)
    return column.to_numpy(zero_copy_only=False).astype(str)


def plain(column: Texts) -> Texts:
    """Texts without the white space around them. Unfit if one is longer than LONGEST, or holds a null byte, which no
    file's name and no other table could hold."""
    longest = pc.max(pc.utf8_length(column)).as_py() or 0
    if longest > LONGEST:
        raise Unfit(f"a text of {longest:,} characters, at most {LONGEST}")
    if pc.any(pc.match_substring(column, "\0")).as_py():
        raise Unfit("a text with a null byte")
    return pc.utf8_trim_whitespace(pc.fill_null(column, ""))


def check_names(column: Texts | np.ndarray) -> None:
    """Unfit for names that were once floating-point numbers: one of 19 digits is enough, or whole numbers of which one
    is written as 12.0."""
    column = pa.array(column) if isinstance(column, np.ndarray) else column
    dotted = column.filter(pc.match_substring(column, "."))
    exponents = column.filter(pc.match_substring_regex(column, _ROUNDED)) if len(dotted) else dotted
    wrong = exponents[0] if len(exponents) else None
    if len(dotted) and _whole(dotted) and _whole(column.filter(pc.not_equal(column, ""))):
        wrong = dotted[0]
    if wrong is not None:
        raise Unfit(f"{wrong.as_py()!r} was written as a floating-point number, which cannot tell long ids apart; "
                    "write whole numbers or text")  # fmt: skip


def _whole(column: Texts) -> bool:
    return pc.all(pc.match_substring_regex(column, _WHOLE)).as_py()


def text_nulls(more: Collection[str]) -> set[str]:
    """The words that stand for no name or label in a text table."""
    return {*NO_TEXT, *more}


def number_nulls(more: Collection[str]) -> set[str]:
    """The words that stand for no number in a text table."""
    return {*NO_VALUE, *more}


def numbers(fields: Sequence[str], nulls: Collection[str]) -> np.ndarray:
    """float64, NaN for a null; true and false are 1 and 0. NotANumber names the first field that is none."""
    texts = ["nan" if field in nulls else BOOLEAN.get(field.lower(), field) for field in fields]
    for place, text in enumerate(texts):
        if not NUMBER.fullmatch(text):
            raise NotANumber(place, fields[place])
    return np.array(texts, dtype=str).astype(np.float64)


class NotANumber(Unfit):
    """The field ``place``, counted from 0, is no number."""

    def __init__(self, place: int, field: str):
        super().__init__(f"found {field!r}{hint(field)}")
        self.place = place
