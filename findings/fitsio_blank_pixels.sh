#!/usr/bin/env bash
# An integer image with BSCALE, BZERO and BLANK: astropy reads its blank pixels as NaN, fitsio as ordinary values.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install astropy==7.1.0 fitsio==1.4.2 numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work"
"$work/venv/bin/python" - <<'PY'
import astropy
import fitsio
import numpy as np
from astropy.io import fits

print("astropy", astropy.__version__, "fitsio", fitsio.__version__)
stored = np.arange(100, dtype=np.int16).reshape(10, 10)
stored[2, 3:6] = -32768
unit = fits.PrimaryHDU(stored)
unit.header["BSCALE"], unit.header["BZERO"], unit.header["BLANK"] = 0.5, 10.0, -32768
unit.writeto("plain.fits")
with fits.open("plain.fits") as units:
    by_astropy = units[0].data
by_fitsio = fitsio.read("plain.fits")
print("astropy:", by_astropy.dtype, int(np.isnan(by_astropy).sum()), "NaN; at a blank pixel", by_astropy[2, 3])
print("fitsio: ", by_fitsio.dtype, int(np.isnan(by_fitsio).sum()), "NaN; at a blank pixel", by_fitsio[2, 3])
# Seen: 3 NaN by astropy; none by fitsio, which gives -32768 * 0.5 + 10 = -16374 there.
assert np.isnan(by_astropy).sum() == 3
assert np.isnan(by_fitsio).sum() == 0
assert by_fitsio[2, 3] == -16374.0
assert np.array_equal(by_astropy[0], by_fitsio[0])
PY
