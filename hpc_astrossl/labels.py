"""Labels that people gave objects: a CSV file of ``object_id,class,when,who``. Read, written and merged."""

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpc_astrossl.errors import InputError
from hpc_astrossl.files import cell_text, rows_as_csv, write_aside

COLUMNS = ("object_id", "class", "when", "who")
NEEDED = COLUMNS[:2]


@dataclass(frozen=True, kw_only=True)
class Label:
    """What somebody called an object, ``when`` (ISO 8601, or empty) and ``who`` it was (or empty)."""

    name: str
    when: str = ""
    who: str = ""


def read_labels(path: Path) -> dict[str, Label]:
    """Labels by object id, in the file's order.

    InputError when the file cannot be read, lacks a column, holds an empty id or class, or gives an object two classes.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file of labels; explore.html saves one, or write object_id,class") from None
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: cannot be read as text in UTF-8 ({error})") from None
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    found: dict[str, Label] = {}
    try:
        missing = [name for name in NEEDED if name not in (rows.fieldnames or ())]
        if missing:
            raise InputError(f"{path}: no column {', '.join(missing)} in its first line; labels are "
                             f"{','.join(COLUMNS)} (the last two may be missing)")  # fmt: skip
        for row in rows:
            _take(found, row, f"{path}, line {rows.line_num}")
    except csv.Error as error:
        raise InputError(f"{path}, line {rows.line_num}: not CSV ({error})") from None
    if not found:
        raise InputError(f"{path}: no labels in it")
    return found


def _take(found: dict[str, Label], row: Mapping[str, Any], where: str) -> None:
    name, label = (cell_text(row[key] or "") for key in NEEDED)
    label = label.strip()
    if not name or not label:
        raise InputError(f"{where}: {'no object_id' if not name else f'object {name} has no class'}; give it, or take "
                         "the line out")  # fmt: skip
    if None in row:
        raise InputError(f"{where}: more values than the first line has names; quote a class that holds a comma")
    if name in found and found[name].name != label:
        raise InputError(f"{where}: object {name} is called {label!r}, and {found[name].name!r} further up; "
                         "keep one of the two lines")  # fmt: skip
    found[name] = Label(name=label, when=row.get("when") or "", who=row.get("who") or "")


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
