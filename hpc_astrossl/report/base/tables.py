"""A table before it is a file or a part of a page: entries with a text to read, a value to sort by and a mark."""

from dataclasses import dataclass, field
from typing import Literal

from hpc_astrossl.files import rows_as_csv

Mark = Literal["", "best", "level", "bad", "absent", "quiet"]  # level: shares the first place
MINUS, DASH = "−", "–"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One entry. ``value`` sorts it and stands in CSV (``text`` when None); ``note`` is small print below it."""

    text: str
    value: float | str | None = None
    note: str = ""
    mark: Mark = ""
    link: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """``name`` is the stem of its files. ``numeric`` counts the columns from the first with numbers on.

    ``grouped``: the first column is blank within a group of rows, and the table is not sortable.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Entry, ...], ...]
    caption: str = ""
    numeric: frozenset[int] = field(default=frozenset())
    grouped: bool = False


def text(words: object, /, **more) -> Entry:
    """An entry of plain text."""
    return Entry(text=str(words), **more)


def number(value: float | None, digits: int = 4, **more) -> Entry:
    """An entry of a number with that many decimals; a dash for None."""
    if value is None:
        return Entry(text=DASH, mark="absent")
    return Entry(text=f"{value:,.{digits}f}".replace("-", MINUS), value=value, **more)


def signed(value: float, digits: int = 4) -> str:
    """A difference with its sign, a true minus."""
    return f"{value:+.{digits}f}".replace("-", MINUS)


def to_csv(table: Table) -> str:
    """The table as CSV: values at full precision where an entry has one, else its text and note."""
    rows = ([entry.value if entry.value is not None else plain(entry) for entry in row] for row in table.rows)
    return rows_as_csv([table.columns, *rows])


def to_markdown(table: Table) -> str:
    """The table as a pipe table of GitHub's Markdown; user-made text is escaped."""
    lines = [[_escape(column) for column in table.columns]]
    lines.append(["---:" if index in table.numeric else ":---" for index in range(len(table.columns))])
    around = {"best": "**", "level": "_"}
    for row in table.rows:
        lines.append([f"{around.get(e.mark, '')}{_escape(plain(e))}{around.get(e.mark, '')}" for e in row])
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    caption = f"\n{_escape(table.caption)}\n" if table.caption else ""
    return f"## {_escape(table.title)}\n\n{body}\n{caption}"


def plain(entry: Entry) -> str:
    """Text and note of an entry in one line."""
    note = "; ".join(entry.note.splitlines())
    return f"{entry.text} ({note})" if note and entry.text else entry.text or note


def _escape(words: str) -> str:
    flat = " ".join(words.split())
    for old, new in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), (">", "&gt;")):
        flat = flat.replace(old, new)
    return flat
