"""A table as LaTeX that pdflatex takes as it comes: no package is needed, every character is known, it fits the page.

Lines are booktabs' where that is loaded, else plain ones. Letters are as large as the width of the page allows; long
text is broken into lines; what is wider still goes on in a further table that repeats the first columns, and so do rows
beyond a page.
"""

import re
import unicodedata

from hpc_astrossl.report.base.tables import DASH, MINUS, Entry, Table

_WIDTH = 345.0  # points, of the text of a page of the class article
_PAD = 2.0  # points left and right of a column
_SIZES = {"small": 4.9, "footnotesize": 4.4, "scriptsize": 3.9}  # points of a character, rather too wide
_LONG, _BROKEN = 30, 105.0  # characters of a column that is broken into lines, and its width in points
_ROWS = 40  # of a page
_AROUND = {"best": r"\textbf{%s}", "level": r"\underline{%s}"}
_HEAD = r"""% Needs no package; takes the rules of booktabs where it is loaded.
\providecommand{\toprule}{\hline}\providecommand{\midrule}{\hline}\providecommand{\bottomrule}{\hline}"""


def to_latex(table: Table) -> str:
    """The table as one or more LaTeX ``table``; user-made text is escaped."""
    chunks = [table.rows[start : start + _ROWS] for start in range(0, len(table.rows), _ROWS)] or [()]
    size, groups = _layout(table)
    parts = [_HEAD]
    for place, (rows, group) in enumerate((rows, group) for rows in chunks for group in groups):
        parts += [r"\clearpage"] if place else []
        parts += [r"\begin{table}[htbp]", r"\centering", *_caption(table, place), rf"\{size}"]
        parts += [rf"\setlength{{\tabcolsep}}{{{_PAD:g}pt}}", *_tabular(table, rows, group)]
        parts += [r"\end{table}"]
    return "\n".join(parts) + "\n"


def _caption(table: Table, place: int) -> list[str]:
    if place:
        return [rf"\par\noindent {latex(table.title)}, continued.\par\medskip"]
    words = ". ".join(part.rstrip(".") for part in (table.title, table.caption) if part) + "."
    label = re.sub(r"[^A-Za-z0-9-]", "-", table.name)
    return [rf"\caption{{{latex(words)}}}", rf"\label{{tab:{label}}}"]


def _layout(table: Table) -> tuple[str, list[list[int]]]:
    """(size of the letters, columns of each part)."""
    every = list(range(len(table.columns)))
    for size, character in _SIZES.items():
        widths = [_width(table, column, character) + 2 * _PAD for column in every]
        if sum(widths) <= _WIDTH:
            return size, [every]
    repeated = every[: _repeated(table)]
    room = _WIDTH - sum(widths[column] for column in repeated)
    groups: list[list[int]] = []
    used = room
    for column in every[len(repeated) :]:
        if used + widths[column] > room:
            groups.append([*repeated])
            used = 0.0
        groups[-1].append(column)
        used += widths[column]
    return size, groups


def _repeated(table: Table) -> int:
    """How many columns from the first say what a row is."""
    words = [index for index in range(len(table.columns)) if index not in table.numeric]
    if table.grouped:
        return words[-1] + 1
    leading = next((index for index in range(len(table.columns)) if index in table.numeric), 1)
    return max(1, min(leading, 2, len(table.columns) - 1))


def _width(table: Table, column: int, character: float) -> float:
    longest = _longest(table, column)
    return _BROKEN if longest > _LONG else longest * character


def _longest(table: Table, column: int) -> int:
    lines = [table.columns[column], *(line for row in table.rows for line in _lines(row[column]))]
    return max(map(len, lines))


def _tabular(table: Table, rows: tuple, group: list[int]) -> list[str]:
    broken = {column for column in group if _longest(table, column) > _LONG}
    columns = "".join(
        f"p{{{_BROKEN:g}pt}}" if column in broken else "r" if column in table.numeric else "l" for column in group
    )
    head = [_broken(latex(table.columns[column])) if column in broken else latex(table.columns[column])
            for column in group]  # fmt: skip
    body = [[_entry(row[column], column in broken) for column in group] for row in rows]
    lines = [" & ".join(line) + r" \\" for line in (head, *body)]
    return [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule",
            r"\end{tabular}"]  # fmt: skip


