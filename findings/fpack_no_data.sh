#!/usr/bin/env bash
# Compressed as fpack does by default (RICE, quantised, SUBTRACTIVE_DITHER_1), the zeros by which a coadd says "no data"
# become numbers up to half a step from 0 that scatter like noise, by another step in every row.
# SUBTRACTIVE_DITHER_2 keeps them. funpack does not bring them back.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/debs" && cd "$work/debs"
apt-get --simulate --no-install-recommends install libcfitsio-bin=4.2.0-3 > plan.txt  # Debian 12; what is not installed is unpacked here alone
sed -nE 's/^Inst ([^ ]+) (\[[^]]*\] )?\(([^ ]+) .*/\1=\3/p' plan.txt | xargs -r apt-get --quiet=2 download
for deb in *.deb; do [ ! -e "$deb" ] || dpkg -x "$deb" "$work/debian"; done
export PATH="$work/debian/usr/bin:$PATH" LD_LIBRARY_PATH="$work/debian/usr/lib/x86_64-linux-gnu"
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install fitsio==1.4.2 numpy==2.4.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work" && venv/bin/python - <<'PY'
import fitsio
import numpy as np

print("fitsio", fitsio.__version__)
rng = np.random.default_rng(1)
rows, columns = np.mgrid[:400, :400]
empty = columns + rows < 250  # a coadd whose corner no exposure reached


def packed(method):
    image = rng.normal(0, 1, (400, 400)).astype(np.float32)
    image[empty] = 0
    fitsio.write("a.fits", image, clobber=True, compress="RICE", qlevel=4, qmethod=method, dither_seed=5)
    return fitsio.read("a.fits")[empty]


lost, kept = (packed(f"SUBTRACTIVE_DITHER_{number}") for number in (1, 2))
for name, found in (("DITHER_1", lost), ("DITHER_2", kept)):
    print(f"{name}: {(found == 0).mean():.3f} of the zeros are left; the largest is {np.abs(found).max():.2f} times the noise")
assert (lost == 0).mean() < 0.01
assert 0.05 < np.abs(lost).max() < 0.3
assert (kept == 0).all()
PY
