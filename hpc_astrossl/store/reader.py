"""Read a store: its attributes, its table, and its images by whole chunks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import zarr

from hpc_astrossl import manifest
from hpc_astrossl.errors import InputError
from hpc_astrossl.store import claim, encoded
from hpc_astrossl.store.blocks import SUM, Blocks, Extents
from hpc_astrossl.store.doubt import doubt
from hpc_astrossl.store.encoded import Encoding
from hpc_astrossl.store.layout import EXTRA, REJECTED, SPLITS, TABLE, StoreInfo
from hpc_astrossl.store.rowset import RowSet
from hpc_astrossl.store.seal import Seal

STRETCH = 1 << 24  # rows of a column that are read at once where all are gone through; a multiple of 8
IDS = 1 << 18  # the same of ids, which take a hundred times the room


class Store:
    """An opened store. ``path`` is where it lies; reading never changes it.

    ``verify``: what is read is held against the manifest, so that a file that was exchanged for a sound one is noticed.
    """

    def __init__(self, path: Path, group: zarr.Group, info: StoreInfo, seal: Seal, *, verify: bool = True):
        self.path, self.info, self._seal, self._verify = path, info, seal, verify
        self._group = group
        self._images = group["images"]
        self.encoding = encoded.Encoding.of(self._images.attrs)  # None: the numbers of ``images`` are pixels
        self._length = self._images.shape[0]  # zarr reads its metadata each time

    def __len__(self) -> int:
        return self._length

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(height, width, channels) of every image, in pixels."""
        return self.encoding.image_shape if self.encoding else self._images.shape[1:]

    @cached_property
    def raw_shape(self) -> tuple[int, ...]:
        """Shape of a row as it lies in the store: of the image, or (bytes,) where images are kept encoded."""
        return self._images.shape[1:]

    @cached_property
    def dtype(self) -> np.dtype:
        """Data type of the images: uint8 for RGB, float32 for fluxes."""
        return self._images.dtype

    @cached_property
    def chunk_rows(self) -> int:
        """Rows in a chunk: what one read brings."""
        return self._images.chunks[0]

    @property
    def direct(self) -> bool:
        """Whether chunks are decoded straight into memory, as those are that ``create`` lays out."""
        return self._blocks.direct

    @property
    def planes_first(self) -> bool:
        """Whether a chunk lies in its file as (rows, channels, height, width); its shape is as ever."""
        return self._blocks.planes_first

    @property
    def plain(self) -> bool:
        """Whether chunks lie in files as they are in memory, see ``extents``."""
        return self._blocks.plain

    def extents(self, chunks: Sequence[int]) -> Extents:
        """Where in which files they lie, for code that reads them itself."""
        return self._blocks.extents(chunks)

    def room(self, rows: int) -> np.ndarray:
        """Memory for so many rows, (rows, …raw_shape), laid out as chunks are in their files."""
        return self._blocks.room(rows)

    @cached_property
    def table(self) -> "Columns":
        """The columns, each of N rows, see ``layout.TABLE``. Each is read when it is first asked for, and then kept."""
        return Columns(self)

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of a split (train, validation or test), ascending, int64."""
        return self.members(split)[:]

    @property
    def identity(self) -> str | None:
        """SHA-256 of the list of its files and their hashes, when it was opened: made of other data it has another."""
        return self._seal.identity

    def look(self) -> None:
        """StoreChanged when another manifest lies there now; costs next to nothing."""
        self._seal.look()

    def hold(self) -> None:
        """StoreChanged when the store has been replaced or changed since it was opened."""
        self._seal.hold()

    def members(self, split: str | None = None) -> RowSet:
        """The rows of a split, or of all that are ``usable``, as a set, a bit a row; the column is read in stretches,
        and not kept."""
        bits = RowSet.room(len(self))
        for start in range(0, len(self), STRETCH):
            found = self.table.part("split", start, min(start + STRETCH, len(self)))
            there = found != REJECTED if split is None else found == SPLITS.index(split)
            bits[start // 8 : start // 8 + -(-len(there) // 8)] = np.packbits(there, bitorder="little")
        return RowSet(bits, len(self))

    @property
    def usable(self) -> np.ndarray:
        """Row numbers of the objects that have an image, in whatever split; ascending, int64."""
        return self.members()[:]

    def chunk(self, index: int) -> np.ndarray:
        """The images of chunk ``index``: rows ``index * chunk_rows`` on, (rows, height, width, channels).

        InputError, naming the store, the chunk and the objects, when it or an encoded image in it is damaged.
        """
        raw = self.raw_chunk(index)
        return self.decoded(index, raw) if self.encoding else raw

    def raw_chunk(self, index: int, out: np.ndarray | None = None) -> np.ndarray:
        """A chunk as it lies in the store, (rows, …raw_shape). Any number of threads may read at a time.

        ``out``, best of ``room(chunk_rows)``, is where to, and is fresh memory when not given. Errors as of ``chunk``.
        """
        if out is None:
            out = self.room(min((index + 1) * self.chunk_rows, len(self)) - index * self.chunk_rows)
        try:
            return self._blocks.read(index, out)
        except (ValueError, RuntimeError, OSError) as error:
            self._seal.look()
            raise self.damage(index, error) from None

    def decoded(self, index: int, raw: np.ndarray, broken: Callable[[int, InputError], None] | None = None,
                decode: Callable[[np.ndarray, Encoding, np.ndarray], None] = encoded.decode) -> np.ndarray:  # fmt: skip
        """The images of an encoded chunk, (rows, height, width, 3).

        InputError names the object that is broken; with ``broken``, that is called with (row, error) instead, and the
        image is zeros. ``decode`` is called as ``encoded.decode`` is, and must give the same.
        """
        out = np.zeros((len(raw), *self.image_shape), dtype=np.uint8)
        for place, row in enumerate(raw):
            try:
                decode(row, self.encoding, out[place])
            except ValueError as error:
                damage = self.damage(index, error, place)
                if broken is None:
                    raise damage from None
                broken(index * self.chunk_rows + place, damage)
        return out

    def damage(self, index: int, error: Exception, place: int | None = None) -> InputError:
        """The error of a chunk that cannot be read, or of the image at one ``place`` in it."""
        start = index * self.chunk_rows
        rows = (start, min(start + self.chunk_rows, len(self)) - 1) if place is None else (start + place,) * 2
        where = f"rows {rows[0]}..{rows[1]}" if place is None else f"row {rows[0]}"
        return InputError(f"{self.path}: array images, chunk {index}, {where}{self._objects(*rows)}: damaged or "
                          f"unreadable ({_words(error)}); {self._seal.remedy}")  # fmt: skip

    def _objects(self, first: int, last: int) -> str:
        try:
            ids = self.table.part("object_id", first, last + 1)
        except InputError:  # the table is damaged too
            return ""
        return f" (object {ids[0]})" if first == last else f" (objects {ids[0]} to {ids[-1]})"

    @cached_property
    def _blocks(self) -> Blocks:
        return Blocks(self.path / "images", self._images, self._seal.look, self._sums())

    def _sums(self) -> np.ndarray | None:
        """The checksums of all chunks as the store was made; None in one of before they were kept."""
        if not self._verify or manifest.SUMS not in self._seal.listed:
            return None
        data = self._seal.held(manifest.SUMS)
        if len(data) != SUM * -(-len(self) // self.chunk_rows):
            raise InputError(f"{self.path}: {manifest.SUMS} is not as long as there are chunks; make the store again "
                             "with astrossl preprocess")  # fmt: skip
        return np.frombuffer(data, "<u4")

    def images(self, rows: np.ndarray) -> np.ndarray:
        """The images of ``rows`` in their order, (len(rows), height, width, channels); each chunk is read once."""
        rows = np.asarray(rows, dtype=np.int64)
        out = np.empty((len(rows), *self.image_shape), dtype=self.dtype)
        chunks = rows // self.chunk_rows
        for index in np.unique(chunks):
            here = np.flatnonzero(chunks == index)
            out[here] = self.chunk(index)[rows[here] - index * self.chunk_rows]
        return out

    def _read(self, name: str, rows: slice) -> np.ndarray:
        try:
            array = self._group[name]
            found, each = array[rows], (array.shards or array.chunks)[0]
            if self._verify:
                start, stop, _ = rows.indices(array.shape[0])
                self._seal.hold_array(name, range(start // each, -(-stop // each)))
            self._seal.look()  # after it was read: what was exchanged before, or meanwhile, is noticed
            return found
        except (ValueError, RuntimeError, OSError) as error:
            self._seal.look()
            where = f"rows {rows.start}..{rows.stop - 1}" if rows.stop else "all rows"
            raise InputError(
                f"{self.path}: array {name}, {where}: damaged or unreadable ({_words(error)}); {self._seal.remedy}"
            ) from None


class Columns(Mapping):
    """Name -> column of a store, (N,) or (N, bands); ids are fixed-width text.

    Those of ``layout.EXTRA``, which not every store has, are found by name but are not among the names.
    """

    def __init__(self, store: Store):
        self._store, self._read = store, {}

    def __getitem__(self, name: str) -> np.ndarray:
        if name not in self:
            self._store.look()
            raise KeyError(name)
        if name not in self._read:
            self._read[name] = self._plain(name, slice(None))
        return self._read[name]

    def part(self, name: str, start: int, stop: int) -> np.ndarray:
        """Rows of a column; no more than these are read, or kept. KeyError and InputError as for a whole one."""
        if name in self._read or name not in self:
            return self[name][start:stop]
        return self._plain(name, slice(start, stop))

    def rows(self, name: str) -> int:
        """The length of a column, which is not read for that."""
        return self._store._group[name].shape[0]

    @cached_property
    def id_type(self) -> np.dtype:
        """The type of all ids, text as wide as the longest one; they are read in stretches for that, and not kept."""
        count = self.rows("object_id")
        parts = (slice(start, min(start + IDS, count)) for start in range(0, count, IDS))
        lengths = [np.strings.str_len(self._store._read("object_id", part)).max() for part in parts]
        return np.dtype(f"U{max([1, *lengths])}")

    def _plain(self, name: str, rows: slice) -> np.ndarray:
        column = self._store._read(name, rows)
        return np.array(column.tolist(), dtype=str) if name == "object_id" else column

    def __iter__(self) -> Iterator[str]:
        return (name for name in TABLE if name in self._store._group)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return (name in TABLE or name in EXTRA) and name in self._store._group

    def __or__(self, other: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """All columns, read, with others in their place or beside them."""
        return {**self, **other}


def _check_arrays(group: zarr.Group, info: StoreInfo, path: str) -> None:
    """InputError unless every array of the format is there, and ``images`` one of pixels or of encoded files."""
    expected = [name for name, (_, per_band) in TABLE.items() if info.bands or not per_band]
    try:
        arrays = {name: array for name in ("images", *expected) if (array := group.get(name)) is not None}
        missing = [name for name in ("images", *expected) if name not in arrays]
        if missing:
            raise InputError(f"missing arrays {', '.join(missing)}")
        axes = 2 if encoded.Encoding.of(arrays["images"].attrs) else 4
    except Exception as error:  # as above
        raise InputError(f"{path}: damaged store, {_words(error)}; make it again with astrossl preprocess") from None
    for name, array in arrays.items():
        need = axes if name == "images" else 1 + TABLE[name][1]
        found = array.ndim if isinstance(array, zarr.Array) else "no"
        if found != need:
            raise InputError(f"{path}: damaged store, {name} has {found} axes, expected {need}")
    if 0 in arrays["images"].chunks:
        raise InputError(f"{path}: damaged store, chunks of images have no rows")
    for name, array in arrays.items():
        if words := doubt(Path(path) / name, array):
            raise InputError(f"{path}: damaged store, {name} {words}; make it again with astrossl preprocess")


def _words(error: Exception) -> str:
    """A library's message on one line and without the facts that it adds for its own developers."""
    return " ".join(str(error).split(" [", 1)[0].split())


