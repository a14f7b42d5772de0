"""Which process: known by machine, id and start, so that a reused id, or another container's, is not taken for it."""

import os
import re
import socket
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any


@cache
def name() -> str | None:
    """This boot of the kernel and this space of process ids, where ids mean the same; None where that is not told.

    A container has the kernel of its host and ids of its own, whatever its host name.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return None


def visible_gpus() -> list[int]:
    """Numbers of this machine's NVIDIA GPUs, without a library: ``CUDA_VISIBLE_DEVICES``, else the device files."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [int(part) for part in visible.split(",") if part.strip().isdigit()]
    found = (re.fullmatch(r"nvidia(\d+)", path.name) for path in Path("/dev").glob("nvidia*"))
    return sorted(int(match[1]) for match in found if match)


def this_process() -> dict[str, Any]:
    """Host, machine, pid and start of this process."""
    return process(os.getpid())


def process(pid: int) -> dict[str, Any]:
    """Host, machine, pid and start (clock ticks after boot, None when it is gone) of a process here."""
    return {"host": socket.gethostname(), "machine": name(), "pid": pid, "started": start_ticks(pid)}


def here(about: Mapping[str, Any]) -> bool:
    """Whether that process would be seen from here; what earlier programs wrote names the host alone."""
    if about.get("machine") is None:
        return about.get("host") == socket.gethostname()
    return about["machine"] == name()


def runs(about: Mapping[str, Any]) -> bool:
    """Whether a process of this machine still runs."""
    ticks = start_ticks(about.get("pid"))
    return ticks is not None and ticks == about.get("started")


def start_ticks(pid: Any) -> int | None:
    """Start of a process in clock ticks after boot; None when it is gone or a zombie."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()  # the name in parentheses may hold blanks
    return None if fields[0] in "ZX" else int(fields[19])
