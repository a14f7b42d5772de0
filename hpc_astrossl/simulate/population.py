"""What is put into a field: positions, classes, shapes and fluxes, drawn from the field's own random streams."""

import functools
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from hpc_astrossl.simulate import spectra
from hpc_astrossl.simulate.bands import AB_ZERO, BANDS
from hpc_astrossl.specs.simulation import EDGE, LATTICE, SurveySpec

CLASSES = ("STAR", "GALAXY", "QSO")
SHARES = (0.42, 0.36, 0.22)
BLENDS = 0.02  # share of the objects that are moved close to another
# Bright and faint limit in r, evenly filled. The sky has many more faint objects; here more than half are to be
# measured to 0.1 mag in all twelve bands, while the faintest are lost in the narrow blue ones.
MAGNITUDES = {"STAR": (13.5, 19.4), "GALAXY": (13.8, 18.9), "QSO": (15.5, 19.8)}


class Stream(IntEnum):
    """Purposes of random numbers. Each has a generator of its own, so that none depends on how much another drew."""

    CONDITIONS = 0
    POPULATION = 1
    SPECTROSCOPY = 2
    NOISE = 100  # plus the band's index


def generator(spec: SurveySpec, field: int, stream: int) -> np.random.Generator:
    """The random stream of one purpose in the field of that index; it depends on the seed and on nothing else."""
    return np.random.default_rng([spec.seed, field, stream])


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """How the bands of one field were observed, each (bands,)."""

    zero_points: np.ndarray  # AB magnitude of one count
    fwhm: np.ndarray  # arcseconds


def conditions(spec: SurveySpec, field: int) -> Conditions:
    """Zero points that wander by 0.08 mag and seeing that wanders by 6 % from field to field and band to band."""
    rng = generator(spec, field, Stream.CONDITIONS)
    zero = np.array([band.zero_point for band in BANDS]) + rng.normal(0, 0.08, len(BANDS))
    fwhm = np.array([band.fwhm for band in BANDS]) * np.exp(rng.normal(0, 0.06, len(BANDS)))
    return Conditions(zero_points=np.round(zero, 4), fwhm=np.round(fwhm, 4))


@dataclass(frozen=True, kw_only=True)
class Population:
    """The objects of a field, n of them. Point sources have a flux in ``disc`` and radii of zero."""

    kind: np.ndarray  # (n,) index into CLASSES
    x: np.ndarray  # (n,) FITS pixels: the centre of the first pixel is 1
    y: np.ndarray
    redshift: np.ndarray
    bulge: np.ndarray  # (n, bands) flux, 1 at AB magnitude AB_ZERO
    disc: np.ndarray  # (n, bands)
    bulge_radius: np.ndarray  # (n,) half-light radius, arcseconds
    disc_radius: np.ndarray
    sersic: np.ndarray  # (n,) index of the bulge; the disc's is 1
    axis_ratio: np.ndarray  # of the disc, or of an elliptical; a bulge in a disc is rounder
    angle: np.ndarray  # degrees, counter-clockwise from the x axis

    @property
    def magnitudes(self) -> np.ndarray:
        """True AB magnitudes, (n, bands)."""
        return AB_ZERO - 2.5 * np.log10(self.bulge + self.disc)


@functools.lru_cache(maxsize=1)  # the twelve bands of a field are drawn one after another
def population(spec: SurveySpec, field: int) -> Population:
    """The objects of the field of that index. The arrays are shared and must not be changed."""
    rng = generator(spec, field, Stream.POPULATION)
    n = spec.objects
    x, y = _positions(rng, spec)
    kind = rng.permutation(np.searchsorted(np.cumsum(SHARES)[:-1], (np.arange(n) + 0.5) / n))
    r = np.empty(n)
    for index, name in enumerate(CLASSES):
        r[kind == index] = rng.uniform(*MAGNITUDES[name], int((kind == index).sum()))
    columns = {"redshift": np.zeros(n), "bulge": np.zeros((n, len(BANDS))), "disc": np.zeros((n, len(BANDS)))}
    columns |= {name: np.zeros(n) for name in ("bulge_radius", "disc_radius", "sersic", "angle")}
    columns["axis_ratio"] = np.ones(n)
    for index, draw in enumerate((_stars, _galaxies, _quasars)):
        for name, values in draw(rng, r[kind == index]).items():
            columns[name][kind == index] = values
    return Population(kind=kind, x=x, y=y, **columns)


