"""Write a store: whole shards, one owner each, in a folder beside the final one, moved to its name when complete.

Any number of tasks may ``join`` one store in the making. A shard that is recorded and still what its record says
stays; any other is deleted and written anew, since Zarr cannot heal a damaged one by writing over it.
"""

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from zarr.codecs import Crc32cCodec, TransposeCodec, ZstdCodec

from hpc_astrossl import manifest, provenance
from hpc_astrossl.errors import InputError
from hpc_astrossl.manifest import Record
from hpc_astrossl.store import claim, encoded
from hpc_astrossl.store.blocks import PLANES_FIRST, Blocks
from hpc_astrossl.store.encoded import Encoding
from hpc_astrossl.store.layout import AXES, EXTRA, SPLITS, TABLE, TABLE_CHUNK, StoreInfo, chunk_rows, hashed
from hpc_astrossl.store.statistics import statistics

COMPRESSIONS = {"none": [], "zstd": [ZstdCodec(level=1)]}  # by the name that a recipe gives them


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


class StoreWriter:
    """A store being written. ``finish`` makes it appear under its name; until then readers find nothing there."""

    def __init__(self, path: Path):
        self.path, self._partial = path, claim.partial(path)
        self.folder = self._partial / claim.STORE
        with zarr.config.set({"array.write_empty_chunks": True}):  # kept in no file: opened anew, it must be said anew
            self._group = zarr.open_group(self.folder, mode="r+", zarr_format=3)
            self._arrays = {name: self._group[name] for name in ("images", *TABLE) if name in self._group}
        self.rows, self.shard = self._arrays["images"].shape[0], self._arrays["images"].shards[0]

    @property
    def shards(self) -> list[tuple[int, int]]:
        """Row ranges (start, stop) of the shards, in order."""
        return [(start, min(start + self.shard, self.rows)) for start in range(0, self.rows, self.shard)]

    def record(self, number: int) -> Record | None:
        """The record of a shard that was finished; its file may have changed since, see ``sound``."""
        return manifest.read_record(self._record_file(number))

    def sound(self, record: Record) -> bool:
        """Whether the shard's file is still what its record says; reads all of it."""
        return manifest.holds(self.folder, record)

    def lock(self, number: int):
        """A context in which no other process writes that shard; InputError when one is at it."""
        return claim.locked(self.path, _name(number))

    def write_images(self, start: int, images: np.ndarray, *, rejected: tuple[tuple[int, str], ...] = (),
                     inputs: dict[str, dict[str, Any]] | None = None,
                     facts: dict[str, list] | None = None) -> None:  # fmt: skip
        """Write one whole shard of images, (rows, height, width, channels), beginning at row ``start``, and record it.

        ``rejected``, ``inputs`` and ``facts`` as in ``manifest.Record``. The record follows the synced file.
        """
        stop = start + len(images)
        if (start, stop) not in self.shards:
            raise ValueError(f"rows {start}..{stop} are not a whole shard; shards are {self.shards}")
        number = start // self.shard
        try:
            file = self._write_shard(number, images)
            path = self.folder / file
            about = {"bytes": path.stat().st_size, "sha256": provenance.sha256(path)}
            record = Record(file=file, rows=(start, stop), **about, rejected=rejected, inputs=inputs or {},
                            facts=facts or {}, pixels=b"".join(map(hashed, images)).hex())  # fmt: skip
            manifest.write_record(self._record_file(number), record)
        except FileNotFoundError:
            raise _gone(self.path) from None

    def _write_shard(self, number: int, images: np.ndarray) -> str:
        """Write the file of a shard, and sync it; its name in the store."""
        start, stop = number * self.shard, number * self.shard + len(images)
        file = "/".join(["images/c", str(number), *["0"] * (images.ndim - 1)])
        path = self.folder / file
        self._record_file(number).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        for litter in path.parent.glob("*.partial"):  # what a writer left that died while Zarr wrote
            litter.unlink()
        self._arrays["images"][start:stop] = images
        claim.sync_file(path)
        for folder in list(path.parents)[1 : images.ndim]:  # new folders, up to images/
            claim.sync_folder(folder)
        return file

    def write_encoded(self, start: int, images: Sequence[bytes], *, rejected: tuple[tuple[int, str], ...] = (),
                      inputs: dict[str, dict[str, Any]] | None = None) -> None:  # fmt: skip
        """Write one whole shard of files as they were delivered, b"" for a rejected one; see ``write_images``.

        ValueError when a file is larger than the rows; ``store.examine`` tells beforehand which cannot be kept.
        """
        rows = encoded.pack(images, self._arrays["images"].shape[1])
        self.write_images(start, rows, rejected=rejected, inputs=inputs)

    def statistics(self, split: np.ndarray) -> dict[str, Any]:
        """Of the training objects' pixels, when all shards are written: what StoreInfo.statistics wants.

        ``split`` holds the codes of all rows, (rows,); those of REJECTED do not count.
        """
        array = self._arrays["images"]
        encoding, size = Encoding.of(array.attrs), array.chunks[0]
        blocks = Blocks(self.folder / "images", array)
        memory = blocks.room(size)

        def chunk(index: int) -> np.ndarray:
            raw = blocks.read(index, memory)
            return raw if encoding is None else encoded.decoded(raw, encoding)

        return statistics(chunk, np.flatnonzero(split == SPLITS.index("train")), size)

    def write_table(self, columns: dict[str, np.ndarray]) -> None:
        """Write the columns of ``layout.TABLE`` (object_id, ra, dec, split, label, magnitudes, magnitude_errors), and
        those of EXTRA that there are; ids also as bytes, for readers that know no strings."""
        columns = columns | {"object_id_utf8": encoded.texts(columns["object_id"])}
        for name, values in columns.items():
            if len(values) != self.rows:
                raise ValueError(f"column {name} has {len(values)} rows, the store {self.rows}")
            if name in EXTRA:
                self._begin_extra(name, values)
            shutil.rmtree(self.folder / name / "c", ignore_errors=True)  # of one who died while finishing
            self._arrays[name][...] = values

    def _begin_extra(self, name: str, values: np.ndarray) -> None:
        shutil.rmtree(self.folder / name, ignore_errors=True)  # of one who died while finishing
        rows, tail = min(self.rows, TABLE_CHUNK), values.shape[1:]
        self._arrays[name] = self._group.create_array(
            name,
            shape=values.shape,
            chunks=(rows, *tail),
            dtype=EXTRA[name][0],
            dimension_names=_axes(name),
            **_options(),
        )

    def finish(self, info: StoreInfo) -> Path:
        """Write attributes and manifest, sync, and move the store to its name, replacing an older one."""
        found = records(self.path)
        if len(found) < len(self.shards):
            raise ValueError(f"{self.path}: {len(self.shards) - len(found)} shards are not written")
        self._group.attrs.put(info.attributes())
        for litter in self.folder.rglob("*.partial"):
            litter.unlink()
        manifest.write_manifest(self.folder, found)
        claim.sync_tree(self.folder)
        if self.path.exists():
            old = self._partial / claim.REPLACED
            shutil.rmtree(old, ignore_errors=True)
            self.path.rename(old)
        self.folder.rename(self.path)
        claim.sync_folder(self.path.parent)
        self.discard()
        return self.path

    def discard(self) -> None:
        """Remove what was written, when it will not be finished."""
        abandon(self.path)

    def _record_file(self, number: int) -> Path:
        return self._partial / claim.RECORDS / f"{_name(number)}.json"


