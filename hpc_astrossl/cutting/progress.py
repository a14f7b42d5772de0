"""How far the cutting is: a line that renews itself on a terminal, a line a minute in a log."""

import time
from typing import TextIO

from hpc_astrossl.terminal import CLEAR_LINE, control

TERMINAL, LOG = 0.2, 60.0  # seconds between two lines


class Progress:
    """Counts of objects on a text stream; without a stream it keeps silent."""

    def __init__(self, stream: TextIO | None = None, clock=time.monotonic):
        self._stream, self._clock = stream, clock
        self._terminal = stream is not None and stream.isatty()
        self._every = TERMINAL if self._terminal else LOG
        self._total = self._done = 0
        self._begun = self._last = 0.0

    def say(self, line: str) -> None:
        """A line of its own."""
        if self._stream is not None:
            self._clear()
            print(line, file=self._stream, flush=True)

    def begin(self, total: int) -> None:
        """From now on ``total`` objects are to be done."""
        self._total, self._done = total, 0
        self._begun = self._last = self._clock()

    def update(self, done: int) -> None:
        """So many objects are done; a line, if the last one is old enough."""
        self._done, now = done, self._clock()
        if self._stream is not None and now - self._last >= self._every:
            self._last = now
            text = self.text(now)
            self._clear()
            print(text, end="" if self._terminal else "\n", file=self._stream, flush=True)

    def _clear(self) -> None:
        if self._terminal:
            control(self._stream, CLEAR_LINE)

    def text(self, now: float) -> str:
        """Objects done and in all, their rate, and the time that the rest will take at that rate."""
        rate = self._done / max(now - self._begun, 1e-9)
        left = f"{_time((self._total - self._done) / rate)} left" if self._done else "time left unknown"
        share = 100 * self._done / max(self._total, 1)
        return f"{self._done:,} of {self._total:,} objects ({share:.0f} %), {rate:,.0f} a second, {left}"


def _time(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"
