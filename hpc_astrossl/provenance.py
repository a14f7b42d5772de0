"""Where a result came from: code version, commit, libraries, date; sizes and hashes of inputs."""

import datetime
import hashlib
import importlib.metadata
import platform
import subprocess
from collections.abc import Iterable
from pathlib import Path

from hpc_astrossl import __version__

LIBRARIES = ("torch", "torchvision", "horovod", "nvidia-dali-cuda130", "numpy", "astropy", "zarr", "submitit")


def code() -> dict[str, str | None]:
    """Version of the package and, in a git checkout of it, the commit."""
    return {"version": __version__, "commit": _commit()}


def _commit() -> str | None:
    folder = Path(__file__).resolve().parent.parent
    if not (folder / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            capture_output=True, text=True, timeout=10,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None


def libraries() -> dict[str, str]:
    """Versions of the libraries that are installed here, without importing them."""
    found = {"python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def now() -> str:
    """UTC date and time, ISO 8601, to the second."""
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def sha256(path: Path) -> str:
    """The file's SHA-256, in hexadecimal digits."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def inputs(paths: Iterable[Path]) -> list[dict[str, str | int]]:
    """Name, size in bytes and SHA-256 of each file, in the order given."""
    return [{"file": path.name, "bytes": path.stat().st_size, "sha256": sha256(path)} for path in paths]
