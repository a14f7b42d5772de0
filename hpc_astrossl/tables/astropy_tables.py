"""Read columns of the tables that astropy knows: VOTable, IPAC, CDS and MRT, DAOPHOT, and ECSV with more than plain
columns.

astropy holds such a table in memory whole. Of the text formats the fields are taken as they stand in the file, so that
whole numbers stay whole and a field that is no number is named.
"""

import re
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pyarrow as pa
from astropy.io import ascii, votable
from astropy.io.votable.exceptions import VOWarning
from astropy.table import Table
from astropy.table.meta import get_header_from_yaml
from astropy.utils.exceptions import AstropyWarning

from hpc_astrossl.errors import InputError
from hpc_astrossl.tables import sniff, streams, texts
from hpc_astrossl.tables.headers import Layout, Lines, split
from hpc_astrossl.tables.values import Unfit, Wanted, convert, element, pick

NULLS = {"ipac": ("null",), "daophot": ("INDEF",), "cds": ("---",)}
SEXAGESIMAL = {"RAdeg": ("RAh", "RAm", "RAs"), "DEdeg": ("DEd", "DEm", "DEs")}  # CDS's names of positions
FLOATS = re.compile(r"d|double|real|float|r|[FED]\d.*", re.IGNORECASE)


@contextmanager
def _reading(path: Path):
    """astropy's errors as InputErrors; its warnings are of units and headers, which are not used."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=AstropyWarning)
            yield
    except InputError:
        raise
    except streams.FAULTS:
        raise
    except Exception as error:  # a parser's own classes of errors, of every kind
        raise InputError(f"{path}: damaged, or not what its first lines say ({' '.join(str(error).split())[:300]})") \
            from None  # fmt: skip


def _text(path: Path) -> str:
    with streams.unpacked(path) as stream:
        return stream.read().decode("utf-8-sig")


class _Fields(ascii.BaseOutputter):
    """Columns as the file has them, without a try to make numbers of their fields."""

    def __call__(self, cols: list, meta: dict) -> list:
        return cols


class FieldTable:
    """IPAC, CDS and MRT, DAOPHOT: the fields of each column as text."""

    def __init__(self, path: Path, format: str, nulls: Sequence[str]):
        self._path = path
        readme = sniff.readme(path) if format == "cds" else None
        classes = {"ipac": ascii.Ipac, "daophot": ascii.Daophot, "cds": ascii.Cds}
        reader = ascii.get_reader(classes[format], **({"readme": str(readme)} if readme else {}))
        reader.outputter = _Fields()
        if readme:  # by the name of the table astropy finds its description
            reader.data.table_name = sniff.described_name(path)
        with _reading(path):
            reader.read(_lines(_text(path), format, readme is not None))
        self._columns = {column.name: column for column in reader.cols}
        self._rows = list(reader.data.data_lines) if format == "cds" else []
        self._nulls = {"", *NULLS[format], *nulls}
        self.units = {name: str(getattr(column, "unit", None) or "") for name, column in self._columns.items()}

    @property
    def names(self) -> list[str]:
        """Column names in order; RAdeg and DEdeg as well where a CDS table has the parts of them."""
        more = [name for name, parts in SEXAGESIMAL.items() if name not in self._columns and self._has(parts)]
        return [*self._columns, *more]

    def _has(self, parts: Sequence[str]) -> bool:
        return all(part in self._columns for part in parts) and ("RAh" in parts or "DE-" in self._columns)

    def read(self, wanted: Wanted) -> dict[str, np.ndarray]:
        """Names and labels as str arrays, numbers as float64; InputError for what is neither."""
        return {name: self._column(name, kind) for name, kind in wanted.items()}

    def _column(self, name: str, kind: str) -> np.ndarray:
        if name not in self._columns:
            return self._degrees(name)
        column = self._columns[name]
        self._hold_bytes(column)
        fields = self._fields(column)
        floats = FLOATS.fullmatch(str(getattr(column, "raw_type", "")))
        try:
            if kind == "number":
                return texts.numbers(fields, self._nulls)
            if kind == "text" and floats and any(fields):
                raise Unfit("is declared as floating-point numbers, which cannot tell long ids apart; expected text or "
                            "whole numbers")  # fmt: skip
            if floats:  # what is not a number is no label
                fields = ["" if field.lower() == "nan" else field for field in fields]
            return texts.names(pa.array(fields, pa.string()), kind, self._nulls)
        except texts.NotANumber as error:
            raise InputError(f"{self._path}, row {error.place + 1}: expected a number in column {name!r}, {error}") \
                from None  # fmt: skip
        except Unfit as error:
            raise InputError(f"{self._path}: column {name!r}: {error}") from None

    def _hold_bytes(self, column: ascii.core.Column) -> None:
        """InputError where a field goes on beyond the bytes that a description gives it, and no other column has."""
        if not self._rows:
            return
        taken = {place for other in self._columns.values() for place in range(other.start, other.end)}
        edges = [(out, edge) for out, edge in ((column.start - 1, column.start), (column.end, column.end - 1))
                 if out >= 0 and out not in taken]  # fmt: skip
        for number, line in enumerate(self._rows, start=1):
            if any(line[out : out + 1].isalnum() and line[edge : edge + 1].strip() for out, edge in edges):
                raise InputError(f"{self._path}, row {number}: column {column.name!r} goes on beyond bytes "
                                 f"{column.start + 1} to {column.end}, which its description gives it; correct the "
                                 "description, or write the table as ECSV")  # fmt: skip

    def _fields(self, column: ascii.core.Column) -> list[str]:
        """The column's fields, "" where it has no value: astropy masks what its description calls a null."""
        mask = getattr(column, "mask", None)
        fields = [str(field).strip() for field in column.str_vals]
        if mask is None or not np.ndim(mask):
            return fields
        return ["" if null else field for field, null in zip(fields, mask, strict=True)]

    def _degrees(self, name: str) -> np.ndarray:
        """Degrees of hours, minutes and seconds (RA) or of sign, degrees, minutes and seconds (Dec)."""
        whole, minutes, seconds = (self._column(part, "number") for part in SEXAGESIMAL[name])
        if ((minutes >= 60) | (seconds >= 60)).any():
            raise InputError(f"{self._path}: {name} from its parts: minutes or seconds of 60 and more")
        value = whole + minutes / 60 + np.nan_to_num(seconds) / 3600
        if name == "RAdeg":
            return 15 * value
        return np.where(np.array(self._fields(self._columns["DE-"])) == "-", -value, value)


