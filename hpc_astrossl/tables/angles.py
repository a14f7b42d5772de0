"""Positions in degrees, whatever unit of angle a table declares for them (FITS, VOTable, ECSV, CDS, IPAC, Arrow)."""

import math

RAD, HOUR, ARCMIN, ARCSEC = math.degrees(1), 15.0, 1 / 60, 1 / 3600
DEGREES = {
    **dict.fromkeys(("rad", "radian", "radians"), RAD), **dict.fromkeys(("mrad",), RAD / 1000),
    **dict.fromkeys(("hourangle", "hour", "hours", "hr", "h"), HOUR),
    **dict.fromkeys(("arcmin", "arcminute", "arcminutes"), ARCMIN),
    **dict.fromkeys(("arcsec", "arcsecond", "arcseconds", "as"), ARCSEC), "mas": ARCSEC / 1000, "uas": ARCSEC / 1e6,
}  # fmt: skip


def factor(unit: str | None) -> float:
    """What makes degrees of such an angle; 1 for a unit that is none, or not known."""
    return DEGREES.get(str(unit or "").strip().strip("[]").strip().lower(), 1.0)
