"""What verbs print for people: a table, and a line of progress that is rewritten on a terminal."""

import sys
from collections.abc import Sequence

from hpc_astrossl.terminal import CLEAR_LINE, control


def table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """Columns of text, as wide as they must be."""
    lines = [head, *body]
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    rows = ("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(row.rstrip() for row in rows) + "\n"


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
