#!/usr/bin/env bash
# Pillow opens FITS, but leaves BZERO and BSCALE alone and makes negative 16-bit numbers large; of a tile-compressed image it shows
# the bytes of the compressed table as if they were a small picture. None of it with a word.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install Pillow==13.0.0 astropy==7.1.0 numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work" && venv/bin/python - <<'PY'
import warnings

import numpy as np
import PIL
from astropy.io import fits
from PIL import Image

print("Pillow", PIL.__version__)
warnings.simplefilter("error")
rng = np.random.default_rng(0)


def by_pillow(unit, name):
    fits.HDUList([unit] if isinstance(unit, fits.PrimaryHDU) else [fits.PrimaryHDU(), unit]).writeto(name)
    with Image.open(name) as image:
        return image.mode, np.asarray(image)[::-1]  # Pillow puts FITS' first row at the bottom


signed = rng.integers(-1000, 1000, (50, 60)).astype(np.int16)
unsigned, real = (signed + 2000).astype(np.uint16), signed.astype(np.float32)
for name, pixels in (("real", real), ("signed", signed), ("unsigned", unsigned)):
    mode, found = by_pillow(fits.PrimaryHDU(pixels), f"{name}.fits")
    print(f"{pixels.dtype}: mode {mode}; the file holds {pixels[0, :3]}, Pillow gives {found[0, :3]}")
    expected = {"real": real, "signed": signed.view(np.uint16), "unsigned": unsigned ^ 0x8000}[name]
    assert (found == expected).all()
mode, found = by_pillow(fits.CompImageHDU(real, compression_type="RICE_1"), "packed.fits")
print(f"compressed 60 x 50 float32: mode {mode}, {found.shape[1]} x {found.shape[0]}")
assert mode == "L"
assert found.shape[0] == 50
assert found.shape[1] < 60
PY
