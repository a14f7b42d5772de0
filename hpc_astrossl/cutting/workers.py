"""Portions of shards on the cores of one node, a process each; they end with the process that started them."""

import multiprocessing
import os
import threading
from concurrent.futures import ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait as wait_for_any

from hpc_astrossl.cutting.progress import Progress
from hpc_astrossl.cutting.shards import Outcome, Portion, write_shards
from hpc_astrossl.errors import InputError

EVERY = 0.2  # seconds between two looks at the counter
_counter = None  # in a worker: objects done by all of them


def run(portions: list[Portion], progress: Progress) -> Outcome:
    """Write the shards of every portion; one alone in this process. See ``write_shards`` for what is raised."""
    progress.begin(sum(len(portion) for portion in portions))
    if len(portions) == 1:
        return write_shards(portions[0], _Advance(progress))
    context = multiprocessing.get_context("spawn")  # a fork would copy locks of Zarr's threads
    counter = context.Value("q", 0)
    with ProcessPoolExecutor(len(portions), context, _begin, (counter,)) as pool:
        futures = [pool.submit(_portion, portion) for portion in portions]
        left = set(futures)
        while left:
            _, left = wait(left, timeout=EVERY)
            progress.update(counter.value)
    return _together(futures)


def _together(futures: list) -> Outcome:
    whole = Outcome()
    for future in futures:
        try:
            part = future.result()
        except InputError as error:
            part = Outcome(faults=[str(error)])
        except BrokenProcessPool:
            raise InputError("a worker process was ended from outside, perhaps for want of memory; run the same "
                             "command again, with fewer --workers: finished shards stay") from None  # fmt: skip
        whole.faults += part.faults
        whole.notes += part.notes
    return whole


class _Advance:
    """Adds up the objects done in this process."""

    def __init__(self, progress: Progress):
        self._progress, self._done = progress, 0

    def __call__(self, count: int) -> None:
        self._done += count
        self._progress.update(self._done)


def _begin(counter) -> None:
    """In a new worker: remember the counter, and end when the parent ends, however it does."""
    global _counter
    _counter = counter
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process().sentinel,), daemon=True).start()


def _end_with(sentinel: int) -> None:
    wait_for_any([sentinel])
    os._exit(1)


def _portion(portion: Portion) -> Outcome:
    return write_shards(portion, _count)


def _count(count: int) -> None:
    with _counter.get_lock():
        _counter.value += count
