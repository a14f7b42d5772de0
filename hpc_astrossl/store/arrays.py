"""The arrays of a store before anything is in them: shapes, chunks and codecs, as docs/store-format.md has them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numcodecs.zstd import Zstd
from zarr.codecs import Crc32cCodec, TransposeCodec, ZstdCodec

from hpc_astrossl.store.blocks import PLANES_FIRST, Layout
from hpc_astrossl.store.encoded import Encoding
from hpc_astrossl.store.layout import AXES, EXTRA, TABLE, TABLE_CHUNK, chunk_rows
from hpc_astrossl.store.shardfile import Form

LEVEL = 1  # of Zstandard
COMPRESSIONS = {"none": [], "zstd": [ZstdCodec(level=LEVEL)]}  # by the name that a recipe gives them


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """What a new store is to hold: images of ``shape`` (N, height, width, channels) and ``bands`` magnitudes an object.

    With an ``encoding``, images are kept as JPEG or PNG files: ``shape`` is then (N, ``encoded.row_bytes`` of the
    largest file) of uint8, and shards are written by ``write_encoded``. ``compression`` is one of COMPRESSIONS; None
    leaves pixels as they are and spares the zeros behind files.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    bands: int
    encoding: Encoding | None = None
    compression: str | None = None


def empty(folder: Path, arrays: Arrays) -> None:
    """The group and its arrays, without any chunk."""
    group, shape, dtype = zarr.create_group(folder, zarr_format=3), arrays.shape, np.dtype(arrays.dtype)
    chunk, shard = chunk_rows(shape, dtype)
    options = _options()
    usual = "none" if arrays.encoding is None else "zstd"
    pixels = options | {"compressors": [*COMPRESSIONS[arrays.compression or usual], Crc32cCodec()]}
    if planes_first(arrays):
        pixels |= {"filters": [TransposeCodec(order=PLANES_FIRST)]}
    tail = shape[1:]
    array = group.create_array(
        "images",
        shape=shape,
        dtype=dtype,
        chunks=(chunk, *tail),
        shards=(shard, *tail),
        dimension_names=_axes("images" if arrays.encoding is None else "encoded"),
        **pixels,
    )
    if arrays.encoding is not None:
        array.attrs.put(arrays.encoding.attributes())
    rows = min(shape[0], TABLE_CHUNK)
    for name, (kind, per_band) in TABLE.items():
        if per_band and not arrays.bands:
            continue
        tail = (arrays.bands,) if per_band else ()
        group.create_array(name, shape=(shape[0], *tail), chunks=(rows, *tail), dtype=kind,
                           dimension_names=_axes(name), **options)  # fmt: skip


def _axes(name: str) -> tuple[str, ...]:
    return AXES.get(name, ("object",))


def _options() -> dict[str, Any]:
    """Every inner chunk carries its own checksum; an all-zero chunk is written, so that a missing one is a fault."""
    return {"compressors": [ZstdCodec(level=1), Crc32cCodec()], "config": {"write_empty_chunks": True}}


def planes_first(arrays: Arrays) -> bool:
    """Whether chunks lie in their files as (rows, channels, height, width): bands do, which surveys deliver one by one.

    Colours lie pixel by pixel, as decoders give them and DALI wants them.
    """
    return arrays.encoding is None and np.dtype(arrays.dtype).itemsize > 1


def form(array: zarr.Array) -> Form:
    """How the shards of an array lie in their files, as ``empty`` has said."""
    layout = Layout.of(array)
    pack = None if layout.codec is None else Zstd(level=LEVEL).encode
    return Form(chunk=array.chunks[0], chunks=layout.chunks, shape=array.shape[1:], dtype=array.dtype,
                planes_first=layout.order == PLANES_FIRST, pack=pack)  # fmt: skip


def begin_extra(group: zarr.Group, name: str, shape: tuple[int, ...]) -> zarr.Array:
    """An array of a column that not every store has."""
    return group.create_array(name, shape=shape, chunks=(min(shape[0], TABLE_CHUNK), *shape[1:]), dtype=EXTRA[name][0],
                              dimension_names=_axes(name), **_options())  # fmt: skip
