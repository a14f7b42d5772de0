"""The twelve bands of S-PLUS and what a typical coadd of each looks like.

Centres and widths: Mendes de Oliveira et al. 2019, MNRAS 489, 241, the table of the filter system. Exposure times are
the survey's, three exposures a band; zero points, noise, gain, saturation and seeing are rounded typical values of its
Stripe 82 coadds, so that the depth (S/N 10 in 3″: r 20.2, F395 19.7) is the real one.
"""

from dataclasses import dataclass

PIXEL_SCALE = 0.55  # arcseconds a pixel (Mendes de Oliveira et al. 2019)
AB_ZERO = 22.5  # unit of flux inside this room: 1 at AB magnitude 22.5


@dataclass(frozen=True, kw_only=True)
class Band:
    """One band. ``name`` stands in file names and FITS headers, ``column`` in catalogues and zero-point tables."""

    name: str
    column: str
    centre: float  # Å
    width: float  # Å, full width at half maximum
    zero_point: float  # AB magnitude of one count
    noise: float  # counts, background r.m.s. of a pixel
    gain: float  # electrons a count
    saturation: float  # counts
    exposure: float  # seconds, all exposures together
    fwhm: float  # arcseconds, of the point-spread function
    beta: float  # its Moffat exponent


_TABLE = (
    # name   column  centre  width  zero p. noise   gain  satur.  exp.  fwhm  beta
    ("U", "uJAVA", 3536, 352, 20.10, 0.0150, 650, 283, 681, 1.60, 2.7),
    ("F378", "F378", 3770, 151, 19.40, 0.0115, 630, 292, 660, 1.55, 2.7),
    ("F395", "F395", 3940, 103, 19.50, 0.0180, 338, 545, 354, 1.50, 2.9),
    ("F410", "F410", 4094, 201, 20.55, 0.0330, 309, 1089, 354, 1.50, 2.6),
    ("F430", "F430", 4292, 201, 20.70, 0.0350, 300, 1127, 342, 1.50, 2.6),
    ("G", "g", 4751, 1545, 22.95, 0.1480, 95, 1945, 99, 1.50, 2.9),
    ("F515", "F515", 5133, 207, 20.85, 0.0520, 175, 1053, 183, 1.50, 2.8),
    ("R", "r", 6258, 1465, 22.80, 0.1590, 115, 1603, 120, 1.45, 3.1),
    ("F660", "F660", 6614, 147, 20.30, 0.0180, 832, 221, 870, 1.40, 3.1),
    ("I", "i", 7690, 1506, 22.60, 0.1930, 132, 1392, 138, 1.40, 3.0),
    ("F861", "F861", 8611, 410, 20.85, 0.0900, 230, 802, 240, 1.30, 2.9),
    ("Z", "z", 8831, 1182, 22.05, 0.2260, 161, 1139, 168, 1.30, 2.8),
)
BANDS = tuple(Band(**dict(zip(Band.__dataclass_fields__, row, strict=True))) for row in _TABLE)
NAMES = tuple(band.name for band in BANDS)
COLUMNS = tuple(band.column for band in BANDS)
REFERENCE = NAMES.index("R")  # objects are drawn with a magnitude in this band
DETECTION = ("G", "R", "I", "Z")  # their mean is the detection image, hence ".griz" in the object names
EXPOSURES = 3


def file_name(field: str, band: str) -> str:
    """``{field}_{BAND}_swp.fits.fz``."""
    return f"{field}_{band}_swp.fits.fz"
