"""Text in columns of fixed width, as databases, astropy and TOPCAT print tables: where its columns are.

A rule of dashes below the header says how wide each is, or bars stand between the cells: astropy's fixed_width and
fixed_width_two_line, reStructuredText, Markdown, psql, MySQL, sqlcmd, SQL*Plus, STILTS' text.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

LOOKED_AT = 30  # lines
_SPACED = re.compile(r"(-+|=+)( +(-+|=+))*")
_BARRED = re.compile(r"([|+] *)?:?[-=]+:?( *[|+] *:?[-=]+:?)*( *[|+])?")
_COUNT = re.compile(r"\(\d+ rows?( affected)?\)|\d+ rows? (selected\.|in set.*)|Time: [\d.]+ ms.*")  # below the rows
_IPAC = frozenset(["int", "integer", "long", "double", "float", "real", "char", "date", "i", "l", "d", "f", "r", "c"])


@dataclass(frozen=True, kw_only=True)
class Rule:
    """``slices`` are the characters of each column, None where bars part the cells, which bars enclose if ``closed``;
    ``skipped`` are the lines up to the first row, ``lines`` those that may stand again among the rows (header, rules).
    """

    names: tuple[str, ...]
    slices: tuple[slice, ...] | None
    closed: bool = False
    skipped: int
    lines: frozenset[str]

    def is_row(self, line: str) -> bool:
        """Whether a line is a row: no rule, no header that is repeated, no count."""
        return line.rstrip() not in self.lines and not (self._is_rule(line) or _COUNT.fullmatch(line.strip()))

    def fields(self, line: str) -> list[str]:
        """The fields of a row. ValueError where text lies between the columns."""
        if self.slices is None:
            return _cells(line, self.closed)
        if other := _outside(line, self.slices):
            raise ValueError(f"{other[:40]!r} lies between the columns that the rule of dashes marks")
        return [line[at].strip() for at in self.slices]

    def _is_rule(self, line: str) -> bool:
        """Bars and dashes alone may be a row without any value; ``lines`` hold the rules that have no cross."""
        return self.slices is None and "+" in line and _is_barred(line)


def found(lines: Sequence[str]) -> Rule | None:
    """The rule of a table by its first lines, None where it has none. Empty lines count, and hold nothing."""
    filled = [(number, line) for number, line in enumerate(lines[:LOOKED_AT]) if line.strip()]
    rules = [number for number, line in filled[:3] if _is_barred(line) or _is_spaced(line)]
    heads = [pair for pair in filled[:3] if pair[0] not in rules]
    if not heads or "\t" in heads[0][1]:
        return None
    number, header = heads[0]
    after = next((at for at, _ in filled if at > number), None)
    below = after if after in rules else None  # one further down may be a row without any value
    frames = [at for at in rules if at < number or at == below]
    rows = [line for at, line in filled if at > number and at not in frames]
    again = frozenset(lines[at].rstrip() for at in (number, *frames))
    if below is not None and _is_spaced(lines[below]) and (slices := _slices(lines[below], header)):
        names = tuple(header[at].strip() for at in slices)
        return Rule(names=names, slices=slices, skipped=below + 1, lines=again)
    barred = below is not None and _is_barred(lines[below])
    closed = header.strip().startswith("|") and header.strip().endswith("|")
    if "|" not in header or not (barred or (closed and _enclosed(rows))):
        return None
    if not barred and set(_cells(rows[0], True)) <= _IPAC:
        return None
    skipped = (number if below is None else below) + 1
    return Rule(names=tuple(_cells(header, closed)), slices=None, closed=closed, skipped=skipped, lines=again)


def _enclosed(rows: Sequence[str]) -> bool:
    """Whether there are rows, and all begin and end in a bar."""
    return bool(rows) and all(row.startswith("|") and row.rstrip().endswith("|") for row in rows)


def _is_spaced(line: str) -> bool:
    return _SPACED.fullmatch(line.strip()) is not None and re.search(r"[-=]{3}", line) is not None


def _is_barred(line: str) -> bool:
    bare = line.strip()
    return bool(re.search(r"[|+]", bare) and re.search(r"[-=]{2}", bare) and _BARRED.fullmatch(bare))


def _slices(rule: str, header: str) -> tuple[slice, ...] | None:
    """Where the columns of a rule are, None unless there are several, and the header has a name in each and nothing
    between them."""
    slices = tuple(slice(*run.span()) for run in re.finditer(r"[-=]+", rule))
    named = all(header[at].strip() for at in slices)
    return slices if len(slices) > 1 and named and not _outside(header, slices) else None


def _outside(line: str, slices: Sequence[slice]) -> str:
    """What stands beside the columns."""
    starts, ends = [at.start for at in slices] + [None], [0, *(at.stop for at in slices)]
    return " ".join(line[end:start] for end, start in zip(ends, starts, strict=True)).strip()


def _cells(line: str, closed: bool) -> list[str]:
    bare = line.strip()
    if closed:
        bare = bare[bare.startswith("|") : len(bare) - bare.endswith("|")]
    return [cell.strip() for cell in bare.split("|")]
