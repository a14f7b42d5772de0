"""A rank that waits too long for the others ends, and says for what: a hang becomes a failure.

Neither Horovod over Gloo nor torch.distributed notices a rank that is alive and does not take part; the waiting
happens in C++, where no exception can be raised, so the process is ended from a thread.
"""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from hpc_astrossl.errors import EXIT_FAULT, PeerLost

SECONDS = "ASTROSSL_HANG_SECONDS"  # how long a rank waits for the others; 0: for ever
DEFAULT = 900.0
AGAIN = "Run the same command again to go on from the last checkpoint"


class Watchdog:
    """Watches over the collectives of one rank, in a thread that starts with the first of them."""

    def __init__(self, rank: int, size: int):
        self.rank, self.size = rank, size
        self.seconds = float(os.environ.get(SECONDS) or DEFAULT)
        self._what: tuple[str, float] | None = None  # what is waited for, and since when
        self._thread: threading.Thread | None = None

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Around a collective. PeerLost when it fails, which it does when a rank has ended."""
        if self._thread is None and self.seconds > 0:
            self._thread = threading.Thread(target=self._watch, name="astrossl-watchdog", daemon=True)
            self._thread.start()
        self._what = (what, time.monotonic())
        try:
            yield
        except RuntimeError as error:  # Horovod's and Gloo's failures are of this kind
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise PeerLost(
                f"rank {self.rank} of {self.size}: {what} with the other ranks failed ({reason}). A rank has ended or "
                f"its node cannot be reached: the first error in the ranks' logs is the cause. {AGAIN}"
            ) from error
        finally:
            self._what = None

    def _watch(self) -> None:
        while True:
            time.sleep(min(1.0, self.seconds / 4))
            waited = self._what
            if waited and time.monotonic() - waited[1] > self.seconds:
                print(
                    f"rank {self.rank} of {self.size}: waited {self.seconds:.0f} s for the other ranks ({waited[0]}) "
                    f"and gives up: one of them hangs or takes another path. {AGAIN}; {SECONDS} sets the time",
                    file=sys.stderr,
                    flush=True,
                )
                os._exit(EXIT_FAULT)
