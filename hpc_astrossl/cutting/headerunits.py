"""What a FITS header says of its pixels' worth: zero points, exposure times, and the unit in BUNIT."""

import math
import re
from collections.abc import Iterable
from typing import Any

from hpc_astrossl.cutting.badfile import RecipeFault
from hpc_astrossl.cutting.fitsheaders import Headers
from hpc_astrossl.specs.images import LEAST_POINT, MOST_POINT

FLUX = "FLUXMAG0"  # the flux of magnitude 0, as the LSST stack wrote it
_AGREE = 0.001  # magnitudes
# Keywords by which producers name the AB (or their own) magnitude of one count.
POINTS = ("MAGZERO", "MAGZPT", "MAGZP", "MAG_ZP", "MAGZEROP", "MAG_ZERO", "PHOTZP", "PHOTZPT", "ZEROPT", "ZEROPNT",
          "ZEROPOIN", "ZP", "ZPT", "ZPAB", "ABZP", "ZPMAG", "SEXMGZPT", FLUX)  # fmt: skip
NEAR = 0.01  # magnitudes that a header's zero point may differ from the recipe's
_SQUARE = (180 / math.pi * 3600) ** 2  # square arcsec in a steradian
_AREAS = {r"(/sr|\.?sr-1)$": 1.0, r"(/arcsec2|\.?arcsec-2|/asec2|/sqarcsec)$": _SQUARE}
# BUNIT, in lower case and without blanks -> Jy, and whether per steradian. Other units say nothing here.
_UNITS = {
    "nanomaggy": 3.631e-6, "nanomaggies": 3.631e-6, "nanomaggie": 3.631e-6, "nmgy": 3.631e-6, "maggy": 3631.0,
    "maggies": 3631.0, "njy": 1e-9, "ujy": 1e-6, "µjy": 1e-6, "microjy": 1e-6, "mujy": 1e-6, "mjy": 1e-3, "kjy": 1e3,
    "gjy": 1e9, "jy": 1.0, "jansky": 1.0, "janskys": 1.0, "millijansky": 1e-3, "microjansky": 1e-6, "nanojansky": 1e-9,
}  # fmt: skip


def zero_point_of(headers: Headers, keys: Iterable[str]) -> float:
    """AB magnitude of one count, by keywords of the image's header, then of the primary.

    RecipeFault when none is there, one is no number, zero or implausible, or two of them disagree.
    """
    found = {}
    for key in keys:
        value = headers.get(key)
        if value is not None:
            found[key] = _point(key, value, headers)
    if not found:
        raise RecipeFault(f"{headers.path}: has none of {', '.join(keys)} in the image's or the primary header; name "
                          "the right keyword under zero_point, or give the number")  # fmt: skip
    if max(found.values()) - min(found.values()) > _AGREE:
        values = ", ".join(f"{key} {value:g}" for key, value in found.items())
        raise RecipeFault(f"{headers.path}: its zero points disagree: {values}. Name one of them (one may be for "
                          "counts, another for counts/s: then exposure belongs to it)")  # fmt: skip
    return next(iter(found.values()))


def _point(key: str, value: Any, headers: Headers) -> float:
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else math.nan
    if key == FLUX:
        number = 2.5 * math.log10(number) if number > 0 else math.nan
    if not LEAST_POINT <= number <= MOST_POINT:
        raise RecipeFault(f"{headers.path}: {key} = {value!r} is no zero point (AB magnitudes of one count are in "
                          f"{LEAST_POINT:g}..{MOST_POINT:g}); name another keyword, or give the number")  # fmt: skip
    return float(number)


