"""An embedding: features of many objects by one run, as a Zarr v3 group. docs/embedding.md is the authority."""

import hashlib
import shutil
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from hpc_astrossl import provenance
from hpc_astrossl.errors import InputError
from hpc_astrossl.store.doubt import doubt

FORMAT, VERSION = "astrossl-embedding", 1
CHUNK_ROWS = 4096
STRETCH = 64 * CHUNK_ROWS  # ids at a time
TYPES = {"object_id": "string", "features": "float32", "label": "int16"}
ARRAYS = "arrays_sha256"
OWN = ("format", "version", ARRAYS)  # attributes that do not tell what it was made from
SUM = 4  # bytes of the CRC-32C at the end of each file


@dataclass(frozen=True, kw_only=True)
class Embedding:
    """``object_id`` (N text), ``features`` (N × width, float32), ``label`` (N, −1 unlabelled), and the attributes."""

    object_id: np.ndarray
    features: np.ndarray
    label: np.ndarray
    about: Mapping[str, Any]

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the labels; empty for a store without."""
        return tuple(self.about.get("class_names", ()))


def write(path: Path, parts: Iterable[Mapping[str, np.ndarray]], *, rows: int, about: Mapping[str, Any]) -> None:
    """Write an embedding of ``rows`` objects part by part; one part is in memory. ``path`` is replaced."""
    shutil.rmtree(path, ignore_errors=True)
    group = zarr.create_group(path, zarr_format=3)
    codecs, arrays, start = [ZstdCodec(level=1), Crc32cCodec()], {}, 0
    for columns in parts:
        stop = start + len(columns["object_id"])
        for name, kind in TYPES.items():
            tail = columns[name].shape[1:]
            if name not in arrays:
                arrays[name] = group.create_array(
                    name, shape=(rows, *tail), chunks=(min(rows, CHUNK_ROWS), *tail), dtype=kind, compressors=codecs
                )
            arrays[name][start:stop] = columns[name]
        start = stop
    if start != rows:
        raise ValueError(f"{start} rows came, {rows} were announced")
    # last: without them it is no embedding
    group.attrs.put({"format": FORMAT, "version": VERSION, **about, ARRAYS: arrays_sha256(path)})


def arrays_sha256(path: Path) -> str:
    """What tells its arrays from all others: of each the metadata, and of each file name, size and checksum.

    The checksums are those of the contents, and are compared by whoever reads these; nothing large is read here.
    InputError when a file cannot be read.
    """
    found = hashlib.sha256()
    try:
        for name in sorted(TYPES):
            found.update((path / name / "zarr.json").read_bytes())
            for file in sorted((path / name / "c").rglob("*")):
                if file.is_file():
                    found.update(f"{file.relative_to(path).as_posix()} {file.stat().st_size} ".encode() + _sum(file))
    except OSError as error:
        raise InputError(f"{path}: damaged embedding ({error}); make it again with astrossl embed") from None
    return found.hexdigest()


def _sum(file: Path) -> bytes:
    with file.open("rb") as stream:
        stream.seek(-min(SUM, file.stat().st_size), 2)
        return stream.read()


class Opened:
    """An embedding on disk: ``object_id`` and ``label`` in memory, features read a stretch of rows at a time."""

    def __init__(self, path: Path, group: zarr.Group, about: Mapping[str, Any]):
        self.path, self.about, self._group = path, about, group
        self._check()
        self._arrays = arrays_sha256(path)
        if about.get(ARRAYS, self._arrays) != self._arrays:
            raise self._damaged(
                "its arrays are not those that it was written with: copied over, or made anew meanwhile"
            )
        self.object_id = self._ids()
        self.label = self._read("label")
        self.width = self._array("features").shape[1]

    def __len__(self) -> int:
        return len(self.object_id)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the labels; empty for a store without."""
        return tuple(self.about.get("class_names", ()))

    def features(self, start: int = 0, stop: int | None = None) -> np.ndarray:
        """Features of rows ``start`` to ``stop``, (rows × width) float32. InputError when they are damaged."""
        return self._read("features", slice(start, stop))

    def blocks(self, rows: int = 4 * CHUNK_ROWS) -> Iterator[tuple[int, np.ndarray]]:
        """(first row, features) of all objects in order, ``rows`` at a time; the next are read meanwhile."""
        starts = range(0, len(self), rows)
        with ThreadPoolExecutor(1) as reader:
            ahead = [reader.submit(self.features, start, start + rows) for start in starts[:1]]
            for number, start in enumerate(starts):
                block = ahead.pop().result()
                ahead = [reader.submit(self.features, more, more + rows) for more in starts[number + 1 : number + 2]]
                yield start, block

    def hold(self) -> None:
        """InputError when it has been replaced or changed since it was opened: nothing is to be written of it."""
        if arrays_sha256(self.path) != self._arrays:
            raise InputError(f"{self.path}: was made anew or changed while it was read; run the same command again")

    @cached_property
    def identity(self) -> str:
        """SHA-256 over the names and contents of all its files."""
        files = sorted(path for path in self.path.rglob("*") if path.is_file())
        lines = [f"{path.relative_to(self.path).as_posix()} {provenance.sha256(path)}\n" for path in files]
        return hashlib.sha256("".join(lines).encode()).hexdigest()

    def _check(self) -> None:
        """InputError unless the arrays have as many axes and rows as they should, and can be as large as they claim."""
        arrays = {name: self._array(name) for name in TYPES}
        for name, array in arrays.items():
            axes = 1 + (name == "features")
            if not isinstance(array, zarr.Array) or array.ndim != axes:
                raise self._damaged(f"{name} is not an array of {axes} axes")
            if words := doubt(self.path / name, array):
                raise self._damaged(f"{name} {words}")
        if len({array.shape[0] for array in arrays.values()}) > 1:
            raise self._damaged("its arrays differ in length")

    def _ids(self) -> np.ndarray:
        """All ids, (N,) text of the longest's width, put there in stretches, which are read twice."""
        rows = self._array("object_id").shape[0]
        stretches = [slice(start, start + STRETCH) for start in range(0, rows, STRETCH)]
        longest = max((self._texts(here).itemsize // 4 for here in stretches), default=1)
        found = np.empty(rows, dtype=f"U{longest}")
        for here in stretches:
            found[here] = self._texts(here)
        return found

    def _texts(self, rows: slice) -> np.ndarray:
        return np.array(self._read("object_id", rows).tolist(), dtype=str)

    def _read(self, name: str, rows: slice = slice(None)) -> np.ndarray:
        try:
            return self._array(name)[rows]
        except (ValueError, RuntimeError, OSError) as error:
            raise self._damaged(error) from None

    def _array(self, name: str) -> zarr.Array:
        try:
            return self._group[name]
        except (KeyError, ValueError, RuntimeError, OSError) as error:
            raise self._damaged(error) from None

    def _damaged(self, error: Exception | str) -> InputError:
        return InputError(f"{self.path}: damaged embedding ({error}); make it again with astrossl embed")


def attributes(path: Path) -> dict[str, Any]:
    """What an embedding says of itself; InputError when it is missing or something else."""
    return _group(path)[1]


def open_embedding(path: Path) -> Opened:
    """Open an embedding. InputError when it is missing, something else, or damaged."""
    return Opened(path, *_group(path))


def _group(path: Path) -> tuple[zarr.Group, dict[str, Any]]:
    if not path.exists():
        raise InputError(f"{path}: no such embedding; make it with astrossl embed RUN STORE --out {path.name}")
    try:
        group = zarr.open_group(path, mode="r", zarr_format=3)
        about = dict(group.attrs)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, OSError):
        raise InputError(f"{path}: not a Zarr v3 group; what is read is what astrossl embed wrote as .zarr") from None
    if (about.get("format"), about.get("version")) != (FORMAT, VERSION):
        raise InputError(f"{path}: not an embedding of version {VERSION} (format {about.get('format')!r}, version "
                         f"{about.get('version')!r}); make it with astrossl embed")  # fmt: skip
    return group, about


def read(path: Path) -> Embedding:
    """Read an embedding into memory. Errors as of ``open_embedding``."""
    found = open_embedding(path)
    features = found.features()
    found.hold()
    return Embedding(object_id=found.object_id, features=features, label=found.label, about=found.about)
