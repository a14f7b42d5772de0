"""What goes wrong in reading a FITS file, in words that name it."""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from astropy.io import fits
from astropy.utils.exceptions import AstropyWarning

from hpc_astrossl.cutting.badfile import NO_FILE, BadFile
from hpc_astrossl.errors import InputError
from hpc_astrossl.tables import streams

_FAULTS = (*streams.FAULTS, ValueError, TypeError, KeyError, IndexError, RuntimeError, ImportError, AstropyWarning,
           fits.VerifyError)  # fmt: skip


def missing(path: Path) -> BadFile:
    """The message for an image that the catalogue needs and the folder does not have."""
    return BadFile(f"{path}: no such file; objects of the catalogue lie in this field. Fetch it, correct the file name "
                   "in the recipe, or set fields.unreadable=reject", NO_FILE)  # fmt: skip


class _Quiet:
    """Untidy headers are common and harmless; lengths and sums, of which astropy only warns, are compared here.

    Filters belong to the process: of threads that read at a time, the first sets one and the last undoes it.
    """

    def __init__(self):
        self._lock, self._inside, self._before = threading.Lock(), 0, None

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                self._before = warnings.catch_warnings()
                self._before.__enter__()
                warnings.filterwarnings("ignore", category=AstropyWarning)

    def __exit__(self, *_) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                self._before.__exit__(None, None, None)


_quiet = _Quiet()


@contextmanager
def named(path: Path) -> Iterator[None]:
    """Turn what goes wrong in reading into an InputError that names the file."""
    try:
        with _quiet:
            yield
    except FileNotFoundError:
        raise missing(path) from None
    except InputError:
        raise
    except MemoryError as error:
        raise BadFile(f"{path}: needs more memory than there is ({str(error).strip()})") from None
    except _FAULTS as error:
        raise BadFile(f"{path}: damaged or not a FITS file ({str(error).strip()}); fetch it again") from None
