"""A store's copy on the node's own disk, made by the first run there and used by all: ``$ASTROSSL_SCRATCH``.

A shared file system serves a thousand tasks that stream the same store slower than a node's own disk serves two.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from hpc_astrossl import manifest, provenance
from hpc_astrossl.specs.cluster import SCRATCH

DIGITS = 16  # of the manifest's SHA-256 in the name of a copy


def nearest(path: Path, say: Callable[[str], None]) -> Path:
    """Where to read the store at ``path``: its copy in ``$ASTROSSL_SCRATCH``, made and verified now if need be.

    ``path`` itself without such a folder, for a store without a manifest, or when the copy fails, which is said; a
    copy is named by what is in the store, so that a store made anew is copied anew. Variables in the folder's name,
    such as ``$SLURM_JOB_ID``, are those of the process. Processes of a node wait for the one that copies.
    """
    scratch, listed = os.environ.get(SCRATCH), path / manifest.MANIFEST
    if not scratch or not listed.is_file():
        return path
    folder = Path(os.path.expandvars(scratch))
    copy = folder / f"{path.stem}-{provenance.sha256(listed)[:DIGITS]}{path.suffix}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with copy.with_name(f".{copy.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not copy.exists():
                _copy(path, copy)
                say(f"{path}: copied to {copy}")
            return copy
    except (OSError, shutil.Error) as error:
        say(f"{path}: read where it lies, it could not be copied to {folder} ({error})")
        return path


def _copy(path: Path, copy: Path) -> None:
    """Copy the store so that ``copy`` appears whole; OSError when what arrived is not what the manifest says."""
    for left in copy.parent.glob(f".{copy.name}-*"):  # by one who was killed: the lock is ours
        shutil.rmtree(left, ignore_errors=True)
    aside = Path(tempfile.mkdtemp(dir=copy.parent, prefix=f".{copy.name}-"))
    try:
        arriving = shutil.copytree(path, aside / copy.name)
        if faults := manifest.faults(arriving, deep=True):
            raise OSError("; ".join(faults[:3]))
        arriving.rename(copy)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
