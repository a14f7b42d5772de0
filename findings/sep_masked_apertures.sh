#!/usr/bin/env bash
# sep puts the aperture's mean in place of masked pixels; photutils leaves them out. So a mask at a star's edge or in its
# middle biases sep's sum by the star's shape, and the two libraries disagree although both were given the same mask.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install sep==1.4.1 photutils==3.0.0 astropy==7.1.0 numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
"$work/venv/bin/python" - <<'PY'
import math

import numpy as np
import photutils
import sep
from photutils.aperture import CircularAperture, aperture_photometry

print("sep", sep.__version__, "photutils", photutils.__version__)
y, x = np.mgrid[:41, :41]
flat, star = np.ones((41, 41)), np.exp(-((x - 20) ** 2 + (y - 20) ** 2) / 18)
middle, edge = (x - 20) ** 2 + (y - 20) ** 2 < 5, (y > 18) & (y < 22) & (x > 24)


def sums(image, mask):
    by_sep = float(sep.sum_circle(image, [20.0], [20.0], 8.0, mask=mask, subpix=0)[0][0])
    by_photutils = float(aperture_photometry(image, CircularAperture((20, 20), 8.0), mask=mask)["aperture_sum"][0])
    return by_sep, by_photutils


for name, image, mask in (("flat, middle masked", flat, middle), ("star, middle masked", star, middle), ("star, edge masked", star, edge)):
    whole, (by_sep, by_photutils) = sums(image, None)[0], sums(image, mask)
    print(f"{name}: without a mask {whole:.2f}; sep {by_sep:.2f}, photutils {by_photutils:.2f}")
# Seen: on a flat image sep gives the whole circle's area in spite of the mask, photutils what is left of it.
area = math.pi * 64
assert abs(sums(flat, middle)[0] - area) < 1e-3
assert abs(sums(flat, middle)[1] - (area - middle.sum())) < 1e-3
whole = sums(star, None)[0]
assert sums(star, edge)[0] > whole * 1.01
assert sums(star, edge)[1] < whole * 0.99
kept = sums(star, middle)
assert abs(kept[0] / kept[1] - area / (area - middle.sum())) < 1e-6
PY
