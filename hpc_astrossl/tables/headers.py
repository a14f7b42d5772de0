"""Where a text table has its columns' names: in its first line, behind ``#``, or as SExtractor and Gnuastro write them.

A header is believed only if it fits the rows: as many names as the first row has values. Of several comment lines that
name the wanted columns and fit, all must put them in the same places.
"""

import csv
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from hpc_astrossl.errors import InputError
from hpc_astrossl.tables import ruled, streams, texts
from hpc_astrossl.tables.ruled import Rule
from hpc_astrossl.tables.values import NO_VALUE, element

DELIMITERS = {"csv": ",", "tsv": "\t", "semicolons": ";", "ascii": None}
QUOTED = re.compile(r'"((?:[^"]|"")*)"(?=\s|$)|(\S+)')
MOST = 10_000  # columns
FIRST = 1000  # lines, in which a header in columns of fixed width stands
_DASHES, _RDB, _BARE = re.compile(r"-+"), re.compile(r"\d+[SNM][<>]?"), re.compile(r"[SNM][<>]?")
_SEXTRACTOR = re.compile(r"#\s*(\d+)\s+(\S+)")
_GNUASTRO = re.compile(r"#\s*Column\s+(\d+)\s*:\s*([^\[\s]*)\s*(?:\[([^\]]*)\])?", re.IGNORECASE)
_SEVERAL = "so which column is which cannot be told; say so under names, or remove the other lines"


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where a text table has what: its column names, and the byte and line after the header.

    ``nulls`` are words that stand for no value, of all columns (key None) or of one; ``widths`` are the characters of
    columns that are not separated by white space alone; ``floats`` are columns declared as floating-point numbers.
    """

    path: Path
    delimiter: str | None  # None: white space
    header: tuple[str, ...]
    names: tuple[str, ...] = ()  # the recipe's, of the first columns only
    start: int
    line: int
    nulls: Mapping[str | None, tuple[str, ...]] = field(default_factory=dict)
    widths: Mapping[int, int] = field(default_factory=dict)
    floats: frozenset[str] = frozenset()
    units: Mapping[str, str | None] = field(default_factory=dict)
    rule: Rule | None = None  # of columns of fixed width

    @property
    def named(self) -> bool:
        """Whether the recipe gave the names."""
        return bool(self.names)


class Lines:
    """The lines of a table's beginning, one after the other, with where the next one begins."""

    def __init__(self, stream: BinaryIO):
        self._stream, self.start, self.number = stream, 0, 0

    def __iter__(self) -> Iterator[str]:
        while line := self._stream.readline():
            self.start, self.number = self.start + len(line), self.number + 1
            text = line.decode("utf-8-sig" if self.number == 1 else "utf-8", "surrogateescape")
            yield text.rstrip("\r\n")


def split(text: str, delimiter: str | None) -> list[str]:
    """The fields of a line; quotes are honoured. csv.Error for quotes that do not pair."""
    if delimiter is not None:
        return [part.strip() for part in next(csv.reader([text], delimiter=delimiter, skipinitialspace=True), [])]
    if '"' not in text:
        return text.split()
    if text.count('"') % 2 and re.search(r'(^|\s)"', text):
        raise csv.Error("a quote that does not end")
    return [found[1].replace('""', '"') if found[2] is None else found[2] for found in QUOTED.finditer(text)]


def plain(path: Path, format: str, names: Sequence[str], wanted: Sequence[str]) -> Layout:
    """The layout of a table separated by commas, tabs, semicolons or spaces: ``format`` csv, tsv, semicolons, ascii."""
    delimiter = DELIMITERS[format]
    with streams.unpacked(path) as stream:
        lines = Lines(stream)
        comments, first, places = [], None, [(0, 1)]
        for text in lines:
            bare = text.strip()
            if bare and not bare.startswith("#"):
                first = split(text.strip(" ") if delimiter else bare, delimiter)
                break
            comments += [_words(bare.lstrip("# "), delimiter)] if bare.strip("#") else []
            places.append((lines.start, lines.number + 1))
        before, after = places[-1], (lines.start, lines.number + 1)
        if names:
            _check_names(path, names, first)
            return Layout(path=path, delimiter=delimiter, header=tuple(names), names=tuple(names), start=before[0],
                          line=before[1])  # fmt: skip
        ruled = _ruled(lines, first, delimiter)
    if ruled:
        return Layout(path=path, delimiter=delimiter, header=tuple(ruled[0]), start=ruled[1], line=ruled[2])
    header, own_line = _chosen(path, comments, first, wanted)
    start, line = after if own_line else before
    return Layout(path=path, delimiter=delimiter, header=tuple(header), start=start, line=line)


def _check_names(path: Path, names: Sequence[str], first: list[str] | None) -> None:
    if first and [word.lower() for word in first[: len(names)]] == [name.lower() for name in names]:
        raise InputError(f"{path}: its first line holds the columns' names; leave names out of the recipe")


def _words(text: str, delimiter: str | None) -> list[str]:
    """The words of a comment, whose quotes need not pair."""
    try:
        return split(text, delimiter)
    except csv.Error:
        return text.split()


