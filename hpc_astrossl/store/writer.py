"""Write a store: whole shards, one owner each, in a folder beside the final one, moved to its name when complete.

Any number of tasks may ``join`` one store in the making. A shard that is recorded and still what its record says
stays; any other is deleted and written anew, since Zarr cannot heal a damaged one by writing over it.
"""

import contextlib
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import zarr

from hpc_astrossl import manifest
from hpc_astrossl.errors import InputError
from hpc_astrossl.files import write_aside
from hpc_astrossl.manifest import PIXELS, Record
from hpc_astrossl.store import claim, encoded
from hpc_astrossl.store.arrays import Arrays, begin_extra, empty, form
from hpc_astrossl.store.blocks import Blocks, Layout, sums_of
from hpc_astrossl.store.encoded import Encoding
from hpc_astrossl.store.layout import EXTRA, SPLITS, TABLE, TABLE_CHUNK, StoreInfo, hashed
from hpc_astrossl.store.packed import pack, unpack
from hpc_astrossl.store.shardfile import ShardFile
from hpc_astrossl.store.statistics import moments, statistics


class _Utf8:
    """A column of text as UTF-8, of which slices are made when they are asked for."""

    def __init__(self, texts: Any):
        self._texts = texts
        widths = [encoded.texts(texts[start : start + TABLE_CHUNK]).shape[1]
                  for start in range(0, len(texts), TABLE_CHUNK)]  # fmt: skip
        self.shape = len(texts), max(widths, default=1)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, part: slice) -> np.ndarray:
        return encoded.texts(self._texts[part], self.shape[1])


