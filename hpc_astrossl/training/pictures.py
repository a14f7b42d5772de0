"""Pictures of a folder or a table as a network learnt them: read, cut, resized and refused as by ``preprocess``."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

from hpc_astrossl.errors import InputError, StoreChanged
from hpc_astrossl.ids import same
from hpc_astrossl.loading import LoaderSpec, open_loader
from hpc_astrossl.loading.scaling import FROM_STORE
from hpc_astrossl.specs.making import DELIVERED, UNKNOWN, Making
from hpc_astrossl.store import MemoryStore, StoreInfo, encoded
from hpc_astrossl.training.parts import Share

COLOURS = ("red", "green", "blue")
TABLES = {".csv": "csv", ".ecsv": "ascii", ".txt": "ascii", ".dat": "ascii", ".fits": "fits", ".parquet": "parquet"}
FILE_COLUMNS, ID_COLUMNS = ("file", "image", "filename", "path"), ("object_id", "id")
PIECE = 8  # batches whose pictures are in memory at a time
TOGETHER = (32, 256)  # images in a batch, at least and at most
PIXELS = 256 * 32 * 32  # of a channel, in a batch on a CPU


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What the user says about the pictures: ``crop`` in pixels, their ``scale`` in arcsec a pixel, ``anyway`` that
    they are what the run learnt where that is not known, and what an ``unreadable`` one does (None: as the recipe)."""

    crop: int | None = None
    scale: float | None = None
    anyway: bool = False
    unreadable: str | None = None

    def __post_init__(self):
        if self.crop is not None and self.scale is not None:
            raise InputError("--crop and --scale say the same thing in two ways; give one of them")
        if self.crop is not None and self.crop < 4:
            raise InputError(f"--crop {self.crop}: at least 4 pixels are needed")
        if self.scale is not None and not 0 < self.scale < 1e6:
            raise InputError(f"--scale {self.scale:g}: arcsec a pixel of the pictures, a positive number")

    @property
    def given(self) -> bool:
        """Whether it says how pictures are to be cut."""
        return self.crop is not None or self.scale is not None


NOTHING = Wish()


def applied(learnt: Making | None, size: int, wish: Wish, where: str) -> Making:
    """How pictures are made for a network that ``learnt`` so; InputError when that is unknown, and nothing is said."""
    if learnt is None:
        if not (wish.crop or wish.anyway):
            raise InputError(f"{where}: {UNKNOWN}; say it: --crop N for the middle N pixels of every picture, or "
                             "--anyway for the largest square there is")  # fmt: skip
        learnt = Making(source="files", size=size, resampling="lanczos", channels=COLOURS)
    if learnt.stretch != DELIVERED and not wish.anyway:
        raise InputError(f"{where}: the run learnt colours made by {learnt.stretch}, which pictures need not have; "
                         "give it a store, or add --anyway")  # fmt: skip
    crop = learnt.crop
    if wish.scale is not None:
        if learnt.pixel_scale is None:
            raise InputError(f"--scale {wish.scale:g}: the pixel scale of the images that the run learnt was not kept; "
                             "give --crop N, the pixels of a picture that show as much sky as one of them")  # fmt: skip
        crop = max(1, round(learnt.size * learnt.pixel_scale / wish.scale))
    crop = wish.crop or crop
    if crop == learnt.crop:
        return learnt
    return replace(learnt, crop=crop, keep=None, resampling="none" if crop == size else "lanczos")


@dataclass(frozen=True, kw_only=True)
class Listed:
    """The pictures: file names relative to ``folder``, their ids, sizes and times, in the order of the names."""

    folder: Path
    files: tuple[str, ...]
    ids: tuple[str, ...]
    marks: tuple[str, ...]
    not_read: str = ""


def listed(place: Path) -> Listed:
    """The pictures of a folder, however deep, or those that a table names; InputError when a table names two alike.

    Those of a folder are known by their names without suffix, or by their paths where two have one name.
    """
    from hpc_astrossl.tables import folders

    if place.is_dir():
        found = folders.list_images(place)
        if not found.files:
            others = f"; there are others: {found.not_read}" if found.others else ""
            raise InputError(f"{place}: no images in it ({', '.join(folders.SUFFIXES)}){others}")
        ids = [Path(name).stem for name in found.files]
        paths = len(set(map(same, ids))) < len(ids)  # one name in folders of several classes, say
        return _listed(place, found.files, found.files if paths else ids, found.not_read)
    if place.suffix.lower() in (".npy", ".npz"):
        raise InputError(f"{place}: an array; make a store of it first, by the recipe of the run's own store "
                         "(astrossl preprocess, cutouts: array), and give that")  # fmt: skip
    if place.suffix.lower() not in TABLES:
        raise InputError(f"{place}: neither a store nor a folder of images, nor a table of them "
                         f"({', '.join(TABLES)})")  # fmt: skip
    files, ids = _table(place)
    return _listed(place.parent, files, ids, "")


