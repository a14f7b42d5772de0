"""Read columns of a text table: CSV, or separated by spaces with a ``#`` header.

Arrow reads the columns asked for, a block at a time. Where it refuses a table, a slow reader goes over it line by line:
that one takes a little more (rows longer than the names a recipe gives), and names the line of what is wrong.
"""

import csv
import io
import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from hpc_astrossl.errors import InputError

BLOCK = 1 << 24  # bytes that Arrow is given at once
SLOW_BLOCK = 50_000  # rows
LONGEST = 255  # characters of a field, as of a file's name: one of a million would make every row as wide in memory
NO_VALUE = ("", "null", "NULL", "--", "masked")
Row = tuple[int, list[str]]  # line number from 1, fields


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where a text table has what: its column names, and the byte and line after the header."""

    path: Path
    format: str
    header: tuple[str, ...]
    named: bool  # the recipe gave the names, of the first columns only
    start: int
    line: int


def layout(path: Path, format: str, names: Sequence[str], wanted: Mapping[str, str]) -> Layout:
    """Find the header. OSError or UnicodeDecodeError if the file cannot be read."""
    with path.open("rb") as stream:
        find = _csv_header if format == "csv" else _ascii_header
        header, start, line = find(stream, names, set(wanted))
    return Layout(path=path, format=format, header=tuple(header), named=bool(names), start=start, line=line)


def _csv_header(stream: BinaryIO, names: Sequence[str], wanted: set[str]) -> tuple[list[str], int, int]:
    if names:
        return list(names), 0, 1
    text, number = "", 0
    while not text and (line := stream.readline()):
        text, number = line.decode("utf-8-sig").strip(), number + 1
    header = [name.strip() for name in next(csv.reader([text], skipinitialspace=True, strict=True), [])]
    header[:1] = [name.lstrip("# ") for name in header[:1]]
    return header, stream.tell(), number + 1


def _ascii_header(stream: BinaryIO, names: Sequence[str], wanted: set[str]) -> tuple[list[str], int, int]:
    """The header is the last comment line before the data that names every wanted column, else the first line."""
    if names:
        return list(names), 0, 1
    comments: list[list[str]] = []
    first, start, number = None, 0, 0
    for number, line in enumerate(iter(stream.readline, b""), start=1):
        fields = line.decode("utf-8-sig" if number == 1 else "utf-8", "surrogateescape").split()
        if fields and not fields[0].startswith("#"):
            first = fields
            break
        comments += [" ".join(fields).lstrip("# ").split()] if fields else []
        start = stream.tell()
    for header in reversed(comments):
        if wanted <= set(header):
            return header, start, number
    if first and (not comments or wanted <= set(first)):
        return first, stream.tell(), number + 1
    return max(comments[::-1], key=lambda words: len(set(words) & wanted), default=[]), start, number


def read(table: Layout, wanted: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The wanted columns (all are in the header): text as str arrays, numbers as float64, NaN where a field is empty.

    InputError, with the line, for a row of another length or a field that is no number.
    """
    places = {name: table.header.index(name) for name in wanted}
    try:
        blocks = list(_fast(table, wanted, places))
    except pa.ArrowInvalid:
        blocks = list(_slow(table, wanted, places))
    # Column by column, each freed as it is joined: a catalogue is large, and never twice in memory.
    return {name: np.concatenate([block.pop(name) for block in blocks]) for name in wanted} if blocks else {}


def _fast(table: Layout, wanted: Mapping[str, str], places: Mapping[str, int]) -> Iterator[dict[str, np.ndarray]]:
    with table.path.open("rb") as stream:
        stream.seek(table.start)
        width = _width(stream, table)
        stream.seek(table.start)
        columns = {name: f"c{place}" for name, place in places.items()}
        types = {columns[name]: pa.string() if kind == "text" else pa.float64() for name, kind in wanted.items()}
        options = {
            "read_options": arrow_csv.ReadOptions(column_names=[f"c{i}" for i in range(width)], block_size=BLOCK),
            "convert_options": arrow_csv.ConvertOptions(
                include_columns=list(types), column_types=types, null_values=list(NO_VALUE), strings_can_be_null=False
            ),
        }
        if table.format == "csv":
            options["parse_options"] = arrow_csv.ParseOptions(newlines_in_values=False)
            batches = arrow_csv.open_csv(stream, **options) if width else ()
        else:
            options["parse_options"] = arrow_csv.ParseOptions(delimiter=" ", quote_char=False)
            blocks = filter(None, map(_single_spaces, _lines(stream)))
            batches = (arrow_csv.read_csv(pa.BufferReader(block), **options) for block in blocks)
        for batch in batches:
            yield {name: _array(batch.column(column), wanted[name]) for name, column in columns.items()}