def _ruled(lines: Lines, first: list[str] | None, delimiter: str | None) -> tuple[list[str], int, int] | None:
    """(names, start, line) of a header that ends in a row of dashes, with or without a row of units before it (VizieR,
    Skycat), or in one of RDB's types."""
    if delimiter not in ("\t", ";") or first is None:
        return None
    rows = [first]
    for text in itertools.islice(lines, 30):
        row = split(text, delimiter)
        if not "".join(row) or text.startswith("#"):
            continue
        same = len(row) == len(rows[-1]) > 1
        if same and (all(map(_DASHES.fullmatch, row)) or (len(rows) == 1 and all(map(_RDB.fullmatch, row)))):
            units = len(rows) > 1 and len(rows[-2]) == len(row)
            if all(len(other) == 1 for other in rows[: -2 if units else -1]):
                return rows[-2 if units else -1], lines.start, lines.number + 1
            return None
        if same and len(rows) == 1 and all(map(_BARE.fullmatch, row)) and any(kind[0] == "N" for kind in row):
            place = lines.start, lines.number + 1  # types without widths, if numbers follow where they say so
            values = split(next(iter(lines), ""), delimiter)
            numbers = [value for kind, value in zip(row, values, strict=False) if kind[0] == "N"]
            return (first, *place) if len(values) == len(row) and all(map(_number, numbers)) else None
        rows.append(row)
    return None


def _number(field: str) -> bool:
    return field in NO_VALUE or texts.NUMBER.fullmatch(field) is not None


def _chosen(path: Path, comments: list[list[str]], first: list[str] | None,
            wanted: Sequence[str]) -> tuple[list[str], bool]:  # fmt: skip
    """(names, whether they are the first line that is no comment)."""

    def has(words: list[str]) -> bool:
        return all(element(name, words)[0] in words for name in wanted)

    if first and has(first):
        return first, True
    fitting = [words for words in comments if has(words) and (first is None or len(words) == len(first))]
    places = {tuple(words.index(element(name, words)[0]) for name in wanted) for words in fitting}
    if len(places) > 1:
        raise InputError(f"{path}: {len(fitting)} comment lines name the wanted columns, {_SEVERAL}")
    if fitting:
        return fitting[-1], False
    if first and not comments:
        return first, True
    lacking = [words for words in comments if has(words)]
    likeness = lambda words: len({element(name, words)[0] for name in wanted} & set(words))  # noqa: E731
    return (lacking or [max(comments[::-1], key=likeness, default=[])])[-1], False


def sextractor(path: Path, names: Sequence[str]) -> Layout:
    """The layout of SExtractor's ASCII_HEAD: numbered names, whose numbers jump by the length of a vector. Elements of
    a vector are NAME[0], NAME[1] …"""
    _refuse_names(path, names, "SExtractor's numbered header")
    found: list[tuple[int, str]] = []
    with streams.unpacked(path) as stream:
        lines, place, first = Lines(stream), (0, 1), []
        for text in lines:
            if text.strip() and not text.lstrip().startswith("#"):
                first = text.split()
                break
            if match := _SEXTRACTOR.match(text):
                found.append((int(match[1]), match[2]))
            place = (lines.start, lines.number + 1)
    last = found[-1][0]
    if last > MOST:
        raise InputError(f"{path}: its header numbers a column {last:,}, at most {MOST:,} are read")
    ends = [number for number, _ in found[1:]] + [max(len(first), last) + 1]
    header: list[str] = []
    for (number, name), end in zip(found, ends, strict=True):
        header += [name] if end - number == 1 else [f"{name}[{i}]" for i in range(end - number)]
    return Layout(path=path, delimiter=None, header=tuple(header), start=place[0], line=place[1])


def gnuastro(path: Path, names: Sequence[str]) -> Layout:
    """The layout of a text table of Gnuastro: ``# Column N: NAME [unit, type, blank] comment``, where a text column
    has as many characters as its type strM says."""
    _refuse_names(path, names, "Gnuastro's column lines")
    header: dict[int, str] = {}
    nulls: dict[str | None, tuple[str, ...]] = {}
    widths: dict[int, int] = {}
    floats = set()
    with streams.unpacked(path) as stream:
        lines, place = Lines(stream), (0, 1)
        for text in lines:
            if text.strip() and not text.lstrip().startswith("#"):
                width = len(text.split())
                break
            if match := _GNUASTRO.match(text):
                number, name = min(int(match[1]), MOST) - 1, match[2] or f"column {match[1]}"
                parts = [part.strip() for part in (match[3] or "").split(",")] + ["", "", ""]
                header[number] = name
                nulls[name] = (parts[2],) if parts[2] else ()
                if length := re.fullmatch(r"str(\d+)", parts[1]):
                    widths[number] = int(length[1])
                floats |= {name} if parts[1] in ("f32", "f64", "float32", "float64") else set()
            place = (lines.start, lines.number + 1)
        else:
            width = len(header)
    count = max(width if not widths else 0, max(header, default=-1) + 1)
    names_in_order = tuple(header.get(i, f"column {i + 1}") for i in range(count))
    return Layout(path=path, delimiter=None, header=names_in_order, start=place[0], line=place[1], nulls=nulls,
                  widths=widths, floats=frozenset(floats))  # fmt: skip


def fixed(path: Path) -> Layout:
    """The layout of a table in columns of fixed width."""
    with streams.unpacked(path) as stream:
        lines = Lines(stream)
        texts_ = [(text, lines.start, lines.number + 1) for text in itertools.islice(lines, FIRST)]
    filled = [place for place in texts_ if place[0].strip()]  # as those whose kind was found
    rule = ruled.found([text for text, _, _ in filled])
    _, start, line = filled[rule.skipped - 1]
    return Layout(path=path, delimiter=None, header=rule.names, start=start, line=line, rule=rule)


def _refuse_names(path: Path, names: Sequence[str], what: str) -> None:
    if names:
        raise InputError(f"{path}: names its columns itself, by {what}; leave names out of the recipe")
