"""Read the objects of a release, as the recipe names their columns: ids, positions, magnitudes, fields."""

import re
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.objects import ARRAY_ROW, NO_ROW, Objects
from hpc_astrossl.selection import doubt, photometry
from hpc_astrossl.selection.workspace import BLOCK, HERE, Growing, Workspace
from hpc_astrossl.specs.recipe import Recipe
from hpc_astrossl.specs.tables import CatalogueSpec
from hpc_astrossl.tables.folders import read_folders
from hpc_astrossl.tables.tables import Reading, described, files, promised, read_blocks

_COLUMN = "column "  # before the names of columns that only labels, splits, sizes and file names are read from


def table_files(recipe: Recipe, source: Path) -> list[Path]:
    """Every table that the recipe reads below ``source``: the catalogue's files and those of the spectra."""
    return [path for pattern in recipe.tables for path in files(source, pattern)]


def read_objects(recipe: Recipe, source: Path, space: Workspace = HERE) -> Objects:
    """Read the recipe's catalogue below ``source``; InputError names the file and what is wrong with it.

    Its columns are arrays, or lie in files below the workspace's folder if they are larger than that allows.
    """
    spec = recipe.catalogue
    texts = _texts(recipe)
    wanted = _wanted(spec, texts)
    kind, told, done, left = "", _Told(), 0, []
    if spec.tree:
        blocks = iter([read_folders(source, spec.file, wanted, left)])
    else:
        reading = Reading(format=spec.format, names=spec.names, hdu=spec.hdu, null_words=spec.null_words)
        paths = files(source, spec.file)
        blocks = read_blocks(paths, wanted, reading)
    grown = Growing(space, names=["field"])
    for table in blocks:
        rows = len(table[spec.id])
        for start in range(0, rows, BLOCK) if space.folder else [0]:  # astropy gives a table in one block
            part = {name: values[start : start + BLOCK] if space.folder else values for name, values in table.items()}
            places = _places(recipe, part, source / spec.file, done)
            done += len(part[spec.id])
            grown.append(_block(part, spec, texts, source / spec.file, told) | places)
    columns = grown.columns()
    if not spec.tree:
        kind = described(paths, reading)
        _check_count(source / spec.file, len(columns["object_id"]), promised(source, spec.file))
        left += filter(None, [doubt.cut_off(len(columns["object_id"])) if len(paths) == 1 else ""])
    rounded = "" if spec.tree else doubt.rounded(columns["object_id"][: doubt.LOOKED_AT], spec.id, source / spec.file)
    return Objects(
        **{name: columns.pop(name) for name in list(columns) if not name.startswith(_COLUMN)},
        **({} if spec.flag else {"flag": None}),
        columns={name.removeprefix(_COLUMN): values for name, values in columns.items()}, kind=kind,
        notes=tuple(_notes(spec, told, rounded, left)),
    )  # fmt: skip


@dataclass(kw_only=True)
class _Told:
    """What blocks told of brightness: by band, how many fluxes are not positive; by column, how many magnitudes can be
    none, and the first of them."""

    faint: Counter = field(default_factory=Counter)
    unlikely: Counter = field(default_factory=Counter)
    first: dict[str, float] = field(default_factory=dict)


def _notes(spec: CatalogueSpec, told: _Told, rounded: str, left: list[str]) -> Iterator[str]:
    """What is to be said of the table."""
    if rounded:
        yield rounded
    if told.unlikely:
        yield doubt.unlikely_words([(name, count, told.first[name]) for name, count in told.unlikely.items()])
    if faint := ", ".join(f"{band} {told.faint[band]:,}" for band in spec.bands if told.faint[band]):
        yield f"flux not positive, counted as undetected: {faint}"
    yield from left


def _block(table: dict[str, np.ndarray], spec: CatalogueSpec, texts: dict[str, str], path: Path,
           told: _Told) -> dict[str, np.ndarray]:  # fmt: skip
    """Rows of the table as columns of ``Objects``; ``told`` counts what is to be said of them."""
    ids = table[spec.id]
    unknown = np.broadcast_to(np.nan, len(ids))
    found = {"object_id": ids, "field": _fields(table, spec, path)}
    found |= {_COLUMN + name: table[name] for name in texts}
    single = {name: table.get(getattr(spec, name), unknown) for name in ("ra", "dec", "x", "y")}
    if spec.origin == 0:
        single |= {name: single[name] + 1 for name in ("x", "y")}
    flag = {"flag": table[spec.flag]} if spec.flag else {}
    magnitudes, errors = _brightness(table, spec, len(ids), told)
    reference = magnitudes[:, spec.measured.index(spec.reference)] if spec.reference else unknown
    return found | single | flag | {"magnitudes": magnitudes, "errors": errors, "reference": reference}


