"""Chunks read ahead by threads, each used by the thread that has read it, while it lies beside the processor."""

import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.store import Store

THREADS = max(1, min(4, len(os.sched_getaffinity(0))))  # ranks of a node share its cores
TOGETHER = 8  # chunks that a thread is given at a time: handing one over takes a quarter of the time to read it

Use = Callable[[int, np.ndarray], None]  # called in the threads with (place in the list of chunks, what was read)
Fast = Callable[[range], Sequence[int]]  # reads and uses chunks at once; gives the places it has left to the others


class Readers:
    """The threads that read a store, each with memory for one chunk. ``reads`` counts the chunks so far."""

    def __init__(self, store: Store):
        self.store, self.reads = store, 0
        self._pool = ThreadPoolExecutor(THREADS, "astrossl-reading")
        self._memory = threading.local()

    def begin(
        self, chunks: Sequence[int], places: range, use: Use, fast: Fast | None
    ) -> Future[list[tuple[int, InputError]]]:
        """Have the chunks at these places read and used; those that are damaged."""
        return self._pool.submit(self._work, chunks, places, use, fast)

    def close(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def _work(self, chunks: Sequence[int], places: range, use: Use, fast: Fast | None) -> list[tuple[int, InputError]]:
        """Runs in a thread, whose memory is used again for each chunk."""
        memory, damaged = self._memory, []
        if not hasattr(memory, "chunk"):
            memory.chunk = self.store.room(self.store.chunk_rows)
        for place in places if fast is None else fast(places):
            try:
                use(place, self.store.raw_chunk(chunks[place], memory.chunk))
            except InputError as error:
                damaged.append((chunks[place], error))
        return damaged


class Reading:
    """A list of chunks that is read in its order. Lists that are read at a time share the readers, first come."""

    def __init__(self, readers: Readers, chunks: Sequence[int], use: Use, fast: Fast | None = None):
        self._readers, self._chunks, self._use, self._fast = readers, chunks, use, fast
        self._begun: deque[tuple[range, Future]] = deque()  # places that nobody has waited for
        self._next = 0  # the first place that is not begun

    def read(self, count: int) -> None:
        """Have the first ``count`` chunks read."""
        count = min(count, len(self._chunks))
        for start in range(self._next, count, TOGETHER):
            places = range(start, min(start + TOGETHER, count))
            self._begun.append((places, self._readers.begin(self._chunks, places, self._use, self._fast)))
        self._next = max(self._next, count)

    def wait(self, count: int, lost: Callable[[int, InputError], None]) -> None:
        """Until the first ``count`` chunks, which are being read, are used; ``lost`` hears (chunk, error) of damage."""
        while self._begun and self._begun[0][0].start < count:
            places, future = self._begun.popleft()
            self._readers.reads += len(places)
            for index, error in future.result():
                lost(index, error)

    def stop(self) -> None:
        """Forget the chunks that nobody has waited for; when this is back, no thread uses one."""
        futures = [future for _, future in self._begun]
        wait([future for future in futures if not future.cancel()])
        self._begun.clear()
