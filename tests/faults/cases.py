"""What a row of the table of bad input is: how the input is made, the command it is given to, and the answer."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hpc_astrossl.errors import EXIT_DONE, EXIT_INPUT

REFUSED, TOLERATED = EXIT_INPUT, EXIT_DONE


@dataclass(frozen=True)
class Case:
    """``arrange(folder)`` makes the input in an empty folder and returns the arguments of ``astrossl``.

    ``words`` is a regular expression for what is printed: the message of a refusal, or what is said of input that is
    taken all the same.
    """

    kind: str
    name: str
    arrange: Callable[[Path], list[str]]
    status: int
    words: str

    @property
    def id(self) -> str:
        """As pytest names it."""
        return re.sub(r"[^a-z0-9]+", "-", f"{self.kind} {self.name}".lower()).strip("-")


def spoiling(kind: str, base: Callable[[Path], list[str]]) -> Callable[..., Case]:
    """A maker of rows: good input of ``base`` that ``spoil(folder)`` then makes bad; options follow the arguments."""

    def row(name: str, spoil: Callable[[Path], object], status: int, words: str, *options: str) -> Case:
        def arrange(folder: Path) -> list[str]:
            arguments = base(folder)
            spoil(folder)
            return [*arguments, *options]

        return Case(kind, name, arrange, status, words)

    return row


def nothing(_folder: Path) -> None:
    """Of a row whose fault lies in its options."""


def edit(path: Path, *changes: tuple[str | bytes, str | bytes]) -> None:
    """Replace texts or bytes in a file; each must be there."""
    data = path.read_bytes()
    for old, new in changes:
        old, new = (part.encode() if isinstance(part, str) else part for part in (old, new))
        assert old in data, (path, old)
        data = data.replace(old, new)
    path.write_bytes(data)


def flip(path: Path, place: float = 0.5) -> None:
    """Change one bit, so far into the file."""
    data = bytearray(path.read_bytes())
    data[int(len(data) * place)] ^= 1
    path.write_bytes(data)


def cut(path: Path, part: float = 0.5) -> None:
    """Keep the first part of a file."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * part)])
