"""Headers with a WCS as their authors meant it: conventions that astropy reads otherwise are set right, and headers
that programs read in different ways are refused.

SCAMP's TAN with PV terms is TPV, also when only the linear terms are there; TPV without a linear term has 1 for it
(registry of FITS conventions, TPV), and is not distorted by SIP terms that an earlier program left. SIP terms count
where CTYPE ends in -SIP (Shupe et al. 2005, ASP Conf. Ser. 347, 491); astropy applies them without it, too, others do
not, so that such a header is refused where they matter.
"""

import re
from itertools import product

import numpy as np
from astropy.io import fits

_PAIRS = (("RA", "DEC"), ("GLON", "GLAT"), ("ELON", "ELAT"))
_SIP = re.compile(r"(A|B|AP|BP)_(\d+_\d+|ORDER|DMAX)")
_MATTERS = 0.1  # pixels at a corner: a distortion that may or may not be meant
_SAME = 1e-6  # of a matrix, relatively, that is given in two ways
_NEEDED = (("CRVAL", "where the reference point is"), ("CRPIX", "which pixel is at the reference point"))


def celestial(header: fits.Header) -> bool:
    """Whether it tells, by its CTYPE, where the image is on the sky."""
    kinds = {_kind(header, axis) for axis in _axes(header)}
    return any(set(pair) <= kinds for pair in _PAIRS)


def mended(header: fits.Header, shape: tuple[int, int]) -> fits.Header:
    """A copy that astropy reads as it was meant, of an image (height, width). ValueError, with the remedy, for one that
    lacks something or says two things."""
    header = header.copy()
    _check_numbers(header)
    _check_matrix(header)
    if any(str(header.get(f"CTYPE{axis}", "")).rstrip().endswith(("TNX", "ZPX")) for axis in (1, 2)):
        raise ValueError("IRAF's projections TNX and ZPX are not read; rewrite its WCS as TPV or SIP")
    if any(str(header.get(f"CPDIS{axis}", "")).strip() for axis in (1, 2)):
        raise ValueError("its distortion is in tables of other units (CPDIS); drizzle the image first, or, if tenths "
                         "of a pixel do not matter, delete CPDIS1, CPDIS2 and DP1, DP2")  # fmt: skip
    _mend_pv(header)
    _mend_sip(header, shape)
    return header


def _axes(header: fits.Header) -> range:
    return range(1, header.get("WCSAXES", 4) + 1)


def _kind(header: fits.Header, axis: int) -> str:
    return str(header.get(f"CTYPE{axis}", ""))[:5].rstrip("- ")


def _check_numbers(header: fits.Header) -> None:
    for axis in _axes(header):
        if not any(_kind(header, axis) in pair for pair in _PAIRS):
            continue
        for key, what in _NEEDED:
            value = header.get(f"{key}{axis}")
            if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
                found = "is missing" if value is None else f"is {value!r}, no number"
                raise ValueError(f"{key}{axis}, {what}, {found}; correct the header")
    scales = any(f"CDELT{axis}" in header for axis in (1, 2)) or _matrix(header, "CD") is not None
    if not scales and _matrix(header, "PC") is None:
        raise ValueError("nothing gives its scale (CD, or CDELT); correct the header")


def _matrix(header: fits.Header, name: str) -> np.ndarray | None:
    """The elements of CD or PC for the first two axes, None if there are none."""
    keys = [f"{name}{i}_{j}" for i, j in product((1, 2), repeat=2)]
    if not any(key in header for key in keys):
        return None
    default = np.eye(2).ravel() if name == "PC" else np.zeros(4)
    return np.array([header.get(key, one) for key, one in zip(keys, default, strict=True)], float).reshape(2, 2)


def _check_matrix(header: fits.Header) -> None:
    """One of CD and PC, if both are there and agree; wcslib would take PC without a word."""
    cd, pc = (_matrix(header, name) for name in ("CD", "PC"))
    if cd is None or pc is None:
        return
    scales = np.array([header.get(f"CDELT{axis}", 1.0) for axis in (1, 2)], float)
    if np.abs(pc * scales[:, None] - cd).max() > _SAME * np.abs(cd).max():
        raise ValueError("it has both a CD and a PC matrix, which differ; delete the one that an earlier program left "
                         "(PC1_1 … and CDELT1, CDELT2, or CD1_1 …)")  # fmt: skip
    for i, j in product((1, 2), repeat=2):
        header.remove(f"PC{i}_{j}", ignore_missing=True)


def _mend_pv(header: fits.Header) -> None:
    axes = [axis for axis in (1, 2) if f"CTYPE{axis}" in header]
    types = {axis: str(header[f"CTYPE{axis}"]).rstrip() for axis in axes}
    if all(kind.endswith("TAN") for kind in types.values()) and _polynomial(header, types):
        for axis in axes:
            header[f"CTYPE{axis}"] = types[axis][:-3] + "TPV"
            types[axis] = header[f"CTYPE{axis}"]
    for axis in axes:
        if types[axis].endswith("TPV") and f"PV{axis}_1" not in header:
            header[f"PV{axis}_1"] = 1.0


def _polynomial(header: fits.Header, types: dict[int, str]) -> bool:
    """Whether PV keywords of a TAN are a polynomial: the standard has none on the latitude, and 0 to 4 on longitude."""
    for axis, kind in types.items():
        latitude = kind.startswith(("DEC", "GLAT", "ELAT"))
        first = 0 if latitude else 5
        if any(f"PV{axis}_{term}" in header for term in range(first, 40)):
            return True
    return False


def _mend_sip(header: fits.Header, shape: tuple[int, int]) -> None:
    """Leave SIP terms only where they are meant."""
    terms = {key for key in header if _SIP.fullmatch(key)}
    types = [str(header.get(f"CTYPE{axis}", "")).rstrip() for axis in (1, 2)]
    if not terms or all(kind.endswith("-SIP") for kind in types):
        return
    if not any(kind.endswith("TPV") for kind in types) and (away := _shift(header, shape)) > _MATTERS:
        raise ValueError(f"it has SIP terms (A_ORDER …), which move a corner by {away:.1f} pixels, but its CTYPE does "
                         "not end in -SIP, so that programs differ: end both CTYPE in -SIP if they are meant, or "
                         "delete the terms if the image has been rectified")  # fmt: skip
    for key in terms:
        header.remove(key, remove_all=True)


def _shift(header: fits.Header, shape: tuple[int, int]) -> float:
    """By how many pixels SIP terms move a corner, at most."""
    height, width = shape
    largest = 0.0
    for x, y in product((0.5, width + 0.5), (0.5, height + 0.5)):
        u, v = x - header.get("CRPIX1", 0.0), y - header.get("CRPIX2", 0.0)
        moved = [sum(value * u ** int(found[2]) * v ** int(found[3]) for key, value in header.items()
                     if (found := re.fullmatch(rf"({name})_(\d+)_(\d+)", key))) for name in "AB"]  # fmt: skip
        largest = max(largest, float(np.hypot(*moved)))
    return largest