def contradiction(headers: Headers, points: Iterable[float], near: float = NEAR) -> str | None:
    """The header's own zero points as words, if it has some and all differ by more than ``near`` magnitudes from those
    in the recipe's sense, be they of counts or of counts a second; else None."""
    found = {}
    for key in POINTS:
        value = headers.get(key)
        if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
            value = 2.5 * math.log10(value) if key == FLUX and value > 0 else value
            if LEAST_POINT <= value <= MOST_POINT:
                found[key] = value
    time = headers.get("EXPTIME")
    known = isinstance(time, int | float) and not isinstance(time, bool) and 0 < time < math.inf
    shifts = (0.0, 2.5 * math.log10(time), -2.5 * math.log10(time)) if known else (0.0,)
    agree = any(abs(value + shift - point) <= near
                for value in found.values() for shift in shifts for point in points)  # fmt: skip
    return None if agree or not found else " and ".join(f"{key} {value:g}" for key, value in found.items())


def exposure(headers: Headers, key: float | str) -> float:
    """Seconds by which counts are divided: the number, or the keyword's. RecipeFault when there is none."""
    if not isinstance(key, str):
        return key
    value = headers.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        raise RecipeFault(f"{headers.path}: exposure time {key} = {value!r}; expected a positive number of seconds")
    return float(value)


def stated(headers: Headers) -> tuple[str | None, float, bool]:
    """(BUNIT, Jy in it, per steradian?) if it is a unit of flux density, (None, …) if it says nothing, as ADU does.

    The image's header comes first, then the primary. RecipeFault for one that cannot be calibrated here: per beam,
    magnitudes, energy per wavelength.
    """
    text = str(headers.image.get("BUNIT") or headers.primary.get("BUNIT") or "").strip()
    plain = re.sub(r"\s+", " ", re.sub(r"/\s*pix(el)?s?$", "", text, flags=re.IGNORECASE)).strip()
    if re.search(r"(?<![a-z])beam", plain.lower()):
        raise RecipeFault(f"{headers.path}: its BUNIT is {text!r}; flux per beam is not calibrated here: divide by the "
                          "beam's area first")  # fmt: skip
    if re.match(r"mag(nitudes?)?\b|[bd]?mag\b", plain.lower()):
        raise RecipeFault(f"{headers.path}: its BUNIT is {text!r}; magnitudes are no fluxes: make linear pixels first")
    number, word = _split(plain)
    base, area = _area(word)
    if base.startswith("M") and base.lower() == "mjy":
        jansky = 1e6
    elif (jansky := _UNITS.get(base.lower())) is None:
        if re.match(r"ergs?\b|w[/.]?m", base.lower()):
            raise RecipeFault(f"{headers.path}: its BUNIT is {text!r}; energy per wavelength is not calibrated here: "
                              "convert it to flux per frequency (Jy)")  # fmt: skip
        return None, 0.0, False
    return text, number * jansky * (area or 1.0), area is not None


def _split(text: str) -> tuple[float, str]:
    """The number before a unit, 1 without one: 1E-6, 10**-6, 10^-6, 10-6 and 3.631e-6 are numbers."""
    power = re.match(r"10\s*(?:\*\*|\^)?\s*\(?([+-]?\d+)\)?[\s*.]*(?=[^\d\s])", text)
    if power:
        return 10.0 ** int(power[1]), text[power.end() :]
    factor = re.match(r"(\d+\.?\d*(?:[eE][+-]?\d+)?)[\s*]*(?=[^\d\s])", text)
    return (float(factor[1]), text[factor.end() :]) if factor else (1.0, text)


def _area(text: str) -> tuple[str, float | None]:
    """The unit without its area, and how often that goes into a steradian; None if it has none."""
    plain = text.replace(" ", "").replace("**", "").replace("^", "").replace("(", "").replace(")", "")
    for pattern, each in _AREAS.items():
        base = re.sub(pattern, "", plain, flags=re.IGNORECASE)
        if base != plain:
            return base, each
    return plain, None


def per_second(headers: Headers) -> str | None:
    """BUNIT, if it says that pixels are counts a second already."""
    text = str(headers.image.get("BUNIT") or headers.primary.get("BUNIT") or "").strip()
    plain = text.lower().replace(" ", "").replace("*", "").replace("^", "").replace(".", "")
    return text if re.search(r"/s(ec(ond)?s?)?$|s-1$|/s/|persec|cps$", plain) else None