def _listed(folder: Path, files: Sequence[str], ids: Sequence[str], not_read: str) -> Listed:
    order = sorted(range(len(files)), key=lambda row: files[row])
    seen: dict[str, str] = {}
    for row in order:
        if (other := seen.setdefault(same(ids[row]), files[row])) != files[row]:
            raise InputError(f"{folder}: {other} and {files[row]} would both be the object {ids[row]!r}; rename one, "
                             "or give a table with the columns file and object_id")  # fmt: skip
    if len(seen) < len(ids):
        twice = next(file for file, count in Counter(files).items() if count > 1)
        raise InputError(f"{folder}: {twice} is listed twice; take one out")
    files, ids = [files[row] for row in order], [ids[row] for row in order]
    return Listed(folder=folder, files=tuple(files), ids=tuple(ids), not_read=not_read,
                  marks=tuple(_mark(folder / file) for file in files))  # fmt: skip


def _table(place: Path) -> tuple[list[str], list[str]]:
    """(files, ids) that a table lists; without a column of ids they are the names without suffix."""
    form = TABLES[place.suffix.lower()]
    _, files = _column(place, FILE_COLUMNS, form)
    if files is None:
        raise InputError(f"{place}: has no column of file names ({', '.join(FILE_COLUMNS)})")
    _, ids = _column(place, ID_COLUMNS, form)
    return files, [Path(name).stem for name in files] if ids is None else ids


def _column(place: Path, names: Sequence[str], form: str) -> tuple[str, list[str] | None]:
    """The first of these columns that the table has, as text; None when it has none."""
    from hpc_astrossl.tables import tables

    for name in names:
        try:
            return name, tables.read_table(place, {name: "text"}, format=form)[name].tolist()
        except InputError as error:
            if f"no column {name!r}" not in str(error):
                raise
    return "", None


def _mark(path: Path) -> str:
    """What tells a file from another one of its name: copies set one of its times back, and never the other."""
    try:
        facts = path.stat()
    except OSError:
        return "missing"
    return f"{facts.st_size} {facts.st_mtime_ns} {facts.st_ctime_ns}"


