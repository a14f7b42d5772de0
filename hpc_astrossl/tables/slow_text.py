"""Read a text table line by line: what Arrow does not take, and, with the line, what is wrong with it."""

import csv
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

import numpy as np
import pyarrow as pa

from hpc_astrossl.errors import InputError
from hpc_astrossl.tables import headers, streams, texts
from hpc_astrossl.tables.headers import Layout
from hpc_astrossl.tables.values import Unfit, Wanted, units

SLOW_BLOCK = 50_000  # rows
Row = tuple[int, list[str]]  # line number from 1, fields


class Nulls:
    """The words that stand for no value in a table: everywhere, and in one column."""

    def __init__(self, table: Layout):
        self._own = table.nulls
        self.common = texts.number_nulls(table.nulls.get(None, ()))

    def of(self, name: str) -> set[str]:
        """The words of this column alone."""
        return set(self._own.get(name, ()))


def first_row(table: Layout) -> Row | None:
    """The first row of the data, None without any. InputError if it is a row of units or types."""
    first = next(_rows(table, errors="surrogateescape"), None)  # its other columns may hold anything
    if first is not None and units(first[1]):
        raise InputError(f"{table.path}, line {first[0]}: looks like a row of units or types "
                         f"({', '.join(field.strip() for field in first[1])}); remove it")  # fmt: skip
    return first


def blocks(table: Layout, wanted: Wanted, places: Mapping[str, int]) -> Iterator[dict[str, np.ndarray]]:
    """The wanted columns, so many rows at a time. InputError, with the line, for what is wrong."""
    nulls = Nulls(table)
    picked = _picked(table, places)
    while block := list(itertools.islice(picked, SLOW_BLOCK)):
        lines, *columns = zip(*block, strict=True)
        columns = dict(zip(wanted, columns, strict=True))
        yield {name: _column(table, (lines, columns[name]), (name, kind), nulls) for name, kind in wanted.items()}


def _column(table: Layout, values: tuple[Sequence[int], Sequence[str]], column: tuple[str, str],
            nulls: Nulls) -> np.ndarray:  # fmt: skip
    (lines, fields), (name, kind) = values, column
    place = table.header.index(name) + 1
    own = nulls.of(name)
    try:
        if kind == "number":
            found = texts.numbers(fields, nulls.common | own)
            for word in filter(texts.NUMBER.fullmatch, own):
                found[found == float(word)] = np.nan
            return found
        return texts.names(pa.array(fields, pa.string()), kind, texts.text_nulls({*own, *table.nulls.get(None, ())}))
    except texts.NotANumber as error:
        raise InputError(f"{table.path}, line {lines[error.place]}: expected a number in column {place} ({name}), "
                         f"{error}") from None  # fmt: skip
    except Unfit as error:
        raise InputError(f"{table.path}: column {place} ({name}): {error}") from None


def _rows(table: Layout, errors: str = "strict") -> Iterator[Row]:
    with (
        streams.unpacked(table.path) as raw,
        io.TextIOWrapper(streams.skip(raw, table.start), encoding="utf-8", errors=errors, newline="") as text,
    ):
        kind = _delimited if table.delimiter is not None else _fixed if table.rule else _spaced
        rows = kind(text, table)
        yield from rows


def _delimited(text: TextIO, table: Layout) -> Iterator[Row]:
    reader = csv.reader(text, delimiter=table.delimiter, skipinitialspace=True, strict=True)
    try:
        for fields in reader:
            if fields == ["[EOD]"]:  # the end of a Skycat table
                return
            if fields and (len(fields) > 1 or fields[0].strip() or len(table.header) == 1):
                yield table.line - 1 + reader.line_num, fields
    except csv.Error as error:
        raise InputError(f"{table.path}, line {table.line - 1 + reader.line_num}: {error}") from None


def _spaced(text: TextIO, table: Layout) -> Iterator[Row]:
    for number, line in enumerate(text, table.line):
        bare = line.strip()
        if not bare or bare.startswith("#"):
            continue
        if "\t\t" in bare or line.rstrip("\r\n ").endswith("\t") or line.startswith("\t"):
            raise InputError(f"{table.path}, line {number}: an empty field between tabs, which cannot be told among "
                             "spaces; say format: tsv")  # fmt: skip
        try:
            yield number, _by_width(bare, table) if table.widths else headers.split(bare, None)
        except csv.Error as error:
            raise InputError(f"{table.path}, line {number}: {error}") from None


def _fixed(text: TextIO, table: Layout) -> Iterator[Row]:
    for number, line in enumerate(text, table.line):
        bare = line.rstrip("\r\n")
        if bare.strip() and table.rule.is_row(bare):
            try:
                yield number, table.rule.fields(bare)
            except ValueError as error:
                raise InputError(f"{table.path}, line {number}: {error}") from None


def _by_width(line: str, table: Layout) -> list[str]:
    """The fields of a line in which some columns have so many characters, blanks included."""
    fields, rest = [], line
    for place in range(len(table.header)):
        rest = rest.lstrip(" ")
        if not rest and place not in table.widths:
            break
        length = table.widths.get(place, len(rest.split(None, 1)[0]) if rest else 0)
        fields.append(rest[:length].strip())
        rest = rest[length:]
        if rest and not rest.startswith(" "):
            raise csv.Error(
                f"column {place + 1} ({table.header[place]}) is wider than the {length} characters declared"
            )
    return fields + rest.split()


def _picked(table: Layout, places: Mapping[str, int]) -> Iterator[tuple]:
    """Line number and wanted fields of each row; every row must be as long as the header, or as the first one."""
    count, need = len(table.header), max(places.values(), default=-1) + 1
    expected = f"{count}, as the header"
    for index, (number, fields) in enumerate(_rows(table)):
        if table.named and index == 0:
            count = len(fields)
            expected = f"{count}, as the first row has: an empty field must be marked, or the fields separated by tabs"
            if count < len(table.header):
                raise InputError(f"{table.path}, line {number}: {count} columns, the recipe's names list "
                                 f"{len(table.header)}")  # fmt: skip
        if len(fields) != count or count < need:
            raise InputError(f"{table.path}, line {number}: {len(fields)} columns, expected {expected}")
        for place in places.values():
            if len(fields[place]) > texts.LONGEST or "\0" in fields[place]:
                long = len(fields[place]) > texts.LONGEST
                found = f"{len(fields[place]):,} characters" if long else "a null byte"
                raise InputError(f"{table.path}, line {number}: {found} in column {place + 1} ({table.header[place]}), "
                                 f"expected at most {texts.LONGEST} of plain text")  # fmt: skip
        yield (number, *[fields[place].strip() for place in places.values()])
