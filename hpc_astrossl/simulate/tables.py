"""The tables beside the images: a spectroscopic survey of some of the objects, and the truth for tests and people."""

import numpy as np

from hpc_astrossl.simulate.bands import COLUMNS
from hpc_astrossl.simulate.images import wcs
from hpc_astrossl.simulate.population import CLASSES, Population, Stream, generator, population
from hpc_astrossl.specs.simulation import SurveySpec

SPECTRA_HEADER = "ra,dec,class,redshift,zWarning"
TRUTH_HEADER = (
    "field,class,ra,dec,X,Y,redshift,bulge_fraction,bulge_radius,bulge_sersic,disc_radius,axis_ratio,angle,"
    + ",".join(COLUMNS)
)
# Share of each class with a spectrum (surveys look for quasars), of spectra with a warning, and of spectra of nothing.
_OBSERVED = {"STAR": 0.35, "GALAXY": 0.4, "QSO": 0.5}
_WARNED, _EMPTY = 0.04, 0.02
_SCATTER = 0.1 / 3600  # degrees, r.m.s. of a position in each coordinate
_CLEAR = 10.0  # pixels: spectra of nothing keep this distance from every object


def spectra(spec: SurveySpec, field: int) -> list[str]:
    """Lines of ``spec.csv``: where a spectrograph looked, and what it says is there (zWarning 0: it is sure)."""
    rng, objects = generator(spec, field, Stream.SPECTROSCOPY), population(spec, field)
    share = np.array([_OBSERVED[name] for name in CLASSES])[objects.kind]
    chosen = np.flatnonzero(rng.random(len(objects.x)) < share)
    x, y = objects.x[chosen], objects.y[chosen]
    kinds, redshift = objects.kind[chosen], objects.redshift[chosen]
    empty_x, empty_y = _clear_places(rng, spec, objects, round(_EMPTY * len(chosen)) + 1)
    x, y = np.append(x, empty_x), np.append(y, empty_y)
    kinds = np.append(kinds, rng.integers(0, len(CLASSES), len(empty_x)))
    redshift = np.append(redshift, rng.uniform(0, 1, len(empty_x)))
    warning = np.where(rng.random(len(x)) < _WARNED, 4, 0)
    ra, dec = wcs(spec.size, field).all_pix2world(x, y, 1)
    ra = (ra + rng.normal(0, _SCATTER, len(x)) / np.cos(np.radians(dec))) % 360
    dec = dec + rng.normal(0, _SCATTER, len(x))
    rows = zip(ra, dec, kinds, redshift, warning, strict=True)
    return [f"{a:.6f},{d:.6f},{CLASSES[k]},{z:.5f},{w}" for a, d, k, z, w in rows]


def _clear_places(rng: np.random.Generator, spec: SurveySpec, objects: Population, n: int) -> tuple:
    """Up to ``n`` positions, in FITS pixels, away from every object."""
    x, y = rng.uniform(1, spec.size, (2, 4 * n))
    near = np.hypot(x[:, None] - objects.x, y[:, None] - objects.y).min(axis=1) < _CLEAR
    return x[~near][:n], y[~near][:n]


def truth(spec: SurveySpec, field: int) -> list[str]:
    """Lines of ``truth.csv``: what was put in. X, Y are FITS pixels, radii half-light radii in arcseconds."""
    objects = population(spec, field)
    ra, dec = wcs(spec.size, field).all_pix2world(objects.x, objects.y, 1)
    reference = COLUMNS.index("r")
    fraction = objects.bulge[:, reference] / (objects.bulge + objects.disc)[:, reference]
    columns = np.column_stack(
        [ra, dec, objects.x, objects.y, objects.redshift, fraction, objects.bulge_radius, objects.sersic,
         objects.disc_radius, objects.axis_ratio, objects.angle, objects.magnitudes]
    )  # fmt: skip
    form = "%.6f,%.6f,%.1f,%.1f,%.5f,%.4f,%.3f,%.1f,%.3f,%.3f,%.1f," + ",".join(["%.4f"] * len(COLUMNS))
    names = (f"{spec.names[field]},{CLASSES[kind]}," for kind in objects.kind)
    return [name + form % tuple(row) for name, row in zip(names, columns, strict=True)]
