"""The objects that exported weights have seen: in ``FILE.seen.npz`` beside the file, and with it in the cache.

Without them the leakage check would end at the cache: weights of a run that is not in the work directory.
"""

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl import npz
from hpc_astrossl.cache import seen_file
from hpc_astrossl.errors import InputError
from hpc_astrossl.files import write_aside, written

FORMAT, VERSION = "astrossl-seen", 1
COLUMNS = ("object_id", "ra", "dec")


@dataclass(frozen=True, kw_only=True)
class Carried:
    """``runs`` that weights go back to, the nearest first, as ``lineage`` of a result tells them.

    Of each, ``certain`` says whether its objects are known. ``objects`` are those of run number ``of``, (N,);
    ``convolutions`` is the SHA-256 of the weights (``weights.digest``).
    """

    convolutions: str
    runs: tuple[dict[str, Any], ...]
    of: np.ndarray
    objects: Mapping[str, np.ndarray]

    def by(self, number: int) -> dict[str, np.ndarray]:
        """The objects of one of the runs."""
        return {name: column[self.of == number] for name, column in self.objects.items()}


def write(file: Path, carried: Carried) -> None:
    """Put it beside the weights; TrainingError when it cannot be written."""
    about = {"format": FORMAT, "version": VERSION, "convolutions": carried.convolutions, "runs": list(carried.runs)}
    buffer, path = io.BytesIO(), seen_file(file)
    np.savez_compressed(buffer, about=np.array(json.dumps(about)), of=carried.of, **carried.objects)
    with written(path):
        write_aside(path, buffer.getbuffer())


def read(file: Path, convolutions: str | None = None) -> Carried | None:
    """What lies beside the weights in ``file``, which have that digest (None: not looked at); None: nothing does.

    InputError when it is damaged, or of other weights.
    """
    path = seen_file(file)
    try:
        with npz.opened(path) as arrays:
            about, of = json.loads(str(arrays["about"])), arrays["of"]
            objects = {name: arrays[name] for name in COLUMNS}
        if (about["format"], about["version"]) != (FORMAT, VERSION) or len({len(of), *map(len, objects.values())}) > 1:
            raise ValueError("it is something else")
        found = Carried(convolutions=about["convolutions"], runs=tuple(about["runs"]), of=of, objects=objects)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path}: damaged ({error}); export the weights again with astrossl weights export") from None
    if convolutions not in (None, found.convolutions):
        raise InputError(f"{path}: tells of other weights than {file} holds; export them again, or bring the file that "
                         "belongs to it")  # fmt: skip
    return found
