"""One image file an object (JPEG, PNG …), beside a table or in folders named after classes: cut, or kept as it is."""

from pathlib import Path
from typing import ClassVar

import numpy as np

from hpc_astrossl.cutting import firstlook, rgb
from hpc_astrossl.cutting.badfile import reason_of
from hpc_astrossl.cutting.containers import there
from hpc_astrossl.cutting.source import BLANK, RGB, Unit, blank, blocks
from hpc_astrossl.errors import InputError
from hpc_astrossl.objects import Objects
from hpc_astrossl.specs import patterns
from hpc_astrossl.specs.recipe import Recipe
from hpc_astrossl.store import encoded


class FileSource:
    """One image file an object."""

    channels, dtype, pixel_scale, encoding, streams = RGB, np.dtype(np.uint8), None, None, False
    facts: ClassVar[dict[str, np.ndarray]] = {}

    def __init__(self, recipe: Recipe, folder: Path, objects: Objects):
        self._spec, self._size, self._folder, self._objects = recipe.files, recipe.size, folder, objects

    def row_shape(self, rows: np.ndarray) -> tuple[int, ...]:
        return self._size, self._size, len(self.channels)

    def units(self, rows: np.ndarray) -> list[Unit]:
        """Blocks of objects in the order of the catalogue. InputError for a missing file, unless those are rejected."""
        if self._spec.unreadable == "stop" and (path := self.missing(rows)):
            raise rgb.no_file(path)
        return blocks(rows)

    def missing(self, rows: np.ndarray) -> Path | None:
        """The first file of these objects that is not there."""
        return next((path for path in map(self._path, rows) if not path.is_file()), None)

    def remarks(self, rows: np.ndarray) -> list[str]:
        """What is to be said of these objects' pictures before they are cut."""
        return firstlook.remarks(len(rows), lambda place: self._path(rows[place]), self._size, self._spec.crop)

    def files(self, unit: Unit) -> list[Path]:
        return [path for path in map(self._path, unit.rows) if there(path)]

    def unverified(self, unit: Unit) -> list[Path]:
        return []

    def cut(self, unit: Unit, out: np.ndarray) -> np.ndarray:
        reasons = np.full(len(unit.rows), "", dtype=object)
        for i, row in enumerate(unit.rows):
            try:
                out[i] = rgb.read_object(self._path(row), self._size, self._spec.crop)
            except InputError as error:
                if self._spec.unreadable == "stop":
                    raise
                reasons[i] = reason_of(error)
        reasons[(reasons == "") & blank(out)] = BLANK
        return reasons

    def without_row(self) -> list[str]:
        """Ids of the images that the table has no row for, sorted; none can be told unless the id names the file."""
        if self._spec.columns != ["id"]:
            return []
        before, after = self._spec.image.split("{id}")
        found = {str(path.relative_to(self._folder)) for path in self._folder.glob(f"{before}*{after}")}
        ids = {name[len(before) : len(name) - len(after)] for name in found}
        return sorted(ids - set(self._objects.object_id.tolist()))

    def _path(self, row: int) -> Path:
        columns = self._objects.columns | {"id": self._objects.object_id}
        values = {name: columns[name][row] for name in self._spec.columns}
        return patterns.place(self._folder, self._spec.image, values)


class KeptSource(FileSource):
    """One image file an object, whose bytes are kept; each is decoded once here, so that only whole ones are."""

    def __init__(self, recipe: Recipe, folder: Path, objects: Objects):
        super().__init__(recipe, folder, objects)
        self.encoding = encoded.Encoding(format=recipe.files.keep, height=recipe.size, width=recipe.size)

    def row_shape(self, rows: np.ndarray) -> tuple[int, ...]:
        """As many bytes as the largest of the files needs."""
        sizes = (path.stat().st_size for path in map(self._path, rows) if there(path))
        return (encoded.row_bytes(max(sizes, default=0)),)

    def remarks(self, rows: np.ndarray) -> list[str]:
        """Nothing: files that are kept as they are have one size, and neither are cut nor resized."""
        return []

    def cut(self, unit: Unit, out: np.ndarray) -> np.ndarray:
        reasons = np.full(len(unit.rows), "", dtype=object)
        pixels = np.empty((1, *self.encoding.image_shape), dtype=np.uint8)
        for i, row in enumerate(unit.rows):
            try:
                out[i] = self._kept(self._path(row), out.shape[1])
            except InputError as error:
                if self._spec.unreadable == "stop":
                    raise
                reasons[i] = reason_of(error)
            else:
                encoded.decode(out[i], self.encoding, pixels[0])
                reasons[i] = BLANK if blank(pixels)[0] else ""
        return reasons

    def _kept(self, path: Path, size: int) -> np.ndarray:
        try:
            data = path.read_bytes()
            found = encoded.examine(data)
            if found != self.encoding:
                raise ValueError(f"{_words(found)}, expected {_words(self.encoding)}")
            return encoded.pack([data], size)[0]
        except FileNotFoundError:
            raise rgb.no_file(path) from None
        except (OSError, ValueError) as error:
            raise InputError(f"{path}: {error}. Fetch it again, or decode and resize the images (files.keep=null)") \
                from None  # fmt: skip


def _words(encoding: encoded.Encoding) -> str:
    return f"a {encoding.format} file of {encoding.width} × {encoding.height} pixels"
