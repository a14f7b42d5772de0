"""Text of other people's files on a terminal: it is shown, never obeyed."""

import contextlib
import re
import sys
from collections.abc import Iterator
from typing import Any, TextIO

# What a terminal obeys or does not show: control characters but line breaks and tabs, marks that turn text around, and
# characters without width but joiners, which some scripts need.
_HIDDEN = (r"\u00ad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
           r"\U000e0000-\U000e007f")  # fmt: skip
_ANY = re.compile(rf"[\x00-\x08\x0b-\x1f\x7f-\x9f{_HIDDEN}]")
_LINE = re.compile(rf"[\x00-\x1f\x7f-\x9f\ud800-\udfff{_HIDDEN}]")
MOST = 120  # characters of a name in a message
CLEAR_LINE, CLEAR_SCREEN = "\r\033[K", "\033[H\033[2J"


def plain(text: str) -> str:
    """Text whose control and invisible characters are written out, as JSON would write them; lines stay lines."""
    return _ANY.sub(_written_out, text)


def shown(text: object, most: int = MOST) -> str:
    """A name from a file as it may stand in a message: on one line, nothing hidden, and not longer than a reader bears.

    >>> shown("star\\n\\x1b[2J")
    'star\\\\u000a\\\\u001b[2J'
    """
    return _LINE.sub(_written_out, _cut(str(text), most))


def quoted(text: object, most: int = MOST) -> str:
    """As ``shown``, in quotes, so that spaces are seen."""
    return repr(_cut(str(text), most))


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 20]}… ({len(text):,} characters)"


def _written_out(found: re.Match) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")  # beyond 16 bits JSON takes two
    return "".join(f"\\u{units[i]:02x}{units[i + 1]:02x}" for i in range(0, len(units), 2))


class Guarded:
    """A text stream to which nothing is written that a terminal would obey; ``unguarded`` is the stream itself."""

    def __init__(self, stream: TextIO):
        self.unguarded = stream

    def write(self, text: str) -> int:
        """As a stream's."""
        self.unguarded.write(plain(text))
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """As a stream's."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.unguarded, name)


@contextlib.contextmanager
def guarded() -> Iterator[None]:
    """Standard output and error are guarded for the time of the block."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (one if isinstance(one, Guarded) else Guarded(one) for one in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def control(stream: TextIO, sequence: str) -> None:
    """Send a terminal a sequence of ours: CLEAR_LINE or CLEAR_SCREEN."""
    getattr(stream, "unguarded", stream).write(sequence)