def _width(stream: BinaryIO, table: Layout) -> int:
    """Columns of the data: as the header says, or, where the recipe names the first ones, as the first row has."""
    if not table.named:
        for line in stream:
            if line.strip():
                return len(table.header)
        return 0
    for line in stream:
        fields = line.decode("utf-8", "replace").split("," if table.format == "csv" else None)
        if line.strip() and (table.format == "csv" or not fields[0].startswith("#")):
            return max(len(fields), len(table.header))
    return 0


def _lines(stream: BinaryIO) -> Iterator[bytes]:
    """Blocks of whole lines."""
    rest = b""
    while block := stream.read(BLOCK):
        whole, newline, tail = (rest + block).rpartition(b"\n")
        if newline:
            yield whole
        rest = tail
    yield rest


def _single_spaces(block: bytes) -> bytes:
    """The lines of a block without comments, their fields parted by one space each."""
    block = b"\n" + block + b"\n"
    for other in (b"\t", b"\r"):
        block = block.replace(other, b" ") if other in block else block
    while b"  " in block:
        block = block.replace(b"  ", b" ")
    block = block.replace(b"\n ", b"\n").replace(b" \n", b"\n")
    if b"\n#" in block:
        block = b"\n".join(line for line in block.split(b"\n") if not line.startswith(b"#"))
    return block.strip(b"\n")


def _array(column: pa.ChunkedArray | pa.Array, kind: str) -> np.ndarray:
    if kind != "text":
        return column.to_numpy(zero_copy_only=False)
    return plain_text(column).to_numpy(zero_copy_only=False).astype(str)


def plain_text(column: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray | pa.Array:
    """A column of texts without the white space around them. ArrowInvalid if one is longer than LONGEST, or holds a
    null byte, which no file's name and no other table could hold."""
    longest = pc.max(pc.utf8_length(column)).as_py() or 0
    if longest > LONGEST:
        raise pa.ArrowInvalid(f"a text of {longest:,} characters, at most {LONGEST}")
    if pc.any(pc.match_substring(column, "\0")).as_py():
        raise pa.ArrowInvalid("a text with a null byte")
    return pc.utf8_trim_whitespace(column)


def _slow(table: Layout, wanted: Mapping[str, str], places: Mapping[str, int]) -> Iterator[dict[str, np.ndarray]]:
    with table.path.open("rb") as raw, io.TextIOWrapper(raw, encoding="utf-8", newline="") as text:
        raw.seek(table.start)
        rows = _csv_rows(text, table) if table.format == "csv" else _ascii_rows(text, table)
        picked = _picked(table, rows, list(places.values()))
        while block := list(itertools.islice(picked, SLOW_BLOCK)):
            numbers, *columns = zip(*block, strict=True)
            yield {
                name: np.array(values, dtype=str) if kind == "text" else _numbers(table, numbers, values, name)
                for values, (name, kind) in zip(columns, wanted.items(), strict=True)
            }


def _csv_rows(text: TextIO, table: Layout) -> Iterator[Row]:
    reader = csv.reader(text, skipinitialspace=True, strict=True)
    try:
        for fields in reader:
            if fields:
                yield table.line - 1 + reader.line_num, fields
    except csv.Error as error:
        raise InputError(f"{table.path}, line {table.line - 1 + reader.line_num}: {error}") from None


def _ascii_rows(text: TextIO, table: Layout) -> Iterator[Row]:
    lines = ((number, line.split()) for number, line in enumerate(text, table.line))
    return (row for row in lines if row[1] and not row[1][0].startswith("#"))


def _picked(table: Layout, rows: Iterator[Row], places: list[int]) -> Iterator[tuple]:
    """Line number and wanted fields of each row; every row must be as long as the header, if there is one."""
    need = max(places, default=-1) + 1
    for number, fields in rows:
        if len(fields) < need if table.named else len(fields) != len(table.header):
            expected = f"at least {need}" if table.named else f"{len(table.header)}, as the header"
            raise InputError(f"{table.path}, line {number}: {len(fields)} columns, expected {expected}")
        for place in places:
            if len(fields[place]) > LONGEST or "\0" in fields[place]:
                found = f"{len(fields[place]):,} characters" if len(fields[place]) > LONGEST else "a null byte"
                raise InputError(f"{table.path}, line {number}: {found} in column {place + 1} ({table.header[place]}), "
                                 f"expected at most {LONGEST} of plain text")  # fmt: skip
        yield (number, *[fields[place].strip() for place in places])


def _numbers(table: Layout, numbers: Sequence[int], values: Sequence[str], name: str) -> np.ndarray:
    values = ["nan" if value in NO_VALUE else value for value in values]
    try:
        return np.array(values).astype(np.float64)
    except ValueError:
        line, value = next((n, value) for n, value in zip(numbers, values, strict=True) if not _is_number(value))
        place = table.header.index(name) + 1
        raise InputError(
            f"{table.path}, line {line}: expected a number in column {place} ({name}), found {value!r}"
        ) from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
