#!/usr/bin/env bash
# A header with a CD matrix and a PC matrix that an earlier program left beside it (astrometry.net does): the standard forbids
# it; astropy (wcslib) takes PC and CDELT without a word, so that the newer solution in CD has no effect.
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
from astropy.wcs.utils import proj_plane_pixel_area

print("astropy", astropy.__version__)
warnings.simplefilter("ignore")


def image(cd, pc):
    header = fits.Header({"NAXIS": 2, "NAXIS1": 1000, "NAXIS2": 1000})
    for axis, (name, value) in enumerate((("RA---TAN", 150.0), ("DEC--TAN", 2.0)), start=1):
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"], header[f"CRPIX{axis}"] = name, value, 500.5
        header[f"CUNIT{axis}"] = "deg"
        if pc:
            header[f"CDELT{axis}"] = 1e-4
    for i in (1, 2):
        for j in (1, 2):
            if cd:
                header[f"CD{i}_{j}"] = [[-1e-4, 0.0], [0.0, 1e-4]][i - 1][j - 1]
            if pc:
                header[f"PC{i}_{j}"] = [[-1.0, 0.2], [0.2, 1.0]][i - 1][j - 1]
    return WCS(header)


def apart(one, other):
    """Arcsec between where two put one pixel."""
    a, b = (np.array(wcs.all_pix2world(900.0, 800.0, 0)) for wcs in (one, other))
    return float(np.hypot((a - b)[0] * np.cos(np.radians(2.0)), (a - b)[1]) * 3600)


cd, pc, both = image(True, False), image(False, True), image(True, True)
for name, wcs in (("CD alone", cd), ("PC and CDELT alone", pc), ("both", both)):
    print(f"{name}: pixels of {proj_plane_pixel_area(wcs) ** 0.5 * 3600:.4f} arcsec; both is {apart(wcs, both):.0f} arcsec away")
assert apart(cd, both) > 10
assert apart(pc, both) < 1e-6
PY
