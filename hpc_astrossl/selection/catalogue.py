"""Read the objects of a release, as the recipe names their columns: ids, positions, magnitudes, fields."""

import re
import sys
from pathlib import Path

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.objects import Objects
from hpc_astrossl.selection import photometry
from hpc_astrossl.specs.recipe import Recipe
from hpc_astrossl.specs.tables import CatalogueSpec
from hpc_astrossl.tables.folders import read_folders
from hpc_astrossl.tables.tables import Reading, described, files, promised, read_tables


def table_files(recipe: Recipe, source: Path) -> list[Path]:
    """Every table that the recipe reads below ``source``: the catalogue's files and those of the spectra."""
    return [path for pattern in recipe.tables for path in files(source, pattern)]


def read_objects(recipe: Recipe, source: Path) -> Objects:
    """Read the recipe's catalogue below ``source``; InputError names the file and what is wrong with it."""
    spec = recipe.catalogue
    texts = _texts(recipe)
    wanted = _wanted(spec, texts)
    kind, paths = "", []
    if spec.tree:
        table = read_folders(source, spec.file, wanted)
    else:
        reading = Reading(format=spec.format, names=spec.names, hdu=spec.hdu, null_words=spec.null_words)
        paths = files(source, spec.file)
        table = read_tables(paths, wanted, reading)
        kind = described(paths, reading)
        _check_count(source / spec.file, len(table[spec.id]), promised(source, spec.file))
    ids = table[spec.id]
    unknown = np.full(len(ids), np.nan)
    fields = _fields(table, spec, source / spec.file)
    kept = {name: table[name] for name in texts}
    single = {name: table.get(getattr(spec, name), unknown) for name in ("ra", "dec", "x", "y")}
    if spec.origin == 0:
        single |= {name: single[name] + 1 for name in ("x", "y")}
    flag = table[spec.flag] if spec.flag else None
    magnitudes, errors, notes = _brightness(table, spec, len(ids))
    return Objects(
        object_id=ids, field=fields, flag=flag, magnitudes=magnitudes, errors=errors,
        reference=magnitudes[:, spec.bands.index(spec.reference)] if spec.reference else unknown,
        columns=kept, kind=kind, notes=notes, **single,
    )  # fmt: skip


def _check_count(path: Path, count: int, promised: int | None) -> None:
    if promised is not None and promised != count:
        raise InputError(f"{path}: holds {count:,} objects, its properties promise {promised:,}: files are missing, or "
                         "were added; fetch it again")  # fmt: skip


def _texts(recipe: Recipe) -> dict[str, str]:
    """The columns that labels, splits, sizes and file names are read from, and how: parts of names are exact."""
    names = {store.labels.column for store in recipe.stores.values() if store.labels and store.labels.column}
    if recipe.split.column is not None:
        names.add(recipe.split.column)
    parts = recipe.files.columns if recipe.files is not None else []
    if recipe.images is not None and recipe.images.size is not None:
        names.add(recipe.images.size.column)
    return dict.fromkeys(sorted(names), "label") | {name: "text" for name in sorted(parts) if name != "id"}


def _wanted(spec: CatalogueSpec, texts: dict[str, str]) -> dict[str, str]:
    """Column -> how it is read; what is used as a number anywhere is read as one, except ids."""
    names = [spec.id, *([spec.field] if spec.field else [])]
    numbers = [name for name in (spec.ra, spec.dec, spec.x, spec.y, spec.flag) if name]
    for pattern in (spec.magnitude, spec.error, spec.flux, spec.flux_error, spec.flux_ivar):
        numbers += spec.columns(pattern) if pattern else []
    return texts | dict.fromkeys(names, "text") | dict.fromkeys(numbers, "number")


def _brightness(table: dict[str, np.ndarray], spec: CatalogueSpec,
                rows: int) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:  # fmt: skip
    """(magnitudes, their errors, what is to be said), rows × bands."""
    if spec.flux is None:
        found, errors = (_per_band(table, spec, pattern, rows) for pattern in (spec.magnitude, spec.error))
        errors[np.isnan(found) | (errors < 0)] = np.nan
        return found, errors, ()
    flux = _per_band(table, spec, spec.flux, rows, sentinels=())
    sigma = _per_band(table, spec, spec.flux_error or spec.flux_ivar, rows, sentinels=())
    if spec.flux_ivar:
        sigma = photometry.sigma(sigma)
    faint = (flux <= 0).sum(axis=0)
    counts = ", ".join(f"{band} {count:,}" for band, count in zip(spec.bands, faint.tolist(), strict=True) if count)
    notes = (f"flux not positive, counted as undetected: {counts}",) if counts else ()
    return photometry.magnitudes(flux, spec.unit), photometry.errors(flux, sigma), notes


def _per_band(table: dict[str, np.ndarray], spec: CatalogueSpec, pattern: str | None, rows: int,
              sentinels: tuple[float, ...] | None = None) -> np.ndarray:  # fmt: skip
    """The columns of a pattern, rows × bands, with NaN for what stands for "undetected"; taken out of the table."""
    values = np.full((rows, len(spec.bands)), np.nan)
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
        return np.full(len(ids), "")
    match = re.compile(spec.field_pattern).fullmatch
    found = [sys.intern(parts["field"]) if (parts := match(text)) else None for text in ids.tolist()]
    if None in found:
        raise InputError(f"{path}: id {str(ids[found.index(None)])!r} does not match the recipe's field_pattern "
                         f"{spec.field_pattern!r}, so its field is unknown")  # fmt: skip
    return np.array(found)
