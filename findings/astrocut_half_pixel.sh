#!/usr/bin/env bash
# astrocut takes a pixel's centre for its edge: its cutouts sit half a pixel too far towards the first pixel on average, up to one
# pixel, where astropy's Cutout2D is off by half a pixel at most. It also leaves the image's CD matrix beside the PC matrix it writes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install astrocut==1.4.0 astropy==7.1.0 numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work" && venv/bin/python - <<'PY'
import warnings

import astrocut
import numpy as np
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS

print("astrocut", astrocut.__version__)
warnings.simplefilter("ignore")
y, x = np.mgrid[:200, :200]
header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 100.5, "CRPIX2": 100.5,
                      "CD1_1": -1e-4, "CD2_2": 1e-4, "CUNIT1": "deg", "CUNIT2": "deg"})
fits.PrimaryHDU(x.astype(np.float32), header).writeto("field.fits")
rng = np.random.default_rng(0)
for size in (10, 11):
    off = {"astrocut": [], "Cutout2D": []}
    for place in rng.uniform(50, 150, 100):
        units = astrocut.fits_cut("field.fits", WCS(header).pixel_to_world(place, place), size, memory_only=True)[0]
        off["astrocut"].append(units[1].data.mean() - place)  # each pixel holds its own column, counted from 0
        off["Cutout2D"].append(Cutout2D(x, (place, place), size).data.mean() - place)
    for name, values in off.items():
        print(f"{size} pixels, {name}: the middle is {np.mean(values):+.2f} pixels off on average, {min(values):+.2f} to {max(values):+.2f}")
    assert abs(np.mean(off["astrocut"]) + 0.5) < 0.1
    assert min(off["astrocut"]) < -0.9
    assert abs(np.mean(off["Cutout2D"])) < 0.1
    assert max(map(abs, off["Cutout2D"])) <= 0.5
left = sorted(set(units[1].header) & {"CD1_1", "CD2_2", "PC1_1", "PC2_2"})
print("in the cutout's header:", left)
assert left == ["CD1_1", "CD2_2", "PC1_1", "PC2_2"]
PY