class StoreWriter:
    """A store being written. ``finish`` makes it appear under its name; until then readers find nothing there."""

    def __init__(self, path: Path):
        self.path, self._partial = path, claim.partial(path)
        self.folder = self._partial / claim.STORE
        with zarr.config.set({"array.write_empty_chunks": True}):  # kept in no file: opened anew, it must be said anew
            self._group = zarr.open_group(self.folder, mode="r+", zarr_format=3)
            self._arrays = {name: self._group[name] for name in ("images", *TABLE) if name in self._group}
        images = self._arrays["images"]
        self.rows, self.shard, self._form = images.shape[0], images.shards[0], form(images)

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
                     facts: dict[str, np.ndarray] | None = None) -> None:  # fmt: skip
        """Write one whole shard of images, (rows, height, width, channels), beginning at row ``start``, and record it.

        ``rejected``, ``inputs`` and ``facts`` as in ``manifest.Record``.
        """
        stop = start + len(images)
        if (start, stop) not in self.shards:
            raise ValueError(f"rows {start}..{stop} are not a whole shard; shards are {self.shards}")
        number = start // self.shard
        with self.begin_shard(number) as shard:
            shard.put(np.arange(len(images)), images)
            self.end_shard(number, shard, rejected=rejected, inputs=inputs, facts=facts)

    def begin_shard(self, number: int) -> ShardFile:
        """The file of a shard, to be filled; what there was of it before is removed.

        InputError when another process has finished or removed the store meanwhile: nothing of it is made again.
        """
        start, stop = self.shards[number]
        path = self.folder / self._file(number)
        try:
            self._record_file(number).unlink(missing_ok=True)
            for folder in reversed(list(path.parents)[: len(self._form.shape) + 1]):  # below images/, which is there
                folder.mkdir(exist_ok=True)
            path.unlink(missing_ok=True)
            for litter in path.parent.glob("*.partial"):  # what a writer of before left that died while Zarr wrote
                litter.unlink(missing_ok=True)
            return ShardFile(path, stop - start, self._form)
        except FileNotFoundError:
            raise _gone(self.path) from None

    def end_shard(self, number: int, shard: ShardFile, *, rejected: tuple[tuple[int, str], ...] = (),
                  inputs: dict[str, dict[str, Any]] | None = None,
                  facts: dict[str, np.ndarray] | None = None) -> None:  # fmt: skip
        """Finish and sync the file of a shard, then record it; rows that are rejected become zero."""
        start, stop = self.shards[number]
        sums, file = shard.finish(np.array([row - start for row, _ in rejected], dtype=np.int64)), self._file(number)
        record = Record(file=file, rows=(start, stop), bytes=sums.bytes, sha256=sums.sha256, rejected=rejected,
                        inputs=inputs or {}, facts={name: pack(values) for name, values in (facts or {}).items()},
                        moments=None if sums.moments is None else pack(sums.moments),
                        keys=sums.keys.tobytes().hex())  # fmt: skip
        try:
            for folder in list((self.folder / file).parents)[: len(self._form.shape) + 2]:  # new folders, up to images/
                claim.sync_folder(folder)
            manifest.write_record(self._record_file(number), record)
        except FileNotFoundError:
            raise _gone(self.path) from None

    def _file(self, number: int) -> str:
        """The name of a shard's file in the store."""
        return "/".join(["images/c", str(number), *["0"] * len(self._form.shape)])

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
        encoding, form = Encoding.of(self._arrays["images"].attrs), self._form
        height, width, _ = form.shape if encoding is None else encoding.image_shape

        def pixels(rows: np.ndarray) -> Iterator[np.ndarray]:
            for _, images in self._stored(rows):
                yield images if encoding is None else encoded.decoded(images, encoding)

        told = [unpack(record.moments) for record in records(self.path) if record.moments]
        if encoding is not None:  # files as they were delivered are decoded for this alone
            told = [moments(images, planes_first=False) for images in pixels(np.arange(self.rows))]
        rows = np.flatnonzero(split == SPLITS.index("train"))
        return statistics(np.concatenate(told), rows, pixels, height * width)

    def hashes(self, rows: np.ndarray) -> np.ndarray:
        """Hashes of what is stored of ``rows`` (ascending), read from shards that are written; S10, (len(rows),)."""
        found = np.zeros(len(rows), dtype=f"S{PIXELS}")
        for here, images in self._stored(rows):
            found[here] = [hashed(image) for image in images]
        return found

    def _stored(self, rows: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
        """(which of ``rows``, what is stored of them), chunk by chunk; the memory is used again."""
        blocks, size = Blocks(self.folder / "images", self._arrays["images"]), self._form.chunk
        memory = blocks.room(size)
        for index in np.unique(rows // size).tolist():
            first, last = np.searchsorted(rows, [index * size, (index + 1) * size])
            yield slice(first, last), blocks.read(index, memory)[rows[first:last] - index * size]

    def write_table(self, columns: Mapping[str, Any]) -> None:
        """Write the columns of ``layout.TABLE`` (object_id, ra, dec, split, label, magnitudes, magnitude_errors), and
        those of EXTRA that there are; ids also as bytes, for readers that know no strings.

        Columns are arrays, or whatever gives an array for a slice of rows and has a shape: a chunk at a time is taken.
        """
        columns = columns | {"object_id_utf8": _Utf8(columns["object_id"])}
        for name, values in columns.items():
            if len(values) != self.rows:
                raise ValueError(f"column {name} has {len(values)} rows, the store {self.rows}")
            if name in EXTRA:
                self._begin_extra(name, values)
            shutil.rmtree(self.folder / name / "c", ignore_errors=True)  # of one who died while finishing
            for start in range(0, self.rows, TABLE_CHUNK):
                part = slice(start, min(start + TABLE_CHUNK, self.rows))
                self._arrays[name][part] = values[part]

    def _begin_extra(self, name: str, values: np.ndarray) -> None:
        shutil.rmtree(self.folder / name, ignore_errors=True)  # of one who died while finishing
        self._arrays[name] = begin_extra(self._group, name, values.shape)

    def finish(self, info: StoreInfo) -> Path:
        """Write attributes and manifest, sync, and move the store to its name, replacing an older one."""
        found = records(self.path)
        if len(found) < len(self.shards):
            raise ValueError(f"{self.path}: {len(self.shards) - len(found)} shards are not written")
        self._group.attrs.put(info.attributes())
        for litter in self.folder.rglob("*.partial"):
            litter.unlink()
        self._write_sums(found)
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

    def _write_sums(self, found: list[Record]) -> None:
        """The checksums of all chunks: a reader sees by them that a sound one is not of this store."""
        chunks = Layout.of(self._group["images"]).chunks
        sums = [sums_of(self.folder / one.file, chunks) for one in sorted(found, key=lambda one: one.rows)]
        write_aside(self.folder / manifest.SUMS, np.concatenate(sums).tobytes())

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
        claim.begin(path, plan, lambda folder: empty(folder, arrays))
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