def _positions(rng: np.random.Generator, spec: SurveySpec) -> tuple[np.ndarray, np.ndarray]:
    """Jittered lattice places, so that few objects touch, and a few that were moved to 5..10 px from another."""
    side = spec.size - 2 * EDGE
    cells = min(max(int(np.ceil(np.sqrt(spec.objects * 1.25))), 1), side // LATTICE)
    pitch = side / cells
    row, column = np.divmod(rng.choice(cells**2, spec.objects, replace=False), cells)
    jitter = rng.uniform(0, pitch - LATTICE / 2, (2, spec.objects)) + LATTICE / 4
    x, y = EDGE + column * pitch + jitter[0], EDGE + row * pitch + jitter[1]
    moved = np.arange(int(BLENDS * spec.objects))
    beside, angle, distance = moved + len(moved), rng.uniform(0, 2 * np.pi, len(moved)), rng.uniform(5, 10, len(moved))
    x[moved] = np.clip(x[beside] + distance * np.cos(angle), EDGE, spec.size - EDGE)
    y[moved] = np.clip(y[beside] + distance * np.sin(angle), EDGE, spec.size - EDGE)
    return np.round(x + 0.5, 1), np.round(y + 0.5, 1)  # tenths of a pixel: point sources of a band share their stamps


def _flux(r: np.ndarray, spectrum: np.ndarray) -> np.ndarray:
    return 10 ** (-0.4 * (r[:, None] + spectra.colours(spectrum) - AB_ZERO))


def _stars(rng: np.random.Generator, r: np.ndarray) -> dict[str, np.ndarray]:
    temperature = np.clip(np.exp(rng.normal(np.log(5300), 0.2, len(r))), 3100, 12000)
    blanketing = np.clip(rng.normal(0.5, 0.2, len(r)), 0, None) * np.clip((8500 - temperature) / 2500, 0, 1)
    velocity = rng.normal(0, 3e-4, len(r))
    return {"disc": _flux(r, spectra.stars(temperature, blanketing)), "redshift": velocity}


def _quasars(rng: np.random.Generator, r: np.ndarray) -> dict[str, np.ndarray]:
    redshift = np.clip(rng.gamma(4.5, 0.35, len(r)), 0.2, 3.5)
    return {"disc": _flux(r, spectra.quasars(redshift, rng.normal(0, 0.3, len(r)))), "redshift": redshift}


def _galaxies(rng: np.random.Generator, r: np.ndarray) -> dict[str, np.ndarray]:
    """A third are ellipticals (one old component, n 2 to 4), the rest a young disc round an older bulge (n 1 to 4)."""
    n = len(r)
    elliptical = rng.random(n) < 0.33
    redshift = np.clip(0.1 * 10 ** (0.13 * (r - 17.5)) * np.exp(rng.normal(0, 0.3, n)), 0.01, 0.45)
    share = np.where(elliptical, 1.0, rng.beta(1.3, 3.5, n))  # the bulge's share of the light in r
    metals = np.clip(rng.normal(0.5, 0.12, n), 0.1, None)
    old = _flux(r, spectra.galaxies(redshift, rng.uniform(0, 0.08, n), metals))
    young = _flux(r, spectra.galaxies(redshift, rng.uniform(0.15, 0.8, n), 0.7 * metals))
    radius = np.clip(2.1 * 10 ** (-0.13 * (r - 17)) * np.exp(rng.normal(0, 0.25, n)), 0.7, 12)
    index = np.where(elliptical, rng.choice([2.0, 3.0, 4.0], n), rng.choice([1.0, 2.0, 3.0, 4.0], n))
    return {
        "redshift": redshift,
        "bulge": old * share[:, None],
        "disc": young * (1 - share[:, None]),
        "bulge_radius": np.where(elliptical, radius, 0.35 * radius),
        "disc_radius": np.where(elliptical, 0.0, radius),
        "sersic": index,
        "axis_ratio": np.where(elliptical, rng.uniform(0.55, 1, n), rng.uniform(0.25, 1, n)),
        "angle": rng.uniform(0, 180, n),
    }
