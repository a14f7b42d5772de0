"""In which frame a header's positions are: RADESYS and EQUINOX as their authors meant them.

FITS standard 4.0, section 8.3: without RADESYS, an EQUINOX before 1984 means FK4, a later one FK5, and none ICRS. EPOCH
is an old name of EQUINOX, but also that of the time of an exposure. astropy and wcslib drop what is not a number, which
would be FK4 taken for ICRS.
"""

import re
from typing import Any

from astropy.io import fits

_KNOWN = ("ICRS", "FK5", "FK4", "FK4-NO-E")
_OLD = 1984.0  # equinoxes before are FK4's, unless RADESYS says otherwise
_FIRST, _LAST = 1800.0, 2100.0
_EPOCHS = (1950.0, 2000.0)  # of an EPOCH that is an equinox
_YEAR = re.compile(r"([BJ]?)\s*(\d{4}(?:\.\d*)?)", re.IGNORECASE)


def mend(header: fits.Header) -> None:
    """Set RADESYS and EQUINOX as numbers and in capitals; ValueError, with the remedy, for what has no clear sense."""
    system = _system(header)
    galactic = any(str(header.get(f"CTYPE{axis}", "")).startswith("GL") for axis in (1, 2))
    if not _YEAR.fullmatch(str(header.get("EPOCH")).strip()):
        header.remove("EPOCH", ignore_missing=True)  # the name of an epoch, or none
    name = next((key for key in ("EQUINOX", "EPOCH") if not _empty(header.get(key))), None)
    if system == "ICRS" or galactic or name is None:
        for key in ("EQUINOX", "EPOCH"):
            header.remove(key, ignore_missing=True)
        return
    year, letter = _year(header[name], name)
    if name == "EPOCH" and year not in _EPOCHS:
        raise ValueError(f"EPOCH {year:g} may be the equinox of its positions or the time of the exposure; write "
                         "EQUINOX and RADESYS into the header")  # fmt: skip
    if letter == "J" and not system:
        header["RADESYS"] = "FK5"
    if (system or "").startswith("FK4") and year >= _OLD:
        raise ValueError(f"RADESYS {system} with {name} {year:g}: FK4 belongs to equinoxes before {_OLD:.0f}; correct "
                         "one of them")  # fmt: skip
    header.remove("EPOCH", ignore_missing=True)
    header["EQUINOX"] = year


def frame(wcs: Any) -> Any:
    """The frame of an astropy.wcs.WCS. ValueError when there is none, or an ecliptic of another equinox than 2000.

    astropy takes ecliptic longitude and latitude for right ascension and declination.
    """
    from astropy.coordinates import BarycentricMeanEcliptic
    from astropy.wcs.utils import wcs_to_celestial_frame

    if not wcs.wcs.ctype[wcs.wcs.lng].startswith("ELON"):
        return wcs_to_celestial_frame(wcs)
    year = wcs.wcs.equinox
    if year == year and year != 2000:  # NaN: not given
        raise ValueError(f"ecliptic positions of equinox {year:g} are not read, those of 2000 are")
    return BarycentricMeanEcliptic()


def _empty(value: object) -> bool:
    return value is None or isinstance(value, fits.card.Undefined) or not str(value).strip()


def _system(header: fits.Header) -> str | None:
    """RADESYS, or RADECSYS, its old name, in capitals."""
    found = {key: str(header[key]).strip().upper() for key in ("RADESYS", "RADECSYS") if not _empty(header.get(key))}
    for key in ("RADESYS", "RADECSYS"):
        header.remove(key, ignore_missing=True)
    if len(set(found.values())) > 1:
        raise ValueError(f"RADESYS is {found['RADESYS']}, RADECSYS {found['RADECSYS']}; delete the wrong one")
    system = next(iter(found.values()), None)
    if system is not None and system not in _KNOWN:
        raise ValueError(f"RADESYS {system!r} is none of {', '.join(_KNOWN)}; correct the header")
    if system is not None:
        header["RADESYS"] = system
    return system


def _year(value: object, name: str) -> tuple[float, str]:
    """(year, B, J or nothing) of an equinox, be it a number or a text as B1950."""
    number = value if isinstance(value, int | float) and not isinstance(value, bool) else None
    found = None if number is not None else _YEAR.fullmatch(str(value).strip())
    year, letter = (float(found[2]), found[1].upper()) if found else (number, "")
    if year is None or not _FIRST <= year <= _LAST:
        raise ValueError(f"{name} is {value!r}, no year of an equinox; correct it, or delete it and write RADESYS")
    return year, letter
