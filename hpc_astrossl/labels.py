"""Labels that people gave objects: a CSV file of ``object_id,class,when,who``. Read, written and merged."""

import csv
import io
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpc_astrossl.errors import InputError
from hpc_astrossl.files import cell_text, rows_as_csv, write_aside
from hpc_astrossl.ids import same
from hpc_astrossl.terminal import quoted, shown

COLUMNS = ("object_id", "class", "when", "who")
NEEDED = COLUMNS[:2]
SEPARATORS = (",", ";", "\t")  # spreadsheets write the second where a comma stands in numbers
LOST = re.compile(r"\d[.,]\d+[eE]\+?\d+")  # an id of many digits after a spreadsheet has taken it for a number
KEPT = 15  # digits of a number that a spreadsheet keeps
ROUNDED = "a spreadsheet has rounded ids of many digits; take the file as it was, or import that column as text"


@dataclass(frozen=True, kw_only=True)
class Label:
    """What somebody called an object, ``when`` (ISO 8601, or empty) and ``who`` it was (or empty)."""

    name: str
    when: str = ""
    who: str = ""


def read_labels(path: Path) -> dict[str, Label]:
    """Labels by object id (``ids.same``), in the file's order; cells may be separated by commas, semicolons or tabs.

    InputError when the file cannot be read, lacks a column, holds an empty id or class, or gives an object two classes.
    """
    text = _text(path)
    first = text.splitlines()[0] if text else ""
    separator = next((one for one in SEPARATORS if set(NEEDED) <= set(_names(first, one))), SEPARATORS[0])
    rows = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    found: dict[str, Label] = {}
    try:
        head = [name.strip() for name in next(rows, [])]
        _check_head(head, path)
        for row in rows:
            if any(cell.strip() for cell in row):  # spreadsheets leave empty lines
                _take(found, row, head, f"{path}, line {rows.line_num}")
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: not CSV ({error}); save it again as CSV, UTF-8") from None
    if not found:
        raise InputError(f"{path}: no labels in it; give some objects classes in explore.html and save them, or write "
                         f"a line object_id,class for each")  # fmt: skip
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file of labels; explore.html saves one, or write object_id,class") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: cannot be read as text in UTF-8 ({error}); save it again as CSV, UTF-8") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); labels are a CSV file") from None


def _names(line: str, separator: str) -> list[str]:
    try:
        return [name.strip() for name in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error:
        return []


def _check_head(head: list[str], path: Path) -> None:
    missing, twice = [name for name in NEEDED if name not in head], [one for one in COLUMNS if head.count(one) > 1]
    if missing:
        there = f"it has {shown(', '.join(head))}" if any(head) else "it is empty"
        raise InputError(f"{path}: no column {', '.join(missing)} in its first line ({there}); labels are "
                         f"{','.join(COLUMNS)} (the last two may be missing)")  # fmt: skip
    if "unlike" in head:
        raise InputError(f"{path}: these classes are what classify has guessed, not labels; look at the objects in "
                         "explore.html (it opens this file), give them classes, and take the labels.csv that it "
                         "saves")  # fmt: skip
    if twice:
        raise InputError(f"{path}: two columns {twice[0]} in its first line; leave one of them")


def _take(found: dict[str, Label], row: list[str], head: list[str], where: str) -> None:
    if any(row[len(head) :]):
        raise InputError(f"{where}: more values than the first line has names; quote a class that holds a comma")
    cells = {name: cell_text(cell) for name, cell in zip(head, row, strict=False)}
    name, label = same(cells["object_id"]), cells.get("class", "").strip()
    if not name.strip() or not label:
        raise InputError(f"{where}: {f'object {shown(name)} has no class' if name.strip() else 'no object_id'}; give "
                         "it, or take the line out")  # fmt: skip
    if "\0" in name + label:
        raise InputError(f"{where}: a NUL character in {shown(name)}, {shown(label)}; take it out")
    if name in found and found[name].name != label:
        hint = f": {ROUNDED}" if is_rounded(name) else "; keep one of the two lines"
        raise InputError(f"{where}: object {shown(name)} is called {quoted(label)}, and {quoted(found[name].name)} "
                         f"further up{hint}")  # fmt: skip
    found[name] = Label(name=label, when=cells.get("when", ""), who=cells.get("who", ""))


def is_rounded(object_id: str) -> bool:
    """Whether an id looks as one does of which a spreadsheet has kept 15 digits."""
    return bool(LOST.fullmatch(object_id)) or (
        object_id.isdecimal() and len(object_id) > KEPT and not object_id[KEPT:].strip("0")
    )


def words_of(missing: Collection[str]) -> str:
    """Labels whose objects are not there, in words: how many, and the first of them."""
    first = next(iter(missing))
    words = "the label" if len(missing) == 1 else f"{len(missing):,} labels"
    of = f"of object {shown(first)}" if len(missing) == 1 else f"of objects (the first is {shown(first)})"
    return f"{words} {of}{f': {ROUNDED}' if is_rounded(first) else ''}"


def write_labels(path: Path, labels: Mapping[str, Label]) -> None:
    """Write the file, whole or not at all."""
    write_table(path, COLUMNS, ((one, label.name, label.when, label.who) for one, label in labels.items()))


def write_table(path: Path, head: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """A CSV file, whole or not at all. InputError when it cannot be written."""
    try:
        write_aside(path, rows_as_csv([head, *rows]).encode())
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None


@dataclass(frozen=True, kw_only=True)
class Merged:
    """Two people's labels as one: those that do not contradict each other, and the disagreements by object."""

    labels: dict[str, Label]
    both: int
    disagreements: dict[str, tuple[Label, Label]]
    kappa: float | None

    def told(self) -> dict[str, Any]:
        """As plain data."""
        pairs = [{"object_id": one, "first": a.name, "second": b.name} for one, (a, b) in self.disagreements.items()]
        return {"labels": len(self.labels), "labelled_by_both": self.both, "kappa": self.kappa, "disagreements": pairs}


def merge(first: Mapping[str, Label], second: Mapping[str, Label]) -> Merged:
    """Both files' labels; an object that they call differently is in none, and is listed."""
    both = [one for one in first if one in second]
    differ = {one: (first[one], second[one]) for one in both if first[one].name != second[one].name}
    union = {**first, **{one: label for one, label in second.items() if one not in first}}
    labels = {one: label for one, label in union.items() if one not in differ}
    pairs = [(first[one].name, second[one].name) for one in both]
    return Merged(labels=labels, both=len(both), disagreements=differ, kappa=cohen_kappa(pairs))


def cohen_kappa(pairs: list[tuple[str, str]]) -> float | None:
    """Agreement beyond chance (Cohen 1960, Educ. Psychol. Meas. 20, 37); None where chance alone agrees always."""
    if not pairs:
        return None
    total, (a, b) = len(pairs), zip(*pairs, strict=True)
    seen = sum(x == y for x, y in pairs) / total
    chance = sum(a.count(name) * b.count(name) for name in set(a)) / total**2
    return None if chance == 1 else (seen - chance) / (1 - chance)
