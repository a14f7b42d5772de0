"""Drawing one band of one field: GalSim convolves every profile with the band's Moffat point-spread function."""

import functools
from collections.abc import Callable

import galsim
import numpy as np

from hpc_astrossl.simulate.bands import AB_ZERO, BANDS, PIXEL_SCALE
from hpc_astrossl.simulate.population import Conditions, Population, Stream, conditions, generator, population
from hpc_astrossl.specs.simulation import SurveySpec

STRIP = 256  # rows of noise drawn at a time
# Half sides of stamps in pixels. A point source of magnitude 13.5 falls to a tenth of the noise within _POINT; galaxies
# end where their profile is _FAINTEST times the noise, between the other two.
_POINT, _FAINTEST, _SMALLEST, _LARGEST = 20, 0.1, 12, 220
# Coarser Fourier grids than GalSim's defaults: three times as fast, and no pixel of a typical field changes by
# more than about a tenth of its noise (the peak of a star by 0.2 %).
_ACCURACY = galsim.GSParams(folding_threshold=0.05, maxk_threshold=5e-3)


def band_image(spec: SurveySpec, field: int, band: int) -> np.ndarray:
    """The coadd, (size, size) float32 counts on a zero background: objects, their photon noise, the sky's noise.

    Photon noise is drawn in its Gaussian limit; the sky of a coadd has hundreds of electrons a pixel.
    """
    seen = conditions(spec, field)
    model = _model(spec, population(spec, field), seen, band)
    properties = BANDS[band]
    rng = generator(spec, field, Stream.NOISE + band)
    for start in range(0, spec.size, STRIP):
        rows = model[start : start + STRIP]
        sigma = np.sqrt(properties.noise**2 + np.maximum(rows, 0) / properties.gain)
        rows += sigma * rng.standard_normal(rows.shape, dtype=np.float32)
        np.minimum(rows, properties.saturation, out=rows)
    return model


def _model(spec: SurveySpec, objects: Population, seen: Conditions, band: int) -> np.ndarray:
    """Noiseless counts. Work and memory beyond the image itself grow with the objects, not with the field."""
    array = np.zeros((spec.size, spec.size), dtype=np.float32)
    image = galsim.ImageF(array, xmin=1, ymin=1)
    counts = 10 ** (0.4 * (seen.zero_points[band] - AB_ZERO))
    fwhm = seen.fwhm[band] / PIXEL_SCALE
    psf = galsim.Moffat(beta=BANDS[band].beta, fwhm=fwhm, gsparams=_ACCURACY)
    point = _point_stamps(psf)
    for i in range(len(objects.x)):
        bulge, disc = objects.bulge[i, band] * counts, objects.disc[i, band] * counts
        x, y = round(objects.x[i]), round(objects.y[i])
        extended = objects.bulge_radius[i] > 0
        half = _half_side(objects, i, (bulge + disc) / BANDS[band].noise) if extended else _POINT
        stamp = galsim.BoundsI(x - half, x + half, y - half, y + half) & image.bounds
        if extended:
            profile = galsim.Convolve(_profile(objects, i, bulge, disc), psf, gsparams=_ACCURACY)
            centre = galsim.PositionD(objects.x[i], objects.y[i])
            profile.drawImage(image=image[stamp], center=centre, scale=1.0, add_to_image=True)
        else:
            unit = point(round(10 * (objects.x[i] - x)), round(10 * (objects.y[i] - y)))
            unit.setCenter(x, y)
            image[stamp] += unit[stamp] * disc
    return array


def _point_stamps(psf: galsim.GSObject) -> Callable[[int, int], galsim.ImageF]:
    """Stamps of unit flux by their offset from a pixel's centre in tenths of a pixel, each drawn once."""

    @functools.cache
    def stamp(x: int, y: int) -> galsim.ImageF:
        side = 2 * _POINT + 1
        return psf.drawImage(image=galsim.ImageF(side, side), offset=(x / 10, y / 10), scale=1.0)

    return stamp


def _profile(objects: Population, i: int, bulge: float, disc: float) -> galsim.GSObject:
    """A galaxy before the atmosphere, in pixels, with fluxes in counts."""
    angle = objects.angle[i] * galsim.degrees
    axis = objects.axis_ratio[i]
    parts = []
    if bulge > 0:
        radius = objects.bulge_radius[i] / PIXEL_SCALE
        part = galsim.Sersic(n=objects.sersic[i], half_light_radius=radius, flux=bulge)
        rounder = axis if disc == 0 else (1 + axis) / 2
        parts.append(part.shear(q=rounder, beta=angle))
    if disc > 0:
        part = galsim.Exponential(half_light_radius=objects.disc_radius[i] / PIXEL_SCALE, flux=disc)
        parts.append(part.shear(q=axis, beta=angle))
    return galsim.Add(parts)


def _half_side(objects: Population, i: int, flux: float) -> int:
    """Half side of a galaxy's stamp in pixels; ``flux`` is in units of the background noise of a pixel."""
    radius = max(objects.bulge_radius[i], objects.disc_radius[i]) / PIXEL_SCALE
    contrast = flux / (_FAINTEST * np.pi * max(radius, 1) ** 2)
    return int(np.clip(radius * (2.0 + 2.0 * np.log10(max(contrast, 1.0))) + 6, _SMALLEST, _LARGEST))
