"""An embedding: features of many objects by one run, as a Zarr v3 group. docs/embedding.md is the authority."""

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, ZstdCodec

from hpc_astrossl.errors import InputError

FORMAT, VERSION = "astrossl-embedding", 1
CHUNK_ROWS = 4096
TYPES = {"object_id": "string", "features": "float32", "label": "int16"}


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
    group.attrs.put({"format": FORMAT, "version": VERSION, **about})  # last: without them it is no embedding


def attributes(path: Path) -> dict[str, Any]:
    """What an embedding says of itself; InputError when it is missing or something else."""
    return _opened(path)[1]


def _opened(path: Path) -> tuple[zarr.Group, dict[str, Any]]:
    if not path.exists():
        raise InputError(f"{path}: no such embedding; make it with astrossl embed RUN STORE --out {path.name}")
    try:
        group = zarr.open_group(path, mode="r", zarr_format=3)
        about = dict(group.attrs)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, OSError):
        raise InputError(f"{path}: not a Zarr v3 group; explore reads what astrossl embed wrote as .zarr") from None
    if (about.get("format"), about.get("version")) != (FORMAT, VERSION):
        raise InputError(f"{path}: not an embedding of version {VERSION} (format {about.get('format')!r}, version "
                         f"{about.get('version')!r}); make it with astrossl embed")  # fmt: skip
    return group, about


def read(path: Path) -> Embedding:
    """Read an embedding into memory. InputError when it is missing, something else, or damaged."""
    group, about = _opened(path)
    try:
        found = {name: group[name][...] for name in TYPES}
    except (KeyError, ValueError, RuntimeError, OSError) as error:
        raise InputError(f"{path}: damaged embedding ({error}); make it again with astrossl embed") from None
    ids = np.array(found["object_id"].tolist(), dtype=str)
    return Embedding(object_id=ids, features=found["features"], label=found["label"], about=about)
