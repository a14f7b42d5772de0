"""Where the fields of a release lie on the sky, by the headers of one band: an index, kept beside the release.

The index holds, of each file, its size and times, so that only new and changed ones are read again. A folder
that cannot be written is read anew each time.
"""

import contextlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from hpc_astrossl.cutting import fits
from hpc_astrossl.cutting.badfile import BadFile, RecipeFault
from hpc_astrossl.cutting.fitsfaults import missing
from hpc_astrossl.cutting.fitsheaders import Header
from hpc_astrossl.cutting.sky import Sky, sky_of, vectors
from hpc_astrossl.errors import InputError
from hpc_astrossl.files import write_aside
from hpc_astrossl.specs import patterns
from hpc_astrossl.specs.images import FieldsSpec
from hpc_astrossl.specs.recipe import Recipe

INDEX, VERSION = ".astrossl-footprints.json", 1
_GROUP = "(?P<field>[^/]+)"


@dataclass(frozen=True, kw_only=True)
class Footprint:
    """One field: its image's (height, width), its header as text, or the ``fault`` for which it has none."""

    field: str
    path: Path
    shape: tuple[int, int]
    header: str
    fault: str = ""

    @cached_property
    def sky(self) -> Sky:
        """Its WCS; BadFile when it has none that can be used."""
        if self.fault:
            raise BadFile(self.fault)
        sky = sky_of(Header.fromstring(self.header), self.shape, self.path)
        if sky is None:
            raise RecipeFault(f"{self.path}: its header has no celestial WCS, so objects cannot be found in it by "
                              "position; give x and y in catalogue")  # fmt: skip
        return sky


def first_band(recipe: Recipe) -> str:
    """The name in files of the band whose headers tell where fields are: the reference, or the first."""
    band = recipe.catalogue.reference or recipe.catalogue.bands[0]
    return recipe.fields.band_names.get(band, band)


class Index:
    """The footprints of a release's fields, read when they are first asked for."""

    def __init__(self, recipe: Recipe, folder: Path):
        self._spec, self._folder, self._band = recipe.fields, folder, first_band(recipe)
        self._known = self._load()
        self._changed = False

    def one(self, field: str) -> Footprint:
        """The footprint of a field, from the index if its file is what it was."""
        path = patterns.place(self._folder, self._spec.bands, {"field": field, "band": self._band})
        try:
            about = path.stat()
        except OSError:
            return Footprint(field=field, path=path, shape=(0, 0), header="", fault=str(missing(path)))
        key = [about.st_size, about.st_mtime_ns, about.st_ctime_ns, self._spec.hdu_of(self._band)]
        entry = self._known.get(field)
        if entry is None or entry["file"] != key:
            entry = {"file": key, **_read(path, self._spec.hdu_of(self._band))}
            self._known[field], self._changed = entry, True
        return Footprint(field=field, path=path, shape=tuple(entry["shape"]), header=entry["header"],
                         fault=entry["fault"])  # fmt: skip

    def all(self) -> list[Footprint]:
        """Every field of the release, by the names of the band's files, in order. InputError when there is none."""
        return [self.one(field) for field in field_names(self._spec, self._folder, self._band)]

    def _load(self) -> dict:
        try:
            data = json.loads((self._folder / INDEX).read_bytes())
            return data["fields"] if data["version"] == VERSION and data["bands"] == self._mark() else {}
        except (OSError, ValueError, KeyError, TypeError):
            return {}

    def _mark(self) -> list[str]:
        return [self._spec.bands, self._band]

    def save(self) -> None:
        """Keep what was read for the next time, if the folder can be written."""
        if self._changed:
            data = {"version": VERSION, "bands": self._mark(), "fields": self._known}
            with contextlib.suppress(OSError):
                write_aside(self._folder / INDEX, json.dumps(data).encode())
            self._changed = False


def field_names(spec: FieldsSpec, folder: Path, band: str) -> list[str]:
    """The fields of a release by the names of their files, sorted; of one image without {field}, its name.

    InputError when there is none.
    """
    pattern = spec.pattern
    if spec.single:
        return [pattern]
    text, _, rest = "".join(_piece(part, band) for part in re.split(r"(\{\w+\})", pattern)).partition(_GROUP)
    text += _GROUP + rest.replace(_GROUP, "(?P=field)")  # it may stand in a folder's and a file's name
    shape = re.compile(text)
    names = (path.relative_to(folder).as_posix() for path in folder.glob(pattern.format(field="*", band=band)))
    found = sorted({found["field"] for name in names if (found := shape.fullmatch(name))})
    if not found:
        key = f"fields.bands={pattern!r} for band {band}" if spec.bands else f"fields.rgb={pattern!r}"
        raise InputError(f"{folder}: no file fits {key}")
    return found


def only_field(recipe: Recipe, folder: Path) -> str:
    """The field that all objects lie in, where the catalogue has pixel positions and names none.

    InputError when there are several.
    """
    names = field_names(recipe.fields, folder, first_band(recipe) if recipe.fields.bands else "")
    if len(names) > 1:
        raise InputError(f"{folder}: holds {len(names):,} fields ({', '.join(names[:3])}, …), and catalogue does not "
                         "say in which one an object is; give catalogue.field or field_pattern, or leave x and y out, "
                         "so that objects are found by ra, dec")  # fmt: skip
    return names[0]


def _piece(part: str, band: str) -> str:
    if part == "{field}":
        return _GROUP
    return re.escape(band) if part == "{band}" else re.escape(part)


def _read(path: Path, hdu: int | str | None) -> dict:
    try:
        headers = fits.read_headers(path, hdu=hdu)
        return {"shape": list(headers.shape), "header": headers.image.tostring(), "fault": ""}
    except RecipeFault:
        raise
    except InputError as error:
        return {"shape": [0, 0], "header": "", "fault": str(error)}


def deepest(index: Index, ra: np.ndarray, dec: np.ndarray, unreadable: Callable[[BadFile], None] = lambda _: None):
    """(field, x, y) of objects: of the fields that hold an object, the one whose edge is farthest, in sky angle.

    "" and NaN for those in no field. Of equal ones the first by name. ``unreadable`` is called for each field that
    has no place, since its image cannot be read.
    """
    field, depth = np.full(len(ra), "", dtype=object), np.full(len(ra), -np.inf)
    x, y = np.full((2, len(ra)), np.nan)
    known = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90) & (ra >= 0) & (ra <= 360))
    if not len(known):
        return field.astype(str), x, y
    tree = cKDTree(vectors(ra[known], dec[known]))
    for footprint in index.all():
        try:
            sky = footprint.sky
        except BadFile as error:
            unreadable(error)
            continue
        reach = 2 * np.sin(np.radians(min(sky.radius * 1.01, 180)) / 2) + 1e-9
        near = tree.query_ball_point(vectors(*sky.centre), reach)
        rows = known[np.sort(np.asarray(near, dtype=np.int64))]
        px, py = sky.pixel(ra[rows], dec[rows])
        height, width = footprint.shape
        inner = np.minimum(np.minimum(px - 0.5, width + 0.5 - px), np.minimum(py - 0.5, height + 0.5 - py)) * sky.scale
        better = (inner >= 0) & (inner > depth[rows])
        rows, px, py, inner = rows[better], px[better], py[better], inner[better]
        field[rows], depth[rows], x[rows], y[rows] = footprint.field, inner, px, py
    return field.astype(str), x, y
