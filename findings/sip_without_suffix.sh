#!/usr/bin/env bash
# SIP terms under a CTYPE that says plain TAN: astropy and Gnuastro apply them, WCSTools does not. One header, two skies; with
# "-SIP" in CTYPE all three agree. Needs WCSTools 3.9 and Gnuastro 0.19 (Debian 12: wcstools, gnuastro).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/debs" && cd "$work/debs"
apt-get --simulate --no-install-recommends install wcstools=3.9.7-1 gnuastro=0.19-1+b2 > plan.txt  # Debian 12; what is not installed is unpacked here alone
sed -nE 's/^Inst ([^ ]+) (\[[^]]*\] )?\(([^ ]+) .*/\1=\3/p' plan.txt | xargs -r apt-get --quiet=2 download
for deb in *.deb; do [ ! -e "$deb" ] || dpkg -x "$deb" "$work/debian"; done
[ ! -d "$work/debian/etc" ] || ln -s "$work/debian/etc" "$work/.gnuastro"  # its defaults are looked for here, too
export PATH="$work/debian/usr/bin:$PATH" LD_LIBRARY_PATH="$work/debian/usr/lib/x86_64-linux-gnu"
asttable --version | head -1
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install astropy==7.1.0 numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work" && cat > make.py <<'PY'
import numpy as np
from astropy.io import fits

for name, kind in (("without", "TAN"), ("with", "TAN-SIP")):
    header = fits.Header({"CTYPE1": f"RA---{kind}", "CTYPE2": f"DEC--{kind}", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 500.5,
                          "CRPIX2": 500.5, "CD1_1": -1e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-4, "CUNIT1": "deg", "CUNIT2": "deg",
                          "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 1e-5, "B_0_2": 1e-5})
    fits.PrimaryHDU(np.zeros((1000, 1000), np.uint8), header).writeto(f"{name}.fits")
PY
cat > look.py <<'PY'
import logging
import sys

import astropy
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

logging.getLogger("astropy").setLevel("ERROR")  # it tells of the missing suffix as information only
print("astropy", astropy.__version__)
places = {}
for line in sys.stdin:
    program, name, right_ascension, declination = line.split()[:4]
    places[program, name] = np.array([float(right_ascension), float(declination)])
for name in ("with", "without"):
    places["astropy", name] = np.array(WCS(fits.getheader(f"{name}.fits")).all_pix2world(900.0, 800.0, 1))


def apart(program, name):
    """Arcsec from where astropy puts the pixel with the suffix."""
    return float(np.hypot(*(places[program, name] - places["astropy", "with"])) * 3600)


for program in ("astropy", "gnuastro", "wcstools"):
    print(f"{program}: {apart(program, 'with'):.4f} arcsec with the suffix, {apart(program, 'without'):.4f} without")
    assert apart(program, "with") < 1e-3
assert apart("gnuastro", "without") < 1e-3
assert apart("astropy", "without") < 1e-3
assert apart("wcstools", "without") > 0.5
PY
venv/bin/python make.py
for name in with without; do
    echo "wcstools $name $(xy2sky -d -n 8 $name.fits 900 800)"
    echo "gnuastro $name $(echo '900 800' | asttable -c'arith $1 $2 img-to-wcs' --wcsfile=$name.fits --wcshdu=0 2> /dev/null)"
done | venv/bin/python look.py
