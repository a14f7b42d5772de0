"""No room, or no leave, to write: a small file system that fills, one that is read-only, a limit as of a quota.

Each time the command must end with one message that names the file and the reason, leave nothing that looks finished
and is not, and go on to the undisturbed result when there is room again.
"""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from faults import victims
from faults.points import Point
from faults.prepared import Prepared
from faults.scenes import Prints
from faults.trials import Tally
from faults.victims import Ended

SHARES = (0.02, 0.3, 0.6, 0.9)  # of what the command writes, the room that there is
REASONS = ("No space left on device", "Read-only file system", "File too large")
BLOCK = 4096  # every file takes whole blocks


def disks(prepared: Prepared) -> Tally:
    """All of them for one scene; those that need a mount are skipped, and said to be, where none can be made."""
    tally, begin = Tally(prepared.scene.name, "one message; same result once there is room"), time.monotonic()
    if _can_mount(prepared.work):
        for share in SHARES:
            tally.count("disk full", _full(prepared, share))
        tally.count("read-only", _forbidden(prepared))
    else:
        print(f"{prepared.scene.name}: full and read-only disks SKIPPED, for mounting a tmpfs takes root", flush=True)
    for share in SHARES[1:]:
        tally.count("quota", _limited(prepared, share))
    tally.seconds = time.monotonic() - begin
    return tally


def _full(prepared: Prepared, share: float) -> str | None:
    with _mounted(prepared, 1 << 30) as folder:
        used = os.statvfs(folder)
        needed = (used.f_blocks - used.f_bfree) * used.f_frsize
        _remount(folder, f"size={int(needed + share * prepared.made) // BLOCK * BLOCK + BLOCK}")
        ended = victims.run(prepared.scene.command(folder, 0))
        fault = _told(ended) or prepared.scene.half(folder, prepared.truth)
        if not any(reason in ended.said for reason in REASONS):
            fault = fault or "the disk did not fill"
        _remount(folder, "size=4g")
        return fault or _mended(prepared, folder)


def _forbidden(prepared: Prepared) -> str | None:
    with _mounted(prepared, 1 << 30) as folder:
        _remount(folder, "ro")
        ended = victims.run(prepared.scene.command(folder, 0))
        fault = _told(ended)
        _remount(folder, "rw")
        return fault or _mended(prepared, folder)


def _limited(prepared: Prepared, share: float) -> str | None:
    folder = prepared.fresh()
    ended = victims.run(prepared.scene.command(folder, 0), Point(kind="limit", at=share * prepared.largest, rank=None))
    fault = _told(ended) or prepared.scene.half(folder, prepared.truth) or _mended(prepared, folder)
    if fault is None:
        shutil.rmtree(folder)
    return fault


def _told(ended: Ended) -> str | None:
    """One message, an exit status of its own, no traceback; a cache may go without, and says so."""
    last = next((line for line in reversed(ended.said.splitlines()) if line.strip()), "")
    if ended.well:
        return None
    if "Traceback" in ended.said or not set(ended.statuses) <= {1, 2, 69} or not any(r in last for r in REASONS):
        return f"ended with {ended.statuses}: {ended.said[-400:]}"
    return None


def _mended(prepared: Prepared, folder: Path) -> str | None:
    """The same command once more, now that it may write."""
    again = victims.run(prepared.scene.command(folder, 1))
    if not again.well:
        return f"started again with room it ended with {again.statuses}: {again.said[-400:]}"
    found, truth = _without_caches(prepared.scene.prints(folder)), _without_caches(prepared.truth)
    names = sorted(name for name in {*found, *truth} if found.get(name) != truth.get(name))
    return f"another result with room: {', '.join(names)[:300]}" if names else None


def _without_caches(prints: Prints) -> Prints:
    """What a run may go on without keeping: features on disk."""
    return {name: value for name, value in prints.items() if "/view" not in name and not name.endswith("about.json")}


def _can_mount(work: Path) -> bool:
    try:
        with _tmpfs(work / "probe", 1 << 20):
            return True
    except subprocess.CalledProcessError:
        return False


@contextlib.contextmanager
def _mounted(prepared: Prepared, size: float) -> Iterator[Path]:
    """A file system of that many bytes with the scene's input on it."""
    prepared.number += 1
    with _tmpfs(prepared.work / f"disk{prepared.number}", size) as folder:
        shutil.copytree(prepared.template, folder, symlinks=True, dirs_exist_ok=True)
        yield folder


@contextlib.contextmanager
def _tmpfs(folder: Path, size: float) -> Iterator[Path]:
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={int(size)}", "faults", str(folder)]
    subprocess.run(mount, check=True, capture_output=True)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def _remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)