def _lines(text: str, format: str, described: bool) -> list[str]:
    """The lines that astropy is to see; a CDS table that describes itself needs its blank lines, too."""
    return [line for line in text.splitlines() if line.strip() or (format == "cds" and not described)]


@dataclass
class _Arrays:
    """A table of astropy's: names in the file -> masked arrays."""

    path: Path
    columns: dict[str, Callable[[], np.ma.MaskedArray]]
    units: dict[str, str]

    @property
    def names(self) -> list[str]:
        """Column names in order."""
        return list(self.columns)

    def read(self, wanted: Wanted) -> dict[str, np.ndarray]:
        """Names and labels as str arrays, numbers as float64; InputError for what is neither."""
        return {name: self._column(name, kind) for name, kind in wanted.items()}

    def _column(self, name: str, kind: str) -> np.ndarray:
        base, index = element(name, self.names)
        column = np.ma.asanyarray(self.columns[base]())
        mask = np.broadcast_to(np.ma.getmaskarray(column), column.shape)
        try:
            values, null = pick(column.data, base, index), pick(mask, base, index)
            if values.dtype.kind == "O":
                return _objects(values, null, kind)
            found = convert(values, null, kind)
            if kind == "text" and values.dtype.kind in "SU":
                texts.check_names(found)
            return found
        except Unfit as error:
            raise InputError(f"{self.path}: column {base!r}: {error}") from None


def _objects(values: np.ndarray, null: np.ndarray, kind: str) -> np.ndarray:
    """Texts of any length."""
    found = [None if gone else value for value, gone in zip(values.tolist(), null.tolist(), strict=True)]
    wrong = next(
        (value for value in found if value is not None and (not isinstance(value, str) or kind == "number")), 0
    )
    if wrong != 0:
        raise Unfit(f"holds {str(wrong)[:60]!r} in a row, expected {'a number' if kind == 'number' else 'text'}")
    return texts.names(pa.array(found, pa.string()), kind)


