"""What can be measured from a cutout itself (``targets/measured.py``): names, limits and units."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Property:
    """An output of 1 stands for ``limit``, 0 for 0; values beyond are held at the limit. ``unit`` may be empty."""

    limit: float
    unit: str
    about: str


PROPERTIES = {
    "log_flux": Property(limit=8.0, unit="dex", about="log10 of the flux in the Kron ellipse, in nJy of calibrated "
                         "images, else in units of the image; below 1 it is 0"),
    "size": Property(limit=1.0, unit="half sides", about="half-light radius over half the cutout's side"),
    "ellipticity": Property(limit=1.0, unit="", about="1 − b/a of the isophote's second moments"),
    # Conselice 2003; a de Vaucouleurs profile has about 5
    "concentration": Property(limit=8.0, unit="", about="5 log10 (r80 / r20)"),
    "asymmetry": Property(limit=1.0, unit="", about="sum |I − I turned by 180°| / 2 sum |I| within 1.5 Petrosian-like "
                          "(Kron) radii; noise adds to it"),
}  # fmt: skip
