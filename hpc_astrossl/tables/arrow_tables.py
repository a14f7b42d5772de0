"""Read columns of Parquet and Feather files, a block of rows at a time, as Arrow reads them."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import ipc, parquet

from hpc_astrossl.errors import InputError
from hpc_astrossl.tables import streams, texts
from hpc_astrossl.tables.values import EXPECTED, Unfit, Wanted, element

BLOCK = 1 << 17  # rows of a file at once
ASTROPY = b"table_meta_yaml"  # where astropy keeps the header of a table that it writes as Parquet


class ArrowTable:
    """A Parquet or Feather file: its columns' names, and the wanted ones as arrays."""

    def __init__(self, path: Path, format: str):
        self._path, self._format = path, format
        with self._source() as source:
            file = parquet.ParquetFile(source) if format == "parquet" else ipc.open_file(source)
            self._schema = file.schema_arrow if format == "parquet" else file.schema

    def _source(self) -> pa.NativeFile:
        if streams.packing(self._path) is None:
            return pa.OSFile(str(self._path), "rb")
        return pa.PythonFile(streams.seekable(self._path), "r")

    @property
    def names(self) -> Sequence[str]:
        """Column names in order."""
        return self._schema.names

    @property
    def units(self) -> dict[str, str]:
        """As Arrow's fields say, or astropy's header among the metadata."""
        found = {
            field.name: (field.metadata or {}).get(b"unit", b"").decode(errors="replace") for field in self._schema
        }
        about = (self._schema.metadata or {}).get(ASTROPY, b"").decode(errors="replace")
        for name, unit in re.findall(r"^- \{name: ([^,}]+), unit: ([^,}]+)", about, re.MULTILINE):
            found[name] = unit
        return found

    def read(self, wanted: Wanted) -> Iterator[dict[str, np.ndarray]]:
        """Blocks of names and labels as str arrays, numbers as float64; nulls are "" and NaN. InputError for other
        types."""
        columns = {name: element(name, self.names) for name in wanted}
        bases = [base for base, _ in columns.values()]
        for batch in self._batches(list(dict.fromkeys([*bases, *filter(None, map(self._mask, bases))]))):
            yield {name: self._column(batch, columns[name], kind) for name, kind in wanted.items()}

    def _mask(self, name: str) -> str | None:
        """The column that says where a column has no value: astropy writes the values below a mask as they are."""
        mask = f"{name}.mask"
        return mask if ASTROPY in (self._schema.metadata or {}) and mask in self.names else None

    def _batches(self, columns: list[str]) -> Iterator[pa.RecordBatch]:
        with self._source() as source:
            if self._format == "parquet":  # page by page: a group of rows may be the whole file
                file = parquet.ParquetFile(source, pre_buffer=False, buffer_size=1 << 20)
                yield from file.iter_batches(batch_size=BLOCK, columns=columns)
                return
            file = ipc.open_file(source, options=ipc.IpcReadOptions(
                included_fields=[self._schema.get_field_index(name) for name in columns]))  # fmt: skip
            for batch in map(file.get_batch, range(file.num_record_batches)):
                yield from (batch.slice(start, BLOCK) for start in range(0, batch.num_rows, BLOCK))

    def _column(self, batch: pa.RecordBatch, place: tuple[str, int | None], kind: str) -> np.ndarray:
        name, index = place
        column = batch.column(name)
        try:
            picked, mask = _picked(column, name, index), self._mask(name)
            if mask is not None:
                nested = index if pa.types.is_nested(batch.column(mask).type) else None
                picked = pc.if_else(_picked(batch.column(mask), mask, nested), None, picked)
            return _values(picked, kind)
        except Unfit as error:
            raise InputError(f"{self._path}: column {name!r} of type {column.type}: {error}") from None
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise InputError(
                f"{self._path}: column {name!r} of type {column.type}: expected {EXPECTED[kind]}"
            ) from None


def _picked(column: pa.Array, name: str, index: int | None) -> pa.Array:
    """The element ``index`` of lists of equal length; the column itself where there are none."""
    types = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    if not any(is_list(column.type) for is_list in types):
        if index is not None:
            raise Unfit(f"has one value a row; there is no [{index}]")
        return column
    lengths = pc.unique(pc.drop_null(pc.list_value_length(column))).to_pylist()
    if len(lengths) > 1:
        raise Unfit(f"holds lists of different lengths ({min(lengths)} to {max(lengths)})")
    count = lengths[0] if lengths else 0
    if index is None:
        raise Unfit(f"expected a number or text in each row, it holds lists of {count}; say {name}[0] to "
                    f"{name}[{count - 1}] for one element")  # fmt: skip
    if index >= count:
        raise Unfit(f"holds {count} values a row, [0] to [{count - 1}]; there is no [{index}]")
    return pc.list_element(column, index)


def _values(column: pa.Array, kind: str) -> np.ndarray:
    type_ = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if kind == "number":
        if pa.types.is_boolean(type_):
            column = column.cast(pa.int8())
        if pa.types.is_string(type_) or pa.types.is_large_string(type_) or pa.types.is_temporal(type_):
            first = next((value for value in column.to_pylist() if value is not None), "")
            raise Unfit(f"expected a number{f', found {str(first)!r}' if first != '' else ''}")
        return column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    floating = pa.types.is_floating(type_) or (pa.types.is_decimal(type_) and type_.scale > 0)
    if floating and kind == "text" and column.null_count < len(column):
        raise Unfit("holds floating-point numbers, which cannot tell long ids apart; expected text or whole numbers")
    if pa.types.is_floating(type_):
        column = column.cast(pa.float32()) if pa.types.is_float16(type_) else column
        column = pc.if_else(pc.is_nan(column), None, column)
        return np.array(["" if value is None else repr(value) for value in _floats(column)], dtype=str)
    return texts.names(column.cast(pa.string()), kind)


def _floats(column: pa.Array) -> list[float | None]:
    """Python numbers whose text is the shortest that says them, also of 32 bits."""
    return [None if value is None else float(str(np.float32(value))) if column.type == pa.float32() else value
            for value in column.to_pylist()]  # fmt: skip
