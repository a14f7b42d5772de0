"""Resampled stars and galaxies against GalSim's truth, drawn through each field's own WCS and over whole pixels."""

import numpy as np
import pytest
from sky_survey import catalogue, header, recipe, wcs, write

from hpc_astrossl.ingest import build
from hpc_astrossl.store import open_store

galsim = pytest.importorskip("galsim", reason="GalSim (extra simulate) is not installed")
SHAPE, FLUX, CENTRE = (260, 280), 1e5, (150.0, 2.0)
PLACES = [(60.3, 60.2), (200.7, 62.9), (70.1, 190.4), (210.2, 200.6), (141.5, 128.7)]
KINDS = [({"turn": 33.0}, "TAN"), ({"parity": (1, 1, False), "turn": 70.0}, "TAN"), ({"turn": 10.0}, "TPV"),
         ({"parity": (1, -1, True), "turn": 55.0}, "SIP")]  # fmt: skip


def profile(kind):
    """Light on the sky, units of arcsec, without a pixel; of a width that 0.4 arcsec samples well."""
    if kind == "star":
        return galsim.Gaussian(sigma=0.7, flux=FLUX)
    galaxy = galsim.Sersic(n=1.0, half_light_radius=1.2, flux=FLUX, trunc=6.0).shear(g1=0.25, g2=-0.1)
    return galsim.Convolve(galaxy, galsim.Gaussian(sigma=0.5))


def drawn(cards, light, ra, dec):
    """The field, drawn by GalSim through the WCS of its header: every pixel the integral of the light over it."""
    image = galsim.ImageD(SHAPE[1], SHAPE[0], wcs=galsim.AstropyWCS(wcs=wcs(cards)))
    for a, d in zip(ra, dec, strict=True):
        place = galsim.CelestialCoord(a * galsim.degrees, d * galsim.degrees)
        pixel = image.wcs.toImage(place)
        stamp = light.drawImage(nx=101, ny=101, center=pixel, wcs=image.wcs.local(pixel), dtype=float)
        bounds = stamp.bounds & image.bounds
        image[bounds] += stamp[bounds]
    return image.array.astype(np.float32)


@pytest.mark.parametrize(("options", "projection"), KINDS)
@pytest.mark.parametrize("kind", ["star", "galaxy"])
@pytest.mark.parametrize("scale", [0.3, 0.5])
def test_positions_and_fluxes_are_galsims(tmp_path, options, projection, kind, scale):
    folder = tmp_path / "survey"
    folder.mkdir()
    cards = header(SHAPE, CENTRE, projection=projection, **options)
    ra, dec = wcs(cards).all_pix2world(*np.transpose(PLACES), 1)
    light = profile(kind)
    write(folder / "A_r.fits", drawn(cards, light, ra, dec), cards)
    catalogue(folder, ra, dec)
    made = recipe(folder, "size=48", f"fields.resample.pixel_scale={scale}", "fields.no_value=[]")
    store = open_store(build(made, folder, tmp_path / "out")[0].path)
    radius = 6.0 / scale
    rows, columns = np.indices((48, 48)) - 23.5
    inner = np.hypot(rows, columns) < radius
    expected = reference(light, scale)
    for image in store.images(np.arange(len(PLACES)))[..., 0].astype(float):
        image = image / (1e5 * 10 ** (-0.4 * 25)) * scale**2
        weight = np.where(inner, image, 0)
        middle = (weight * rows).sum() / weight.sum(), (weight * columns).sum() / weight.sum()
        np.testing.assert_allclose(middle, (0, 0), atol=0.02)
        assert weight.sum() == pytest.approx(np.where(inner, expected, 0).sum(), rel=2e-3)


def reference(light, scale):
    """The light drawn by GalSim on the store's grid itself: north up, east left, the object in the middle."""
    grid = galsim.JacobianWCS(-scale, 0.0, 0.0, scale)
    return light.drawImage(nx=48, ny=48, wcs=grid, dtype=float).array[::-1]
