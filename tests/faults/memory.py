"""Resident memory of long processes, sampled while they run: it must not grow."""

import contextlib
import statistics
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

EVERY = 5.0  # seconds between samples
WARM = 0.2  # of the samples: what a process takes until it has everything
SLACK = (1.05, 8.0)  # a last quarter up to so many times the first one, and MB more, counts as flat


class Memory:
    """Samples by process, in MB."""

    def __init__(self):
        self.samples: dict[str, list[float]] = {}

    @contextlib.contextmanager
    def of(self, name: str, process: subprocess.Popen) -> Iterator[None]:
        """Sample a process for the time of the block, then end it."""
        samples, over = self.samples.setdefault(name, []), threading.Event()
        watcher = threading.Thread(target=_watch, args=(process.pid, samples, over), daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(30)
            process.kill()

    def summary(self) -> dict[str, dict]:
        """Of those sampled often enough: medians of the first and last quarter after warming up, and the peak."""
        return {name: _told(samples) for name, samples in self.samples.items() if len(samples) >= 20}


def _watch(pid: int, samples: list[float], over: threading.Event) -> None:
    while not over.wait(EVERY):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, IndexError):
            samples.append(resident(pid))


def resident(pid: int) -> float:
    """VmRSS of a process, MB."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


def _told(samples: list[float]) -> dict:
    steady = samples[int(WARM * len(samples)) :]
    quarter = len(steady) // 4
    first, last = statistics.median(steady[:quarter]), statistics.median(steady[-quarter:])
    flat = last <= SLACK[0] * first + SLACK[1]
    return {"minutes": round(len(samples) * EVERY / 60, 1), "first_quarter_mb": round(first, 1),
            "last_quarter_mb": round(last, 1), "peak_mb": round(max(samples), 1), "flat": flat}  # fmt: skip
