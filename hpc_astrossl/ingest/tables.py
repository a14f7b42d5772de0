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
    """The wanted columns as arrays, block by block; every row must have ``width`` fields, if that is known."""
    picked = _picked(path, rows, places, width)
    while block := list(itertools.islice(picked, BLOCK)):
        numbers, *columns = zip(*block, strict=True)
        yield [
            np.array(values, dtype=str) if kind == "text" else _numbers(path, numbers, values, place)
            for values, place, kind in zip(columns, places, kinds, strict=True)
        ]


def _picked(path: Path, rows: Iterator[Row], places: list[int], width: int | None) -> Iterator[tuple]:
    """Line number and wanted fields of each row: most of a survey's columns are never kept."""
    need = max(places, default=-1) + 1
    for number, fields in rows:
        if len(fields) != width if width else len(fields) < need:
            expected = f"{width}, as the header" if width else f"at least {need}"
            raise InputError(f"{path}, line {number}: {len(fields)} columns, expected {expected}")
        yield (number, *[fields[place].strip() for place in places])


def _numbers(path: Path, numbers: Sequence[int], values: Sequence[str], place: int) -> np.ndarray:
    values = ["nan" if value in _NO_VALUE else value for value in values]
    try:
        return np.array(values).astype(np.float64)
    except ValueError:
        line, value = next((n, value) for n, value in zip(numbers, values, strict=True) if not _is_number(value))
        raise InputError(f"{path}, line {line}: expected a number in column {place + 1}, found {value!r}") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
