#!/usr/bin/env bash
# TPV with the declination as the first axis: wcslib (through astropy) goes wrong by hundreds of pixels even where every term is that of no
# distortion. The same header in TAN, and TPV with the right ascension first, agree to rounding.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install astropy==7.1.0 numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work" && venv/bin/python - <<'PY'
import warnings

import astropy
from astropy.io import fits
from astropy.wcs import WCS

print("astropy", astropy.__version__, "wcslib", astropy.wcs._wcs.__version__)
warnings.simplefilter("ignore")
SCALE = 1e-3  # degrees a pixel


def at(projection, first):
    """Where pixel (100, 1700) lies; the sky's axes are named in either order, the image is the same."""
    ra, dec = (1, 2) if first == "RA" else (2, 1)
    header = fits.Header({f"CTYPE{ra}": f"RA---{projection}", f"CTYPE{dec}": f"DEC--{projection}", f"CRVAL{ra}": 150.0,
                          f"CRVAL{dec}": 30.0, "CRPIX1": 1000.0, "CRPIX2": 1000.0, f"CD{ra}_1": -SCALE, f"CD{ra}_2": 0.0,
                          f"CD{dec}_1": 0.0, f"CD{dec}_2": SCALE, "CUNIT1": "deg", "CUNIT2": "deg"})
    if projection == "TPV":
        header.update({"PV1_1": 1.0, "PV2_1": 1.0})  # xi = x, eta = y
    return WCS(header).pixel_to_world(100, 1700)


truth = at("TAN", "RA")
off = {(projection, first): truth.separation(at(projection, first)).deg / SCALE for projection in ("TAN", "TPV") for first in ("RA", "DEC")}
for (projection, first), pixels in off.items():
    print(f"{projection}, {first} first: {pixels:.3f} pixels from TAN with RA first")
assert max(off["TAN", "DEC"], off["TPV", "RA"]) < 1e-3
assert 200 < off["TPV", "DEC"] < 400
PY