def votables(path: Path, wanted: Wanted, hdu: int | str | None = None) -> _Arrays:
    """The table of a VOTable that has all wanted columns, or the one that ``hdu`` names (a number from 0, ID or name).

    InputError if there is none or more than one, or for a field that is no number: astropy would take it for a null.
    """
    with _reading(path), streams.seekable(path) as stream, warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always", VOWarning)
        tables = list(votable.parse(stream, verify="warn", filename=str(path)).iter_tables())
    number, table = _one(path, tables, wanted, hdu)
    fields = {field.name or field.ID: field.ID for field in table.fields}
    if len(fields) < len(table.fields):
        fields = {field.ID: field.ID for field in table.fields}
    if any(" W30: " in str(item.message) for item in heard):
        bases = {element(name, list(fields))[0] for name in wanted}
        places = {place: name for place, name in enumerate(fields) if name in bases}
        _check_cells(path, number, {place: name for place, name in places.items()
                                    if table.fields[place].datatype in ("float", "double")})  # fmt: skip
    units = {field.ID: str(field.unit or "") for field in table.fields}
    return _Arrays(path, {name: lambda at=at: table.array[at] for name, at in fields.items()},
                   {name: units[at] for name, at in fields.items()})  # fmt: skip


def _check_cells(path: Path, number: int, places: dict[int, str]) -> None:
    """InputError for a cell of these columns (place -> name), of table ``number``, that holds more than a number."""
    table, row = 0, 0
    with streams.seekable(path) as stream:
        for _, node in ElementTree.iterparse(stream):
            tag = node.tag.rpartition("}")[2]
            if tag == "TABLE":
                table, row = table + 1, 0
            elif tag == "TR":
                row += 1
                cells = [(cell.text or "").strip() for cell in node] if table == number else []
                wrong = [(places[place], text) for place, text in enumerate(cells)
                         if text and place in places and not texts.NUMBER.fullmatch(text)]  # fmt: skip
                node.clear()
                if wrong:
                    raise InputError(f"{path}, row {row}: expected a number in column {wrong[0][0]!r}, found "
                                     f"{wrong[0][1]!r} (SExtractor declares a vector as one number; its FITS_LDAC is "
                                     "right)")  # fmt: skip


def _one(path: Path, tables: list, wanted: Wanted, hdu: int | str | None) -> tuple[int, votable.tree.TableElement]:
    listed = ", ".join(f"{number} ({table.ID or table.name or 'no name'})" for number, table in enumerate(tables))
    numbered = list(enumerate(tables))
    if hdu is not None:
        fitting = [pair for pair in numbered if hdu in (pair[0], pair[1].ID, pair[1].name)]
        if not fitting:
            raise InputError(f"{path}: no table {hdu!r}; its tables are: {listed or 'none'}")
    else:
        fitting = [pair for pair in numbered if _named(pair[1], wanted)]
    if len(fitting) > 1:
        raise InputError(f"{path}: {len(fitting)} tables have the wanted columns: {listed}; give the number of one as "
                         "hdu")  # fmt: skip
    if not tables:
        raise InputError(f"{path}: holds no table; a server may have put an error in its place")
    return fitting[0] if fitting else max(numbered, key=lambda pair: len(pair[1].array))


def _named(table: votable.tree.TableElement, wanted: Wanted) -> bool:
    names = [name for field in table.fields for name in (field.name, field.ID)]
    return all(element(name, names)[0] in names for name in wanted)


def ecsv(path: Path, wanted: Wanted, nulls: Sequence[str]) -> Layout | _Arrays:
    """An ECSV table: the layout of a text table if the wanted columns are plain, else the whole as astropy reads it
    (vectors, columns with a mask of their own)."""
    with _reading(path), streams.unpacked(path) as stream:
        lines, comments, place = Lines(stream), [], (0, 1)
        for text in lines:
            if not text.startswith("#"):
                break
            comments.append(text[2:])
        place = (lines.start, lines.number + 1)
        header = get_header_from_yaml(comments[1:])
        delimiter = header.get("delimiter", " ")
        columns = {column["name"]: column for column in header["datatype"]}
        if split(text, None if delimiter == " " else delimiter) != list(columns):
            raise InputError(f"{path}, line {lines.number}: the names are not those of its ECSV header")
    plain = all(element(name, list(columns))[1] is None and "subtype" not in columns.get(name, {})
                and f"{name}.mask" not in columns for name in wanted)  # fmt: skip
    units = {name: str(column.get("unit") or "") for name, column in columns.items()}
    if plain:
        floats = frozenset(name for name, column in columns.items() if str(column.get("datatype")).startswith("float"))
        return Layout(path=path, delimiter=None if delimiter == " " else delimiter, header=tuple(columns), units=units,
                      start=place[0], line=place[1], nulls={None: tuple(nulls)}, floats=floats)  # fmt: skip
    with _reading(path):
        table = Table.read(_text(path).splitlines(), format="ascii.ecsv")
    return _Arrays(path, {name: lambda name=name: table[name] for name in table.colnames}, units)
