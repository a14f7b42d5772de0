#!/usr/bin/env bash
# sep: a circular aperture of less than half a pixel on a pixel's centre sums that whole pixel, in exact mode too.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install sep==1.4.1 numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
"$work/venv/bin/python" - <<'PY'
import math

import numpy as np
import sep

print("sep", sep.__version__)
ones = np.ones((21, 21), dtype=np.float32)
wrong = 0
for radius in (0.1, 0.3, 0.5, 0.6, 1.0, 3.0):
    for subpix in (0, 5):  # 0: the exact overlap of circle and pixel
        total = float(sep.sum_circle(ones, [10.0], [10.0], radius, subpix=subpix)[0][0])
        print(f"r {radius}  subpix {subpix}  sum {total:.4f}  area {math.pi * radius**2:.4f}")
        if radius <= 0.5:
            wrong += abs(total - 1.0) < 1e-6
moved = float(sep.sum_circle(ones, [10.3], [10.0], 0.3, subpix=0)[0][0])
print(f"r 0.3, centre moved by 0.3 pixel: {moved:.4f}")
# Seen: 1.0000 for every radius up to half a pixel (areas 0.03, 0.28, 0.79), the right area once the centre is moved.
assert wrong == 6, wrong
assert abs(moved - math.pi * 0.09) < 1e-3, moved
big = float(sep.sum_circle(ones, [10.0], [10.0], 3.0, subpix=0)[0][0])
assert abs(big - math.pi * 9) < 1e-2, big
PY