def _name(number: int) -> str:
    return f"images-{number:05d}"


def create(path: Path, *, shape: tuple[int, ...], dtype: np.dtype, bands: int,
           encoding: Encoding | None = None, compression: str | None = None) -> StoreWriter:  # fmt: skip
    """Begin a store by one writer; the arguments are those of ``Arrays``.

    What an earlier, unfinished attempt left is removed. InputError when N is 0 or the folder cannot be written.
    """
    abandon(Path(path))
    arrays = Arrays(shape=shape, dtype=dtype, bands=bands, encoding=encoding, compression=compression)
    return join(path, arrays, plan={})


def join(path: Path, arrays: Arrays, *, plan: dict[str, Any], replace: bool = False) -> StoreWriter:
    """Begin a store, or take part in one that another task has begun by the same ``plan`` (JSON-able).

    InputError when N is 0, the folder cannot be written, or the store in the making has another plan and is not to
    be replaced.
    """
    path = Path(path)
    if arrays.shape[0] == 0:
        raise InputError(f"{path}: no object is left to store; the counts by reason above say which filter took them")
    claim.tidy(path)
    if replace and claim.partial(path).exists() and not claim.agrees(path, plan):
        abandon(path)
    try:
        claim.begin(path, plan, lambda folder: _empty(folder, arrays))
        return StoreWriter(path)
    except (KeyError, FileNotFoundError):  # the group or an array went while it was opened
        raise _gone(path) from None
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None


def _gone(path: Path) -> InputError:
    """The error of one whose store in the making went from under it."""
    return InputError(f"{claim.partial(path)}: another process has finished or removed it meanwhile; run this again")


def records(path: Path) -> list[Record]:
    """The records of the finished shards of a store in the making, in order; none when it was not begun or is done."""
    found = map(manifest.read_record, sorted((claim.partial(path) / claim.RECORDS).glob("images-*.json")))
    return [record for record in found if record is not None]


@contextlib.contextmanager
def ending(path: Path) -> Iterator[None]:
    """A context in which no other process finishes the store in the making; waits for one that does."""
    with claim.locked(path, "finish", wait=True):
        yield
    claim.tidy(path)  # on NFS, a folder stays as long as a file in it is open: here the lock's was


def abandon(path: Path) -> None:
    """Remove a store in the making."""
    claim.remove(path)


def _empty(folder: Path, arrays: Arrays) -> None:
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
