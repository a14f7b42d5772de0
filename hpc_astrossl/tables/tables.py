"""The door to tables: one file or several that agree, of any format and packing, as arrays of the columns asked for.

Survey catalogues hold millions of rows and more than a hundred columns: only the columns asked for are kept, and they
become arrays block by block. Every fault of a file is an InputError that opens with its path.
"""

import csv
import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.tables import (
    angles,
    arrow_tables,
    fits_tables,
    hats,
    headers,
    sniff,
    streams,
    text_tables,
)
from hpc_astrossl.tables.headers import Layout
from hpc_astrossl.tables.values import Wanted, element

_FAULTS = (*streams.FAULTS, UnicodeDecodeError, csv.Error)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How tables are read.

    ``format`` is one of ``sniff.WORDS`` or auto (known by its bytes); ``names`` are those of the first columns of a
    text table without a header; ``hdu`` is the number (from 0) or name of one of several tables in a file;
    ``null_words`` stand for no value in text tables, besides those that always do.
    """

    format: str = "auto"
    names: Sequence[str] = ()
    hdu: int | str | None = None
    null_words: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class _Opened:
    """A table whose columns are known, and what reads them."""

    format: str
    header: Sequence[str]
    read: Callable[[Wanted], Iterator[dict[str, np.ndarray]]]
    units: Mapping[str, str | None] = field(default_factory=dict)  # as the table declares them, by column


def files(source: Path, pattern: str) -> list[Path]:
    """The files below ``source`` that a name, or a pattern with ``*`` and ``?``, stands for, ordered by name. The name
    of a HATS catalogue's folder stands for the files of its main table."""
    if not any(sign in pattern for sign in "*?["):
        path = source / pattern
        return hats.leaves(path) if path.is_dir() else [path]
    found = sorted(path for path in source.glob(pattern) if path.is_file())
    if not found:
        raise InputError(f"{source / pattern}: no file matches this pattern; the recipe expects tables "
                         "in the folder given as --source")  # fmt: skip
    inside = next((place for path in found for place in path.parents if place != source and hats.is_catalogue(place)),
                  None)  # fmt: skip
    if inside is not None:
        raise InputError(f"{source / pattern}: matches files of the HATS catalogue {inside}, which also holds "
                         "statistics and copies of objects; give the folder itself")  # fmt: skip
    return found


def promised(source: Path, pattern: str) -> int | None:
    """The number of rows that the catalogue says it has, where it does (HATS)."""
    path = source / pattern
    return hats.expected_rows(path) if path.is_dir() else None


def described(paths: Sequence[Path], reading: Reading) -> str:
    """What kind of tables these are, in words; and what is odd about the end of one."""
    found = sniff.identify(paths[0])
    words = str(replace(found, format=sniff.check(paths[0], found, reading.format)))
    cut = [path.name for path in paths if found.format in sniff.LINES and not _ends(path)]
    odd = f"; the last line of {cut[0]} has no line break: look whether it was cut off" if cut else ""
    over = [path.name for path in paths if found.format == "votable" and _overflowed(path)]
    if over:
        odd += f"; {over[0]} is a part of what was asked for: the server stopped at its limit of rows (OVERFLOW)"
    return words + odd


def _overflowed(path: Path) -> bool:
    """Whether a VOTable says that it does not hold all rows (DALI 1.1, section 4.4.1), which it may at its end."""
    before = b""
    with streams.unpacked(path) as stream:
        while block := stream.read(1 << 20):
            told = re.findall(rb"<INFO\b[^>]*>", before + block)
            if any(b"QUERY_STATUS" in tag and b"OVERFLOW" in tag for tag in told):
                return True
            before = block[-1000:]
    return False


def _ends(path: Path) -> bool:
    with path.open("rb") as stream:
        size = stream.seek(0, 2)
        stream.seek(max(0, size - 1))
        return stream.read() in (b"\n", b"\r", b"") or streams.packing(path) is not None


def read_tables(paths: Sequence[Path], wanted: Wanted, reading: Reading = Reading()) -> dict[str, np.ndarray]:
    """``read_table`` of several files, one after the other; InputError if they do not have the same columns."""
    blocks = list(read_blocks(paths, wanted, reading))
    # Column by column, each freed as it is joined: a catalogue is large, and never twice in memory.
    return {name: np.concatenate([block.pop(name) for block in blocks]) for name in wanted}


def read_blocks(paths: Sequence[Path], wanted: Wanted, reading: Reading = Reading()) -> Iterator[dict[str, np.ndarray]]:
    """``read_tables`` a block of rows at a time. What astropy reads is one block, whatever its size."""
    turned = [name for name, kind in wanted.items() if kind == "angle"]
    wanted = wanted | dict.fromkeys(turned, "number")
    if len(paths) > 1:
        headers_ = [(path, _open(path, wanted, reading).header) for path in paths]
        for path, header in headers_[1:]:
            odd = sorted(set(header) ^ set(headers_[0][1]))
            if odd:
                where = "only in this file" if odd[0] in header else "missing here"
                raise InputError(f"{path}: other columns than {headers_[0][0].name}: {odd[0]!r} is {where}; files that "
                                 "one pattern stands for must have the same columns")  # fmt: skip
    for path in paths:
        yield from _read(path, wanted, reading, turned)


def read_table(path: Path, wanted: Wanted, **options) -> dict[str, np.ndarray]:
    """The wanted columns of a table: names and labels as str arrays ("" for a null), numbers as float64 (NaN), angles
    as well, in degrees.

    ``options`` are those of ``Reading``. InputError for a missing file or column, a row of another length, a field that
    is no number, a name that is a floating-point number, a table without rows.
    """
    return read_tables([path], wanted, Reading(**options))


