#!/usr/bin/env bash
# A 16-bit RGB TIFF with a plane for each colour is opened by Pillow as 8-bit "RGB", without a word, and its pixels are not
# the upper bytes of the file's numbers: they are others. The same numbers pixel by pixel (contiguous) become their upper bytes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install Pillow==13.0.0 tifffile==2026.3.3 numpy==2.4.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work" && venv/bin/python - <<'PY'
import warnings

import numpy as np
import PIL
import tifffile
from PIL import Image

print("Pillow", PIL.__version__)
warnings.simplefilter("error")
deep = np.random.default_rng(0).integers(0, 65535, (40, 40, 3)).astype(np.uint16)
tifffile.imwrite("pixels.tif", deep, photometric="rgb")
tifffile.imwrite("planes.tif", deep.transpose(2, 0, 1), photometric="rgb", planarconfig="separate")
assert (tifffile.imread("planes.tif").transpose(1, 2, 0) == deep).all()
found = {}
for name in ("pixels", "planes"):
    with Image.open(f"{name}.tif") as image:
        found[name] = np.asarray(image).astype(int)
        off = np.abs(found[name] - (deep >> 8))
        print(f"{name}: mode {image.mode}; from the upper bytes up to {off.max()}, {(off > 1).mean():.2f} of the pixels differ")
        assert image.mode == "RGB"
assert np.abs(found["pixels"] - (deep >> 8)).max() <= 1
assert (np.abs(found["planes"] - (deep >> 8)) > 1).mean() > 0.5
PY
