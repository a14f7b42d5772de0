"""Work ahead in a thread."""

import atexit
import queue
import threading
from collections.abc import Generator, Iterator
from functools import partial
from typing import Any

_DONE = object()


def ahead(source: Generator[Any, None, None], depth: int) -> Iterator[Any]:
    """The items of ``source``, made in a thread at most ``depth`` items ahead of the reader.

    An error of the source is raised where its item would have come. Closing this generator stops the thread, closes
    the source in it, and waits for both; so does the end of the interpreter, which a thread that is inside a library
    does not survive.
    """
    items: queue.Queue = queue.Queue(maxsize=depth)
    stop = threading.Event()

    def work() -> None:
        try:
            for item in source:
                items.put((item, None))
                if stop.is_set():
                    break
            items.put((_DONE, None))
        except BaseException as error:  # handed to the reader, whatever it is
            items.put((_DONE, error))
        finally:
            source.close()

    thread = threading.Thread(target=work, name="astrossl-loading", daemon=True)
    end = partial(_end, thread, stop, items)
    atexit.register(end)
    thread.start()
    try:
        while True:
            item, error = items.get()
            if error is not None:
                raise error
            if item is _DONE:
                return
            yield item
    finally:
        atexit.unregister(end)
        end()


def _end(thread: threading.Thread, stop: threading.Event, items: queue.Queue) -> None:
    """Stop the thread and wait for it; what it made is thrown away."""
    stop.set()
    while thread.is_alive():
        _drain(items)
        thread.join(timeout=0.01)


def _drain(items: queue.Queue) -> None:
    while True:
        try:
            items.get_nowait()
        except queue.Empty:
            return
