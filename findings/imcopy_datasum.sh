#!/usr/bin/env bash
# CFITSIO's own imcopy copies the whole image's DATASUM and CHECKSUM into a cutout, so that a correct cutout looks damaged; funpack
# of the same library writes a right one. Needs CFITSIO 4.2 (Debian 12: libcfitsio-bin).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/debs" && cd "$work/debs"
apt-get --simulate --no-install-recommends install libcfitsio-bin=4.2.0-3 > plan.txt  # Debian 12; what is not installed is unpacked here alone
sed -nE 's/^Inst ([^ ]+) (\[[^]]*\] )?\(([^ ]+) .*/\1=\3/p' plan.txt | xargs -r apt-get --quiet=2 download
for deb in *.deb; do [ ! -e "$deb" ] || dpkg -x "$deb" "$work/debian"; done
export PATH="$work/debian/usr/bin:$PATH" LD_LIBRARY_PATH="$work/debian/usr/lib/x86_64-linux-gnu"
fpack -V | head -1
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install astropy==7.1.0 numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work"
venv/bin/python -c '
import numpy as np
from astropy.io import fits
fits.PrimaryHDU(np.random.default_rng(0).normal(size=(100, 100)).astype(np.float32)).writeto("field.fits", checksum=True)'
imcopy 'field.fits[11:30,11:30]' cutout.fits
fpack -O field.fits.fz field.fits > /dev/null
funpack -O whole.fits field.fits.fz
cat > look.py <<'PY'
import warnings

import astropy
from astropy.io import fits

print("astropy", astropy.__version__)
with fits.open("field.fits") as field:
    pixels, told = field[0].data[10:30, 10:30].copy(), field[0].header["DATASUM"]
faults = {}
for name, unit in (("cutout.fits", 0), ("whole.fits", 0)):
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with fits.open(name, checksum=True) as units:
            data, header = units[unit].data.copy(), units[unit].header
    faults[name] = [str(one.message).split(" for ")[0] for one in said]
    print(f"{name}: DATASUM {header['DATASUM']} (the field's is {told}); {faults[name] or 'right'}")
    if name == "cutout.fits":
        assert (data == pixels).all()
        assert header["DATASUM"] == told
assert any("Datasum" in one for one in faults["cutout.fits"])
assert not faults["whole.fits"]
PY
venv/bin/python look.py
