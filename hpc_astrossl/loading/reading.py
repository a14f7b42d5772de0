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

Use = Callable[[int, np.ndarray], None]  # called in the threads with (place in the list of chunks, what was read)


class Reading:
    """Reads lists of chunks, one after the other, in their order. ``reads`` counts the chunks so far."""

    def __init__(self, store: Store):
        self.store, self.reads = store, 0
        self._pool = ThreadPoolExecutor(THREADS, "astrossl-reading")
        self._memory = threading.local()
        self._chunks: Sequence[int] = ()
        self._begun: deque[tuple[int, Future]] = deque()  # and the places of those that nobody has waited for
        self._use: Use | None = None

    def begin(self, chunks: Sequence[int], use: Use) -> None:
        """Take up another list of chunks; none is read yet."""
        self.stop()
        self._chunks, self._use, self.begun = chunks, use, 0

    def read(self, count: int) -> None:
        """Have the first ``count`` chunks read."""
        for place in range(self.begun, min(count, len(self._chunks))):
            self._begun.append((place, self._pool.submit(self._work, self._use, place, self._chunks[place])))
            self.begun = place + 1

    def wait(self, count: int, lost: Callable[[int, InputError], None]) -> None:
        """Until the first ``count`` chunks, which are being read, are used; ``lost`` hears (chunk, error) of damage."""
        while self._begun and self._begun[0][0] < count:
            place, future = self._begun.popleft()
            self.reads += 1
            try:
                future.result()
            except InputError as error:
                lost(self._chunks[place], error)

    def stop(self) -> None:
        """Forget the chunks that nobody has waited for; when this is back, no thread uses one."""
        futures = [future for _, future in self._begun]
        wait([future for future in futures if not future.cancel()])
        self._begun.clear()

    def close(self) -> None:
        """Stop, and end the threads."""
        self.stop()
        self._pool.shutdown()

    def _work(self, use: Use, place: int, index: int) -> None:
        """Runs in a thread, whose memory is used again for each chunk."""
        memory = self._memory
        if not hasattr(memory, "chunk"):
            memory.chunk = np.empty((self.store.chunk_rows, *self.store.raw_shape), dtype=self.store.dtype)
        use(place, self.store.raw_chunk(index, memory.chunk))
