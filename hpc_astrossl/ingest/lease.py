"""One task makes the selection, the others wait for what it leaves: a lease beside the stores."""

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from hpc_astrossl import locks
from hpc_astrossl.errors import InputError
from hpc_astrossl.files import PARTIAL, write_aside


@contextlib.contextmanager
def selecting(out: Path, name: str, key: str, tasks: int, meanwhile: Callable[[], None] | None = None) \
        -> Iterator[None]:  # fmt: skip
    """Hold the lease by which a selection is made; the same command may be started twice at once, too. Who waits for
    it does ``meanwhile``, again and again.

    Who waited for one that failed is told the same InputError: what is wrong with a recipe or a table is found once,
    not by a hundred tasks after one another. A lease ends with its process, so of one that was killed the next takes
    over.
    """
    made = not out.exists()
    with contextlib.suppress(OSError):  # which is told when the store is begun
        out.mkdir(parents=True, exist_ok=True)
    lock, failure = _lock(out, name), out / f".{name}.refused"
    try:
        with contextlib.ExitStack() as stack:
            waited = _hold(stack, lock, meanwhile)
            if waited and (words := _refused(failure, key)):
                raise InputError(words)
            with contextlib.suppress(OSError):  # told, too, when the store is begun
                failure.unlink(missing_ok=True)
            try:
                yield
            except InputError as error:
                if tasks > 1:
                    write_aside(failure, json.dumps({"key": key, "words": str(error)}).encode())
                raise
            finally:
                with contextlib.suppress(OSError):
                    lock.unlink(missing_ok=True)
    except InputError:
        with contextlib.suppress(OSError):
            if made:
                out.rmdir()
        raise


def tidy(out: Path, name: str) -> None:
    """Remove what a process left that was killed while it held the lease; not a lease that is held."""
    lock = _lock(out, name)
    if lock.exists():
        with contextlib.suppress(locks.Held, OSError), locks.locked(lock, patience=0):
            lock.unlink(missing_ok=True)


def _lock(out: Path, name: str) -> Path:
    return out / f".{name}.selecting{PARTIAL}"


def _hold(stack: contextlib.ExitStack, lock: Path, meanwhile: Callable[[], None] | None) -> bool:
    """Take the lease; whether another had to be waited for. Where nothing can be written there is none."""
    try:
        stack.enter_context(locks.locked(lock, patience=0))
    except locks.Held:
        stack.enter_context(locks.locked(lock, stop=lambda: bool(meanwhile and meanwhile())))
        return True
    except OSError:
        pass
    return False


def _refused(failure: Path, key: str) -> str | None:
    try:
        facts = json.loads(failure.read_bytes())
    except (OSError, ValueError):
        return None
    return facts["words"] if facts.get("key") == key else None
