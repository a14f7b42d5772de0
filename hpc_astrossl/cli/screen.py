"""What verbs print for people: a table, a command to type, and a line of progress that is rewritten on a terminal."""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from hpc_astrossl.terminal import CLEAR_LINE, control


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Columns of text, as wide as they must be."""
    lines = [head, *body]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    rows = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(row.rstrip() for row in rows) + "\n"


def at(workdir: Path) -> str:
    """The option by which a command that is typed here finds that work directory."""
    return "" if workdir.absolute() == Path().absolute() else f" --workdir {shlex.quote(str(workdir))}"


def accuracy(result: Path) -> str:
    """What a run that has just ended is worth, for its line; empty when its ``result.json`` has no accuracy."""
    try:
        return f"  accuracy {json.loads(result.read_bytes())['metrics']['test']['accuracy']:.3f} (test)"
    except (OSError, ValueError, KeyError, TypeError):
        return ""


class Line:
    """One line that is rewritten on a terminal; in a log only what is said once appears."""

    def __init__(self):
        self._live, self._shown = sys.stdout.isatty(), ""

    def show(self, text: str) -> None:
        """Replace the line."""
        if self._live and text != self._shown:
            control(sys.stdout, CLEAR_LINE)
            print(text, end="", flush=True)
            self._shown = text

    def say(self, text: str) -> None:
        """Print above the line."""
        self.clear()
        print(text, flush=True)

    def clear(self) -> None:
        """Remove the line."""
        if self._live and self._shown:
            control(sys.stdout, CLEAR_LINE)
            sys.stdout.flush()
            self._shown = ""
