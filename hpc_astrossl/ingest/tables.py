"""Read columns of a text table (CSV, or separated by spaces with a ``#`` header) as arrays, a block of rows at a time.

Survey catalogues hold millions of rows and more than a hundred columns: only the columns asked for are kept, and
they become arrays block by block.
"""

import csv
import difflib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from hpc_astrossl.errors import InputError

BLOCK = 50_000  # rows
_NO_VALUE = frozenset({"", "null", "NULL", "--", "masked"})
Row = tuple[int, list[str]]  # line number from 1, fields


def read_table(
    path: Path, wanted: Mapping[str, Literal["text", "number"]], *, format: str = "ascii", names: Sequence[str] = ()
) -> dict[str, np.ndarray]:
    """The wanted columns of a table: text as str arrays, numbers as float64 (NaN where a field is empty).

    ``names`` are those of the first columns of a table without a header. InputError for a missing file or column, a
    row of another length, a field that is no number, a table without rows.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            header, rows = _split_csv(stream, names) if format == "csv" else _split_ascii(stream, names, wanted)
            places = [_place(path, header, name) for name in wanted]
            width = None if names else len(header)
            blocks = list(_blocks(path, rows, places, list(wanted.values()), width))
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; the recipe expects this table in the folder given as --source"
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: cannot be read as a text table ({error})") from None
    if not blocks:
        raise InputError(f"{path}: the table has no rows")
    return {name: np.concatenate([block[i] for block in blocks]) for i, name in enumerate(wanted)}


def _split_csv(stream: Iterable[str], names: Sequence[str]) -> tuple[list[str], Iterator[Row]]:
    reader = csv.reader(stream, skipinitialspace=True, strict=True)
    header = list(names) or [name.strip() for name in next(reader, [])]
    header[:1] = [name.lstrip("# ") for name in header[:1]]
    return header, ((reader.line_num, fields) for fields in reader if fields)


def _split_ascii(stream: Iterable[str], names: Sequence[str], wanted: Iterable[str]) -> tuple[list[str], Iterator[Row]]:
    """The header is the last comment line before the data that names every wanted column, else the first line."""
    comments: list[list[str]] = []
    lines = ((number, line.split()) for number, line in enumerate(stream, start=1))
    first: list[Row] = []
    for number, fields in lines:
        if fields and fields[0].startswith("#"):
            comments.append(" ".join(fields).lstrip("# ").split())
        elif fields:
            first = [(number, fields)]
            break
    rows = itertools.chain(first, (row for row in lines if row[1] and not row[1][0].startswith("#")))
    if names:
        return list(names), rows
    for header in reversed(comments):
        if set(wanted) <= set(header):
            return header, rows
    if first and (not comments or set(wanted) <= set(first[0][1])):
        return next(rows)[1], rows
    return max(comments[::-1], key=lambda words: len(set(words) & set(wanted)), default=[]), rows


def _place(path: Path, header: list[str], name: str) -> int:
    if header.count(name) == 1:
        return header.index(name)
    if name in header:
        raise InputError(f"{path}: column {name!r} stands {header.count(name)} times in the header")
    lower = {other.lower(): other for other in reversed(header)}
    near = [lower[match] for match in difflib.get_close_matches(name.lower(), lower, n=4, cutoff=0.5)]
    hint = f"nearest: {', '.join(near)}" if near else f"it has: {', '.join(header[:20]) or 'no header'}"
    raise InputError(f"{path}: no column {name!r}; {hint}. The recipe says which column is which")


def _blocks(path: Path, rows: Iterator[Row], places: list[int], kinds: list[str], width: int | None) -> Iterator[list]:
    need = max(places, default=-1) + 1
    while block := list(itertools.islice(rows, BLOCK)):
        for number, fields in block:
            if len(fields) != width if width else len(fields) < need:
                expected = f"{width}, as the header" if width else f"at least {need}"
                raise InputError(f"{path}, line {number}: {len(fields)} columns, expected {expected}")
        yield [_column(path, block, place, kind) for place, kind in zip(places, kinds, strict=True)]


def _column(path: Path, block: list[Row], place: int, kind: str) -> np.ndarray:
    values = [fields[place].strip() for _, fields in block]
    if kind == "text":
        return np.array(values, dtype=str)
    try:
        return np.array(["nan" if value in _NO_VALUE else value for value in values]).astype(np.float64)
    except ValueError:
        for (number, _), value in zip(block, values, strict=True):
            if value not in _NO_VALUE and not _is_number(value):
                raise InputError(
                    f"{path}, line {number}: expected a number in column {place + 1}, found {value!r}"
                ) from None
        raise


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
