"""Read columns of a text table whose layout is known: separated by commas, tabs or spaces.

Arrow reads the columns asked for, a block at a time. Where it refuses a table, ``slow_text`` goes over it line by line:
that one takes a little more (quotes between spaces, booleans as numbers), and names the line of what is wrong.
"""

from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

from hpc_astrossl.errors import InputError
from hpc_astrossl.tables import slow_text, streams, texts
from hpc_astrossl.tables.headers import Layout
from hpc_astrossl.tables.values import Unfit, Wanted

BLOCK = 1 << 24  # bytes that Arrow is given at once


def read(table: Layout, wanted: Wanted) -> Iterator[dict[str, np.ndarray]]:
    """Blocks of the wanted columns (all are in the header): names and labels as str arrays, numbers as float64, NaN
    where a field is empty.

    InputError, with the line, for a row of another length, a field that is no number, a name that once was one.
    """
    for name, kind in wanted.items():
        if name not in table.header:
            raise InputError(
                f"{table.path}: column {name.partition('[')[0]!r} has one value a row; there is no {name!r}"
            )
        if kind == "text" and name in table.floats:
            raise InputError(f"{table.path}: column {name!r} is declared as floating-point numbers, which cannot tell "
                             "long ids apart; expected text or whole numbers")  # fmt: skip
    first = slow_text.first_row(table)
    if first is None:
        return
    places = {name: table.header.index(name) for name in wanted}
    width = max(len(first[1]), len(table.header)) if table.named else len(table.header)
    done = 0
    try:
        for block in _fast(table, wanted, places, width):
            done += _rows(block)
            yield block
        return
    except (pa.ArrowInvalid, Unfit):
        pass
    for block in slow_text.blocks(table, wanted, places):
        skipped = min(done, _rows(block))  # handed on before Arrow came upon what it does not take
        done -= skipped
        if skipped < _rows(block):
            yield {name: values[skipped:] for name, values in block.items()}


def _rows(block: Mapping[str, np.ndarray]) -> int:
    return len(next(iter(block.values()), ()))


def _fast(table: Layout, wanted: Wanted, places: Mapping[str, int], width: int) -> Iterator[dict[str, np.ndarray]]:
    if table.widths or table.rule:
        raise Unfit("columns of a given width")
    nulls = slow_text.Nulls(table)
    columns = {name: f"c{place}" for name, place in places.items()}
    types = {columns[name]: pa.float64() if kind == "number" else pa.string() for name, kind in wanted.items()}
    options = {
        "read_options": arrow_csv.ReadOptions(column_names=[f"c{i}" for i in range(width)], block_size=BLOCK),
        "convert_options": arrow_csv.ConvertOptions(
            include_columns=list(types), column_types=types, null_values=sorted(nulls.common),
            strings_can_be_null=False,
        ),
    }  # fmt: skip
    with streams.unpacked(table.path) as stream:
        streams.skip(stream, table.start)
        for batch in _batches(stream, table, options):
            yield {name: _array(batch.column(column), wanted[name], table, nulls.of(name))
                   for name, column in columns.items()}  # fmt: skip


def _batches(stream: BinaryIO, table: Layout, options: dict) -> Iterator[pa.RecordBatch | pa.Table]:
    if table.delimiter is not None:
        parse = arrow_csv.ParseOptions(delimiter=table.delimiter, newlines_in_values=False)
        return iter(arrow_csv.open_csv(pa.PythonFile(stream, "r"), parse_options=parse, **options))
    parse = arrow_csv.ParseOptions(delimiter=" ", quote_char=False)
    blocks = filter(None, map(_single_spaces, _lines(stream)))
    return (arrow_csv.read_csv(pa.BufferReader(block), parse_options=parse, **options) for block in blocks)


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
    """The lines of a block without comments, their fields parted by one space each. Unfit if there are quotes around
    fields, or nothing between two tabs."""
    block = b"\n" + block + b"\n"
    if b"\t\t" in block:
        raise Unfit("an empty field between tabs")
    for other in (b"\t", b"\r"):
        block = block.replace(other, b" ") if other in block else block
    while b"  " in block:
        block = block.replace(b"  ", b" ")
    block = block.replace(b"\n ", b"\n").replace(b" \n", b"\n")
    if b"\n#" in block:
        block = b"\n".join(line for line in block.split(b"\n") if not line.startswith(b"#"))
    if b'"' in block and (b' "' in block or b'\n"' in block):
        raise Unfit("quoted fields")
    return block.strip(b"\n")


def _array(column: pa.ChunkedArray | pa.Array, kind: str, table: Layout, own: set[str]) -> np.ndarray:
    if kind == "number":
        found = column.to_numpy(zero_copy_only=False)
        for word in own:  # what stands for no value in this column alone
            found = np.where(found == float(word), np.nan, found) if texts.NUMBER.fullmatch(word) else found
        return found
    if table.delimiter is not None and pc.any(pc.match_substring(column, '"')).as_py():
        raise Unfit("a quote behind a space")  # Arrow does not take it for one
    return texts.names(column, kind, texts.text_nulls({*own, *table.nulls.get(None, ())}))
