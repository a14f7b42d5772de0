"""What is looked at between steps: a signal that asks to stop, and a loss that is no longer a number.

Ranks agree on both before they act, so that none is left waiting in a collective that the others never enter.
"""

import contextlib
import math
import signal
import threading
from collections.abc import Iterator

import numpy as np
import torch

from hpc_astrossl.errors import Interrupted, TrainingError

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
NAMED = 10  # object ids in a message


class Stop:
    """Whether a signal has asked to stop; ``name`` is the signal's."""

    def __init__(self):
        self.name: str | None = None

    def ask(self, number: int, _frame=None) -> None:
        """Ask to stop at the next step; a second SIGINT (Ctrl-C) does not wait for it."""
        if self.name == "SIGINT" and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.name = signal.Signals(number).name

    @contextlib.contextmanager
    def listening(self) -> Iterator["Stop"]:
        """Take the signals for the time of the block. Outside the main thread Python allows none: then it is idle."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self.ask) for number in SIGNALS}
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class Watch:
    """Told of every step of an epoch; keeps the losses on the device.

    On a GPU, where reading a loss makes the processor wait and ranks would talk more than compute, it looks at every
    16th step only. ``ids`` are the object ids of all rows of the store.
    """

    def __init__(self, engine, stop: Stop, ids: np.ndarray):
        self.engine, self.stop, self.ids = engine, stop, ids
        self.every = 1 if engine.device.type == "cpu" else 16
        self.begin(0)

    def begin(self, epoch: int) -> None:
        """Forget the epoch before."""
        self.epoch, self._sum, self._objects = epoch, 0.0, 0
        self._pending: list[tuple[int, torch.Tensor, np.ndarray]] = []

    def step(self, number: int, loss: torch.Tensor, rows: np.ndarray) -> None:
        """Note step ``number`` (from 0): the summed loss of this rank's objects, and their rows.

        Raises Interrupted when a rank was asked to stop, TrainingError when a loss is not finite: on every rank in
        the same step.
        """
        self._pending.append((number, loss, rows))
        if (number + 1) % self.every == 0:
            self._look()

    def end(self) -> tuple[float, int]:
        """Mean loss of the epoch over the objects of all ranks, and their number; raises like ``step``."""
        self._look()
        told = self.engine.gather((self._sum, self._objects))
        objects = sum(share for _, share in told)
        return sum(loss for loss, _ in told) / objects, objects

    def _look(self) -> None:
        values = torch.stack([loss for _, loss, _ in self._pending]).tolist() if self._pending else []
        bad = None
        for value, (number, _, rows) in zip(values, self._pending, strict=True):
            if not math.isfinite(value) and bad is None:
                bad = (number, [str(name) for name in self.ids[rows]])
            self._sum, self._objects = self._sum + value, self._objects + len(rows)
        self._pending = []
        told = self.engine.gather((self.stop.name, bad))
        if faults := [fault for _, fault in told if fault]:
            self._diverged(faults)
        if asked := [name for name, _ in told if name]:
            raise Interrupted(
                f"stopped by {asked[0]} in epoch {self.epoch}; run the same command again to go on from the last "
                "checkpoint"
            )

    def _diverged(self, faults: list[tuple[int, list[str]]]) -> None:
        first = min(number for number, _ in faults)
        names = [name for number, rank in faults if number == first for name in rank]
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        raise TrainingError(
            f"the loss of epoch {self.epoch}, step {first + 1} is not a finite number; objects of that step: "
            f"{', '.join(names[:NAMED])}{more}. The last checkpoint is kept. Look at these objects "
            "(astrossl check STORE --deep), or lower learning_rate"
        )