def _places(recipe: Recipe, table: dict[str, np.ndarray], path: Path, done: int) -> dict[str, np.ndarray]:
    """Where in the array of cutouts, if that is where they are, the objects of a block are, as text: by a column, or in
    the order of the table, of which ``done`` rows came before."""
    if recipe.cutouts is None or recipe.cutouts.array is None:
        return {}
    column = recipe.cutouts.array_row
    if column is None:
        return {_COLUMN + ARRAY_ROW: np.arange(done, done + len(table[recipe.catalogue.id])).astype(str)}
    texts = list(map(str, table[column].tolist()))
    for line, text in enumerate(texts, start=done + 1):
        if text and not re.fullmatch(r"\d{1,15}(\.0+)?", text):
            raise InputError(f"{path}: {column} of row {line:,} is {text!r}, no place in an array (a whole number from "
                             "0); correct the table or cutouts.array_row")  # fmt: skip
    return {_COLUMN + ARRAY_ROW: np.array([text.partition(".")[0] or str(NO_ROW) for text in texts])}


def _check_count(path: Path, count: int, promised: int | None) -> None:
    if promised is not None and promised != count:
        raise InputError(f"{path}: holds {count:,} objects, its properties promise {promised:,}: files are missing, or "
                         "were added; fetch it again")  # fmt: skip


def _texts(recipe: Recipe) -> dict[str, str]:
    """The columns that labels, splits, sizes and file names are read from, and how: parts of names are exact."""
    names = {store.labels.column for store in recipe.stores.values() if store.labels and store.labels.column}
    if recipe.split.column is not None:
        names.add(recipe.split.column)
    place = recipe.files or recipe.cutouts
    parts = place.columns if place is not None else []
    if recipe.images is not None and recipe.images.size is not None:
        names.add(recipe.images.size.column)
    found = dict.fromkeys(sorted(names), "label") | {name: "text" for name in sorted(parts) if name != "id"}
    if recipe.cutouts is not None and recipe.cutouts.array_row is not None:
        found[recipe.cutouts.array_row] = "label"  # a number, which 19.0 is too
    return found


def _wanted(spec: CatalogueSpec, texts: dict[str, str]) -> dict[str, str]:
    """Column -> how it is read; what is used as a number anywhere is read as one, except ids."""
    names = [spec.id, *([spec.field] if spec.field else [])]
    numbers = [name for name in (spec.ra, spec.dec, spec.x, spec.y, spec.flag) if name]
    for pattern in (spec.magnitude, spec.error, spec.flux, spec.flux_error, spec.flux_ivar):
        numbers += spec.columns(pattern) if pattern else []
    angles = dict.fromkeys([name for name in (spec.ra, spec.dec) if name], "angle")
    return texts | dict.fromkeys(names, "text") | dict.fromkeys(numbers, "number") | angles


def _brightness(table: dict[str, np.ndarray], spec: CatalogueSpec, rows: int,
                told: _Told) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """(magnitudes, their errors), rows × bands."""
    if spec.flux is None:
        found, errors = (_per_band(table, spec, pattern, rows) for pattern in (spec.magnitude, spec.error))
        _leave_out(found, spec, told)
        errors[np.isnan(found) | (errors < 0)] = np.nan
        return found, errors
    flux = _per_band(table, spec, spec.flux, rows, sentinels=())
    sigma = _per_band(table, spec, spec.flux_error or spec.flux_ivar, rows, sentinels=())
    if spec.flux_ivar:
        sigma = photometry.sigma(sigma)
    told.faint.update(dict(zip(spec.measured, (flux <= 0).sum(axis=0).tolist(), strict=True)))
    return photometry.magnitudes(flux, spec.unit), photometry.errors(flux, sigma)


def _leave_out(magnitudes: np.ndarray, spec: CatalogueSpec, told: _Told) -> None:
    """Take what can be no magnitude for unknown, counted."""
    wrong = doubt.unlikely(magnitudes)
    if wrong.any():
        for column, mask, values in zip(spec.columns(spec.magnitude), wrong.T, magnitudes.T, strict=True):
            if mask.any():
                told.unlikely[column] += int(mask.sum())
                told.first.setdefault(column, float(values[mask.argmax()]))
        magnitudes[wrong] = np.nan


def _per_band(table: dict[str, np.ndarray], spec: CatalogueSpec, pattern: str | None, rows: int,
              sentinels: tuple[float, ...] | None = None) -> np.ndarray:  # fmt: skip
    """The columns of a pattern, rows × bands, with NaN for what stands for "undetected"; taken out of the table."""
    values = np.full((rows, len(spec.measured)), np.nan)
    for index, name in enumerate(spec.columns(pattern) if pattern else ()):
        column = table.pop(name)
        known = np.isfinite(column)
        for sentinel in spec.undetected if sentinels is None else sentinels:
            known &= column != sentinel
        values[known, index] = column[known]
    return values


def _fields(table: dict[str, np.ndarray], spec: CatalogueSpec, path: Path) -> np.ndarray:
    if spec.field:
        return table[spec.field]
    ids = table[spec.id]
    if spec.field_pattern is None:
        return np.broadcast_to("", len(ids))
    match = re.compile(spec.field_pattern).fullmatch
    found = [sys.intern(parts["field"]) if (parts := match(text)) else None for text in ids.tolist()]
    if None in found:
        raise InputError(f"{path}: id {str(ids[found.index(None)])!r} does not match the recipe's field_pattern "
                         f"{spec.field_pattern!r}, so its field is unknown")  # fmt: skip
    return np.array(found)
