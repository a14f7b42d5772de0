"""The image files of a field: tile-compressed coadds with the header of a survey's, zero points, the colour picture."""

import io
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.visualization import make_lupton_rgb
from astropy.wcs import WCS
from PIL import Image

from hpc_astrossl import __version__
from hpc_astrossl.simulate.bands import AB_ZERO, BANDS, COLUMNS, EXPOSURES, PIXEL_SCALE, file_name
from hpc_astrossl.simulate.population import conditions
from hpc_astrossl.simulate.render import band_image
from hpc_astrossl.specs.simulation import SurveySpec

_FIELDS_A_ROW, _PITCH = 180, 2.0  # degrees between field centres: more than the largest field (1.83°)
_QUANTISATION = 4  # steps a background sigma, as in the survey's files
# Red, green and blue: every band is seen, so the picture knows something of all twelve magnitudes, and the five blue
# bands together are about as deep as g alone.
_COLOURS = (("R", "I", "F861", "Z"), ("G", "F515", "F660"), ("U", "F378", "F395", "F410", "F430"))
_STRETCH, _SOFTENING, _BLACK = 1.5, 8, -0.1  # of make_lupton_rgb, in flux a pixel, 1 at AB magnitude AB_ZERO


def wcs(size: int, field: int) -> WCS:
    """Gnomonic, north up, east left. Like the survey's first field, the first one lies across right ascension 0."""
    row, column = divmod(field, _FIELDS_A_ROW)
    sky = WCS(naxis=2)
    sky.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    sky.wcs.crval = [column * _PITCH, -row * _PITCH]
    sky.wcs.crpix = [(size + 1) / 2] * 2
    sky.wcs.cd = np.diag([-PIXEL_SCALE / 3600, PIXEL_SCALE / 3600])
    sky.wcs.radesys = "ICRS"
    return sky


def write_band(folder: Path, spec: SurveySpec, field: int, band: int) -> None:
    """Draw one band and write ``{field}_{BAND}_swp.fits.fz``: RICE tiles of one row in HDU 1, HDU 0 empty."""
    name = file_name(spec.names[field], BANDS[band].name)
    image = fits.CompImageHDU(
        band_image(spec, field, band),
        header(spec, field, band),
        compression_type="RICE_1",
        tile_shape=(1, spec.size),
        quantize_level=_QUANTISATION,
        quantize_method=1,  # SUBTRACTIVE_DITHER_1
        dither_seed=1 + (spec.seed + 12 * field + band) % 10000,  # not the clock, which is astropy's other choice
    )
    fits.HDUList([fits.PrimaryHDU(), image]).writeto(folder / name)


def header(spec: SurveySpec, field: int, band: int) -> fits.Header:
    """The keywords of a coadd of the survey that a reader may ask for; nothing in it depends on the clock."""
    seen, properties, name = conditions(spec, field), BANDS[band], spec.names[field]
    cards = fits.Header()
    for key, value, comment in (
        ("EQUINOX", 2000.0, "mean equinox"),
        ("MJD-OBS", 58377.0, "modified Julian date at start"),
        ("EXPTIME", 1.0, "normalised exposure time"),
        ("GAIN", float(properties.gain), "e-/ADU"),
        ("SATURATE", float(properties.saturation), "saturation level (ADU)"),
        ("SOFTNAME", "hpc_astrossl", "the software that simulated these data"),
        ("SOFTVERS", __version__, "its version"),
        ("ORIGIN", "simulation", "not an observation"),
        ("OBJECT", name, "name of the field"),
        ("TELESCOP", "SIMULATED", "modelled on the T80-South"),
        ("INSTRUME", "T80Cam", "modelled on"),
        ("FILTER", properties.name, "filter"),
        ("PIXSCALE", PIXEL_SCALE, "arcsec/px"),
        ("FILENAME", f"{name}_{properties.name}_swp.fits", ""),
        ("NCOMBINE", EXPOSURES, "exposures combined"),
        ("TEXPOSED", float(properties.exposure), "total exposure time (s)"),
        ("HIERARCH OAJ QC NCNOISE", properties.noise, "noise (ADU)"),
        ("HIERARCH OAJ PRO FWHMMEAN", float(seen.fwhm[band]), "PSF FWHM (arcsec)"),
        ("HIERARCH OAJ PRO FWHMBETA", properties.beta, "PSF Moffat beta"),
    ):
        cards[key] = (value, comment)
    cards.update(wcs(spec.size, field).to_header(relax=True))
    for axis in (1, 2):  # the survey writes a CD matrix where astropy writes PC and CDELT
        cards[f"CD{axis}_{axis}"] = cards.pop(f"PC{axis}_{axis}") * cards.pop(f"CDELT{axis}")
    return cards


def write_zero_points(folder: Path, spec: SurveySpec, field: int) -> None:
    """``{field}_ZP.cat``: magnitude = ZP - 2.5 log10(counts)."""
    values = conditions(spec, field).zero_points
    lines = ["# FILTER ZP", *(f"{column} {value:.4f}" for column, value in zip(COLUMNS, values, strict=True))]
    (folder / f"{spec.names[field]}_ZP.cat").write_text("\n".join(lines) + "\n", encoding="ascii")


class Trilogy:
    """The colour picture of a field, from band images added one at a time.

    Pixel (row, column) of the PNG, counted from 0, shows FITS pixel (X, Y), counted from 1, with column = X - 1 and
    row = height - Y: the array of the PNG is ``numpy.flipud`` of the FITS array, so that north is up.
    """

    def __init__(self, size: int):
        self._planes = np.zeros((3, size, size), dtype=np.float32)
        self._weights = np.zeros(3)

    def add(self, name: str, image: np.ndarray, zero_point: float, noise: float) -> None:
        """Add a band: counts above the background, the magnitude of one count, the background's r.m.s. in counts."""
        plane = next(i for i, names in enumerate(_COLOURS) if name in names)
        flux = 10 ** (-0.4 * (zero_point - AB_ZERO))  # AB flux of one count
        weight = (flux * noise) ** -2
        self._planes[plane] += image * np.float32(flux * weight)
        self._weights[plane] += weight

    def write(self, path: Path) -> None:
        """Stretch the weighted means as Lupton et al. 2004 do and write the picture, strip by strip."""
        size = self._planes.shape[1]
        picture = np.empty((size, size, 3), dtype=np.uint8)
        for start in range(0, size, 256):
            rows = slice(start, start + 256)
            red, green, blue = (plane[rows] / weight for plane, weight in zip(self._planes, self._weights, strict=True))
            picture[rows] = make_lupton_rgb(red, green, blue, minimum=_BLACK, stretch=_STRETCH, Q=_SOFTENING)
        stream = io.BytesIO()
        Image.fromarray(np.flipud(picture)).save(stream, format="PNG")
        path.write_bytes(stream.getvalue())
