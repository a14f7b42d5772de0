"""A table before it is HTML, CSV, LaTeX or Markdown: entries with a text to read, a value to sort by and a mark."""

import csv
import io
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from hpc_astrossl.files import write_aside

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
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(table.columns)
    for row in table.rows:
        writer.writerow([entry.value if entry.value is not None else _plain(entry) for entry in row])
    return stream.getvalue()


def to_markdown(table: Table) -> str:
    """The table as a pipe table of GitHub's Markdown; user-made text is escaped."""
    lines = [[_escape(column) for column in table.columns]]
    lines.append(["---:" if index in table.numeric else ":---" for index in range(len(table.columns))])
    around = {"best": "**", "level": "_"}
    for row in table.rows:
        lines.append([f"{around.get(e.mark, '')}{_escape(_plain(e))}{around.get(e.mark, '')}" for e in row])
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    caption = f"\n{_escape(table.caption)}\n" if table.caption else ""
    return f"## {_escape(table.title)}\n\n{body}\n{caption}"


def to_latex(table: Table) -> str:
    """The table as a LaTeX ``table`` with rules of the package booktabs; user-made text is escaped."""
    around = {"best": r"\textbf{%s}", "level": r"\underline{%s}"}
    columns = "".join("r" if index in table.numeric else "l" for index in range(len(table.columns)))
    lines = [[_latex(column) for column in table.columns]]
    lines += [[around.get(e.mark, "%s") % _latex(_plain(e)) for e in row] for row in table.rows]
    body = [" & ".join(line) + r" \\" for line in lines]
    caption = ". ".join(part.rstrip(".") for part in (table.title, table.caption) if part) + "."
    label = re.sub(r"[^A-Za-z0-9-]", "-", table.name)
    begin = ["% needs \\usepackage{booktabs}", r"\begin{table}", r"\centering", rf"\caption{{{_latex(caption)}}}",
             rf"\label{{tab:{label}}}", rf"\begin{{tabular}}{{{columns}}}"]  # fmt: skip
    lines = [*begin, r"\toprule", body[0], r"\midrule", *body[1:], r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    return "\n".join(lines) + "\n"


FORMATS = {"csv": to_csv, "tex": to_latex, "md": to_markdown}


def write(table: Table, folder: Path) -> None:
    """Write ``<name>.csv``, ``<name>.tex`` and ``<name>.md`` below ``folder``."""
    for suffix, make in FORMATS.items():
        write_aside(folder / f"{table.name}.{suffix}", make(table).encode())


def _plain(entry: Entry) -> str:
    note = "; ".join(entry.note.splitlines())
    return f"{entry.text} ({note})" if note and entry.text else entry.text or note


def _escape(words: str) -> str:
    flat = " ".join(words.split())
    for old, new in (("\\", "\\\\"), ("|", "\\|"), ("<", "&lt;"), (">", "&gt;")):
        flat = flat.replace(old, new)
    return flat


_LATEX = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$", "|": r"$|$", "±": r"$\pm$",
    MINUS: "$-$", DASH: "--", "σ": r"$\sigma$", "≤": r"$\leq$", "≥": r"$\geq$", "→": r"$\to$", "″": r"$''$",
    "×": r"$\times$", "“": "``", "”": "''", "°": r"$^\circ$",
}  # fmt: skip


def _latex(words: str) -> str:
    return "".join(_LATEX.get(character, character) for character in " ".join(words.split()))
