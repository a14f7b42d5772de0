"""Headers with a WCS as their authors meant it: conventions that astropy reads otherwise are set right, and headers
that programs read in different ways are refused.

SCAMP's TAN with PV terms is TPV, also when only the linear terms are there; TPV without a linear term has 1 for it
(registry of FITS conventions, TPV), and is not distorted by SIP terms that an earlier program left. SIP terms count
where CTYPE ends in -SIP (Shupe et al. 2005, ASP Conf. Ser. 347, 491) up to A_ORDER and B_ORDER; astropy applies them
without -SIP, too, others do not, so that such a header is refused where they matter. Rotation is CROTA of the
latitude's axis alone (Calabretta & Greisen 2002, A&A 395, 1077, section 6.1). wcslib applies the terms of a TPV whose
first axis is the latitude to the wrong axes: such axes are exchanged first.
"""

import re
from itertools import product

import numpy as np
from astropy.io import fits

from hpc_astrossl.cutting import wcsframes

_PAIRS = (("RA", "DEC"), ("GLON", "GLAT"), ("ELON", "ELAT"))
_SIP = re.compile(r"(A|B|AP|BP)_(\d+_\d+|ORDER|DMAX)")
_MATTERS = 0.1  # pixels at a corner: a distortion that may or may not be meant
_SAME = 1e-6  # of a matrix, relatively, that is given in two ways
_NUMBER = re.compile(r"(CRVAL|CRPIX|CDELT|CROTA)[12]|(CD|PC)[12]_[12]|PV[12]_\d+|LONPOLE|LATPOLE|"
                     r"(A|B|AP|BP)_(\d+_\d+|ORDER)")  # fmt: skip
_TURNED = 1e-3  # of a matrix, and degrees: two rotations that differ more are two
_NEEDED = (("CRVAL", "where the reference point is"), ("CRPIX", "which pixel is at the reference point"))


def celestial(header: fits.Header) -> bool:
    """Whether it tells, by its CTYPE, where the image is on the sky."""
    kinds = {_kind(header, axis) for axis in _axes(header)}
    return any(set(pair) <= kinds for pair in _PAIRS)


def mended(header: fits.Header, shape: tuple[int, int]) -> fits.Header:
    """A copy that astropy reads as it was meant, of an image (height, width). ValueError, with the remedy, for one that
    lacks something or says two things."""
    header = header.copy()
    wcsframes.mend(header)
    _check_types(header)
    _check_numbers(header)
    _check_matrix(header)
    _check_rotation(header)
    if any(str(header.get(f"{key}{axis}", "")).strip() for key in ("CPDIS", "D2IMDIS") for axis in (1, 2)):
        raise ValueError("its distortion is in tables of other units (CPDIS, D2IMDIS); drizzle the image first, or, if "
                         "tenths of a pixel do not matter, delete them and their DP1, DP2, D2IM1, D2IM2"
                         )  # fmt: skip
    _mend_pv(header)
    _mend_sip(header, shape)
    return header


def _axes(header: fits.Header) -> range:
    return range(1, header.get("WCSAXES", 4) + 1)


def _kind(header: fits.Header, axis: int) -> str:
    return str(header.get(f"CTYPE{axis}", ""))[:5].rstrip("- ")


def _check_types(header: fits.Header) -> None:
    """ValueError for axes whose projection is not read, or not told; units of other spellings become deg."""
    for axis in (1, 2):
        if str(header.get(f"CTYPE{axis}", "")).rstrip().endswith(("TNX", "ZPX")):
            raise ValueError("IRAF's projections TNX and ZPX are not read; rewrite its WCS as TPV or SIP")
        if str(header.get(f"CTYPE{axis}", "")).rstrip().endswith("-TAB"):
            raise ValueError("a table of coordinates (-TAB) is not read; rewrite its WCS as TAN, TPV or SIP")
        if re.fullmatch(r"deg(ree)?s?", str(header.get(f"CUNIT{axis}", "")).strip(), re.IGNORECASE):
            header[f"CUNIT{axis}"] = "deg"
    found = {axis: str(header.get(f"CTYPE{axis}", "")).rstrip() for axis in _axes(header)}
    here = [axis for axis in found if any(_kind(header, axis) in pair for pair in _PAIRS)]
    if here != [1, 2]:
        listed = ", ".join(f"CTYPE{axis} {kind!r}" for axis, kind in found.items() if kind)
        raise ValueError(f"its first two axes are not the celestial ones ({listed})")
    if any(found[axis] == _kind(header, axis) for axis in here):
        raise ValueError(f"CTYPE1 {found[1]!r} and CTYPE2 {found[2]!r} name no projection, so that programs differ: "
                         "write RA---TAN and DEC--TAN, or RA---CAR and DEC--CAR for a grid of equal degrees"
                         )  # fmt: skip


