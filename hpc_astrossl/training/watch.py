"""What is looked at between steps: a signal that asks to stop, the time for a checkpoint, a loss that is no number.

Ranks agree on each before they act, so that none is left waiting in a collective that the others never enter.
"""

import contextlib
import math
import signal
import threading
from collections.abc import Callable, Iterator

import numpy as np
import torch

from hpc_astrossl.errors import Interrupted, TrainingError

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)
NAMED = 10  # object ids in a message
Ids = Callable[[np.ndarray], np.ndarray]
Sums = list[tuple[float, int]]  # by rank: the losses' sum so far, and the objects in it


class Stop:
    """Whether a signal has asked to stop; ``name`` is the signal's.

    Before training there is nothing to save and a signal ends the run where it is; within ``gently`` it is noted,
    and answered at the next step.
    """

    def __init__(self):
        self.name: str | None = None
        self._gentle = False
        self._raised: Interrupted | None = None

    def ask(self, number: int, _frame=None) -> None:
        """Ask to stop; a second SIGINT (Ctrl-C) does not wait for the next step."""
        if self.name == "SIGINT" and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.name = signal.Signals(number).name
        if not self._gentle:
            self._raised = interrupted(self.name, "before training began")
            raise self._raised

    @contextlib.contextmanager
    def listening(self) -> Iterator["Stop"]:
        """Take the signals for the time of the block. Outside the main thread Python allows none: then it is idle."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.signal(number, self.ask) for number in SIGNALS}
        try:
            yield self
        except Exception as error:
            if self._raised is None:
                raise
            raise self._raised from error  # it was raised inside a library, which made a fault of its own of it
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def gently(self) -> Iterator[None]:
        """For the time of the block a signal is noted only: whoever computes looks at ``name``."""
        self._gentle = True
        try:
            yield
        finally:
            self._gentle = False

    def obey(self, asked: list[str | None], where: str) -> None:
        """Raise Interrupted when a rank was ``asked`` to stop."""
        if names := [name for name in asked if name]:
            raise interrupted(names[0], where)


def interrupted(name: str, where: str) -> Interrupted:
    """The error of a run that signal ``name`` stopped."""
    return Interrupted(f"stopped by {name} {where}; run the same command again to go on from the last checkpoint")


class Watch:
    """Told of every step of an epoch; keeps the losses on the device.

    On a GPU, where reading a loss makes the processor wait and ranks would talk more than compute, it looks at every
    16th step only. ``ids(rows)`` gives object ids; ``due()`` of rank 0 says when a checkpoint
    within an epoch is wanted.
    """

    def __init__(self, engine, stop: Stop, ids: Ids, due: Callable[[], bool] = lambda: False):
        self.engine, self.stop, self.ids, self.due = engine, stop, ids, due
        self.every = 1 if engine.device.type == "cpu" else 16
        self.begin(0)

    def begin(self, epoch: int, sums: Sums | None = None) -> None:
        """Forget the epoch before; ``sums`` is what ``sums()`` gave where this epoch was left."""
        self.epoch, self._asked = epoch, []
        self._pending: list[tuple[int, torch.Tensor, np.ndarray]] = []
        shares = sums if sums and len(sums) == self.engine.size else [_total(sums or [])]
        self._sum, self._objects = shares[self.engine.rank] if self.engine.rank < len(shares) else (0.0, 0)

    def step(self, number: int, loss: torch.Tensor, rows: np.ndarray) -> bool:
        """Note step ``number`` (from 0): the summed loss of this rank's objects, and their rows.

        Returns whether the state after this step is to be saved, because it is time or because a rank was asked to
        stop (then call ``obey`` after saving). TrainingError when a loss is not finite. All of it on every rank in
        the same step.
        """
        self._pending.append((number, loss, rows))
        return (number + 1) % self.every == 0 and self._look()

    def obey(self) -> None:
        """Raise Interrupted when a rank was asked to stop at the last look."""
        self.stop.obey(self._asked, f"in epoch {self.epoch}")

    def sums(self) -> Sums:
        """Sum of losses and number of objects of every rank so far in the epoch; for ``begin``. Collective."""
        return self.engine.gather((self._sum, self._objects))

    def end(self) -> tuple[float, int]:
        """Mean loss of the epoch over the objects of all ranks, and their number; TrainingError like ``step``."""
        self._look()
        loss, objects = _total(self.sums())
        return loss / objects, objects

    def _look(self) -> bool:
        values = torch.stack([loss for _, loss, _ in self._pending]).tolist() if self._pending else []
        bad = None
        for value, (number, _, rows) in zip(values, self._pending, strict=True):
            if not math.isfinite(value) and bad is None:
                bad = (number, self.names(rows))
            self._sum, self._objects = self._sum + value, self._objects + len(rows)
        self._pending = []
        told = self.engine.gather((self.stop.name, bad, self.engine.rank == 0 and self.due()))
        if faults := [fault for _, fault, _ in told if fault]:
            first = min(number for number, _ in faults)
            self.diverged(f"step {first + 1}", [name for number, rank in faults if number == first for name in rank])
        self._asked = [name for name, _, _ in told]
        return any(self._asked) or any(due for _, _, due in told)

    def names(self, rows: np.ndarray) -> list[str]:
        """Object ids of these rows."""
        return [str(name) for name in self.ids(rows)]

    def diverged(self, where: str, names: list[str]) -> None:
        """Raise the TrainingError of a loss that is not finite, at ``where`` of the epoch, for objects ``names``."""
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        raise TrainingError(
            f"the loss of epoch {self.epoch}, {where} is not a finite number; objects of that step: "
            f"{', '.join(names[:NAMED])}{more}. The last checkpoint is kept. Look at these objects "
            "(astrossl check STORE --deep), or lower learning_rate"
        )


def _total(sums: Sums) -> tuple[float, int]:
    return sum(loss for loss, _ in sums), sum(objects for _, objects in sums)