def _read(path: Path, wanted: Wanted, reading: Reading, turned: Sequence[str]) -> Iterator[dict[str, np.ndarray]]:
    table, rows = _open(path, wanted, reading), 0
    factors = {name: angles.factor(table.units.get(element(name, table.header)[0])) for name in turned}
    for name in wanted:
        _check_column(path, table.header, name)
    try:
        for block in table.read(wanted):
            rows += len(next(iter(block.values()), ()))
            yield block | {name: block[name] * factor for name, factor in factors.items() if factor != 1}
    except _FAULTS as error:
        raise _unreadable(path, table.format, error) from None
    if not rows:
        raise InputError(f"{path}: the table has no rows")


def _open(path: Path, wanted: Wanted, reading: Reading) -> _Opened:
    """Column names, and what reads on."""
    format = reading.format
    try:
        format = sniff.check(path, sniff.identify(path), reading.format)
        if reading.names and format not in sniff.LINES:
            raise InputError(f"{path}: names its columns itself ({sniff.WORDS[format]}); leave names out of the recipe")
        if reading.hdu is not None and format not in ("fits", "votable"):
            raise InputError(f"{path}: is a single table ({sniff.WORDS[format]}); leave hdu out of the recipe")
        return _opened(path, format, wanted, reading)
    except FileNotFoundError:
        raise InputError(
            f"{path}: no such file; the recipe expects this table in the folder given as --source"
        ) from None
    except _FAULTS as error:
        raise _unreadable(path, format, error) from None


def _opened(path: Path, format: str, wanted: Wanted, reading: Reading) -> _Opened:
    if format == "fits":
        layout = fits_tables.layout(path, wanted, reading.hdu)
        return _Opened(format=format, header=layout.names, read=lambda wanted: fits_tables.read(layout, wanted),
                       units={column.name: column.unit for column in layout.columns})  # fmt: skip
    if format in ("parquet", "feather"):
        table = arrow_tables.ArrowTable(path, format)
    elif format in (*sniff.LINES, "fixed"):
        table = _text_layout(path, format, wanted, reading)
    else:
        table = _astropy(path, format, wanted, reading)
    if isinstance(table, Layout):
        return _Opened(format=format, header=table.header, read=lambda wanted: text_tables.read(table, wanted),
                       units=table.units)  # fmt: skip
    if format in ("parquet", "feather"):
        return _Opened(format=format, header=table.names, read=table.read, units=table.units)
    return _Opened(format=format, header=table.names, read=lambda wanted: iter([table.read(wanted)]), units=table.units)


def _astropy(path: Path, format: str, wanted: Wanted, reading: Reading):
    from hpc_astrossl.tables import astropy_tables  # its tables and parsers take a second to import

    if format == "votable":
        return astropy_tables.votables(path, wanted, reading.hdu)
    if format == "ecsv":
        return astropy_tables.ecsv(path, wanted, reading.null_words)
    return astropy_tables.FieldTable(path, format, reading.null_words)


def _text_layout(path: Path, format: str, wanted: Wanted, reading: Reading) -> Layout:
    if format == "fixed":
        return replace(headers.fixed(path), nulls={None: tuple(reading.null_words)})
    own = {"sextractor": headers.sextractor, "gnuastro": headers.gnuastro}
    if format in own:
        layout = own[format](path, reading.names)
    else:
        layout = headers.plain(path, format, reading.names, list(wanted))
    return replace(layout, nulls={**layout.nulls, None: tuple(reading.null_words)})


def _unreadable(path: Path, format: str, error: Exception) -> InputError:
    hint = "; save it as UTF-8" if isinstance(error, UnicodeDecodeError) else ""
    if isinstance(error, EOFError):
        return InputError(f"{path}: cut off: the packed file ends too early; copy it again")
    kind = {"auto": "a table"}.get(format) or f"a {'text' if format in sniff.LINES else sniff.WORDS[format]} table"
    return InputError(f"{path}: cannot be read as {kind} ({' '.join(str(error).split())}){hint}")


def _check_column(path: Path, header: Sequence[str], name: str) -> None:
    base = name if name in header else element(name, header)[0]
    count = list(header).count(base)
    if count > 1:
        raise InputError(f"{path}: column {base!r} stands {count} times in the header")
    if count == 0:
        parts = [other for other in header if other.startswith(f"{base}[")]
        near = parts if parts else nearest(base, header)
        hint = f"nearest: {', '.join(near)}" if near else f"it has: {', '.join(header[:20]) or 'no header'}"
        raise InputError(f"{path}: no column {name!r}; {hint}. {_one_column(header)}")


def _one_column(header: Sequence[str]) -> str:
    """What to do: of a header that is one long name, something else separates the columns than was thought."""
    signs = [sign for sign in ";|,\t" if len(header) == 1 and sign in header[0]]
    if not signs:
        return "The recipe says which column is which"
    cure = "leave format out" if signs[0] == ";" else "save the table as CSV, with commas in every line"
    return f"That is one column, as {signs[0]!r} separates none here; {cure}"


def nearest(name: str, header: Iterable[str]) -> list[str]:
    """At most four column names like ``name``, best first; case does not count."""
    lower = {other.lower(): other for other in reversed(list(header))}
    return [lower[match] for match in difflib.get_close_matches(name.lower(), lower, n=4, cutoff=0.5)]