def _check_numbers(header: fits.Header) -> None:
    for axis in _axes(header):
        if not any(_kind(header, axis) in pair for pair in _PAIRS):
            continue
        for key, what in _NEEDED:
            value = header.get(f"{key}{axis}")
            if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
                found = "is missing" if value is None else f"is {value!r}, no number"
                raise ValueError(f"{key}{axis}, {what}, {found}; correct the header")
    whole = _matrix(header, "CD") is not None
    for key in [key for key in header if _NUMBER.fullmatch(key)]:
        if isinstance(header[key], fits.card.Undefined | None):
            del header[key]
        elif not (whole and key.startswith(("CDELT", "CROTA"))):
            _number(header[key], key)
    steps = sum(f"CDELT{axis}" in header for axis in (1, 2))
    if not whole and (steps == 1 or (steps == 0 and _matrix(header, "PC") is None)):
        missing = "nothing gives its scale (CD, or CDELT)" if not steps else "it has only one of CDELT1 and CDELT2"
        raise ValueError(f"{missing}; correct the header")


def _number(value: object, key: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not np.isfinite(value):
        raise ValueError(f"{key} is {value!r}, no number; correct the header")


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
    if cd is not None and (cd == np.eye(2)).all() and 0 < abs(header.get("CDELT1", 1.0)) < 1:
        raise ValueError(f"its CD matrix is 1, so a pixel is a degree, but CDELT1 is {header['CDELT1']:g}; delete "
                         "CD1_1 … if the scale is in CDELT")  # fmt: skip
    if cd is None or pc is None:
        return
    scales = np.array([header.get(f"CDELT{axis}", 1.0) for axis in (1, 2)], float)
    if np.abs(pc * scales[:, None] - cd).max() > _SAME * np.abs(cd).max():
        raise ValueError("it has both a CD and a PC matrix, which differ; delete the one that an earlier program left "
                         "(PC1_1 … and CDELT1, CDELT2, or CD1_1 …)")  # fmt: skip
    for i, j in product((1, 2), repeat=2):
        header.remove(f"PC{i}_{j}", ignore_missing=True)


def _check_rotation(header: fits.Header) -> None:
    """ValueError for CROTA of another axis than the latitude's, or beside a PC matrix that says otherwise."""
    if _matrix(header, "CD") is not None:
        return
    lat = _latitude(header)
    turns = {axis: header.get(f"CROTA{axis}", 0.0) for axis in (1, 2)}
    if (pc := _matrix(header, "PC")) is not None:
        if any(turns.values()) and np.abs(pc - _turned(header, turns[lat])).max() > _TURNED:
            raise ValueError(f"it has both a PC matrix and CROTA{lat} ({turns[lat]:g}), which differ; delete the "
                             "one that an earlier program left")  # fmt: skip
    elif turns[3 - lat] and abs(turns[3 - lat] - turns[lat]) > _TURNED:
        raise ValueError(f"CROTA{3 - lat} is {turns[3 - lat]:g}, CROTA{lat} {turns[lat]:g}: the rotation is that of "
                         f"the latitude's axis, so that programs differ; correct CROTA{lat}, or delete CROTA{3 - lat}"
                         )  # fmt: skip


def _latitude(header: fits.Header) -> int:
    return 2 if _kind(header, 1) in ("RA", "GLON", "ELON") else 1


def _turned(header: fits.Header, degrees: float) -> np.ndarray:
    """The PC matrix that CROTA of the latitude's axis stands for."""
    lat, steps = _latitude(header) - 1, np.array([header.get(f"CDELT{axis}", 1.0) for axis in (1, 2)], float)
    lon, ratio, angle = 1 - lat, steps[lat] / steps[1 - lat], np.radians(degrees)
    matrix = np.eye(2) * np.cos(angle)
    matrix[lon, lat], matrix[lat, lon] = -np.sin(angle) * ratio, np.sin(angle) / ratio
    return matrix


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
    if all(kind.endswith("TPV") for kind in types.values()) and _latitude(header) == 1:
        _exchange(header)
    if all(kind.endswith("TAN-SIP") for kind in types.values()) and _polynomial(header, types):
        _without_pv(header)


def _exchange(header: fits.Header) -> None:
    """The longitude first: the order of the axes of the sky means nothing, and the pixels' stays."""
    matrix = _matrix(header, "CD")
    if matrix is None:
        steps = np.array([header.get(f"CDELT{axis}", 1.0) for axis in (1, 2)], float)[:, None]
        pc = _matrix(header, "PC")
        matrix = steps * (_turned(header, header.get("CROTA1", 0.0)) if pc is None else pc)
    pair = re.compile(r"(CTYPE|CRVAL|CUNIT|CNAME)([12])()|(PV)([12])(_\d+)")
    old = {key: header[key] for key in header if pair.fullmatch(key)}
    for key in [*old, *(key for key in header if re.fullmatch(r"(CDELT|CROTA)[12]|(CD|PC)[12]_[12]", key))]:
        header.remove(key, ignore_missing=True)
    for key, value in old.items():
        name, axis, rest = (part for part in pair.fullmatch(key).groups() if part is not None)
        header[f"{name}{3 - int(axis)}{rest}"] = value
    for i, j in product((1, 2), repeat=2):
        header[f"CD{i}_{j}"] = matrix[2 - i, j - 1]


def _without_pv(header: fits.Header) -> None:
    """Remove PV terms that do nothing beside SIP; ValueError for others."""
    terms = [key for key in header if re.fullmatch(r"PV[12]_\d+", key)]
    if any(header[key] != (1 if key.endswith("_1") else 0) for key in terms):
        raise ValueError("it has both SIP and PV terms; delete those that an earlier program left (SCAMP's solution is "
                         "PV: then end both CTYPE in TPV)")  # fmt: skip
    for key in terms:
        del header[key]


def _polynomial(header: fits.Header, types: dict[int, str]) -> bool:
    """Whether PV keywords of a TAN are a polynomial: the standard has none on the latitude, and 0 to 4 on longitude,
    where 1 is a longitude for which nobody takes about 1 degree."""
    for axis, kind in types.items():
        latitude = kind.startswith(("DEC", "GLAT", "ELAT"))
        first = 0 if latitude else 5
        if any(f"PV{axis}_{term}" in header for term in range(first, 40)):
            return True
        if abs(header.get(f"PV{axis}_1", 0.0) - 1) < 0.5:
            return True
    return False


def _mend_sip(header: fits.Header, shape: tuple[int, int]) -> None:
    """Leave SIP terms only where they are meant."""
    terms = {key for key in header if _SIP.fullmatch(key)}
    types = [str(header.get(f"CTYPE{axis}", "")).rstrip() for axis in (1, 2)]
    if not terms:
        return
    if all(kind.endswith("-SIP") for kind in types):
        _check_sip(header, shape)
        return
    if not any(kind.endswith("TPV") for kind in types) and (away := _shift(header, shape)) > _MATTERS:
        raise ValueError(f"it has SIP terms (A_ORDER …), which move a corner by {away:.1f} pixels, but its CTYPE does "
                         "not end in -SIP, so that programs differ: end both CTYPE in -SIP if they are meant, or "
                         "delete the terms if the image has been rectified")  # fmt: skip
    for key in terms:
        header.remove(key, remove_all=True)


def _check_sip(header: fits.Header, shape: tuple[int, int]) -> None:
    """ValueError for SIP terms that are meant but that programs leave out."""
    beyond = fits.Header()
    for key, value in header.items():
        found = re.fullmatch(r"(A|B)_(\d+)_(\d+)", key)
        order = found and header.get(f"{found[1]}_ORDER", 0)
        if found and (order < 2 or int(found[2]) + int(found[3]) > order):
            beyond[key] = value
    back = fits.Header()
    if not any(re.fullmatch(r"(A|B)_\d+_\d+", key) for key in header):
        back.update({key.replace("P", ""): value for key, value in header.items() if re.match(r"(AP|BP)_\d", key)})
    for terms, what in ((beyond, "SIP terms without A_ORDER and B_ORDER, or beyond them"),
                        (back, "only the reverse SIP terms (AP_ORDER …), from the sky to pixels")):  # fmt: skip
        terms.update({key: header[key] for key in ("CRPIX1", "CRPIX2")})
        if (away := _shift(terms, shape)) > _MATTERS:
            raise ValueError(f"it has {what}, which move a corner by {away:.1f} pixels and are not applied; correct "
                             "the header")  # fmt: skip


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