def open_store(path: Path | str, *, verify: bool = True) -> Store:
    """Open a store; InputError when it is missing, unfinished, foreign, of another version, or has lost files.

    ``verify`` compares the sizes of its files with the manifest (Zarr reads a missing or empty shard as zeros), and
    what is read later with the hashes and checksums there.
    """
    path = Path(path)
    if not path.exists():
        if claim.partial(path).exists():
            raise InputError(f"{path}: half-written, no such store yet: {claim.partial(path)} is in the making; "
                             "go on with astrossl preprocess")  # fmt: skip
        raise InputError(f"{path}: no such store; make it with astrossl preprocess")
    seal = Seal(path)
    try:
        group = zarr.open_group(path, mode="r", zarr_format=3)
        attributes = dict(group.attrs)
    except Exception:  # whatever damaged or foreign metadata make Zarr raise is the finding
        raise InputError(f"{path}: not a Zarr v3 group, or its zarr.json is damaged") from None
    info = StoreInfo.from_attributes(attributes, str(path))
    _check_arrays(group, info, str(path))
    if verify and (faults := manifest.faults(path, present=seal.files, listed=seal.listed)):
        raise InputError(f"{path}: damaged store: {'; '.join(faults[:3])}. astrossl check says all; "
                         "make the store again with astrossl preprocess")  # fmt: skip
    if verify:
        seal.held("zarr.json")
    seal.look()
    return Store(path, group, info, seal, verify=verify)
