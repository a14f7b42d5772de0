#!/usr/bin/env bash
# RA---TAN with PV terms, as SCAMP writes: astropy (wcslib) reads them as TPV once there is a term such as PV1_7; with terms
# up to PV1_4 alone it does not, and the sky moves by arcseconds. TPV without any PV sends every pixel to CRVAL.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install astropy==7.1.0 numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
"$work/venv/bin/python" - <<'PY'
import warnings

import astropy
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

print("astropy", astropy.__version__)
warnings.simplefilter("ignore")


def place(kind, **terms):
    header = fits.Header()
    header["NAXIS"], header["NAXIS1"], header["NAXIS2"] = 2, 1000, 1000
    for axis, (name, value) in enumerate((("RA", 150.0), ("DEC", 2.0)), start=1):
        header[f"CTYPE{axis}"] = f"{name:-<5}{kind:->3}"
        header[f"CRVAL{axis}"], header[f"CRPIX{axis}"], header[f"CUNIT{axis}"] = value, 500.5, "deg"
        header[f"CD{axis}_{axis}"] = -1e-4 if axis == 1 else 1e-4
    for name, value in terms.items():
        header[name] = value
    return np.array(WCS(header).all_pix2world(900.0, 800.0, 0))


def arcsec(one, other):
    shift = (one - other) * 3600
    return float(np.hypot(shift[0] * np.cos(np.radians(2.0)), shift[1]))


plain = place("TAN")
one, few = {"PV1_1": 1.01, "PV2_1": 1.01}, {"PV1_1": 1.01, "PV2_1": 1.01, "PV1_4": 1e-3, "PV2_4": 1e-3}
two = {"PV1_1": 1.01, "PV2_1": 1.01, "PV1_7": 1e-3, "PV2_7": 1e-3}
print("TAN against TPV, same terms up to degree 1:", round(arcsec(place("TAN", **one), place("TPV", **one)), 3), "arcsec")
print("TAN against TPV, PV_4 (a term of degree 2) too:", round(arcsec(place("TAN", **few), place("TPV", **few)), 3), "arcsec")
print("TAN against TPV, PV_7 (degree 3) too:", round(arcsec(place("TAN", **two), place("TPV", **two)), 6), "arcsec")
empty = place("TPV")
print("TPV without terms: pixel (900, 800) at", empty, "CRVAL is (150, 2); TAN gives", plain)
# Seen: 3.7 arcsec apart with PV_1 alone and with PV_1 and PV_4, equal with PV_7; TPV without terms: CRVAL for any pixel.
assert arcsec(place("TAN", **one), place("TPV", **one)) > 0.5
assert arcsec(place("TAN", **few), place("TPV", **few)) > 0.5
assert arcsec(place("TAN", **two), place("TPV", **two)) < 1e-6
assert np.allclose(empty, (150.0, 2.0), atol=1e-12)
PY