def _lines(entry: Entry) -> list[str]:
    return [part for part in (entry.text, *entry.note.splitlines()) if part] or [""]


def _entry(entry: Entry, broken: bool) -> str:
    first, *notes = [latex(line) for line in _lines(entry)]
    first = _AROUND.get(entry.mark, "%s") % first
    if broken:
        return _broken("; ".join([first, *notes]))
    return r"\shortstack{" + r"\\".join([first, *notes]) + "}" if notes else first


def _broken(words: str) -> str:
    """Text of a narrow column: it may break after what joins words in names and paths, and within long words."""
    after = re.sub(r"(\\_|[-/=:;)]|[.,](?=[A-Za-z]))(?=\w)", r"\1\\allowbreak{}", words)
    within = re.sub(r"([A-Za-z0-9]{12})(?=[A-Za-z0-9]{4})", r"\1\\allowbreak{}", after)
    return rf"{{\raggedright {within}\par}}"


_NAMED = {
    "[": "{[}", "]": "{]}", "*": "{*}",  # which mean something after a line's end
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "%": r"\%", "#": r"\#", "_": r"\_",
    "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "<": r"$<$", ">": r"$>$", "|": r"$|$", "±": r"$\pm$",
    MINUS: "$-$", DASH: "--", "—": "---", "≤": r"$\leq$", "≥": r"$\geq$", "→": r"$\to$", "←": r"$\leftarrow$",
    "″": r"$''$", "′": "$'$", "×": r"$\times$", "·": r"$\cdot$", "“": "``", "”": "''", "‘": "`", "’": "'",
    "°": r"$^\circ$", "√": r"$\sqrt{\ }$", "∞": r"$\infty$", "≈": r"$\approx$", "≠": r"$\neq$", "…": r"\ldots{}",
    "²": "$^2$", "³": "$^3$", "¹": "$^1$", "½": r"$\frac12$", "µ": r"$\mu$", "Å": r"\AA{}", "å": r"\aa{}",
    "ø": r"\o{}", "Ø": r"\O{}", "ß": r"\ss{}", "æ": r"\ae{}", "Æ": r"\AE{}", "ł": r"\l{}", "Ł": r"\L{}", "ı": r"\i{}",
    "†": r"$\dagger$", "‡": r"$\ddagger$", "•": r"$\bullet$", "☉": r"$\odot$", "⊙": r"$\odot$", "∼": r"$\sim$",
    "Σ": r"$\Sigma$", "∑": r"$\sum$", "∂": r"$\partial$", "∈": r"$\in$", "\u00a0": "~", "\u200b": "",
}  # fmt: skip
_GREEK = set("αβγδεζηθικλμνξπρστυφχψω")
_ACCENTS = {"\u0300": "`", "\u0301": "'", "\u0302": "^", "\u0303": "~", "\u0308": '"', "\u0304": "=", "\u0307": ".",
            "\u030c": "v", "\u0306": "u", "\u030b": "H", "\u0327": "c", "\u0323": "d"}  # fmt: skip


def latex(words: str) -> str:
    """Text for LaTeX, in ASCII alone: what no command of LaTeX stands for is named by its code."""
    return "".join(_character(character) for character in " ".join(words.split()))


def _character(character: str) -> str:
    if character in _NAMED:
        return _NAMED[character]
    if character.isascii():
        return character if character.isprintable() else ""
    if character in _GREEK:
        name = unicodedata.name(character).rpartition(" ")[2].lower().replace("lamda", "lambda")
        return rf"$\{name}$"
    capital = (
        unicodedata.name(character, "").removeprefix("GREEK CAPITAL LETTER ").capitalize().replace("Lamda", "Lambda")
    )
    if capital in ("Gamma", "Delta", "Theta", "Lambda", "Xi", "Pi", "Sigma", "Phi", "Psi", "Omega", "Upsilon"):
        return rf"$\{capital}$"
    base, *marks = unicodedata.normalize("NFKD", character)
    if base.isascii() and base.isalpha() and len(marks) == 1 and marks[0] in _ACCENTS:
        return rf"\{_ACCENTS[marks[0]]}{{{base}}}"
    plain = unicodedata.normalize("NFKD", character)
    return latex(plain) if plain.isascii() and plain else f"{{[}}U+{ord(character):04X}{{]}}"