def shares(listed: Listed, size: int) -> list[Share]:
    """Stretches of the pictures that are made as one part, about ``size`` each.

    A stretch ends after a name whose hash says so, and its key is a hash of what is in it: what is added, removed or
    renamed changes the part it is in, and no other.
    """
    found, start = [], 0
    for stop, name in enumerate(listed.files, start=1):
        drawn = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8])
        if drawn % size == 0 or stop == len(listed.files):
            lines = zip(listed.files[start:stop], listed.ids[start:stop], listed.marks[start:stop], strict=True)
            key = hashlib.sha256("\0".join("\t".join(line) for line in lines).encode()).hexdigest()[:20]
            found.append(Share(key=key, rows=(start, stop), turn=drawn // size))
            start = stop
    return found


class PictureSource:
    """Pictures, made as ``making`` says, for a network that takes images scaled as ``data`` says."""

    def __init__(self, place: Path, takes: Any, wish: Wish):
        shape, data = takes.shape, takes.data
        if not place.exists():
            raise InputError(f"{place}: neither a store nor a folder of images")
        self._place, self._data = place, data
        self.listed = listed(place)
        _suits(place, takes)
        self.making = applied(takes.making, shape[0], wish, str(place))
        self._unreadable = wish.unreadable or ("skip" if self.making.unreadable == "reject" else "stop")
        self._info = StoreInfo(name="pictures", survey="", release="", bands=(), channels=COLOURS, class_names=(),
                               pixel_scale=None, counts={}, recipe={}, statistics=takes.statistics)  # fmt: skip
        self.about: dict[str, Any] = {"store": None, "images": str(place.resolve()), "class_names": [],
                                      "made": self.making.record()}  # fmt: skip
        if wish.given or wish.anyway:
            self.about["told"] = {"crop": wish.crop, "scale": wish.scale, "anyway": wish.anyway}

    def __len__(self) -> int:
        return len(self.listed.files)

    @property
    def contents(self) -> dict[str, str]:
        """What a table tells of the pictures it was made of."""
        lines = zip(self.listed.files, self.listed.ids, self.listed.marks, strict=True)
        text = "\n".join("\t".join(line) for line in lines)
        return {"unreadable": self._unreadable, "pictures_sha256": hashlib.sha256(text.encode()).hexdigest()}

    @property
    def skips(self) -> bool:
        """Whether what cannot be used is left out."""
        return self._unreadable == "skip"

    def remarks(self) -> list[str]:
        """What is to be said of the pictures: which are not read, enlarged, not square, or cannot be used."""
        others = [f"not read: {self.listed.not_read}"] if self.listed.not_read else []
        if self._place.is_dir() and self.listed.ids == self.listed.files:
            others.append("several pictures have one name, so object_id is their path in the folder")
        return others + self._source.remarks(np.arange(len(self)))

    def shares(self, size: int) -> list[Share]:
        """The parts to make, of what lies there now."""
        return shares(self.listed, size)

    def again(self) -> bool:
        """Look anew; whether other pictures lie there than before."""
        before, self.listed = self.listed, listed(self._place)
        self.__dict__.pop("_source", None)
        return self.listed != before

    def hold(self) -> None:
        """StoreChanged when a picture has come, gone or been replaced since they were looked at."""
        if self.again():
            raise StoreChanged(
                f"{self._place}: its pictures have changed while they were read; run the same command again"
            )

    @cached_property
    def _source(self):
        """What cuts, or keeps, image files in ``preprocess``, for these."""
        from types import SimpleNamespace

        from hpc_astrossl.cutting.imagefiles import FileSource, KeptSource
        from hpc_astrossl.specs.images import FilesSpec

        made = self.making
        unreadable = "reject" if self._unreadable == "skip" else "stop"
        spec = FilesSpec(image="{file}", crop=None if made.keep else made.crop, keep=made.keep, unreadable=unreadable)
        objects = SimpleNamespace(object_id=np.array(self.listed.ids), columns={"file": np.array(self.listed.files)})
        kind = KeptSource if made.keep else FileSource
        return kind(SimpleNamespace(files=spec, size=made.size), self.listed.folder, objects)

    def pieces(self, rows: tuple[int, int], engine) -> Iterator[tuple[dict[str, np.ndarray], Iterator[torch.Tensor]]]:
        """(known columns, batches of images) of some pictures, a few batches at a time.

        The columns are ``object_id`` and ``label``, −1, and of those left out ``left_out`` and ``reason``.
        """
        size = together((self.making.size, self.making.size), engine.device)
        for first in range(rows[0], rows[1], PIECE * size):
            piece = np.arange(first, min(first + PIECE * size, rows[1]))
            images, reasons = self._cut(piece)
            ids, good = np.array([self.listed.ids[row] for row in piece]), reasons == ""
            known = {"object_id": ids[good], "label": np.full(good.sum(), -1, dtype=np.int16),
                     "left_out": ids[~good], "reason": reasons[~good].astype(str)}  # fmt: skip
            yield known, self._batches(images[good], ids[good], size, engine)

    def _cut(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        from hpc_astrossl.cutting.source import Unit

        unit, source = Unit(name="pictures", rows=rows), self._source
        source.units(rows)  # names a missing one
        out = np.zeros((len(rows), *source.row_shape(rows)), dtype=np.uint8)
        return out, source.cut(unit, out)

    def _batches(self, images: np.ndarray, ids: np.ndarray, size: int, engine) -> Iterator[torch.Tensor]:
        """Through the loader that a store's images would come through."""
        if not len(images):
            return
        made = self.making
        encoding = encoded.Encoding(format=made.keep, height=made.size, width=made.size) if made.keep else None
        store = MemoryStore(self._place, self._info, images, ids, encoding)
        yield from evaluated(store, np.arange(len(images)), self._data, self._info.statistics, engine)


def evaluated(store: Any, rows: np.ndarray, data: Any, statistics: Any, engine) -> Iterator[torch.Tensor]:
    """The images of these rows as a trained network takes them, in order; chunks are read as needed and not kept."""
    size = together(store.image_shape[:2], engine.device)
    spec = LoaderSpec(batch_size=size, scaling=data.scaling, flips=False, turns=False, seed=0, resident_mb=0,
                      statistics=statistics)  # fmt: skip
    loader = open_loader(store, rows, spec, engine=Alone(), device=engine.device)
    try:
        for batch in loader.evaluate():
            yield batch.images
    finally:
        loader.close()


def together(size: tuple[int, int], device: torch.device) -> int:
    """Images of (height, width) pixels that go through the network at a time: always as many, the rest filled up.

    A network rounds by their number. A small image is cheap beside what is done once a batch; of large ones a CPU takes
    few, for a single picture costs it a whole batch.
    """
    fewest, most = TOGETHER
    return most if device.type != "cpu" else int(np.clip(PIXELS // (size[0] * size[1]), fewest, most))


class Alone:
    """The one rank that makes a part."""

    rank, size = 0, 1


def _suits(place: Path, takes: Any) -> None:
    """InputError when the network takes what no picture can be."""
    shape, data = takes.shape, takes.data
    if shape[2] != 3:
        raise InputError(
            f"{place}: images have red, green and blue, the run takes {shape[2]} channels; give it a store"
        )
    if takes.channels and takes.channels != COLOURS:
        raise InputError(f"{place}: channels are {', '.join(COLOURS)}, the run was trained on "
                         f"{', '.join(takes.channels)}; in another order, or other bands, its answers would mean "
                         "nothing")  # fmt: skip
    if data.scaling in FROM_STORE and not takes.statistics:
        raise InputError(f"{place}: the run scales by the statistics of its store ({data.scaling}), and its "
                         "result.json does not hold them (an older version wrote it); train the run again")  # fmt: skip
    if shape[0] != shape[1]:
        raise InputError(f"{place}: pictures are cut to squares, the run takes {shape[0]} × {shape[1]} pixels; "
                         "give it a store")  # fmt: skip
