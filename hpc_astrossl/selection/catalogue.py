"""Read the objects of a release, as the recipe names their columns: ids, positions, magnitudes, fields."""

import re
import sys
from pathlib import Path

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.objects import Objects
from hpc_astrossl.specs.recipe import Recipe
from hpc_astrossl.specs.tables import CatalogueSpec
from hpc_astrossl.tables.folders import read_folders
from hpc_astrossl.tables.tables import files, read_tables


def table_files(recipe: Recipe, source: Path) -> list[Path]:
    """Every table that the recipe reads below ``source``: the catalogue's files and those of the spectra."""
    return [path for pattern in recipe.tables for path in files(source, pattern)]


def read_objects(recipe: Recipe, source: Path) -> Objects:
    """Read the recipe's catalogue below ``source``; InputError names the file and what is wrong with it."""
    spec = recipe.catalogue
    texts = _texts(recipe)
    wanted = _wanted(spec, texts)
    if spec.format == "folders":
        table = read_folders(source, spec.file, wanted)
    else:
        table = read_tables(files(source, spec.file), wanted, format=spec.format, names=spec.names)
    ids = table[spec.id]
    unknown = np.full(len(ids), np.nan)
    fields = _fields(table, spec, source / spec.file)
    kept = {name: table[name] for name in texts}
    single = {name: table.get(getattr(spec, name), unknown) for name in ("ra", "dec", "x", "y")}
    flag = table[spec.flag] if spec.flag else None
    magnitudes, errors = (_per_band(table, spec, pattern, len(ids)) for pattern in (spec.magnitude, spec.error))
    errors[np.isnan(magnitudes) | (errors < 0)] = np.nan
    return Objects(
        object_id=ids, field=fields, flag=flag, magnitudes=magnitudes, errors=errors,
        reference=magnitudes[:, spec.bands.index(spec.reference)] if spec.reference else unknown,
        columns=kept, **single,
    )  # fmt: skip


def _texts(recipe: Recipe) -> list[str]:
    """The columns that labels, splits and file names are read from."""
    names = {store.labels.column for store in recipe.stores.values() if store.labels and store.labels.column}
    if recipe.split.column is not None:
        names.add(recipe.split.column)
    if recipe.files is not None:
        names |= {name for name in recipe.files.columns if name != "id"}
    return sorted(names)


def _wanted(spec: CatalogueSpec, texts: list[str]) -> dict[str, str]:
    """Column -> how it is read; what is used as a number anywhere is read as one."""
    names = [spec.id, *texts, *([spec.field] if spec.field else [])]
    numbers = [name for name in (spec.ra, spec.dec, spec.x, spec.y, spec.flag) if name]
    for pattern in (spec.magnitude, spec.error):
        numbers += spec.columns(pattern) if pattern else []
    return dict.fromkeys(names, "text") | dict.fromkeys(numbers, "number")


def _per_band(table: dict[str, np.ndarray], spec: CatalogueSpec, pattern: str | None, rows: int) -> np.ndarray:
    """The columns of a pattern, rows × bands, with NaN for what stands for "undetected"; taken out of the table."""
    values = np.full((rows, len(spec.bands)), np.nan)
    for index, name in enumerate(spec.columns(pattern) if pattern else ()):
        column = table.pop(name)
        known = np.isfinite(column)
        for sentinel in spec.undetected:
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
