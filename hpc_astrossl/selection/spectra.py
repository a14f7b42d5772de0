"""Classes from a table of spectra, which may be larger than the memory: its columns are arrays, or lie in files."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl.objects import Objects
from hpc_astrossl.selection import crossmatch, matching
from hpc_astrossl.selection.chosen import KEPT, Selection
from hpc_astrossl.selection.workspace import BLOCK, Growing, Workspace
from hpc_astrossl.selection.zones import Places, Rows, every
from hpc_astrossl.specs.recipe import Recipe
from hpc_astrossl.tables.tables import Reading, described, files, read_blocks


@dataclass(frozen=True, kw_only=True)
class Spectra:
    """N spectra: positions in degrees, classes as text, and whether the redshift can be trusted."""

    places: Places
    classes: Any
    good: Any


@dataclass(frozen=True, kw_only=True)
class Sparse:
    """Values of a few rows, ascending."""

    rows: np.ndarray
    values: np.ndarray

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        return self.values[np.searchsorted(self.rows, rows)]


def read_spectra(recipe: Recipe, source: Path, space: Workspace) -> Spectra:
    """Read the recipe's spectra below ``source``, block by block."""
    spec = recipe.spectra
    wanted = {spec.ra: "angle", spec.dec: "angle", spec.spectral_class: "label", spec.warning: "number"}
    reading = Reading(format=spec.format, hdu=spec.hdu, null_words=spec.null_words)
    grown, paths = Growing(space, names=["classes"], what="spectra"), files(source, spec.file)
    for table in read_blocks(paths, wanted, reading):
        rows = len(table[spec.ra])
        for start in range(0, rows, BLOCK) if space.folder and rows else [0]:  # astropy gives a table in one block
            stop = start + BLOCK if space.folder else rows
            part = {name: values[start:stop] for name, values in table.items()}
            grown.append({"ra": part[spec.ra], "dec": part[spec.dec], "classes": part[spec.spectral_class],
                          "good": part[spec.warning] == 0})  # fmt: skip
    kind, _, odd = described(paths, reading).partition("; ")
    if odd:
        space.say(f"{spec.file} ({kind}): {odd}")
    found = grown.columns()
    return Spectra(places=Places(rows=every(len(found["ra"])), ra=found["ra"], dec=found["dec"]),
                   classes=found["classes"], good=found["good"])  # fmt: skip


def no_spectrum(recipe: Recipe) -> str:
    """The reason of objects that none is near."""
    return f"no spectrum within {recipe.spectra.radius:g} arcsec"


def without(recipe: Recipe, objects: Objects, known: Rows, spectra: Spectra, space: Workspace) -> np.ndarray:
    """True for objects that are none of ``known``, or have no spectrum near; bool, N."""
    places = Places(rows=known, ra=objects.ra, dec=objects.dec)
    far = np.ones(len(objects), dtype=bool)
    far[crossmatch.near_others(places, spectra.places, recipe.spectra.radius, space)] = False
    return far


def matched(recipe: Recipe, objects: Objects, stores: Mapping[str, Selection], spectra: Spectra,
            space: Workspace) -> Iterator[tuple[str, Sparse]]:  # fmt: skip
    """The classes of the objects of each of the stores that have a spectrum; others are given the reason why not."""
    wanted = np.flatnonzero(np.logical_or.reduce([selection.codes == 0 for selection in stores.values()]))
    places = Places(rows=wanted, ra=objects.ra, dec=objects.dec)
    near = crossmatch.near_pairs(places, spectra.places, recipe.spectra.radius, space)
    involved, at = np.unique(near[:, 1], return_inverse=True)  # the others need not be held
    near[:, 1] = at
    classes, good = spectra.classes[involved], spectra.good[involved]
    for name, selection in stores.items():
        own = near[selection.codes[near[:, 0]] == 0]
        rows, at = np.unique(own[:, 0], return_inverse=True)
        own[:, 0] = at
        match = matching.matched(own, len(rows), classes, good)
        reasons = np.full(len(rows), no_spectrum(recipe), dtype=object)
        reasons[match.spectrum >= 0] = KEPT
        reasons[match.warning] = "redshift with a warning"
        reasons[match.ambiguous] = "spectra of different classes"
        reasons[match.nearer] = "the spectrum belongs to a nearer object"
        alone = selection.codes == 0
        alone[rows] = False
        selection.reject(alone, no_spectrum(recipe))
        for reason in dict.fromkeys(reasons[reasons != KEPT]):
            selection.reject(rows[reasons == reason], reason)
        has = match.spectrum >= 0
        yield name, Sparse(rows=rows[has], values=classes[match.spectrum[has]])
