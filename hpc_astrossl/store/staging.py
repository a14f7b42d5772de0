"""A store's copy on the node's own disk, made by the first run there and used by all: ``$ASTROSSL_SCRATCH``.

A shared file system serves a thousand tasks that stream the same store slower than a node's own disk serves two.
"""

import contextlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from hpc_astrossl import files, locks, manifest, provenance
from hpc_astrossl.specs.cluster import SCRATCH
from hpc_astrossl.store.seal import NAMED


def nearest(path: Path, say: Callable[[str], None]) -> Path:
    """Where to read the store at ``path``: its copy in ``$ASTROSSL_SCRATCH``, made and verified now if need be.

    ``path`` itself without such a folder, for a store without a manifest, or when the copy fails, which is said; a
    copy is named by what is in the store, so that a store made anew is copied anew. One that is there is used only if
    it is ours and holds what its name says (``_trusted``). Variables in the folder's name, such as ``$SLURM_JOB_ID``,
    are those of the process. Processes of a node wait for the one that copies.
    """
    scratch, listed = os.environ.get(SCRATCH), path / manifest.MANIFEST
    if not scratch or not listed.is_file():
        return path
    folder, digest = Path(os.path.expandvars(scratch)), provenance.sha256(listed)
    if not folder.is_absolute():  # a variable that is not set, too: a folder of that name would come to be here
        say(f"{path}: read where it lies: {SCRATCH}={scratch} is no absolute path, or names a variable that is not set "
            "here; correct scratch in the cluster file")  # fmt: skip
        return path
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for copy in _names(folder, path, digest):
            if _trusted(copy, digest):
                return copy
            if not os.path.lexists(copy):
                return _made(path, copy, digest, say)
            say(f"{copy}: not used, it is not a copy that this user has made of {path} (its owner, its rights or its "
                "manifest say so)")  # fmt: skip
    except (OSError, shutil.Error) as error:
        say(f"{path}: read where it lies, it could not be copied to {folder} ({error})")
    return path


def _names(folder: Path, path: Path, digest: str) -> list[Path]:
    """What the copy may be called: the second name is for a folder in which another user has the first."""
    name = f"{path.stem}-{digest[:NAMED]}"
    return [folder / f"{name}{path.suffix}", folder / f"{name}-{os.geteuid()}{path.suffix}"]


def _trusted(copy: Path, digest: str) -> bool:
    """Whether a copy is ours, nobody else may write to it, and its manifest and metadata are those of the store."""
    try:
        facts = os.lstat(copy)
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid() or facts.st_mode & 0o022:
            return False
        if provenance.sha256(copy / manifest.MANIFEST) != digest:
            return False
        listed = manifest.read_manifest(copy)
        metadata = {name: known["sha256"] for name, known in listed.items() if name.endswith("zarr.json")}
        return all(provenance.sha256(copy / name) == known for name, known in metadata.items())
    except (OSError, ValueError):
        return False


def _made(path: Path, copy: Path, digest: str, say: Callable[[str], None]) -> Path:
    """Copy the store so that ``copy`` appears whole; OSError when what arrived is not what the manifest says."""

    def fill(aside: Path) -> None:
        _copy(path, aside)
        if faults := manifest.faults(aside, deep=True):
            raise OSError("; ".join(faults[:3]))
        if provenance.sha256(aside / manifest.MANIFEST) != digest:
            raise OSError("it was made anew meanwhile")

    with _alone(copy.with_name(f".{copy.name}.{os.geteuid()}.lock")):
        for left in copy.parent.glob(f".{copy.name}-*"):  # by an earlier program that was killed
            files.remove(left)
        if not _trusted(copy, digest):
            files.make_aside(copy, fill)
            say(f"{path}: copied to {copy}")
    return copy


@contextlib.contextmanager
def _alone(lock: Path) -> Iterator[None]:
    """Hold that lock file, and remove it: who waits for it looks at the copy once more."""
    with locks.locked(lock):
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _copy(path: Path, folder: Path) -> None:
    """Copy the files, not their rights: a store that may only be read would else be a folder that nobody can move."""
    folder.mkdir(0o700)
    for name in [*manifest.files(path), manifest.MANIFEST]:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path / name, folder / name)
